// A zip file of blobs, stored without compression: images are compressed already.

const LIMIT = 2 ** 32 - 2 ** 24; // what the format counts in 32 bits, less room for the names
const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

export async function zip(files) {
  // files: [{name, blob}]; a name that comes twice gets a number; A and a are one name, as on many disks.
  if (files.length > 65000 || files.reduce((sum, { blob }) => sum + blob.size, 0) > LIMIT) {
    throw new Error("The results are more than 4 GB, too many for one zip file: download them one by one.");
  }
  const parts = [], directory = [], names = new Set();
  let offset = 0;
  for (const { name, blob } of files) {
    const path = new TextEncoder().encode(unused(name, names)), crc = await crc32(blob);
    // From "version needed" to "length of the extra field": the same in both headers. Bit 11: the name is UTF-8.
    const common = [[20, 2], [1 << 11, 2], [0, 2], [0, 2], [0x21, 2], [crc, 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2]];
    parts.push(fields([0x04034b50, 4], ...common), path, blob);
    directory.push(fields([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), path);
    offset += 30 + path.length + blob.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = [files.length, 2];
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], count, count, [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function fields(...values) {
  // Little-endian numbers: [value, bytes].
  return Uint8Array.from(values.flatMap(([value, bytes]) => Array.from({ length: bytes }, (_, n) => (value >>> (8 * n)) & 255)));
}

async function crc32(blob) {
  let crc = -1;
  for (const byte of new Uint8Array(await blob.arrayBuffer())) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function unused(name, names) {
  const [, stem, suffix] = /^(.*?)(\.[^.]*)?$/s.exec(name);
  let path = name;
  for (let n = 2; names.has(path.toLowerCase()); n++) path = `${stem} (${n})${suffix ?? ""}`;
  names.add(path.toLowerCase());
  return path;
}

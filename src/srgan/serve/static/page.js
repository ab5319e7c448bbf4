// The page: what is chosen, what is asked of the service, what is shown.

import { frames, sentence } from "./frames.js";
import { askPreview, forgetPreviews } from "./preview.js";
import { fillScores } from "./scores.js";
import * as viewer from "./viewer.js";

const $ = (id) => document.getElementById(id);
let about = null; // what the service offers
let picked = null; // {file, number, lr: canvas | null}
let running = null; // the AbortController of the picture at work
let result = null; // {blob, bicubic, name}
let reference = null;
let settled = null; // the settings of the result that is shown
let resting = 0; // the timer that starts the work once the slider rests
const addresses = new Map(); // element id -> object URL, so that the old one is given back

function show(id, blob) {
  if (addresses.has(id)) URL.revokeObjectURL(addresses.get(id));
  const address = URL.createObjectURL(blob);
  addresses.set(id, address);
  $(id)[id === "download" ? "href" : "src"] = address;
}

function say(text) { $("said").textContent = text; }

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function scale() { return Number(document.querySelector("input[name=scale]:checked").value); }

function model() {
  // Ends of the slider are the models themselves: the same bytes as `srgan upscale --model`.
  if (!about.texture) return { model: $("model").value };
  const texture = Number($("texture").value);
  if (texture === 1) return { model: "srgan" };
  if (texture === 0) return { model: "srresnet" };
  return { texture: String(texture) };
}

function query(more) {
  return new URLSearchParams({ ...model(), scale: scale(), ...more });
}

function wanted() { return query({ format: $("format").value }).toString(); }

function named() {
  const chosen = model();
  return chosen.model ?? `texture ${chosen.texture}`;
}

async function pick(file) {
  if (!file) return;
  document.body.classList.remove("fresh");
  picked = { file, number: (picked?.number ?? 0) + 1, lr: null };
  forgetPreviews();
  viewer.forget();
  $("tile").hidden = true;
  $("before").removeAttribute("src");
  $("sr").removeAttribute("src");
  result = settled = null;
  const mine = picked;
  try {
    drawn(mine, await createImageBitmap(file)); // asks for a preview, which goes first
  } catch {
    // a format that this browser does not show: the service sends its own view of it
  }
  if (mine === picked) start();
}

function drawn(owner, bitmap) {
  if (owner !== picked || owner.lr) return;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  owner.lr = canvas;
  viewer.open(bitmap.width * scale(), bitmap.height * scale());
  if (!$("before").src) canvas.toBlob((blob) => { if (owner === picked && !$("before").src) { show("before", blob); show("sr", blob); } });
  preview();
}

function stop() {
  clearTimeout(resting);
  running?.abort();
  running = null;
}

async function start() {
  if (!picked) return;
  stop();
  const mine = (running = new AbortController()), settings = wanted();
  problem("");
  $("result").hidden = true;
  $("work").hidden = false;
  $("progress").removeAttribute("value");
  $("progress-text").textContent = "sending";
  say(`Upscaling ${picked.file.name || "the picture"}`);
  const form = new FormData();
  form.append("picture", picked.file, picked.file.name || "picture");
  try {
    const format = $("format").value ? { format: $("format").value } : {};
    const response = await fetch(`/page/upscale?${query(format)}`, { method: "POST", body: form, signal: mine.signal });
    if (!response.ok) throw new Error(await sentence(response));
    for await (const event of frames(response)) {
      if (mine !== running) return;
      await take(event);
    }
    settled = settings;
    done();
  } catch (error) {
    if (mine !== running) return;
    problem(error.message);
    $("work").hidden = true;
    running = null;
  }
}

async function take(event) {
  const kinds = {
    waiting: () => { $("progress-text").textContent = `waiting, ${event.before} before this one`; },
    lr: async () => {
      viewer.open(event.width * scale(), event.height * scale());
      if (!picked.lr) drawn(picked, await createImageBitmap(new Blob([event.data], { type: "image/png" })));
    },
    bicubic: () => {
      const blob = new Blob([event.data], { type: "image/png" });
      picked.bicubic = blob;
      show("before", blob);
      if (!result) show("sr", blob);
    },
    progress: () => {
      $("progress").value = event.done / event.total;
      const left = event.seconds_left === null ? "" : `, ${Math.max(1, Math.round(event.seconds_left))} s left`;
      $("progress-text").textContent = `${Math.round((100 * event.done) / event.total)} %${left}`;
    },
    sr: () => {
      const blob = new Blob([event.data], { type: event.type });
      result = { blob, headers: event.headers, name: /filename="(.*)"/.exec(event.headers["Content-Disposition"])[1] };
      if (event.type !== "image/tiff") show("sr", blob);
    },
    view: () => show("sr", new Blob([event.data], { type: "image/png" })),
    problem: () => { throw new Error(event.detail); },
  };
  await kinds[event.event]?.();
}

function done() {
  running = null;
  $("work").hidden = true;
  $("tile").hidden = true;
  $("result").hidden = false;
  show("download", result.blob);
  const saved = picked.file.name ? `${picked.file.name.replace(/\.[^.]*$/, "")}${/_x\d\.\w+$/.exec(result.name)[0]}` : result.name;
  $("download").download = saved;
  $("download").textContent = `Download ${saved}`;
  $("after-name").textContent = named();
  const work = /work;dur=([\d.]+)/.exec(result.headers["Server-Timing"])[1] / 1000;
  $("facts").textContent = `${(result.blob.size / 1e6).toFixed(2)} MB in ${work.toFixed(1)} s, ` +
    `${result.headers["X-Srgan-Engine"]} ${result.headers["X-Srgan-Precision"]}, ` +
    `model ${result.headers["X-Srgan-Model-Sha256"].slice(0, 12)}`;
  $("command").textContent = `srgan upscale ${shellWord(picked.file.name || "picture")}` +
    Object.entries(model()).map(([name, value]) => ` --${name} ${value}`).join("") + ` --scale ${scale()} -o ${shellWord(saved)}`;
  say(`Done in ${work.toFixed(1)} seconds`);
  score();
}

function shellWord(text) { return /^[\w.,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`; }

async function score() {
  $("scores").hidden = true;
  if (!reference || !result) return;
  const mine = result;
  try {
    await fillScores($("scores"), [picked.bicubic, mine.blob], reference);
    $("scores").hidden = mine !== result;
  } catch (error) {
    problem(error.message);
  }
}

function preview() {
  // One tile of what is looked at, in the settings of this moment, until the whole picture is there.
  if (!picked?.lr) return;
  const mine = picked, settings = wanted(), texture = named();
  askPreview({
    lr: mine.lr, times: scale(), settings, query: query({ format: "png", provenance: "false" }),
    still: () => mine === picked && settings === wanted() && settled !== settings,
    show: (blob) => { show("tile", blob); $("tile").dataset.texture = texture; $("after-name").textContent = `${texture} (preview)`; },
  });
}

async function example(path, label) {
  const response = await fetch(path);
  await pick(new File([await response.blob()], `${label}.png`, { type: "image/png" }));
}

async function arrive() {
  about = await (await fetch("/page/about")).json();
  $("texture-field").hidden = !about.texture;
  $("model-field").hidden = about.texture || about.models.length < 2;
  $("model").replaceChildren(...about.models.map((one) => new Option(one.model, one.model)));
  $("limits").textContent = `PNG, JPEG, WebP, TIFF, AVIF; up to ${(about.pixels / 1e6).toLocaleString("en")} megapixels`;
  $("about").textContent = `srgan ${about.models[0].version}.`;
  for (const path of about.examples) {
    const label = path.replace(/.*\/|\.png$/g, "");
    const button = Object.assign(document.createElement("button"), { type: "button", title: label });
    button.append(Object.assign(document.createElement("img"), { src: path, alt: `Example: ${label}` }));
    button.addEventListener("click", () => example(path, label));
    $("examples").append(button);
  }
}

$("picture").addEventListener("change", () => pick($("picture").files[0]));
$("reference").addEventListener("change", () => { reference = $("reference").files[0] ?? null; problem(""); score(); });
$("cancel").addEventListener("click", () => {
  stop();
  $("work").hidden = true;
  say("Cancelled");
});
$("texture").addEventListener("input", () => {
  $("texture-value").textContent = $("texture").value;
  if (!picked) return;
  stop(); // what is at work has another texture: it makes room for the tile, and starts anew when the slider rests
  preview();
  resting = setTimeout(start, 400);
});
for (const radio of document.querySelectorAll("input[name=scale]")) {
  radio.addEventListener("change", () => {
    if (picked?.lr) viewer.open(picked.lr.width * scale(), picked.lr.height * scale());
    $("tile").hidden = true;
    start();
  });
}
for (const id of ["format", "model"]) $(id).addEventListener("change", start);

document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (event.target.id === "reference") { reference = file ?? null; score(); } else pick(file);
});
document.addEventListener("paste", (event) => pick([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));

document.body.classList.add("fresh");
arrive().catch((error) => problem(error.message));

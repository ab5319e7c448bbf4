// The page: a queue of images that share the settings, worked off one by one; one of them is shown.

import { ask, frames, sentence } from "./frames.js";
import { requestPreview, forgetPreviews } from "./preview.js";
import * as viewer from "./viewer.js";
import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const PNG = { type: "image/png" };
const NO_IMAGE = "The clipboard holds no image.";
let about = { knobs: [], models: [] }; // what the service offers
const queue = []; // {file, state, text, fraction, row, bicubic, lr, view, result: {blob, name, address, label}}; see `update`
let shown = null; // the item in the viewer
let canvas = null; // its LR pixels, where they are known
let working = null; // {item, abort}
let resting = 0; // the timer that starts the work once a slider rests
const addresses = new Map(); // id of an img -> object URL, so that the old one is given back

// Settings.

function scale() { return Number(document.querySelector("input[name=scale]:checked").value); }

function model() {
  // What the command line would be given: a model, or the knobs that are not on auto.
  if ($("model").value) return { model: $("model").value };
  return Object.fromEntries(about.knobs.filter((name) => !$(`${name}-auto`).checked).map((name) => [name, $(name).value]));
}

function query(more) {
  const format = $("format").value;
  return new URLSearchParams({ ...model(), scale: scale(), ...(format && { format }), ...more }).toString();
}

function label() {
  return Object.entries(model()).map(([name, value]) => (name === "model" ? value : `${name} ${value}`)).join(", ") || "srgan";
}

function drawKnobs() {
  // A knob on auto shows what was chosen for the image in view, once that is known.
  for (const name of about.knobs) {
    const auto = $(`${name}-auto`).checked, chosen = shown?.result?.chosen[name];
    if (auto && chosen) $(name).value = chosen.value;
    $(`${name}-value`).textContent = !auto ? $(name).value : chosen ? [chosen.value, chosen.reason].join(" ").trim() : "";
    for (const id of [name, `${name}-auto`]) $(id).disabled = Boolean($("model").value);
  }
}

function settingsChanged(rest = 0) {
  // All results are of other settings now. What is at work makes room for the preview, until the slider rests.
  drawKnobs();
  working?.abort.abort();
  for (const item of queue) if (item.state !== "cancelled" || item === shown) restart(item);
  if (shown && canvas) viewer.open(canvas.width * scale(), canvas.height * scale());
  preview();
  clearTimeout(resting);
  resting = setTimeout(() => { resting = 0; next(); }, rest);
}

// The queue. States: waiting, working, done, failed, cancelled.

function add(files) {
  const items = [...files].map((file) => {
    const row = $("row").content.firstElementChild.cloneNode(true);
    const item = { file, row, name: file.name || "image.png" };
    row.querySelector(".show").textContent = item.name;
    row.querySelector(".show").addEventListener("click", () => show(item));
    row.querySelector(".remove").ariaLabel = `Remove ${item.name}`;
    row.querySelector(".remove").addEventListener("click", () => remove(item));
    $("rows").append(row);
    queue.push(item);
    restart(item);
    return item;
  });
  if (items.length) show(items[0]);
  next();
}

function update(item, changes) {
  Object.assign(item, changes);
  const { state, text, result } = item, row = item.row;
  row.className = state;
  row.querySelector(".text").textContent = text;
  row.querySelector("progress").hidden = state !== "working";
  row.querySelector("progress").value = item.fraction;
  row.querySelector(".save").hidden = !result;
  if (result) Object.assign(row.querySelector(".save"), { href: result.address, download: result.name, ariaLabel: `Download ${result.name}` });
  row.querySelector(".show").ariaCurrent = String(item === shown);
  if (item === shown) drawBar();
  drawTotal();
}

function restart(item) {
  if (item.result) URL.revokeObjectURL(item.result.address);
  update(item, { state: "waiting", text: "waiting", fraction: 0, result: null, view: null, bicubic: null });
}

function cancel(item, state = "cancelled") {
  if (working?.item === item) working.abort.abort();
  update(item, { state, text: "cancelled", fraction: 0 });
}

function remove(item) {
  cancel(item);
  if (item.result) URL.revokeObjectURL(item.result.address);
  const at = queue.indexOf(item);
  queue.splice(at, 1);
  item.row.remove();
  if (item === shown) show(queue[at] ?? queue[at - 1] ?? null);
  drawTotal();
}

async function next() {
  const item = shown?.state === "waiting" ? shown : queue.find(({ state }) => state === "waiting");
  if (working || resting || !item) return;
  const abort = new AbortController();
  working = { item, abort };
  update(item, { state: "working", text: "sending" });
  try {
    await upscale(item, abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) {
      update(item, { state: "failed", text: error.message });
      if (item === shown) reveal();
    }
  }
  working = null;
  next();
}

async function upscale(item, signal) {
  await item.file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Error(`${item.name} cannot be read: it is a folder, or it has changed since you chose it.`);
  });
  const body = new FormData();
  body.append("picture", item.file, item.name);
  let response;
  while ((response = await ask(`/page/upscale?${query()}`, { method: "POST", body, signal })).status === 429) {
    const seconds = Number(response.headers.get("Retry-After")) || 5;
    update(item, { text: `the service is busy; again in ${seconds} s` });
    await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); signal.addEventListener("abort", resolve); });
    signal.throwIfAborted();
  }
  if (!response.ok) throw new Error(await sentence(response));
  for await (const event of frames(response)) {
    signal.throwIfAborted();
    take(item, event);
  }
}

function take(item, event) {
  const percent = Math.round((100 * event.done) / event.total);
  const left = event.seconds_left ? `, ${Math.max(1, Math.round(event.seconds_left))} s left` : "";
  const kinds = {
    waiting: () => update(item, { text: `waiting, ${event.before} before it` }),
    lr: () => { update(item, { text: "starting", lr: new Blob([event.data], PNG) }); if (item === shown && !canvas) decode(item, item.lr); },
    bicubic: () => { item.bicubic = new Blob([event.data], PNG); if (item === shown) drawStage(); },
    progress: () => update(item, { text: `${percent} %${left}`, fraction: event.done / event.total }),
    sr: () => { item.sr = { blob: new Blob([event.data], { type: event.type }), headers: event.headers }; },
    view: () => { item.view = new Blob([event.data], PNG); }, // of a format that no browser shows
    end: () => finish(item),
    problem: () => { throw new Error(event.detail); },
  };
  kinds[event.event]?.();
}

function finish(item) {
  const { blob, headers } = item.sr;
  const suffix = /_x\d\.\w+(?="$)/.exec(headers["Content-Disposition"])[0];
  const seconds = /work;dur=([\d.]+)/.exec(headers["Server-Timing"])[1] / 1000;
  const name = item.name.replace(/\.[^.]*$/, "") + suffix;
  const chosen = {};
  for (const knob of ["Texture", "Restore"]) {
    const [value, reason] = [headers[`X-Srgan-${knob}`], headers[`X-Srgan-${knob}-Reason`]];
    if (value) chosen[knob.toLowerCase()] = { value, reason: reason && reason !== "chosen" ? `(${reason})` : "" };
  }
  const words = Object.entries(chosen).map(([knob, { value }]) => `${knob} ${value}`).join(", ");
  for (const knob of about.knobs) if (chosen[knob] && $(`${knob}-auto`).checked) (item.known ??= {})[knob] = chosen[knob].value;
  item.view ??= blob;
  item.result = { blob, name, chosen, label: words || headers["X-Srgan-Model"], address: URL.createObjectURL(blob) };
  const size = blob.size < 1e5 ? `${Math.ceil(blob.size / 1e3)} kB` : `${(blob.size / 1e6).toFixed(1)} MB`;
  const text = `${size} in ${seconds.toFixed(1)} s` +
    (chosen.restore?.reason ? `, restore ${chosen.restore.value} ${chosen.restore.reason}` : "");
  update(item, { state: "done", text, fraction: 1, sr: null });
  if (item === shown) drawStage();
}

function drawTotal() {
  const count = (wanted) => queue.filter(({ state }) => state === wanted).length;
  const [done, failed, cancelled] = ["done", "failed", "cancelled"].map(count);
  document.body.classList.toggle("fresh", queue.length === 0);
  $("queue").hidden = queue.length === 0;
  $("examples").hidden = queue.length > 0;
  $("total").value = queue.reduce((sum, item) => sum + (["failed", "cancelled"].includes(item.state) ? 1 : item.fraction), 0) / queue.length || 0;
  $("total-text").textContent = `${done} of ${queue.length} done${failed ? `, ${failed} failed` : ""}${cancelled ? `, ${cancelled} cancelled` : ""}`;
  $("zip").disabled = done === 0;
  $("zip").textContent = done === 0 || done === queue.length ? "Download all (zip)" : `Download ${done} (zip)`;
  $("retry").hidden = failed + cancelled === 0;
}

// The image that is shown.

function show(item) {
  const before = shown;
  [shown, canvas] = [item, null];
  if (before && queue.includes(before)) update(before, {});
  forgetPreviews();
  for (const id of ["before", "sr"]) $(id).removeAttribute("src");
  drawBar();
  viewer.close("Your image appears here: bicubic on the left, srgan on the right.");
  if (!item) return;
  update(item, {});
  reveal();
  decode(item, item.lr ?? item.file);
  next();
}

function reveal() {
  // The message stays at the top of the window: the bar belongs below it.
  $("bar").style.scrollMarginTop = `${$("problem").offsetHeight + 16}px`;
  $("bar").scrollIntoView({ block: "nearest" });
}

async function decode(item, blob) {
  // A format that this browser does not show: the service sends its own view of it.
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (item !== shown || canvas || !bitmap) return;
  canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  viewer.open(bitmap.width * scale(), bitmap.height * scale());
  drawStage();
  preview();
}

function drawStage() {
  // Until the service has sent bicubic, the browser enlarges the image itself; until the result, bicubic is on both sides.
  const before = shown.bicubic ?? shown.lr ?? shown.file;
  picture("before", before);
  picture("sr", shown.result ? shown.view : before);
  if (shown.result) $("tile").hidden = true;
  drawLabel();
}

function picture(id, blob) {
  if (addresses.get(id)?.blob === blob && $(id).src) return;
  if (addresses.has(id)) URL.revokeObjectURL(addresses.get(id).address);
  addresses.set(id, { blob, address: URL.createObjectURL(blob) });
  $(id).src = addresses.get(id).address;
}

function drawLabel() {
  const waiting = shown.state === "working" || shown.state === "waiting" ? "bicubic, until the result is here" : "bicubic: there is no result";
  $("after-name").textContent = shown.result?.label ?? ($("tile").hidden ? waiting : `${$("tile").dataset.settings} in the frame`);
}

function drawBar() {
  const { state, result } = shown ?? {};
  drawKnobs();
  $("bar").hidden = !shown;
  $("command-field").hidden = !shown;
  problem(state === "failed" ? shown.text : "");
  if (!shown) return;
  $("name").textContent = shown.name;
  $("text").textContent = state === "failed" ? "failed" : shown.text;
  $("cancel").hidden = state !== "working" && state !== "waiting";
  $("again").hidden = state !== "failed" && state !== "cancelled";
  $("progress").hidden = $("cancel").hidden;
  $("progress").value = shown.fraction;
  $("download").hidden = !result;
  if (result) Object.assign($("download"), { href: result.address, download: result.name });
  const options = Object.entries({ ...model(), scale: scale() }).map(([name, value]) => ` --${name} ${value}`).join("");
  $("command").textContent = `srgan upscale ${shellWord(shown.name)}${options}` +
    ($("format").value ? ` --format ${$("format").value}` : "") + (result ? ` -o ${shellWord(result.name)}` : "");
  if ($("stage").hidden) $("empty").textContent = state === "failed" ? "There is nothing to show of this image." : "";
  else drawLabel();
  if (["done", "failed", "cancelled"].includes(state)) say(`${shown.name}: ${state}`);
}

function preview() {
  // One tile of what is looked at, in the settings of this moment, until the whole image is there.
  $("tile").hidden = true;
  if (!canvas) return;
  const item = shown, settings = query(), name = label();
  // What auto chose for the whole image: the tile's pixels tell less.
  const automatic = model().model ? [] : about.knobs.filter((name) => item.known?.[name] && $(`${name}-auto`).checked);
  const known = Object.fromEntries(automatic.map((name) => [name, item.known[name]]));
  requestPreview({
    lr: canvas, times: scale(), settings, query: query({ format: "png", provenance: "false", ...known }),
    isCurrent: () => item === shown && settings === query() && !["done", "failed"].includes(item.state),
    show: (blob) => {
      picture("tile", blob);
      $("tile").dataset.settings = name;
      $("tile").hidden = false;
      drawLabel();
    },
  });
}

function shellWord(text) { return /^[\w.,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`; }

function say(text) { if ($("said").textContent !== text) $("said").textContent = text; }

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// Where images come from.

async function pasted() {
  const files = [];
  for (const item of await navigator.clipboard.read()) {
    const type = item.types.find((one) => one.startsWith("image/"));
    if (type) files.push(new File([await item.getType(type)], "pasted.png", { type }));
  }
  return files;
}

function receive(files, nothing) {
  problem(files.length ? "" : nothing);
  add(files);
}

async function example(path, name) {
  add([new File([await (await ask(path)).blob()], `${name}.png`, PNG)]);
}

async function arrive() {
  about = await (await ask("/page/about")).json();
  for (const name of about.knobs) $(`${name}-field`).hidden = false;
  $("model-field").hidden = about.models.length < 2;
  $("model").replaceChildren(...about.models.map((one) => new Option(one.model, one.model)));
  if (about.knobs.length) $("model").prepend(new Option(`by ${about.knobs.join(" and ")}`, "", true, true));
  $("limits").textContent = `Up to ${(about.pixels / 1e6).toLocaleString("en")} megapixels and ${Math.floor(about.size / 2 ** 20)} MB each.`;
  $("about").textContent = `srgan ${about.models[0].version}.`;
  for (const path of about.examples) {
    const name = path.replace(/.*\/|\.png$/g, "");
    const button = Object.assign(document.createElement("button"), { type: "button", title: name });
    button.append(Object.assign(document.createElement("img"), { src: path, alt: `Example: ${name}` }));
    button.addEventListener("click", () => example(path, name).catch((error) => problem(error.message)));
    $("examples").append(button);
  }
}

$("picture").addEventListener("change", () => { add($("picture").files); $("picture").value = ""; });
$("cancel").addEventListener("click", () => cancel(shown));
$("again").addEventListener("click", () => { restart(shown); next(); });
$("retry").addEventListener("click", () => {
  for (const item of queue) if (["failed", "cancelled"].includes(item.state)) restart(item);
  next();
});
$("clear").addEventListener("click", () => { for (const item of [...queue].reverse()) remove(item); });
$("zip").addEventListener("click", async () => {
  try {
    const address = URL.createObjectURL(await zip(queue.filter(({ result }) => result).map(({ result }) => result)));
    Object.assign(document.createElement("a"), { href: address, download: `srgan_x${scale()}.zip` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  } catch (error) {
    problem(error.message);
  }
});

for (const name of ["texture", "restore"]) {
  $(name).addEventListener("input", () => { $(`${name}-auto`).checked = false; settingsChanged(400); });
  $(`${name}-auto`).addEventListener("change", () => settingsChanged());
}
for (const input of [...document.querySelectorAll("input[name=scale]"), $("format"), $("model")]) {
  input.addEventListener("change", () => settingsChanged());
}

document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  receive(event.dataTransfer.files, "That was no file: save the image first, then drop its file here.");
});
document.addEventListener("paste", (event) => receive(event.clipboardData.files, NO_IMAGE));
$("paste").hidden = !navigator.clipboard?.read;
$("paste").addEventListener("click", () => {
  pasted().then((files) => receive(files, NO_IMAGE), () => problem("This browser did not hand over the clipboard; Ctrl+V or a drop works without permission."));
});

document.body.classList.add("fresh");
arrive().catch((error) => problem(error.message));

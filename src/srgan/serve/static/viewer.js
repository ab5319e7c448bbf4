// Before and after under one divider, with zoom and movement. Coordinates: output pixels on the stage, CSS pixels in the viewer.

const $ = (id) => document.getElementById(id);
const viewer = $("viewer"), stage = $("stage"), after = $("after"), divider = $("divider"), split = $("split");
const tools = ["split", "fit", "one", "out", "in", "mark"].map($);
let width = 0, height = 0, zoom = 1, left = 0, top = 0;
let view = null; // oneToOne or fit, while the image is in that view; else null

export function open(newWidth, newHeight) {
  // Show a stage of so many output pixels, at 100 %; a new size of the same image keeps what is looked at.
  const ratio = width ? newWidth / width : 1;
  [width, height] = [newWidth, newHeight];
  stage.style.width = `${width}px`;
  stage.style.height = `${height}px`;
  for (const id of ["before", "sr"]) {
    $(id).style.width = `${width}px`;
    $(id).style.height = `${height}px`;
  }
  for (const id of ["stage", "divider", "before-name", "after-name"]) $(id).hidden = false;
  $("empty").hidden = true;
  viewer.classList.add("full");
  for (const tool of tools) tool.disabled = false;
  if (view) view();
  else place(zoom / ratio, left, top);
}

export function close(text) {
  // No image: some words in its place. The next one is another image.
  for (const id of ["stage", "divider", "before-name", "after-name"]) $(id).hidden = true;
  for (const tool of tools) tool.disabled = true;
  setMarking(false);
  $("empty").textContent = text;
  $("empty").hidden = false;
  $("zoom").textContent = "";
  viewer.classList.remove("full");
  width = 0;
  inView(oneToOne);
}

function fit() {
  const least = Math.min(viewer.clientWidth / width, viewer.clientHeight / height);
  place(least, (viewer.clientWidth - width * least) / 2, (viewer.clientHeight - height * least) / 2);
  inView(fit);
}

function oneToOne() {
  const one = 1 / devicePixelRatio;
  place(one, (viewer.clientWidth - width * one) / 2, (viewer.clientHeight - height * one) / 2);
  inView(oneToOne);
}

function inView(which) {
  view = which;
  $("fit").ariaPressed = String(view === fit);
  $("one").ariaPressed = String(view === oneToOne);
}

export function visible() {
  // What is looked at of ours, in output pixels: the centre of what the image shows right of the divider.
  const from = Math.max((Number(split.value) / 100) * viewer.clientWidth, left);
  const to = Math.min(viewer.clientWidth, left + width * zoom);
  const x = from < to ? (from + to) / 2 : viewer.clientWidth / 2;
  return {
    x: Math.min(width, Math.max(0, (x - left) / zoom)),
    y: Math.min(height, Math.max(0, (viewer.clientHeight / 2 - top) / zoom)),
  };
}

function place(newZoom, newLeft, newTop) {
  const least = Math.min(viewer.clientWidth / width, viewer.clientHeight / height, 1) / 2;
  zoom = Math.min(32, Math.max(least, newZoom));
  const edge = 60;
  left = Math.min(viewer.clientWidth - edge, Math.max(edge - width * zoom, newLeft));
  top = Math.min(viewer.clientHeight - edge, Math.max(edge - height * zoom, newTop));
  inView(null);
  draw();
}

function draw() {
  stage.style.transform = `translate(${left}px, ${top}px) scale(${zoom})`;
  stage.style.setProperty("--zoom", zoom);
  $("zoom").textContent = `${Math.round(100 * zoom * devicePixelRatio)} %`;
  stage.classList.toggle("near", zoom * devicePixelRatio >= 1.5);
  const at = (Number(split.value) / 100) * viewer.clientWidth;
  divider.style.left = `${at}px`;
  $("before-name").style.visibility = at < 40 ? "hidden" : ""; // of a side that is not there
  $("after-name").style.visibility = at > viewer.clientWidth - 40 ? "hidden" : "";
  after.style.clipPath = `inset(0 0 0 ${Math.min(width, Math.max(0, (at - left) / zoom))}px)`;
}

function zoomBy(factor, x = viewer.clientWidth / 2, y = viewer.clientHeight / 2) {
  place(zoom * factor, x - (x - left) * factor, y - (y - top) * factor);
}

function showRegion(x0, y0, x1, y1) {
  // Zoom so that a rectangle of the viewer fills it.
  const factor = Math.min(viewer.clientWidth / Math.abs(x1 - x0), viewer.clientHeight / Math.abs(y1 - y0));
  const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  const limited = Math.min(32, zoom * factor) / zoom;
  place(zoom * limited, viewer.clientWidth / 2 - (x - left) * limited, viewer.clientHeight / 2 - (y - top) * limited);
}

// Pointers: the divider, a region being marked, movement with one, pinch with two.
const pointers = new Map();
let dragging = null, marked = null;

function position(event) {
  const box = viewer.getBoundingClientRect();
  return { x: event.clientX - box.left - viewer.clientLeft, y: event.clientY - box.top - viewer.clientTop };
}

viewer.addEventListener("pointerdown", (event) => {
  if (stage.hidden || event.button !== 0) return;
  viewer.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, position(event));
  const marking = $("mark").getAttribute("aria-pressed") === "true";
  dragging = event.target === divider ? "divider" : marking ? "region" : "stage";
  if (dragging === "region") marked = { from: position(event), to: position(event) };
});

viewer.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = position(event);
  if (dragging === "divider") {
    split.value = (100 * now.x) / viewer.clientWidth;
    draw();
  } else if (dragging === "region") {
    marked.to = now;
    drawRegion();
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const factor = Math.hypot(now.x - other.x, now.y - other.y) / Math.hypot(before.x - other.x, before.y - other.y);
    if (Number.isFinite(factor) && factor > 0) zoomBy(factor, other.x, other.y);
  } else {
    place(zoom, left + now.x - before.x, top + now.y - before.y);
  }
  pointers.set(event.pointerId, now);
});

for (const kind of ["pointerup", "pointercancel"]) {
  viewer.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    if (dragging === "region" && marked) {
      const { from, to } = marked;
      if (Math.abs(to.x - from.x) > 8 && Math.abs(to.y - from.y) > 8) showRegion(from.x, from.y, to.x, to.y);
      setMarking(false);
    }
    if (pointers.size === 0) dragging = null;
  });
}

function drawRegion() {
  const { from, to } = marked, region = $("region");
  region.hidden = false;
  region.style.left = `${Math.min(from.x, to.x)}px`;
  region.style.top = `${Math.min(from.y, to.y)}px`;
  region.style.width = `${Math.abs(to.x - from.x)}px`;
  region.style.height = `${Math.abs(to.y - from.y)}px`;
}

function setMarking(on) {
  marked = null;
  $("region").hidden = true;
  $("mark").setAttribute("aria-pressed", String(on));
  viewer.classList.toggle("marking", on);
}

viewer.addEventListener("wheel", (event) => {
  if (stage.hidden) return;
  event.preventDefault();
  const { x, y } = position(event);
  zoomBy(Math.exp(-event.deltaY / 400), x, y);
}, { passive: false });

viewer.addEventListener("keydown", (event) => {
  if (stage.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 60;
  const keys = {
    ArrowLeft: () => place(zoom, left + step, top), ArrowRight: () => place(zoom, left - step, top),
    ArrowUp: () => place(zoom, left, top + step), ArrowDown: () => place(zoom, left, top - step),
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: fit, 1: oneToOne,
    Escape: () => setMarking(false),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

split.addEventListener("input", draw);
$("fit").addEventListener("click", fit);
$("one").addEventListener("click", oneToOne);
$("in").addEventListener("click", () => zoomBy(1.5));
$("out").addEventListener("click", () => zoomBy(1 / 1.5));
$("mark").addEventListener("click", () => setMarking($("mark").getAttribute("aria-pressed") !== "true"));
new ResizeObserver(() => { if (!stage.hidden) (view ?? draw)(); }).observe(viewer);

// One tile of the image in the settings of this moment, long before the whole is done.

import { ask, sentence } from "./frames.js";
import { visible } from "./viewer.js";

const SIDE = 72; // LR pixels
const made = new Map(); // by place and settings
let busy = false, next = null; // one at a time; of those that wait only the last one is wanted

export function forgetPreviews() {
  made.clear();
  next = null;
}

export async function askPreview(wish) {
  // wish: {lr: canvas, times, settings, query, still(), show(blob)}
  if (wish.lr.width * wish.lr.height <= SIDE * SIDE) return; // the whole is as quick
  if (busy) { next = wish; return; }
  busy = true;
  try {
    const place = tileAt(wish);
    const key = [place.x, place.y, wish.settings].join();
    if (!made.has(key)) made.set(key, await upscaled(wish, place));
    if (wish.still()) display(wish, place, made.get(key));
  } catch {
    // a preview that fails is no loss: the image itself says what is wrong
  } finally {
    busy = false;
    const waiting = next;
    next = null;
    if (waiting) askPreview(waiting);
  }
}

function tileAt({ lr, times }) {
  const [w, h] = [Math.min(SIDE, lr.width), Math.min(SIDE, lr.height)];
  const centre = visible();
  const within = (middle, side, whole) => Math.round(Math.min(whole - side, Math.max(0, middle / times - side / 2)));
  return { x: within(centre.x, w, lr.width), y: within(centre.y, h, lr.height), w, h };
}

async function upscaled({ lr, query }, { x, y, w, h }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [w, h];
  canvas.getContext("2d").drawImage(lr, -x, -y);
  const crop = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const response = await ask(`/v1/upscale?${query}`, { method: "POST", body: crop, headers: { "Content-Type": "image/png" } });
  if (!response.ok) throw new Error(await sentence(response));
  return response.blob();
}

function display({ times, show }, { x, y, w, h }, blob) {
  Object.assign(document.getElementById("tile").style, { left: `${x * times}px`, top: `${y * times}px`, width: `${w * times}px`, height: `${h * times}px` });
  show(blob);
}

// A preview: one tile of the image with the current settings, while the whole image is computed.

import { ask, sentence } from "./frames.js";
import { visible } from "./viewer.js";

const SIDE = 72; // LR pixels
const previews = new Map(); // by place and settings
let busy = false, next = null; // one request at a time; a newer one replaces the one that waits

export function forgetPreviews() {
  previews.clear();
  next = null;
}

export async function requestPreview(request) {
  // request: {lr: canvas, times, settings, query, isCurrent(), show(blob)}
  if (request.lr.width * request.lr.height <= SIDE * SIDE) return; // the whole image takes no longer
  if (busy) { next = request; return; }
  busy = true;
  try {
    const place = tileAt(request);
    const key = [place.x, place.y, request.settings].join();
    if (!previews.has(key)) previews.set(key, await upscaled(request, place));
    if (request.isCurrent()) display(request, place, previews.get(key));
  } catch {
    // The whole image fails for the same reason and shows the message.
  } finally {
    busy = false;
    const waiting = next;
    next = null;
    if (waiting) requestPreview(waiting);
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

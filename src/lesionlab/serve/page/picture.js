// Pictures to look at: reduced copies of an image as the model sees it, and the map of what speaks for a diagnosis.

import { bare } from "./bare.js";
import { turned, uprightSize } from "./upright.js";

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const STRENGTH = 0.75;
const MAP_PX = 192;
const WITHIN_PX = 1024;

// An upright bitmap of at most WITHIN_PX, and the image's own size; null where this browser cannot read the format.
export async function reduced({ file, format, orientation }) {
  const decoded = format && createImageBitmap(bare(new Uint8Array(await file.arrayBuffer()), format, true));
  const whole = await decoded?.catch(() => null);
  if (!whole) return null;
  const [width, height] = uprightSize(whole, orientation);
  const factor = WITHIN_PX / Math.max(width, height);
  if (factor >= 1) return { bitmap: turned(whole, orientation), width, height };
  const size = { resizeWidth: Math.max(1, Math.round(factor * whole.width)), resizeHeight: Math.max(1, Math.round(factor * whole.height)) };
  const bitmap = await createImageBitmap(whole, { ...size, resizeQuality: "high" });
  whole.close();
  return { bitmap: turned(bitmap, orientation), width, height };
}

// The part of an image of this size that the model sees: left, top, width, height.
export function seen(width, height, model) {
  if (model.crop !== "centre") return [0, 0, width, height];
  const factor = Math.min(width / model.width, height / model.height);
  const [kept, high] = [factor * model.width, factor * model.height];
  return [(width - kept) / 2, (height - high) / 2, kept, high];
}

// That part on a canvas of the model's shape, over white.
export function drawPicture(canvas, bitmap, model, longest) {
  const scale = longest / Math.max(model.width, model.height);
  canvas.width = Math.round(model.width * scale);
  canvas.height = Math.round(model.height * scale);
  if (!bitmap) return;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...seen(bitmap.width, bitmap.height, model), 0, 0, canvas.width, canvas.height);
}

// How much each place speaks for a diagnosis rather than for the others, 0 to 1: as lesionlab.inference.overlay.relevance.
function relevance(maps, dx) {
  const own = maps.values[maps.classes.indexOf(dx)];
  const values = own.map((value, place) => {
    const mean = maps.values.reduce((sum, row) => sum + row[place], 0) / maps.values.length;
    return Math.max(0, value - mean);
  });
  const largest = Math.max(...values, 1e-9);
  return values.map((value) => value / largest);
}

function colour(value) {
  const at = Math.min(value, 0.9999) * (VIRIDIS.length - 1);
  const [low, high, part] = [VIRIDIS[Math.floor(at)], VIRIDIS[Math.floor(at) + 1], at % 1];
  return low.map((channel, index) => Math.round(channel + part * (high[index] - channel)));
}

// The map on a canvas of its own, to lie over the picture: the more a place says, the less transparent. The grid of the
// network is scaled up smoothly.
export function drawMap(canvas, maps, dx) {
  const values = relevance(maps, dx);
  const longest = Math.max(maps.width, maps.height);
  canvas.width = Math.round((MAP_PX * maps.width) / longest);
  canvas.height = Math.round((MAP_PX * maps.height) / longest);
  const pixels = new ImageData(canvas.width, canvas.height);
  const at = (row, column) =>
    values[Math.min(Math.max(row, 0), maps.height - 1) * maps.width + Math.min(Math.max(column, 0), maps.width - 1)];
  for (let y = 0; y < canvas.height; y++) {
    const v = ((y + 0.5) / canvas.height) * maps.height - 0.5;
    const [top, down] = [Math.floor(v), v - Math.floor(v)];
    for (let x = 0; x < canvas.width; x++) {
      const u = ((x + 0.5) / canvas.width) * maps.width - 0.5;
      const [left, right] = [Math.floor(u), u - Math.floor(u)];
      const value =
        (at(top, left) * (1 - right) + at(top, left + 1) * right) * (1 - down) +
        (at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right) * down;
      pixels.data.set([...colour(value), 255 * STRENGTH * value], 4 * (y * canvas.width + x));
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// Picture and map in one, as a data: address of a JPEG, for paper; null where the image cannot be shown.
export async function printed(item, model, settings, longest) {
  const look = await reduced(item);
  if (!look) return null;
  const canvas = document.createElement("canvas");
  drawPicture(canvas, look.bitmap, model, longest);
  look.bitmap.close();
  if (item.result?.activation_maps) {
    const map = document.createElement("canvas");
    drawMap(map, item.result.activation_maps, settings.dx ?? item.result.dx);
    const context = canvas.getContext("2d");
    context.globalAlpha = settings.opacity;
    context.drawImage(map, 0, 0, canvas.width, canvas.height);
  }
  return canvas.toDataURL("image/jpeg", 0.85);
}

// An image file in, the pixels that the model takes out: lesionlab.data.images, in JavaScript.
//
// The browser decodes, and is shown nothing but the pixels (bare.js): turning, colours, crop and scaling are done here, as
// lesionlab does them to the bit. Scaling is Pillow's antialiased BILINEAR (Resample.c), a triangle filter in two passes,
// coefficients of 22 bits, rounded to 8 bits after each pass. Only profiles with tables, and inks, are left to the browser.

import { bare } from "./bare.js";
import { coloursOf } from "./colours.js";
import { ImageError } from "./header.js";
import { turning, uprightSize } from "./upright.js";

const PRECISION_BITS = 22; // of 32: 8 for the pixel, 2 to spare
const HALF = 2 ** (PRECISION_BITS - 1); // rounds
const STRIP_ROWS = 256; // as many are read back at a time: a canvas of a whole photograph is beyond some phones

// RGB pixels, Uint8Array (height * width * 3), row by row, of a file's bytes and what its header says.
export async function readPixels(bytes, header, { height, width, crop }) {
  const { format, orientation } = header;
  const { convert, isLeft } = await coloursOf(bytes, header);
  // Of a WebP or AVIF with transparency the browser would multiply its colours by it and round.
  const premultiplyAlpha = ["WEBP", "AVIF"].includes(format) ? "none" : "default";
  const colorSpaceConversion = isLeft ? "default" : "none";
  const bitmap = await createImageBitmap(bare(bytes, format, isLeft), { premultiplyAlpha, colorSpaceConversion }).catch(() => {
    throw ["TIFF", "HEIF", "AVIF"].includes(format)
      ? new ImageError("unreadable", `this browser cannot read ${format === "HEIF" ? "HEIC" : format} images, or it is damaged: save it as PNG or JPEG`)
      : new ImageError("unreadable", "the image is damaged or cut short (the browser cannot decode it)");
  });
  try {
    const size = uprightSize(bitmap, orientation);
    const pixels = resize(rowsOf(bitmap, orientation), size, [width, height], box(...size, width, height, crop));
    convert?.(pixels);
    return pixels;
  } finally {
    bitmap.close();
  }
}

// Some browsers alter what a page reads back from a canvas, against tracking; a model must not be given that.
export function readsBackExactly() {
  const values = Uint8ClampedArray.from({ length: 4 * 256 }, (_, at) => (at % 4 === 3 ? 255 : (at * 37 + (at >> 4)) % 256));
  const context = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
  context.putImageData(new ImageData(values, 16, 16), 0, 0);
  return context.getImageData(0, 0, 16, 16).data.every((value, at) => value === values[at]);
}

// A function that gives RGBA rows of a bitmap of this orientation, upright and laid over white.
function rowsOf(bitmap, orientation) {
  const [width, height] = uprightSize(bitmap, orientation);
  const [a, b, c, d, right, down] = turning(bitmap, orientation);
  const canvas = new OffscreenCanvas(width, Math.min(height, STRIP_ROWS));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  return (first, count) => {
    context.fillStyle = "#fff";
    context.resetTransform();
    context.fillRect(0, 0, width, count);
    context.setTransform(a, b, c, d, right, down - first);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, count).data;
  };
}

// The part that is kept: left, upper, right, lower edge, float32 as Pillow holds them.
export function box(fullWidth, fullHeight, width, height, crop) {
  if (crop === "stretch") return [0, 0, fullWidth, fullHeight];
  const scale = Math.min(fullWidth / width, fullHeight / height);
  const left = Math.max(0, fullWidth - scale * width) / 2;
  const upper = Math.max(0, fullHeight - scale * height) / 2;
  return [left, upper, fullWidth - left, fullHeight - upper].map(Math.fround);
}

// Scale to (width, height), across before down: `rows(first, count)` gives RGBA, the result is RGB.
export function resize(rows, [fullWidth, fullHeight], [width, height], [left, upper, right, lower]) {
  const across = coefficients(fullWidth, left, right, width);
  const down = coefficients(fullHeight, upper, lower, height);
  const stride = 3 * width;
  const sums = new Int32Array(height * stride).fill(HALF);
  const last = down.from[height - 1] + down.count[height - 1];
  for (let begin = down.from[0]; begin < last; begin += STRIP_ROWS) {
    const count = Math.min(STRIP_ROWS, last - begin);
    addDown(scaleAcross(rows(begin, count), fullWidth, count, across), begin, count, stride, down, sums);
  }
  return Uint8Array.from(sums.map((sum) => sum >> PRECISION_BITS)); // a mean of bytes is a byte
}

// precompute_coeffs and normalize_coeffs_8bpc of Resample.c: for each place the pixels it is made of and their weights.
function coefficients(size, begin, end, places) {
  const scale = Math.fround(end - begin) / places;
  const support = Math.max(1, scale);
  const most = Math.ceil(support) * 2 + 1;
  const [from, count, weights] = [new Int32Array(places), new Int32Array(places), new Int32Array(places * most)];
  const own = new Float64Array(most);
  for (let place = 0; place < places; place++) {
    const centre = begin + (place + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(size, Math.trunc(centre + support + 0.5));
    let sum = 0;
    for (let at = 0; at < high - low; at++) {
      own[at] = Math.max(0, 1 - Math.abs((at + low - centre + 0.5) * (1 / support)));
      sum += own[at];
    }
    for (let at = 0; at < high - low; at++) {
      weights[place * most + at] = Math.trunc(0.5 + (sum === 0 ? own[at] : own[at] / sum) * 2 ** PRECISION_BITS);
    }
    from[place] = low;
    count[place] = high - low;
  }
  return { from, count, weights, most };
}

// RGBA rows of `fullWidth` to RGB rows of as many places as there are coefficients.
function scaleAcross(data, fullWidth, rowCount, { from, count, weights, most }) {
  const width = from.length;
  const out = new Uint8ClampedArray(rowCount * width * 3);
  for (let row = 0; row < rowCount; row++) {
    for (let place = 0; place < width; place++) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let at = 4 * (row * fullWidth + from[place]);
      for (let k = place * most; k < place * most + count[place]; k++, at += 4) {
        red += data[at] * weights[k];
        green += data[at + 1] * weights[k];
        blue += data[at + 2] * weights[k];
      }
      const to = 3 * (row * width + place);
      out[to] = red >> PRECISION_BITS;
      out[to + 1] = green >> PRECISION_BITS;
      out[to + 2] = blue >> PRECISION_BITS;
    }
  }
  return out;
}

// Add what rows `begin` to `begin + rowCount`, of `stride` values each, give to the rows of the result.
function addDown(data, begin, rowCount, stride, { from, count, weights, most }, sums) {
  for (let place = 0; place < from.length; place++) {
    const end = Math.min(begin + rowCount, from[place] + count[place]);
    for (let row = Math.max(begin, from[place]); row < end; row++) {
      const weight = weights[place * most + row - from[place]];
      const own = (row - begin) * stride;
      for (let at = 0; at < stride; at++) sums[place * stride + at] += data[own + at] * weight;
    }
  }
}

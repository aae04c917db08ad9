// An ICC profile in, a function out that brings its colours to sRGB: lesionlab.data.icc, in JavaScript, to the bit.

import { conversion, TO_LINEAR } from "./colour-spaces.js";
import { letters, pngChunks, properties, riffChunks, segments, viewOf } from "./containers.js";

const IDENTITY = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

// The ICC profile in a file, a Uint8Array; null where there is none, or one that is not whole.
export async function profileIn(bytes, { format }) {
  try {
    if (format === "JPEG") return inJpeg(bytes);
    if (format === "WEBP") return content(bytes, riffChunks(bytes), "ICCP");
    if (format === "AVIF" || format === "HEIF") return inBoxes(bytes);
    const packed = format === "PNG" ? content(bytes, beforePixels(bytes), "iCCP") : null;
    return packed && (await inflated(packed.subarray(packed.indexOf(0) + 2)));
  } catch {
    return null;
  }
}

// What brings RGB pixels, a Uint8Array, to sRGB in place; null where the profile has no curves and matrix.
export function conversionOf(profile, isGrey = false) {
  try {
    const tags = tagsOf(profile);
    const space = letters(profile, 16, 4);
    if (space !== "RGB " && !(space === "GRAY" && isGrey)) return null;
    if (letters(profile, 20, 4) !== "XYZ " || tags.A2B0) return null;
    if (space === "GRAY") return conversion(Array(3).fill(curve(tags.kTRC)), IDENTITY) ?? (() => {});
    const curves = ["rTRC", "gTRC", "bTRC"].map((name) => curve(tags[name]));
    const primaries = ["rXYZ", "gXYZ", "bXYZ"].map((name) => fixed(viewOf(tags[name]), 8, 3));
    const matrix = TO_LINEAR.map((row) => primaries.map((xyz) => row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]));
    return conversion(curves, matrix) ?? (() => {});
  } catch {
    return null;
  }
}

const fixed = (view, at, count) => Array.from({ length: count }, (_, place) => view.getInt32(at + 4 * place) / 65536);

// Of a tag that lies outside the profile, what lies inside, as a slice in Python; 100 tags at most.
function tagsOf(profile) {
  const header = viewOf(profile);
  const tags = {};
  for (let at = 132; at < 132 + 12 * Math.min(header.getUint32(128), 100); at += 12) {
    const from = header.getUint32(at + 4);
    tags[letters(profile, at, 4)] = profile.subarray(from, from + header.getUint32(at + 8));
  }
  return tags;
}

// Linear light, 0 to 1, of the 256 values of a channel.
function curve(bytes) {
  const tag = viewOf(bytes);
  const values = Array.from({ length: 256 }, (_, value) => value / 255);
  const kind = letters(bytes, 0, 4);
  if (kind === "para") {
    const number = tag.getUint16(8);
    const [g, ...rest] = fixed(tag, 12, [1, 3, 4, 5, 7][number]);
    const [a, b, c, d, e, f] = PARAMETRIC[number](...rest);
    if (!Number.isFinite(d)) throw new RangeError("a = 0"); // at which Python stops
    return values.map((x) => Math.min(1, Math.max(0, x >= d ? Math.max(a * x + b, 0) ** g + e : c * x + f)));
  }
  if (kind !== "curv") throw new RangeError(kind);
  const count = tag.getUint32(8);
  if (count === 0) return values;
  if (count === 1) return values.map((x) => x ** (tag.getUint16(12) / 256));
  const table = Array.from({ length: count }, (_, place) => tag.getUint16(12 + 2 * place) / 65535);
  return values.map((x) => {
    const place = Math.min(Math.floor(x * (count - 1)), count - 2);
    return table[place] + (x * (count - 1) - place) * (table[place + 1] - table[place]);
  });
}

// Of each kind: a, b, c, d, e, f in (a x + b)^g + e from d on, c x + f below.
const PARAMETRIC = [
  () => [1, 0, 0, 0, 0, 0],
  (a, b) => [a, b, 0, -b / a, 0, 0],
  (a, b, c) => [a, b, 0, -b / a, c, c],
  (a, b, c, d) => [a, b, c, d, 0, 0],
  (a, b, c, d, e, f) => [a, b, c, d, e, f],
];

// The parts of a profile, each of which says its number and of how many, put together.
function inJpeg(bytes) {
  const parts = {};
  for (const [marker, from, to] of segments(bytes)) {
    if (marker === 0xe2 && letters(bytes, from, 12) === "ICC_PROFILE\0") parts[bytes[from + 12]] = bytes.subarray(from + 12, to);
  }
  const numbers = Object.keys(parts).map(Number).sort((a, b) => a - b);
  if (!numbers.length || numbers.some((number) => parts[number][1] !== numbers.length)) return null;
  const sizes = numbers.map((number) => parts[number].length - 2);
  const whole = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  numbers.forEach((number, place) => whole.set(parts[number].subarray(2), sizes.slice(0, place).reduce((sum, size) => sum + size, 0)));
  return whole;
}

// A box `colr` of kind `prof` or `rICC`.
function inBoxes(bytes) {
  const found = properties(bytes).find(([name, from]) => name === "colr" && ["prof", "rICC"].includes(letters(bytes, from, 4)));
  return found ? bytes.subarray(found[1] + 4, found[2]) : null;
}

function* beforePixels(bytes) {
  for (const chunk of pngChunks(bytes)) {
    if (chunk[0] === "IDAT") return;
    yield chunk;
  }
}

function content(bytes, parts, name) {
  for (const [own, from, to] of parts) if (own === name) return bytes.subarray(from, to);
  return null;
}

async function inflated(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

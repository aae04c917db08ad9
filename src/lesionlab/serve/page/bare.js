// A file in, the same picture without what says how it is to be shown out: how it was held, what its colours mean, that it moves.
// Browsers obey those each in its own way, so the page does it itself. EXIF's orientation counts; that of XMP does not.

import { letters, pngChunks, riffChunks, segments, viewOf } from "./containers.js";

const PNG_PIXELS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"];
const PNG_COLOURS = ["cICP", "iCCP", "sRGB", "gAMA", "cHRM"];

// A Blob to decode, upright or not as it lies in the file; with `keepColours` the browser converts those to sRGB.
export function bare(bytes, format, keepColours) {
  const strip = { JPEG: jpeg, PNG: png, WEBP: webp }[format];
  return new Blob(strip ? strip(bytes, keepColours) : [bytes], { type: `image/${format.toLowerCase()}` });
}

function jpeg(bytes, keepColours) {
  const parts = [bytes.subarray(0, 2)];
  let isWhole = false;
  for (const segment of segments(bytes)) {
    const [marker, from, to] = segment;
    const isProfile = marker === 0xe2 && letters(bytes, from, 12) === "ICC_PROFILE\0";
    const isApp = marker > 0xe0 && marker <= 0xef && marker !== 0xee; // of JFIF and Adobe are the first and the last but one
    if (!isApp || (isProfile && keepColours)) parts.push(bytes.subarray(segment.start, to));
    isWhole = marker === 0xda;
  }
  return isWhole ? parts : [bytes];
}

function png(bytes, keepColours) {
  const kept = keepColours ? [...PNG_PIXELS, ...PNG_COLOURS] : PNG_PIXELS;
  const parts = [bytes.subarray(0, 8)];
  for (const chunk of pngChunks(bytes)) {
    if (kept.includes(chunk[0])) parts.push(bytes.subarray(chunk.start, Math.min(bytes.length, chunk[2] + 4)));
  }
  return parts;
}

function webp(bytes, keepColours) {
  const dropped = keepColours ? ["EXIF", "XMP "] : ["EXIF", "XMP ", "ICCP"];
  const parts = [];
  for (const chunk of riffChunks(bytes)) {
    if (dropped.includes(chunk[0])) continue;
    const own = bytes.slice(chunk.start, Math.min(bytes.length, chunk[2] + (chunk[2] - chunk[1]) % 2));
    if (chunk[0] === "VP8X") own[8] &= keepColours ? ~0x0c : ~0x2c; // flags of EXIF, XMP and a profile
    parts.push(own);
  }
  const head = bytes.slice(0, 12);
  viewOf(head).setUint32(4, 4 + parts.reduce((sum, { length }) => sum + length, 0), true);
  return [head, ...parts];
}

// EXIF's orientation, 1 (upright) to 8; 1 where there is none or its block is damaged. A browser turns AVIF and TIFF itself.
export function orientationOf(bytes, format) {
  try {
    const exif = { JPEG: inSegment, PNG: (all) => named(all, pngChunks, "eXIf"), WEBP: (all) => named(all, riffChunks, "EXIF") }[format]?.(bytes);
    if (!exif) return 1;
    const block = viewOf(letters(exif, 0, 6) === "Exif\0\0" ? exif.subarray(6) : exif);
    const found = directory(block)[274];
    return found >= 2 && found <= 8 ? found : 1;
  } catch {
    return 1;
  }
}

function inSegment(bytes) {
  const found = [...segments(bytes)].find(([marker, from]) => marker === 0xe1 && letters(bytes, from, 6) === "Exif\0\0");
  return found && bytes.subarray(found[1], found[2]);
}

function named(bytes, parts, name) {
  for (const [own, from, to] of parts(bytes)) if (own === name) return bytes.subarray(from, to);
  return null;
}

// Single numbers in the first directory of a TIFF, or of EXIF, which is laid out as one, by their tags; of several the first.
export function directory(view) {
  const little = view.getUint8(0) === 0x49;
  if (view.getUint16(2, little) !== 42) throw new RangeError("no directory");
  const start = view.getUint32(4, little);
  const found = {};
  for (let index = 0; index < view.getUint16(start, little); index++) {
    const at = start + 2 + 12 * index;
    const [tag, type, count] = [view.getUint16(at, little), view.getUint16(at + 2, little), view.getUint32(at + 4, little)];
    if (count === 1 && [3, 8].includes(type)) found[tag] = view.getUint16(at + 8, little);
    else if (count === 1 && [4, 9].includes(type)) found[tag] = view.getUint32(at + 8, little);
    else if (type === 3 && count <= 2) found[tag] = view.getUint16(at + 8, little);
    else if (type === 3) found[tag] = view.getUint16(view.getUint32(at + 8, little), little);
  }
  return found;
}

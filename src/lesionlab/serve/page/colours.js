// A file in, a function out that brings its colours to sRGB: which of several things that a file says of them counts.

import { conversionOfCodes, conversionOfGamma } from "./colour-spaces.js";
import { letters, pngChunks, properties, viewOf } from "./containers.js";
import { ImageError } from "./header.js";
import { conversionOf, profileIn } from "./icc.js";

// What brings the RGB pixels of a file, a Uint8Array, to sRGB in place: `convert`, or null where they are sRGB. `isLeft` where
// the colours have to be left to the browser: a profile with tables, or one of inks.
export async function coloursOf(bytes, header) {
  if (header.format === "PNG") return ofPng(bytes, header);
  const profile = await profileIn(bytes, header);
  if (profile) return ofProfile(profile, header);
  const codes = ["AVIF", "HEIF"].includes(header.format) ? codesIn(bytes) : null;
  return { convert: codes && conversionOfCodes(...codes), isLeft: header.components === 4 };
}

function ofProfile(profile, { components, isGrey }) {
  const convert = components === 4 ? null : conversionOf(profile, isGrey);
  return { convert, isLeft: !convert };
}

async function ofPng(bytes, header) {
  const chunks = {};
  for (const [name, from, to] of pngChunks(bytes)) {
    if (name === "IDAT") break;
    chunks[name] ??= bytes.subarray(from, to);
  }
  if (chunks.cICP?.length === 4) {
    const [primaries, transfer, matrix, isFull] = chunks.cICP;
    if (matrix || !isFull) {
      throw new ImageError("unreadable", "its colours are coded as video's are, in another model or range than RGB: save it as sRGB");
    }
    return { convert: conversionOfCodes(primaries, transfer) };
  }
  const profile = chunks.iCCP && (await profileIn(bytes, header));
  if (profile) return ofProfile(profile, header);
  if (chunks.sRGB || chunks.gAMA?.length !== 4) return { convert: null };
  const places = chunks.cHRM?.length === 32 ? Array.from({ length: 8 }, (_, at) => viewOf(chunks.cHRM).getUint32(4 * at)) : [];
  return { convert: conversionOfGamma(viewOf(chunks.gAMA).getUint32(0), places) };
}

// Numbers of primaries and transfer in a box `nclx`.
function codesIn(bytes) {
  const found = properties(bytes).find(([name, from, to]) => name === "colr" && letters(bytes, from, 4) === "nclx" && to - from >= 8);
  return found ? [viewOf(bytes).getUint16(found[1] + 4), viewOf(bytes).getUint16(found[1] + 6)] : null;
}

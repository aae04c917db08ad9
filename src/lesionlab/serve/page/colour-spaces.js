// Colours that are not sRGB in, a function out that brings them there: lesionlab.data.colour_spaces, in JavaScript, to the bit.

import { ImageError } from "./header.js";

const SAME_LEVELS = 2; // what moves no colour further is sRGB, written with other digits

export const TO_LINEAR = [
  [3.1341121533238456, -1.6173924595518705, -0.4906334045647203],
  [-0.9787872961391834, 1.9162795864266207, 0.03345471423138198],
  [0.07198304438569494, -0.22898585024754495, 1.4053851315844992],
];
const BRADFORD = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
const D50 = [0.9642, 1, 0.8249];
const D65 = [0.3127, 0.329];
const SRGB = [0.64, 0.33, 0.3, 0.6, 0.15, 0.06, ...D65]; // x and y of red, green, blue and white
const VIDEO = [0.63, 0.34, 0.31, 0.595, 0.155, 0.07, ...D65];
const PRIMARIES = {
  1: SRGB,
  2: SRGB, // unspecified
  5: [0.64, 0.33, 0.29, 0.6, 0.15, 0.06, ...D65],
  6: VIDEO,
  7: VIDEO,
  9: [0.708, 0.292, 0.17, 0.797, 0.131, 0.046, ...D65],
  11: [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351],
  12: [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, ...D65],
};
const GAMMAS = { 1: 2.4, 6: 2.4, 14: 2.4, 15: 2.4, 4: 2.2, 5: 2.8, 8: 1 };
const SRGB_CURVE = [2, 13]; // unspecified, and its own
const HIGH_RANGE = { 16: "PQ", 18: "HLG" };
const VALUES = Array.from({ length: 256 }, (_, value) => value / 255);

export function conversionOfCodes(primaries, transfer) {
  if (HIGH_RANGE[transfer]) {
    throw new ImageError("unreadable", `its brightness is coded for high dynamic range (${HIGH_RANGE[transfer]}), which no model here knows: save it as an ordinary picture (SDR)`);
  }
  const isSrgb = SRGB_CURVE.includes(transfer);
  if (!PRIMARIES[primaries] || (!GAMMAS[transfer] && !isSrgb)) {
    throw new ImageError("unreadable", `its colours are of an unknown kind (H.273: ${primaries}, ${transfer}): save it as sRGB`);
  }
  const curve = VALUES.map((value) => (isSrgb ? decoded(value) : value ** GAMMAS[transfer]));
  return conversion([curve, curve, curve], toLinear(PRIMARIES[primaries]));
}

export function conversionOfGamma(gamma, chromaticities) {
  if (gamma === 0) return null;
  const isSrgb = Math.abs(gamma / 45455 - 1) < 0.05;
  const curve = VALUES.map((value) => (isSrgb ? decoded(value) : value ** (100000 / gamma)));
  const places = [...chromaticities.slice(2), ...chromaticities.slice(0, 2)].map((value) => value / 100000);
  return conversion([curve, curve, curve], toLinear(places.length ? places : SRGB));
}

// Curves of 256 values each to linear light, a matrix from there to linear sRGB; null where they change next to nothing.
export function conversion(curves, matrix) {
  if (!matrix) return null;
  const lattice = new Uint8Array(3 * 18 ** 3);
  for (let at = 0; at < 18 ** 3; at++) lattice.set([at % 18, Math.floor(at / 18) % 18, Math.floor(at / 324)].map((step) => 15 * step), 3 * at);
  const moved = lattice.slice();
  convert(moved, curves, matrix);
  return moved.every((value, at) => Math.abs(value - lattice[at]) <= SAME_LEVELS) ? null : (pixels) => convert(pixels, curves, matrix);
}

function convert(pixels, [reds, greens, blues], matrix) {
  for (let at = 0; at < pixels.length; at += 3) {
    const [red, green, blue] = [reds[pixels[at]], greens[pixels[at + 1]], blues[pixels[at + 2]]];
    matrix.forEach((row, channel) => {
      const linear = Math.min(1, Math.max(0, red * row[0] + green * row[1] + blue * row[2]));
      const encoded = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
      pixels[at + channel] = Math.floor(255 * encoded + 0.5);
    });
  }
}

function decoded(value) {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

// From RGB of these primaries and white, x and y of each, to linear sRGB; null where they span no colours.
function toLinear(places) {
  const xyz = [0, 2, 4, 6].map((at) => [places[at] / places[at + 1], 1, (1 - places[at] - places[at + 1]) / places[at + 1]]);
  const white = xyz[3];
  const primaries = [0, 1, 2].map((row) => [0, 1, 2].map((column) => xyz[column][row]));
  const cones = applied(BRADFORD, white);
  const isFlat = Math.min(...places.filter((_, at) => at % 2)) <= 0 || Math.abs(determinant(primaries)) < 1e-9;
  if (isFlat || Math.min(...cones.map(Math.abs)) < 1e-9) return null;
  const scales = applied(BRADFORD, D50).map((cone, row) => cone / cones[row]);
  const adapt = product(inverse(BRADFORD), BRADFORD.map((row, at) => row.map((value) => value * scales[at])));
  const shares = applied(inverse(primaries), white);
  return product(product(TO_LINEAR, adapt), primaries.map((row) => row.map((value, at) => value * shares[at])));
}

const applied = (matrix, vector) => matrix.map((row) => row.reduce((sum, value, at) => sum + value * vector[at], 0));
const product = (left, right) => left.map((row) => [0, 1, 2].map((column) => row.reduce((sum, value, at) => sum + value * right[at][column], 0)));
const minor = (m, row, column) => {
  const [a, b] = [0, 1, 2].filter((at) => at !== row);
  const [c, d] = [0, 1, 2].filter((at) => at !== column);
  return ((row + column) % 2 ? -1 : 1) * (m[a][c] * m[b][d] - m[a][d] * m[b][c]);
};
const determinant = (m) => m[0].reduce((sum, value, column) => sum + value * minor(m, 0, column), 0);
const inverse = (m) => [0, 1, 2].map((row) => [0, 1, 2].map((column) => minor(m, column, row) / determinant(m)));

// An ICC profile in, a function out that brings its colours to sRGB: lesionlab.data.icc, in JavaScript, to the bit.

const TO_LINEAR = [
  [3.1341121533238456, -1.6173924595518705, -0.4906334045647203],
  [-0.9787872961391834, 1.9162795864266207, 0.03345471423138198],
  [0.07198304438569494, -0.22898585024754495, 1.4053851315844992],
];

// The ICC profile in a JPEG, PNG or WebP, a Uint8Array; null where there is none, or one in several pieces.
export async function profileIn(bytes, { format, components }) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (format === "JPEG") return components === 4 ? null : inJpeg(view);
    if (format === "WEBP") return chunk(view, 12, "ICCP", true);
    if (format !== "PNG") return null;
    const packed = chunk(view, 8, "iCCP", false);
    return packed && (await inflated(packed.subarray(packed.indexOf(0) + 2)));
  } catch {
    return null;
  }
}

// What brings RGB pixels, a Uint8Array, to sRGB in place; null where the profile has no curves and matrix.
export function conversionOf(profile) {
  try {
    const tags = tagsOf(profile);
    if (letters(tags.header, 16, 4) !== "RGB ") return null;
    if (tags.desc && /srgb/i.test(letters(tags.desc, 0, tags.desc.byteLength).replaceAll("\0", ""))) return () => {};
    if (letters(tags.header, 20, 4) !== "XYZ " || tags.A2B0) return null;
    const curves = ["rTRC", "gTRC", "bTRC"].map((name) => curve(tags[name]));
    const primaries = ["rXYZ", "gXYZ", "bXYZ"].map((name) => fixed(tags[name], 8, 3));
    const matrix = TO_LINEAR.map((row) => primaries.map((xyz) => row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]));
    return (pixels) => convert(pixels, curves, matrix);
  } catch {
    return null;
  }
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

const letters = (view, at, count) =>
  new TextDecoder("latin1").decode(new Uint8Array(view.buffer, view.byteOffset, view.byteLength).subarray(at, at + count));

const fixed = (view, at, count) => Array.from({ length: count }, (_, place) => view.getInt32(at + 4 * place) / 65536);

// Of a tag that lies outside the profile, what lies inside, as a slice in Python; 100 tags at most.
function tagsOf(profile) {
  const part = (from, size) => {
    const kept = profile.subarray(from, from + size);
    return new DataView(kept.buffer, kept.byteOffset, kept.byteLength);
  };
  const header = part(0, profile.byteLength);
  const tags = { header };
  for (let at = 132; at < 132 + 12 * Math.min(header.getUint32(128), 100); at += 12) {
    tags[letters(header, at, 4)] = part(header.getUint32(at + 4), header.getUint32(at + 8));
  }
  return tags;
}

// Linear light, 0 to 1, of the 256 values of a channel.
function curve(tag) {
  const values = Array.from({ length: 256 }, (_, value) => value / 255);
  const kind = letters(tag, 0, 4);
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

// Segments up to the start of the scan; a profile is an APP2 that says so, and its number of how many.
function inJpeg(view) {
  for (let at = 2; view.getUint8(at) === 0xff; ) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xda) return null;
    if (marker === 0xff) at += 1;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2;
    else {
      const size = view.getUint16(at + 2);
      if (marker === 0xe2 && letters(view, at + 4, 12) === "ICC_PROFILE\0") {
        return view.getUint8(at + 17) === 1 ? new Uint8Array(view.buffer, view.byteOffset + at + 18, size - 16) : null;
      }
      at += 2 + size;
    }
  }
  return null;
}

// The content of the first chunk of this name: of a WebP name and size, padded to even, of a PNG size, name and a checksum.
function chunk(view, first, name, isRiff) {
  for (let at = first; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(isRiff ? at + 4 : at, isRiff);
    if (letters(view, isRiff ? at : at + 4, 4) === name) return new Uint8Array(view.buffer, view.byteOffset + at + 8, size);
    if (letters(view, at + 4, 4) === "IDAT") return null;
    at += isRiff ? 8 + size + (size % 2) : 12 + size;
  }
  return null;
}

async function inflated(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

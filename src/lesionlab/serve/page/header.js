// What an image file says of itself: its format and size, read before anything is decoded, and how it was held.
// Limits and wording are those of lesionlab.data.images, so that a file gets the same answer here as everywhere.

import { directory, orientationOf } from "./bare.js";
import { letters, properties, segments, viewOf } from "./containers.js";

const READ = "read are JPEG, PNG, BMP, GIF, TIFF, WEBP, AVIF, HEIF, DICOM";
const FOREIGN = [
  [0, "%PDF", "a PDF document"], [0, "%!PS", "a PostScript file"], [0, "\xc5\xd0\xd3\xc6", "a PostScript file"],
  [0, "SIMPLE  =", "a FITS file"],
  [0, "PK\x03\x04", "a ZIP archive"], [0, "\x1f\x8b", "a gzip archive"],
];

// An image that cannot be read; `code` is for programs, the message for people: as the service gives them.
export class ImageError extends Error {
  constructor(code, reason) {
    super(reason);
    this.code = code;
  }
}

// The format, width and height in pixels as they lie in the file, EXIF's orientation (1 to 8) where the page has to turn it, how
// many colour components a JPEG has, and whether a JPEG or PNG is grey.
// `bytes` is a Uint8Array of the whole file.
// Throws an ImageError where the file is no image or beyond `limits` (file_bytes, pixels, side_px, aspect, scanned_pixels).
export function readHeader(bytes, limits) {
  if (!bytes.length) throw new ImageError("unreadable", "the file is empty (0 bytes)");
  const format = formatOf(bytes);
  if (format === "DICOM") {
    throw new ImageError("not_an_image", "the file is a DICOM file, which a browser cannot read: save it as PNG or JPEG, or use lesionlab predict or serve");
  }
  if (!format) throw new ImageError("not_an_image", whyNot(bytes));
  if (format === "JPEG") refuseUnfinished(bytes);
  let size;
  try {
    size = SIZES[format](viewOf(bytes), bytes);
  } catch {
    throw new ImageError("unreadable", "the image is damaged or cut short (its size cannot be read)");
  }
  refuse({ format, ...size }, bytes, limits);
  return { format, ...size, orientation: orientationOf(bytes, format) };
}

// As lesionlab.data.jpeg: a JPEG without end mark may be whole, but nothing here can tell.
function refuseUnfinished(bytes) {
  for (const [marker, from] of segments(bytes)) {
    if (marker !== 0xda) continue;
    for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) if (bytes[at + 1] === 0xd9) return;
    throw new ImageError("unreadable", "the image is damaged or cut short: the JPEG lacks its end mark. If a viewer shows it whole, save it anew there");
  }
}

export function tooLarge(bytes, limits) {
  if (!(bytes > limits?.file_bytes)) return null;
  const words = `${Math.ceil(bytes / 1e5) / 10} MB is too large: at most ${limits.file_bytes / 1e6} MB are read; save a smaller copy`;
  return new ImageError("too_large", words);
}

function text(bytes, offset, length) {
  return String.fromCharCode(...bytes.subarray(offset, offset + length));
}

function formatOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "JPEG";
  if (text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return "PNG";
  if (/^GIF8[79]a/.test(text(bytes, 0, 6))) return "GIF";
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return "WEBP";
  if (text(bytes, 0, 2) === "BM") return "BMP";
  if (/^(II\*\0|MM\0\*)/.test(text(bytes, 0, 4))) return "TIFF";
  if (text(bytes, 128, 4) === "DICM") return "DICOM";
  return text(bytes, 4, 4) === "ftyp" ? ofBrand(bytes) : null;
}

function ofBrand(bytes) {
  const brands = [text(bytes, 8, 4)];
  for (let at = 16; at < Math.min(viewOf(bytes).getUint32(0), 400); at += 4) brands.push(text(bytes, at, 4));
  if (brands.some((brand) => /^avi[fs]$/.test(brand))) return "AVIF";
  return brands.some((brand) => /^(hei[cxms]|hev[cx]|mif1|msf1)$/.test(brand)) ? "HEIF" : null;
}

function whyNot(bytes) {
  const head = text(bytes, 0, 1024).toLowerCase();
  let known = FOREIGN.find(([offset, magic]) => text(bytes, offset, magic.length) === magic)?.[2];
  if (!known && /<html|<!doctype html/.test(head)) known = "an HTML page";
  if (!known && head.includes("<svg")) known = "an SVG drawing";
  return known ? `the file is ${known}; ${READ}` : `the file is no image, or damaged from its first bytes on; ${READ}`;
}

const SIZES = {
  PNG: (view) => ({ width: view.getUint32(16), height: view.getUint32(20), isGrey: [0, 4].includes(view.getUint8(25)) }),
  GIF: (view) => ({ width: view.getUint16(6, true), height: view.getUint16(8, true) }),
  BMP: (view) => (view.getUint32(14, true) === 12
    ? { width: view.getUint16(18, true), height: view.getUint16(20, true) }
    : { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) }),
  WEBP: webp,
  TIFF: tiff,
  JPEG: jpeg,
  AVIF: inBoxes,
  HEIF: inBoxes,
};

function webp(view, bytes) {
  const kind = letters(bytes, 12, 4);
  const three = (at) => view.getUint16(at, true) + 65536 * view.getUint8(at + 2);
  if (kind === "VP8X") return { width: three(24) + 1, height: three(27) + 1 };
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function tiff(view) {
  const found = directory(view);
  if (!found[256] || !found[257]) throw new RangeError("no size");
  return { width: found[256], height: found[257], isWide: found[258] > 8 };
}

// The largest of the pictures that an AVIF or HEIC file is made of.
function inBoxes(view, bytes) {
  const sizes = properties(bytes).filter(([name]) => name === "ispe").map(([, from]) => ({ width: view.getUint32(from + 4), height: view.getUint32(from + 8) }));
  return sizes.reduce((largest, size) => (size.width * size.height > largest.width * largest.height ? size : largest));
}

// The start of frame, whose marker also says whether the file is progressive.
function jpeg(view, bytes) {
  for (const [marker, from] of segments(bytes)) {
    if (marker < 0xc0 || marker > 0xcf || [0xc4, 0xc8, 0xcc].includes(marker)) continue;
    const [height, width, components] = [view.getUint16(from + 1), view.getUint16(from + 3), view.getUint8(from + 5)];
    return { height, width, components, isGrey: components === 1, progressive: (marker & 3) === 2 };
  }
  throw new RangeError("no frame");
}

function refuse({ width, height, progressive, isWide }, bytes, limits) {
  if (isWide) throw new ImageError("unreadable", "a browser reads TIFF images of 8 bits a channel at most: save it as PNG or JPEG");
  const size = `${width} x ${height} pixels`;
  if (width * height > limits.pixels) {
    throw new ImageError("too_large", `${size} is too large: at most ${limits.pixels / 1e6} megapixels are read; save a smaller copy`);
  }
  if (Math.min(width, height) < limits.side_px) {
    throw new ImageError("unreadable", `${size} are too few: each side needs at least ${limits.side_px}`);
  }
  if (Math.max(width, height) > limits.aspect * Math.min(width, height)) {
    throw new ImageError("unreadable", `${size} are too narrow: one side may be ${limits.aspect} times the other`);
  }
  const scans = progressive ? countScans(bytes) : 0;
  if (scans * width * height > limits.scanned_pixels) {
    throw new ImageError("unreadable", `a progressive JPEG of ${size} in ${scans} scans takes too long to read`);
  }
}

function countScans(bytes) {
  let count = 0;
  for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at + 1)) count += bytes[at + 1] === 0xda;
  return count;
}

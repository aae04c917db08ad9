// What an image file says of itself: its format and size, read before anything is decoded, and how a WebP was held.
// Limits and wording are those of lesionlab.data.images, so that a file gets the same answer here as everywhere.

const READ = "read are JPEG, PNG, BMP, GIF, TIFF, WEBP";
const FOREIGN = [
  [0, "%PDF", "a PDF document"], [0, "%!PS", "a PostScript file"], [0, "\xc5\xd0\xd3\xc6", "a PostScript file"],
  [0, "SIMPLE  =", "a FITS file"],
  [128, "DICM", "a DICOM file"], [4, "ftyphe", "a HEIC image"], [4, "ftypmif1", "a HEIC image"],
  [4, "ftypavif", "an AVIF image"], [0, "PK\x03\x04", "a ZIP archive"], [0, "\x1f\x8b", "a gzip archive"],
];

// An image that cannot be read; `code` is for programs, the message for people: as the service gives them.
export class ImageError extends Error {
  constructor(code, reason) {
    super(reason);
    this.code = code;
  }
}

// The format, width and height in pixels as they lie in the file, EXIF's orientation (1 to 8) of a WebP that has one, and how
// many colour components a JPEG has.
// `bytes` is a Uint8Array of the whole file.
// Throws an ImageError where the file is no image or beyond `limits` (file_bytes, pixels, side_px, aspect, scanned_pixels).
export function readHeader(bytes, limits) {
  if (!bytes.length) throw new ImageError("unreadable", "the file is empty (0 bytes)");
  const format = formatOf(bytes);
  if (!format) throw new ImageError("not_an_image", whyNot(bytes));
  let size;
  try {
    size = SIZES[format](new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch {
    throw new ImageError("unreadable", "the image is damaged or cut short (its size cannot be read)");
  }
  refuse({ format, ...size }, bytes, limits);
  return { format, ...size };
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
  return null;
}

function whyNot(bytes) {
  const head = text(bytes, 0, 1024).toLowerCase();
  let known = FOREIGN.find(([offset, magic]) => text(bytes, offset, magic.length) === magic)?.[2];
  if (!known && /<html|<!doctype html/.test(head)) known = "an HTML page";
  if (!known && head.includes("<svg")) known = "an SVG drawing";
  return known ? `the file is ${known}; ${READ}` : `the file is no image, or damaged from its first bytes on; ${READ}`;
}

const SIZES = {
  PNG: (view) => ({ width: view.getUint32(16), height: view.getUint32(20) }),
  GIF: (view) => ({ width: view.getUint16(6, true), height: view.getUint16(8, true) }),
  BMP: (view) => (view.getUint32(14, true) === 12
    ? { width: view.getUint16(18, true), height: view.getUint16(20, true) }
    : { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) }),
  WEBP: webp,
  TIFF: tiff,
  JPEG: jpeg,
};

const fourLetters = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((place) => view.getUint8(at + place)));

function webp(view) {
  const kind = fourLetters(view, 12);
  const three = (at) => view.getUint16(at, true) + 65536 * view.getUint8(at + 2);
  if (kind === "VP8X") return { width: three(24) + 1, height: three(27) + 1, orientation: webpOrientation(view) };
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

// EXIF stands in a chunk behind the pixels; a damaged one says nothing.
function webpOrientation(view) {
  try {
    let at = 12;
    while (fourLetters(view, at) !== "EXIF") at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2);
    at += fourLetters(view, at + 8) === "Exif" ? 14 : 8;
    const found = directory(new DataView(view.buffer, view.byteOffset + at))[274];
    return found >= 1 && found <= 8 ? found : 1;
  } catch {
    return 1;
  }
}

function tiff(view) {
  const found = directory(view);
  if (!found[256] || !found[257]) throw new RangeError("no size");
  return { width: found[256], height: found[257] };
}

// The numbers in the first directory of a TIFF, or of EXIF, which is laid out as one, by their tags.
function directory(view) {
  const little = view.getUint8(0) === 0x49;
  const start = view.getUint32(4, little);
  const found = {};
  for (let index = 0; index < view.getUint16(start, little); index++) {
    const at = start + 2 + 12 * index;
    const value = view.getUint16(at + 2, little) === 3 ? view.getUint16(at + 8, little) : view.getUint32(at + 8, little);
    found[view.getUint16(at, little)] = value;
  }
  return found;
}

// Segments up to the start of frame, whose marker also says whether the file is progressive.
function jpeg(view) {
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) throw new RangeError("no marker");
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) at += 1;
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      const [height, width, components] = [view.getUint16(at + 5), view.getUint16(at + 7), view.getUint8(at + 9)];
      return { height, width, components, progressive: (marker & 3) === 2 };
    } else at += marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7) ? 2 : 2 + view.getUint16(at + 2);
  }
}

function refuse({ width, height, progressive }, bytes, limits) {
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

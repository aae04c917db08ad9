// The parts that image files are made of. Each generator stops at a part that is not whole, and gives [name, from, to]: the place
// of its content in `bytes`, a Uint8Array. `start`, on the array given, is where the part itself begins.

export const letters = (bytes, at, count) => new TextDecoder("latin1").decode(bytes.subarray(at, at + count));
export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const part = (name, start, from, to) => Object.assign([name, from, to], { start });

// Segments of a JPEG, named by the number of their marker; the last is the first scan, with all that follows in the file.
export function* segments(bytes) {
  const view = viewOf(bytes);
  for (let at = 2; at + 4 <= bytes.length;) {
    const [mark, marker, size] = [bytes[at], bytes[at + 1], view.getUint16(at + 2)];
    if (mark === 0xff && marker === 0xff) at += 1; // a fill byte
    else if (mark !== 0xff || size < 2) return;
    else if (marker === 0xda) return yield part(marker, at, at, bytes.length);
    else {
      yield part(marker, at, at + 4, Math.min(bytes.length, at + 2 + size));
      at += 2 + size;
    }
  }
}

// Chunks of a PNG, each with size, name, content and a checksum.
export function* pngChunks(bytes) {
  const view = viewOf(bytes);
  for (let at = 8; at + 8 <= bytes.length;) {
    const size = view.getUint32(at);
    yield part(letters(bytes, at + 4, 4), at, at + 8, Math.min(bytes.length, at + 8 + size));
    at += 12 + size;
  }
}

// Chunks of a WebP, each with name, size and content, padded to even.
export function* riffChunks(bytes) {
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true);
    yield part(letters(bytes, at, 4), at, at + 8, Math.min(bytes.length, at + 8 + size));
    at += 8 + size + (size % 2);
  }
}

// Boxes of an AVIF or HEIC file, or of a box in it.
export function* boxes(bytes, from = 0, to = bytes.length) {
  const view = viewOf(bytes);
  for (let at = from, count = 0; at + 8 <= to && count < 1000; count++) {
    let [head, size] = [8, view.getUint32(at)];
    if (size === 1 && at + 16 <= to) [head, size] = [16, Number(view.getBigUint64(at + 8))];
    else if (size === 0) size = to - at;
    if (size < head || at + size > to) return;
    yield part(letters(bytes, at + 4, 4), at, at + head, at + size);
    at += size;
  }
}

// The boxes that say what the pictures of an AVIF or HEIC file are like.
export function properties(bytes) {
  let [from, to] = [0, bytes.length];
  for (const name of ["meta", "iprp", "ipco"]) {
    const found = [...boxes(bytes, from, to)].find((box) => box[0] === name);
    if (!found) return [];
    [from, to] = [found[1] + (name === "meta" ? 4 : 0), found[2]]; // it has a version and flags
  }
  return [...boxes(bytes, from, to)];
}

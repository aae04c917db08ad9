// Pictures upright: what EXIF says of how a picture was held is obeyed here, since not all browsers do so for all formats.

const TURNS = {
  1: [1, 0, 0, 1], 2: [-1, 0, 0, 1], 3: [-1, 0, 0, -1], 4: [1, 0, 0, -1],
  5: [0, 1, 1, 0], 6: [0, 1, -1, 0], 7: [0, -1, -1, 0], 8: [0, -1, 1, 0],
};

// Width and height of a bitmap when it stands upright.
export function uprightSize({ width, height }, orientation) {
  return orientation < 5 ? [width, height] : [height, width];
}

// The arguments of `setTransform` with which a canvas draws a bitmap upright, its upper left corner at (0, 0).
export function turning(bitmap, orientation) {
  const [width, height] = uprightSize(bitmap, orientation);
  const [a, b, c, d] = TURNS[orientation];
  return [a, b, c, d, a + c < 0 ? width : 0, b + d < 0 ? height : 0];
}

// A bitmap made upright, of a small one, which is closed.
export function turned(bitmap, orientation) {
  if (orientation === 1) return bitmap;
  const canvas = new OffscreenCanvas(...uprightSize(bitmap, orientation));
  const context = canvas.getContext("2d");
  context.setTransform(...turning(bitmap, orientation));
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

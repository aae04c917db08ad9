"""How a picture was held, as EXIF says (tag 274), and the picture turned upright."""

from PIL import ExifTags, Image

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """How an image lies, as EXIF's orientation says: 1 (upright) to 8.

    XMP counts for nothing, although Pillow's `getexif` asks it: no browser and hardly a viewer obeys it. HEIC is turned by
    its decoder.
    """
    return 1 if image.format == "HEIF" else exif_orientation(image.info.get("exif") or b"")


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block; 1 where there is none, or the block is damaged."""
    if not exif:
        return 1
    block = Image.Exif()
    try:
        block.load(exif)
        value = block.get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels can be good where the EXIF block is not, and its parser raises anything
        return 1
    return value if isinstance(value, int) and value in TRANSPOSE else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image that lies as the orientation says."""
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image

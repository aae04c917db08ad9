"""Whether a model gives the same answer to the same picture, however the file says it.

    python benchmarks/same_picture.py MODEL.onnx --data FOLDER [--data FOLDER ...] [--split splits.csv] [--images N]

Each held-out image of its split, or without one each JPEG of the folder, is decoded and saved anew without loss: as PNG (8 and
16 bits, with sRGB's profile, animated), BMP, TIFF (three compressions, two pages), lossless WebP (and animated), HEIC and
DICOM (uncompressed and JPEG 2000); as RGBA without transparency; in the eight EXIF orientations, the pixels turned so that the
picture is the same; and, reduced to 256 colours or to grey, as palette image, GIF or grey image against the same colours as
RGB. AVIF loses a little: it is compared with its own pixels as PNG. Largest difference of a probability, and labels that change.
"""

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from held_out import add_model_arguments, images_of_split
from lesionlab.data.images import read_image
from lesionlab.inference.model import Model, load_model
from lesionlab.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pictures import dicom, heic, png

_BACK = {  # how pixels have to lie for a reader that obeys the orientation to turn them upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
LOSSLESS, SEVERAL = ("PNG", "BMP", "TIFF", "WEBP"), ("TIFF", "PNG", "WEBP")
COMPRESSIONS = ("tiff_lzw", "tiff_adobe_deflate", "packbits")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser, needs_split=False)
    parser.add_argument("--images", type=int, help="at most so many (default: the whole test part)")
    options = parser.parse_args()
    model = load_model(options.model)
    paths = held_out(options, model) if options.split else sorted(options.data[0].rglob("*.jpg"))[: options.images]
    differences: dict[str, list[float]] = {}
    labels: dict[str, int] = {}
    for path in track(paths, "saving anew"):
        for kind, difference, is_other in judged(model, Image.open(path).convert("RGB")):
            differences.setdefault(kind, []).append(difference)
            labels[kind] = labels.get(kind, 0) + is_other
    print(f"{len(paths)} images\n| saved as | files | largest difference | labels that change |")
    print("| --- | --- | --- | --- |")
    for kind, values in differences.items():
        print(f"| {kind} | {len(values)} | {max(values):.1e} | {labels[kind]} |")


def held_out(options: argparse.Namespace, model: Model) -> list[Path]:
    """The test images of the split, or some of them."""
    table = images_of_split(options.data, options.split, model.facts.taxonomy)
    test = table[table["part"] == "test"]
    if options.images and options.images < len(test):
        test = test.sample(options.images, random_state=0)
    return [Path(path) for path in test["path"]]


def judged(model: Model, image: Image.Image) -> list[tuple[str, float, bool]]:
    """Kind, difference and whether the label is another, of every way to save an image against its plain PNG.

    Files whose pixels are equal once read are answered once: the network sees nothing else.
    """
    palette = image.quantize(256)
    grey = image.convert("L")
    plain = {"picture": image, "palette": palette.convert("RGB"), "grey": grey.convert("RGB")}
    reference = {name: as_file(picture) for name, picture in plain.items()}
    avif = as_file(image, "AVIF")
    reference["avif"] = as_file(Image.open(BytesIO(avif)).convert("RGB"))
    pixels, srgb = np.asarray(image), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more: dict[str, Any] = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    files = [
        *(("PNG, BMP, TIFF, WebP without loss", "picture", as_file(image, kind)) for kind in LOSSLESS),
        *(
            ("TIFF: LZW, deflate, PackBits", "picture", as_file(image, "TIFF", compression=name))
            for name in COMPRESSIONS
        ),
        *(("first picture of several: TIFF, APNG, WebP", "picture", as_file(image, kind, **more)) for kind in SEVERAL),
        ("PNG of 16 bits", "picture", wide_png(pixels)),
        ("PNG with sRGB's profile", "picture", as_file(image, icc_profile=srgb)),
        ("HEIC without loss", "picture", heic(image, matrix_coefficients=0)),
        *(
            ("DICOM: uncompressed, JPEG 2000", "picture", dicom(pixels, *how))
            for how in (("RGB",), ("YBR_RCT", "JPEG2000"))
        ),
        ("AVIF, against its own pixels", "avif", avif),
        ("RGBA", "picture", as_file(image.convert("RGBA"))),
        *(("EXIF 1 to 8", "picture", as_file(turned(image, n), orientation=n)) for n in range(1, 9)),
        ("palette", "palette", as_file(palette)),
        ("GIF", "palette", as_file(palette, "GIF")),
        ("grey", "grey", as_file(grey)),
    ]
    answers: dict[bytes, np.ndarray] = {}
    return [(kind, *compared(model, file, reference[of], answers)) for kind, of, file in files]


def compared(model: Model, file: bytes, reference: bytes, answers: dict[bytes, np.ndarray]) -> tuple[float, bool]:
    """Largest difference of a probability between two files, and whether the label is another."""
    facts = model.facts
    found = []
    for data in (file, reference):
        pixels = read_image(data, facts.height, facts.width, facts.crop)
        if pixels.tobytes() not in answers:
            answers[pixels.tobytes()] = model.predict(data).probabilities[0]
        found.append(answers[pixels.tobytes()])
    return float(np.abs(found[0] - found[1]).max()), bool(found[0].argmax() != found[1].argmax())


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Lay pixels so that they are upright when the orientation is obeyed."""
    return image.transpose(_BACK[orientation]) if orientation in _BACK else image


def as_file(image: Image.Image, kind: str = "PNG", orientation: int | None = None, **more: Any) -> bytes:
    """Save an image without loss."""
    file = BytesIO()
    more |= {"lossless": True} if kind == "WEBP" else {}
    if orientation:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        more["exif"] = exif
    image.copy().save(file, kind, **more)
    return file.getvalue()


def wide_png(pixels: np.ndarray) -> bytes:
    """Save pixels (height, width, 3) with 16 bits, of which the upper 8 are theirs."""
    height, width, _ = pixels.shape
    rows = (pixels.astype(">u2") << 8 | 77).astype(">u2")
    return png(width, height, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


if __name__ == "__main__":
    main()

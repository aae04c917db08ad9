"""Sound files of every decoder that is reached, generated, and mutations of them: for `fuzz_images.py` and `fuzz_serve.py`.

The files of `tests/pictures.py` stand for the ways in which colours and layouts are told (ICC, cICP, nclx, gAMA, EXIF, frames,
16 bits); those here for the ways in which pixels are coded.
"""

import random
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pictures import SIZE, cases, dicom, heic
from test_images import picture, saved


def originals() -> dict[str, list[bytes]]:
    """Give files by their kind: avif, bmp, dcm, gif, heic, jpg, png, tif, webp."""
    found: dict[str, list[bytes]] = {}
    for name, case in cases().items():
        found.setdefault(name.rpartition(".")[2], []).append(case.data)
    for kind, files in coded().items():
        found.setdefault(kind, []).extend(files)
    return found


def coded() -> dict[str, list[bytes]]:
    """One picture in the ways in which each format holds pixels."""
    image = picture(*SIZE)
    grey, bits, inks, palette, clear = (image.convert(mode) for mode in ("L", "1", "CMYK", "P", "RGBA"))
    clear.putalpha(grey)
    profile = table_profile()
    return {
        "jpg": [
            *(saved(one, "JPEG") for one in (image, grey, inks)),
            saved(image, "JPEG", progressive=True),
            saved(image, "JPEG", subsampling="4:2:2", restart_marker_rows=1, icc_profile=profile),
            two_frames("MPO"),
        ],
        "png": [
            *(saved(one, "PNG") for one in (image, grey, bits, palette, clear, clear.convert("LA"))),
            saved(palette, "PNG", transparency=3),
            saved(image, "PNG", icc_profile=profile),
            two_frames("PNG"),
        ],
        "bmp": [saved(one, "BMP") for one in (image, grey, bits, palette)],
        "gif": [saved(palette, "GIF"), two_frames("GIF")],
        "tif": [
            *(saved(image, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
            *(saved(one, "TIFF", compression="tiff_lzw") for one in (inks, palette, clear)),
            saved(bits, "TIFF", compression="group4"),
            two_frames("TIFF"),
        ],
        "webp": [saved(clear, "WEBP"), saved(image, "WEBP", icc_profile=profile), two_frames("WEBP")],
        "avif": [saved(image, "AVIF"), saved(clear, "AVIF", subsampling="4:4:4"), two_frames("AVIF")],
        "heic": [heic(image), heic(clear), heic(Image.fromarray(np.asarray(grey).astype(np.uint16) << 8)), several_heic(image)],
        "dcm": other_dicom(np.asarray(image)),
    }  # fmt: skip


def two_frames(kind: str) -> bytes:
    """A file of two pictures; from images of its own, since Pillow leaves on each what the last format was told."""
    first, second = picture(*SIZE), picture(*SIZE).transpose(Image.Transpose.ROTATE_180)
    return saved(first, kind, save_all=True, append_images=[second])


def table_profile() -> bytes:
    """An ICC profile with tables, which is left to Little CMS: RGB to Lab, of type lut8 with two points on each edge."""
    ramp, corners = bytes(range(256)) * 3, bytes(255 * (n >> bit & 1) for n in range(8) for bit in (2, 1, 0))
    identity = b"".join((65536 * (row == column)).to_bytes(4) for row in range(3) for column in range(3))
    table = b"mft1" + bytes(4) + bytes([3, 3, 2, 0]) + identity + ramp + corners + ramp
    white = b"XYZ " + bytes(4) + b"".join(round(value * 65536).to_bytes(4) for value in (0.9642, 1.0, 0.8249))
    text = b"desc" + bytes(4) + (2).to_bytes(4) + b"t\0" + bytes(78)
    tags, offset = (
        {b"desc": text.ljust(92, b"\0"), b"wtpt": white, b"A2B0": table.ljust(-(-len(table) // 4) * 4, b"\0")},
        168,
    )
    index, body = b"", b""
    for name, content in tags.items():
        index += name + (offset + len(body)).to_bytes(4) + len(content).to_bytes(4)
        body += content
    header = (offset + len(body)).to_bytes(4) + b"lcms\x02\x10\0\0scnrRGB Lab " + bytes(12) + b"acsp" + bytes(28)
    return (header + white[8:]).ljust(128, b"\0") + len(tags).to_bytes(4) + index + body


def several_heic(image: Image.Image) -> bytes:
    """A HEIC file of two pictures."""
    from pillow_heif import from_pillow

    file, made = BytesIO(), from_pillow(image)
    made.add_from_pillow(image.transpose(Image.Transpose.ROTATE_180))
    made.save(file, quality=50)
    return file.getvalue()


def other_dicom(pixels: np.ndarray) -> list[bytes]:
    """Implicit and big-endian files, grey, and JPEG of three colours."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

    files = [dicom(pixels[..., 0].copy(), "MONOCHROME2"), dicom(pixels, "YBR_FULL_422", "JPEG")]
    for syntax, is_implicit, is_little in ((ImplicitVRLittleEndian, True, True), (ExplicitVRBigEndian, False, False)):
        dataset, file = pydicom.dcmread(BytesIO(dicom(pixels))), BytesIO()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OB" if is_little and not is_implicit else "OW"
        pydicom.dcmwrite(file, dataset, implicit_vr=is_implicit, little_endian=is_little, enforce_file_format=True)
        files.append(file.getvalue())
    return files


Mutation = Callable[[random.Random, bytes, list[bytes]], bytes]


def mutate(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Between one and four mutations."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(MUTATIONS)(rng, data, files)
    return data


def flip(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Flip single bits, mostly near the beginning, where the structure of a file is."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 20)):
        if changed:
            changed[rng.randrange(min(len(changed), rng.choice((64, 512, len(changed)))))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Overwrite a stretch with random bytes, zeros or ones."""
    start, length = rng.randrange(len(data) + 1), rng.randint(1, 64)
    fill = rng.choice((rng.randbytes(length), b"\0" * length, b"\xff" * length))
    return data[:start] + fill + data[start + length :]


def cut(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Cut the end off, or a stretch out."""
    start = rng.randrange(len(data) + 1)
    return data[:start] if rng.random() < 0.5 else data[:start] + data[start + rng.randint(1, 256) :]


def repeat(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Repeat a stretch."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.randint(1, 512)]
    return data[:start] + part * rng.randint(2, 8) + data[start:]


def splice(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Go on with another file from somewhere."""
    other = rng.choice(files)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (flip, overwrite, cut, repeat, splice)

"""Reading images: the right pixels from every kind of good file, a named error from every kind of bad one."""

import os
import random
import struct
import subprocess
import sys
import time
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from builders import saved
from lesionlab.data.icc import conversion_of
from lesionlab.data.image_limits import MAX_BYTES
from lesionlab.data.images import ImageError, ImageFacts, read_drafted, read_image
from lesionlab.data.orientation import TRANSPOSE
from lesionlab.data.scaling import CROPS, DRAFT_MARGIN
from lesionlab.errors import LesionlabError, UsageError

REAL = Path(__file__).parents[2] / "shared" / "ham10000" / "full_size"
DAMAGED = "damaged or cut short"
NO_IMAGE = "no image, or damaged"


def picture(width: int = 64, height: int = 48, n_colours: int = 0) -> Image.Image:
    """A smooth picture without symmetry, with a little noise; of few colours when asked for."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:height, 0:width]
    red = 120 + 100 * np.sin(columns / width * 3)
    green = 90 + 80 * np.cos(rows / height * 2 + columns / width)
    blue = 200 * rows / height
    pixels = np.stack([red, green, blue], axis=-1) + rng.normal(0, 3, (height, width, 1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.quantize(n_colours).convert("RGB") if n_colours else image


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, raw: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand: `colour` 0 grey, 2 RGB, 4 grey with alpha; `raw` are its rows with their filter bytes."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + body


GAMMA = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)


def icc_profile(primaries: list[tuple[float, float, float]], curve: bytes = GAMMA) -> bytes:
    """An ICC profile of one curve, gamma 2.2 by default, with these primaries (XYZ, adapted to D50)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)}
    for name, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[name] = b"XYZ " + bytes(4) + fixed(*primary)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = curve
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


DISPLAY_P3 = [(0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)]


# -- good files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
    ],
)
def test_lossless_copies_give_the_same_pixels(format: str, options: dict[str, object], crop: str) -> None:
    source = picture(n_colours=200)
    expected = read_image(saved(source, "PNG"), 32, 32, crop)
    assert np.array_equal(read_image(saved(source, format, **options), 32, 32, crop), expected)


@pytest.mark.parametrize("mode", ["RGBA", "P", "PA"])
def test_opaque_alpha_and_palettes_change_nothing(mode: str) -> None:
    source = picture(n_colours=200)
    other = source.quantize(256) if mode in ("P", "PA") else source.convert("RGBA")
    data = saved(other.convert("PA"), "TIFF") if mode == "PA" else saved(other, "PNG")
    assert np.array_equal(read_image(data, 20, 24, "centre"), read_image(saved(source, "PNG"), 20, 24, "centre"))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    upright = Image.new("RGB", (96, 64))
    for box, colour in (((0, 0, 48, 32), "red"), ((48, 0, 96, 32), "green"), ((0, 32, 48, 64), "blue")):
        upright.paste(colour, box)
    back = {6: 8, 8: 6}.get(orientation, orientation)
    turned = upright.transpose(TRANSPOSE[back]) if back > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    pixels = read_image(
        saved(turned, format, exif=exif.tobytes() if format != "TIFF" else exif, **options), 64, 96, "stretch"
    )
    difference = np.abs(pixels.astype(int) - np.asarray(upright))
    assert difference.max() <= (60 if format == "JPEG" else 0)
    assert difference.mean() <= 2


def test_exif_orientation_and_draft_go_together() -> None:
    """A reduced JPEG on its side: the crop is that of the upright picture."""
    upright = picture(1600, 800)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif.tobytes(), quality=95)
    pixels, facts = read_drafted(data, 50, 100, "centre")
    assert (facts.width, facts.height) == (800, 1600)
    expected = read_image(saved(upright, "PNG"), 50, 100, "centre").astype(int)
    assert np.abs(pixels - expected).max() <= 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_does_not_hide_the_picture() -> None:
    source = picture()
    data = saved(source, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    assert np.array_equal(
        read_image(data, 48, 64, "stretch"), read_image(saved(source, "JPEG", quality=95), 48, 64, "stretch")
    )


@pytest.mark.parametrize("size", [(16, 20), (48, 64), (128, 128)])
def test_a_jpeg_and_its_lossless_copy_agree(size: tuple[int, int]) -> None:
    data = saved(picture(600, 450), "JPEG", quality=90)
    copy = saved(Image.open(BytesIO(data)), "PNG")
    assert np.array_equal(read_image(data, *size, "centre"), read_image(copy, *size, "centre"))
    first, second = (read_drafted(source, *size, "centre")[0].astype(int) for source in (data, copy))
    assert np.abs(first - second).max() <= 4
    assert np.abs(first - second).mean() <= 1
    if 450 < 2 * DRAFT_MARGIN * size[0]:
        assert np.array_equal(first, second)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    wide = ramp.astype(np.uint16) * 257
    expected = np.repeat(ramp[:, :, None], 3, axis=2)
    rgb = np.repeat(wide[:, :, None], 3, axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    sources = [saved(Image.fromarray(wide), "PNG"), saved(Image.fromarray(wide), "TIFF"), png(64, 64, 16, 2, rows)]
    for data in sources:
        assert np.array_equal(read_image(data, 64, 64, "centre"), expected)


def test_one_bit_grey_and_grey_with_alpha() -> None:
    grey = picture().convert("L")
    opaque = Image.merge("LA", [grey, Image.new("L", grey.size, 255)])
    plain = read_image(saved(grey, "PNG"), 48, 64, "stretch")
    assert np.array_equal(plain, np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))
    assert np.array_equal(read_image(saved(opaque, "PNG"), 48, 64, "stretch"), plain)
    bits = read_image(saved(grey.convert("1"), "PNG"), 48, 64, "stretch")
    assert set(np.unique(bits)) == {0, 255}


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (32, 32), (10, 20, 30, 0))
    half = Image.new("RGBA", (32, 32), (0, 0, 0, 128))
    palette = picture(32, 32).quantize(16)
    assert np.unique(read_image(saved(clear, "PNG"), 8, 8, "centre")).tolist() == [255]
    assert np.unique(read_image(saved(half, "PNG"), 8, 8, "centre")).tolist() == [127]
    pixels = read_image(saved(palette, "PNG", transparency=palette.getpixel((0, 0))), 32, 32, "centre")
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb() -> None:
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    pixels = read_image(saved(red, "JPEG", quality=100), 8, 8, "centre").astype(int)
    assert np.abs(pixels - [255, 0, 0]).max() <= 3
    assert np.array_equal(read_image(saved(red, "TIFF"), 8, 8, "centre")[0, 0], [255, 0, 0])


def test_a_wide_gamut_becomes_srgb() -> None:
    image = Image.new("RGB", (32, 32), (180, 120, 100))
    linear = (np.array([180, 120, 100]) / 255) ** 2.2 @ np.array(DISPLAY_P3)
    to_srgb = np.linalg.inv([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]])
    rgb = linear @ to_srgb
    expected = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055) * 255
    pixels = read_image(saved(image, "PNG", icc_profile=icc_profile(DISPLAY_P3)), 4, 4, "centre")
    assert np.abs(pixels[0, 0] - expected).max() <= 2
    assert pixels[0, 0, 0] > 184  # and it did change


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_colours_are_converted_after_scaling(mode: str) -> None:
    """Transparency is white in any profile; a grey picture stays grey, and its curve counts."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image, profile = Image.fromarray(pixels).convert(mode), icc_profile(DISPLAY_P3)
    found = read_image(saved(image, "PNG", icc_profile=profile), 24, 24, "centre")
    plain = read_image(saved(image, "PNG"), 24, 24, "centre")
    convert = conversion_of(profile)
    assert convert is not None and np.array_equal(found, convert(plain)) and not np.array_equal(found, plain)
    assert (np.ptp(found, axis=2) == 0).all() == (mode == "L")


def curve(kind: int | str, *values: float) -> bytes:
    if kind == "curv":
        return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *map(round, values))
    fixed = struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))
    return b"para" + bytes(4) + struct.pack(">HH", int(kind), 0) + fixed


CURVES = {
    "linear": curve("curv"),
    "gamma": curve("curv", 1.8 * 256),
    "table": curve("curv", *(65535 * (np.arange(300) / 299) ** 2.2)),
    "power": curve(0, 2.2),
    "sRGB's": curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "offset": curve(1, 2.0, 1.05, -0.05),
    "raised": curve(2, 2.0, 1.02, -0.02, 0.0),
    "seven numbers": curve(4, 2.4, 0.948, 0.052, 1 / 12.92, 0.04045, 0.0, 0.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_profile_of_curves_and_a_matrix_is_converted_as_little_cms_does(name: str) -> None:
    from PIL import ImageCms

    profile = icc_profile(DISPLAY_P3, CURVES[name])
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
    )
    expected = np.asarray(transform.apply(Image.fromarray(pixels))).astype(int)
    convert = conversion_of(profile)
    assert convert is not None
    found = convert(pixels).astype(int)
    assert np.abs(found - expected).max() <= 2 and np.abs(found - expected).mean() < 0.1


def test_profiles_of_another_kind_are_left_to_little_cms() -> None:
    profile = icc_profile(DISPLAY_P3)
    assert conversion_of(profile.replace(b"RGB XYZ ", b"CMYKXYZ ")) is None
    assert conversion_of(profile.replace(b"gTRC", b"xTRC")) is None
    assert conversion_of(profile.replace(b"curv", b"CURV")) is None
    for length in range(0, len(profile), 7):
        conversion_of(profile[:length])


def test_srgb_and_damaged_profiles_change_nothing() -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = read_image(saved(picture(), "PNG"), 16, 16, "centre")
    for profile in (srgb, b"no profile at all", icc_profile(DISPLAY_P3)[:200]):
        assert np.array_equal(read_image(saved(picture(), "PNG", icc_profile=profile), 16, 16, "centre"), plain)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read(format: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    pixels = read_image(data, 8, 8, "centre").astype(int)
    assert np.abs(pixels - [255, 0, 0]).max() <= 2


def test_progressive_jpeg_wrong_suffix_and_polyglot(tmp_path: Path) -> None:
    source = picture()
    plain, progressive = saved(source, "JPEG"), saved(source, "JPEG", progressive=True)
    assert (
        np.abs(read_image(plain, 16, 16, "centre").astype(int) - read_image(progressive, 16, 16, "centre")).max() <= 1
    )
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(saved(source, "PNG"))
    assert read_drafted(path, 8, 8, "centre")[1] == ImageFacts(64, 48, "PNG", "RGB")
    polyglot = saved(source, "JPEG", comment=b"<html><script>alert(1)</script></html>")
    assert np.array_equal(read_image(polyglot, 16, 16, "centre"), read_image(plain, 16, 16, "centre"))


def test_black_and_noise_are_images_too() -> None:
    assert read_image(saved(Image.new("RGB", (64, 64)), "JPEG"), 8, 8, "centre").max() == 0
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert read_image(saved(noise, "PNG"), 64, 64, "centre").std() > 50


def test_centre_keeps_the_aspect_and_stretch_the_edges() -> None:
    wide = Image.new("RGB", (90, 30), "white")
    wide.paste("black", (0, 0, 30, 30))
    data = saved(wide, "PNG")
    assert read_image(data, 30, 30, "centre").min() == 255
    assert (read_image(data, 30, 30, "stretch")[:, :9] == 0).all()


@settings(max_examples=60)
@given(
    st.integers(16, 70), st.integers(16, 70), st.integers(1, 40), st.integers(1, 40), st.sampled_from(CROPS),
    st.sampled_from(["PNG", "JPEG", "GIF"]),
)  # fmt: skip
def test_any_size_gives_the_size_asked_for_and_a_plain_picture_stays_plain(
    width: int, height: int, to_width: int, to_height: int, crop: str, format: str
) -> None:
    pixels = read_image(saved(Image.new("RGB", (width, height), (200, 200, 200)), format), to_height, to_width, crop)
    assert pixels.shape == (to_height, to_width, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 200).max() <= 1


def test_the_result_can_be_written_to() -> None:
    pixels = read_image(saved(picture(), "PNG"), 48, 64, "centre")
    pixels[0, 0] = 1


# -- bad files ------------------------------------------------------------------------------------------------------


def cut(data: bytes, percent: int) -> bytes:
    return data[: len(data) * percent // 100]


def many_scans(n: int) -> bytes:
    """A progressive JPEG in which the last scan is repeated."""
    data = saved(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n + b"\xff\xd9"


BAD = {
    "empty": (b"", r"the file is empty \(0 bytes\)"),
    "one byte": (b"\xff", NO_IMAGE),
    "JPEG header alone": (b"\xff\xd8\xff", NO_IMAGE),
    "JPEG 10 %": (cut(saved(picture(), "JPEG"), 10), f"{NO_IMAGE}|{DAMAGED}"),
    "JPEG 50 %": (cut(saved(picture(300, 300), "JPEG"), 50), DAMAGED),
    "JPEG 99 %": (cut(saved(picture(300, 300), "JPEG"), 99), DAMAGED),
    "progressive JPEG 99 %": (cut(saved(picture(300, 300), "JPEG", progressive=True), 99), DAMAGED),
    "PNG 10 %": (cut(saved(picture(300, 300), "PNG"), 10), DAMAGED),
    "PNG 50 %": (cut(saved(picture(300, 300), "PNG"), 50), DAMAGED),
    "PNG 99 %": (cut(saved(picture(300, 300), "PNG"), 99), DAMAGED),
    "TIFF 50 %": (cut(saved(picture(300, 300), "TIFF"), 50), f"{DAMAGED}|{NO_IMAGE}"),
    "WebP 50 %": (cut(saved(picture(300, 300), "WEBP"), 50), f"{DAMAGED}|{NO_IMAGE}"),
    "1 x 1": (saved(Image.new("RGB", (1, 1)), "PNG"), r"1 x 1 pixels are too few: each side needs at least 16"),
    "1 x 20,000": (saved(Image.new("RGB", (1, 20_000)), "PNG"), "1 x 20000 pixels are too few"),
    "20 x 20,000": (saved(Image.new("RGB", (20, 20_000)), "PNG"), "too narrow: one side may be 10 times the other"),
    "32-bit integers": (saved(Image.new("I", (32, 32)), "TIFF"), "32 bits, of which the range is unknown"),
    "32-bit floats": (saved(Image.new("F", (32, 32)), "TIFF"), "32 bits, of which the range is unknown"),
    "SVG": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing; read are JPEG, PNG"),
    "HTML before a JPEG": (b"<!DOCTYPE html><script>1</script>" + saved(picture(), "JPEG"), "is an HTML page"),
    "EPS": (saved(picture(), "EPS"), "is a PostScript file"),
    "PDF": (saved(picture(), "PDF"), "is a PDF document"),
    "FITS": (b"SIMPLE  =                    T".ljust(2880), "is a FITS file"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".ljust(500, b"\0"), "HEIC image is damaged or cut short"),
    "AVIF": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif".ljust(500, b"\0"), "the AVIF image is damaged from its first"),
    "DICOM": (bytes(128) + b"DICM" + bytes(500), "DICOM file does not say how its pixels are coded"),
    "ZIP": (b"PK\x03\x04" + bytes(100), "is a ZIP archive"),
    "gzip": (zlib.compress(bytes(1000), wbits=31), "is a gzip archive"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), NO_IMAGE),
    "noise": (random.Random(0).randbytes(5000), NO_IMAGE),
    "text": (b"image_id,dx\nISIC_0000001,nv\n", NO_IMAGE),
    "too many scans": (many_scans(600), "progressive JPEG of 2000 x 2000 pixels in 6.. scans takes too long"),
}


def test_a_side_may_be_ten_times_the_other_and_no_more() -> None:
    assert read_image(saved(Image.new("RGB", (20, 200)), "PNG"), 16, 16, "centre").shape == (16, 16, 3)
    with pytest.raises(ImageError, match="20 x 201 pixels are too narrow: one side may be 10 times the other"):
        read_image(saved(Image.new("RGB", (20, 201)), "PNG"), 16, 16, "centre")


@pytest.mark.parametrize("name", BAD)
def test_bad_images_get_a_named_error(name: str, tmp_path: Path) -> None:
    data, reason = BAD[name]
    path = tmp_path / "lesion.jpg"
    path.write_bytes(data)
    for source in (data, path):
        start = time.perf_counter()
        with pytest.raises(ImageError, match=reason) as caught:
            read_image(source, 64, 64, "centre")
        assert time.perf_counter() - start < 2
        assert isinstance(caught.value, LesionlabError)
        assert str(path) not in caught.value.reason
    assert str(caught.value) == f"{path}: {caught.value.reason}"


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.jpg: the file cannot be opened \(No such file"):
        read_image(tmp_path / "gone.jpg", 8, 8, "centre")
    with pytest.raises(ImageError, match="it is no plain file"):
        read_image(tmp_path, 8, 8, "centre")
    with pytest.raises(ImageError, match=r"cannot be opened \(.*embedded null"):
        read_image(Path("a\0b.jpg"), 8, 8, "centre")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="it is no plain file"):
        read_image(tmp_path / "pipe.jpg", 8, 8, "centre")
    big = tmp_path / "big.jpg"
    with big.open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="60 MB is too large: at most 60 MB are read"):
        read_image(big, 8, 8, "centre")


def test_impossible_requests() -> None:
    with pytest.raises(UsageError, match="An image size of 8 x 0 is not possible"):
        read_image(b"", 0, 8, "centre")
    with pytest.raises(UsageError, match="The crop 'middle' is unknown: give one of centre, stretch"):
        read_image(b"", 8, 8, "middle")


BOMBS = """
import resource, sys, time
from pathlib import Path
from lesionlab.data.images import ImageError, read_image
for path in sorted(Path(sys.argv[1]).iterdir()):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        read_image(path, 64, 64, "centre")
        reason = "read"
    except ImageError as error:
        reason = error.reason
    seconds = time.perf_counter() - start
    print(path.name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, seconds, reason, sep="|")
"""


def test_bombs_are_refused_at_once(tmp_path: Path) -> None:
    """At most 1 s and 200 MB more memory, with Pillow's own warning as a warning, as users have it."""
    text = b"Comment\0\0" + zlib.compress(bytes(300_000_000), 1)
    bombs = {
        "30,000 x 30,000": png(30_000, 30_000, 8, 2, bytes(1000)),
        "20,000 x 10,000": png(20_000, 10_000, 1, 0, bytes(1251) * 10_000),
        "10,000 x 10,000": png(10_000, 10_000, 1, 0, bytes(1251) * 10_000),
        "9,000 x 7,000": png(9_000, 7_000, 1, 0, bytes(1126) * 7_000),
        "text": png(64, 64, 8, 0, bytes(65) * 64, png_chunk(b"zTXt", text)),
        "many texts": png(
            64, 64, 8, 0, bytes(65) * 64, png_chunk(b"zTXt", text[:9] + zlib.compress(bytes(10**6))) * 99
        ),
        "plain text": png(64, 64, 8, 0, bytes(65) * 64, png_chunk(b"tEXt", b"Comment\0" + b"a" * 40_000_000)),
        "gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    result = subprocess.run([sys.executable, "-c", BOMBS, tmp_path], capture_output=True, text=True, check=True)
    lines = [line.split("|") for line in result.stdout.splitlines()]
    assert len(lines) == len(bombs)
    for name, kilobytes, seconds, reason in lines:
        assert int(kilobytes) < 200_000, name
        assert float(seconds) < 1, name
        assert "too large" in reason or DAMAGED in reason or name == "plain text", (name, reason)
    assert "9000 x 7000 pixels is too large: at most 60 megapixels" in result.stdout


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, repeat or splice."""
    kind = rng.randrange(4)
    here, there = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    if kind == 0:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 4, 30))):
            changed[rng.randrange(len(changed) if rng.random() < 0.5 else 100)] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return data[:there]
    if kind == 2:
        return data[:here] + data[there:]
    return data[:there] + data[here:]


@pytest.mark.parametrize(
    ("format", "n"), [("JPEG", 150), ("PNG", 150), ("progressive", 50), ("TIFF", 50), ("GIF", 50), ("WEBP", 50)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_files_give_pixels_or_a_named_error(format: str, n: int) -> None:
    progressive = {"progressive": True} if format == "progressive" else {}
    data = saved(picture(200, 150), "JPEG" if progressive else format, **progressive)
    if format == "JPEG" and REAL.is_dir():
        data = sorted(REAL.glob("*.jpg"))[0].read_bytes()
    rng = random.Random(format)
    for _ in range(n):
        start = time.perf_counter()
        try:
            assert read_image(mutated(data, rng), 64, 64, "centre").shape == (64, 64, 3)
        except ImageError as error:
            assert error.reason
        assert time.perf_counter() - start < 2


def test_reading_needs_no_pandas() -> None:
    code = "import sys, lesionlab.data.images; sys.exit('pandas' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

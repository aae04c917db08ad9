"""Pictures that Python and a browser could read differently, as files, each with what it is to be read as.

One generator for both sides: `tests/test_pictures.py` asks Python for the values, and Python, the service and the page for
one prediction or one refusal.
"""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

from test_images import DISPLAY_P3, curve, icc_profile, picture, png, png_chunk, saved

SIZE = (64, 48)  # width, height
COLOUR = (200, 100, 90)
HALF = SIZE[0] // 2
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
GAMMA_1 = png_chunk(b"gAMA", struct.pack(">I", 100_000))
GAMMA_18 = png_chunk(b"gAMA", struct.pack(">I", 55_556))
GAMMA_22 = png_chunk(b"gAMA", struct.pack(">I", 45_455))
CHRM_P3 = png_chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
ROTATED = 6


class Case(NamedTuple):
    """A file and its picture upright: RGB uint8 (48, 64, 3) or a colour; or the words that refuse it.

    `page` are the words of the page where it alone refuses.
    """

    data: bytes
    right: np.ndarray | tuple[int, int, int] | str
    tolerance: int = 1
    page: str = ""


def cicp(primaries: int, transfer: int, matrix: int = 0, is_full: int = 1) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, matrix, is_full]))


def plain_png(extra: bytes = b"", colour: tuple[int, int, int] = COLOUR) -> bytes:
    """A PNG of one colour with further chunks before its pixels."""
    return png(*SIZE, 8, 2, (b"\0" + bytes(colour) * SIZE[0]) * SIZE[1], extra)


def keyed_png(depth: int, colour_type: int, key: list[int], other: list[int]) -> bytes:
    """A PNG whose left half has the colour that its tRNS names as transparent."""

    def packed(samples: list[int]) -> bytes:
        bits = "".join(f"{sample:0{depth}b}" for sample in samples)
        return int(bits, 2).to_bytes(len(bits) // 8)

    row = b"\0" + packed(key * HALF) + packed(other * HALF)
    return png(*SIZE, depth, colour_type, row * SIZE[1], png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))


def halves(left: int, right: tuple[int, int, int]) -> np.ndarray:
    pixels = np.full((SIZE[1], SIZE[0], 3), left, np.uint8)
    pixels[:, HALF:] = right
    return pixels


def grey_ramp(bits: int) -> np.ndarray:
    ramp = np.linspace(0, 2**bits - 1, SIZE[0]).astype(np.uint16)
    return np.tile(ramp, (SIZE[1], 1))


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def tiff(data: bytes, bits: tuple[int, ...], photometric: int, planes: int = 1) -> bytes:
    """An uncompressed little-endian TIFF of one strip a plane."""
    separate = len(bits) if planes == 2 else 1
    size = len(data) // separate
    tags = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
    tags[256], tags[257], tags[258], tags[259], tags[262] = *SIZE, bits, 1, photometric
    tags[277], tags[278], tags[284] = len(bits), SIZE[1], planes
    tags[273], tags[279] = tuple(size * plane for plane in range(separate)), (size,) * separate
    for tag in (273, 279):
        tags.tagtype[tag] = 4
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + data  # offsets count from there


def packed_12(values: np.ndarray) -> bytes:
    """Two values of 12 bits in three bytes."""
    first, second = values.reshape(-1, 2).T.astype(np.uint32)
    together = first << 12 | second
    return np.stack([together >> 16, together >> 8 & 255, together & 255], axis=-1).astype(np.uint8).tobytes()


def apng() -> bytes:
    """An animation whose one frame is green, and which is red where nothing moves."""

    def packed(colour: bytes) -> bytes:
        return zlib.compress((b"\0" + colour * SIZE[0]) * SIZE[1])

    control = struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 10, 0, 0)
    frame = png_chunk(b"fcTL", control) + png_chunk(b"fdAT", struct.pack(">I", 1) + packed(b"\0\xff\0"))
    red = png(*SIZE, 8, 2, (b"\0\xff\0\0" * 1 + b"\xff\0\0" * (SIZE[0] - 1)) * SIZE[1])
    end = len(red) - 12
    start = 8 + 25
    animation = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    return red[:start] + animation + red[start:end] + frame + red[end:]


def gif_off_screen() -> bytes:
    """A GIF whose first frame is the right half of its screen; the background colour is not drawn."""
    palette = Image.new("P", (HALF, SIZE[1]), 1)
    palette.putpalette([10, 20, 30, 0, 200, 0])
    data = saved(palette, "GIF")
    at = data.index(b",\0\0\0\0")
    moved = data[: at + 1] + struct.pack("<HH", HALF, 0) + data[at + 5 :]
    return moved[:6] + struct.pack("<HH", *SIZE) + moved[10:]


def webp_off_screen() -> bytes:
    """An animated WebP whose first frame is the right half of its canvas."""
    frames = [Image.new("RGB", SIZE, colour) for colour in ((0, 200, 0), (200, 0, 0))]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, background=(9, 9, 9, 255))
    single = saved(Image.new("RGB", (HALF, SIZE[1]), (0, 200, 0)), "WEBP", lossless=True)[12:]
    at = data.index(b"ANMF")
    size = struct.unpack_from("<I", data, at + 4)[0]
    head = (HALF // 2).to_bytes(3, "little") + bytes(3) + (HALF - 1).to_bytes(3, "little")
    head += (SIZE[1] - 1).to_bytes(3, "little") + data[at + 20 : at + 24]
    frame = b"ANMF" + struct.pack("<I", len(head) + len(single)) + head + single
    body = data[12:at] + frame + data[at + 8 + size + size % 2 :]
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def dicom(pixels: np.ndarray, photometric: str = "RGB", coded: str = "", **more: object) -> bytes:
    """A dermoscopic DICOM file with a patient in it; `coded` JPEG holds pixels as that, `more` are further elements."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, generate_uid

    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.7"
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["one"])
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "SECRET-17", "19700101"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = {"": ExplicitVRLittleEndian, "JPEG": JPEGBaseline8Bit}.get(
        coded, JPEG2000Lossless
    )
    if coded:
        options = {"quality": 95, "subsampling": "4:2:2"} if coded == "JPEG" else {"no_jp2": True}
        dataset.PixelData = encapsulate([saved(Image.fromarray(pixels), coded, **options)])
    else:
        dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    for name, value in more.items():
        setattr(dataset, name, value)
    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def with_nclx(avif: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF that names other colours."""
    at = avif.index(b"nclx") + 4
    return avif[:at] + struct.pack(">HH", primaries, transfer) + avif[at + 4 :]


def heic(image: Image.Image, **options: object) -> bytes:
    from pillow_heif import from_pillow

    file = BytesIO()
    from_pillow(image).save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def in_parts(jpeg: bytes, profile: bytes) -> bytes:
    """A JPEG with its profile in two segments, the second one first."""
    middle = len(profile) // 2
    parts = [b"ICC_PROFILE\0" + bytes([n, 2]) + part for n, part in ((2, profile[middle:]), (1, profile[:middle]))]
    return jpeg[:2] + b"".join(b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts) + jpeg[2:]


def colour_cases() -> dict[str, Case]:
    plain = Image.new("RGB", SIZE, COLOUR)
    linear = icc_profile([(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)], curve("curv"))
    linear = linear.replace(b"wide\0", b"sRGB\0")
    p3 = icc_profile(DISPLAY_P3, curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    grey = (
        p3.replace(b"RGB XYZ ", b"GRAYXYZ ")
        .replace(b"rTRC", b"kTRC")
        .replace(curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), curve(0, 1.0).ljust(32, b"\0"))
    )
    avif = saved(plain, "AVIF", quality=100, subsampling="4:4:4")
    named = (229, 168, 161)  # what linear light of COLOUR is in sRGB
    return {
        "gama1.png": Case(plain_png(GAMMA_1, (128, 128, 128)), (188, 188, 188)),
        "gama18.png": Case(plain_png(GAMMA_18), (210, 119, 109)),
        "gama22.png": Case(plain_png(GAMMA_22), COLOUR, 0),
        "gama0.png": Case(plain_png(png_chunk(b"gAMA", bytes(4))), COLOUR, 0),
        "chrm_p3.png": Case(plain_png(GAMMA_22 + CHRM_P3), (215, 93, 85)),
        "chrm_alone.png": Case(plain_png(CHRM_P3), COLOUR, 0),
        "chrm_flat.png": Case(plain_png(GAMMA_1 + png_chunk(b"cHRM", struct.pack(">8I", *[30000] * 8))), COLOUR, 0),
        "srgb_counts.png": Case(plain_png(png_chunk(b"sRGB", b"\0") + GAMMA_1), COLOUR, 0),
        "p3cicp.png": Case(plain_png(cicp(12, 13)), (215, 93, 85)),
        "p3cicp_counts.png": Case(plain_png(GAMMA_1 + png_chunk(b"sRGB", b"\0") + cicp(12, 13)), (215, 93, 85)),
        "bt709cicp.png": Case(plain_png(cicp(1, 1)), (197, 91, 81)),
        "srgbcicp.png": Case(plain_png(cicp(1, 13)), COLOUR, 0),
        "pqcicp.png": Case(plain_png(cicp(9, 16)), "high dynamic range (PQ)"),
        "videocicp.png": Case(plain_png(cicp(1, 1, 1, 0)), "coded as video's are"),
        "oddcicp.png": Case(plain_png(cicp(99, 13)), "of an unknown kind (H.273: 99, 13)"),
        "called_srgb.png": Case(saved(plain, "PNG", icc_profile=linear), named),
        "called_srgb.jpg": Case(saved(plain, "JPEG", quality=100, subsampling=0, icc_profile=linear), named),
        "called_srgb.webp": Case(saved(plain, "WEBP", lossless=True, icc_profile=linear), named),
        "in_parts.jpg": Case(in_parts(saved(plain, "JPEG", quality=100, subsampling=0), p3), (215, 93, 85)),
        "grey_profile.png": Case(saved(Image.new("L", SIZE, 128), "PNG", icc_profile=grey), (188, 188, 188)),
        "grey_profile.jpg": Case(saved(Image.new("L", SIZE, 128), "JPEG", icc_profile=grey), (188, 188, 188)),
        "p3.avif": Case(with_nclx(avif, 12, 13), (215, 93, 85), 2),
        "bt709.avif": Case(with_nclx(avif, 1, 1), (197, 91, 81), 2),
        "pq.avif": Case(with_nclx(avif, 9, 16), "high dynamic range (PQ)"),
        "profile.avif": Case(saved(plain, "AVIF", quality=100, subsampling="4:4:4", icc_profile=p3), (215, 93, 85), 2),
        "p3.heic": Case(heic(plain, icc_profile=p3), (215, 93, 85), 2, "cannot read HEIC"),
    }  # fmt: skip


def layout_cases() -> dict[str, Case]:
    image = picture(*SIZE)
    right = np.asarray(image)
    jpeg, webp = saved(image, "JPEG", xmp=XMP, quality=95), saved(image, "WEBP", xmp=XMP, lossless=True)
    lying = image.transpose(Image.Transpose.ROTATE_90)
    key, other = [0x1234, 0x5678, 0x9ABC], [0x1235, 0x5678, 0x9ABC]
    half = halves(255, (0x12, 0x56, 0x9A))
    ramp16, ramp12 = grey_ramp(16), grey_ramp(12)
    wide = np.full((SIZE[1], SIZE[0]), 0x1000, "<u2")
    both = np.concatenate([np.full(SIZE[0] * SIZE[1], value, "<u2") for value in (0x1234, 0x5678, 0x9ABC)])
    rgb16 = np.repeat(ramp16[:, :, None], 3, axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in rgb16)
    tiff_alone = "cannot read TIFF|reads TIFF images of 8 bits"
    return {
        "xmp.jpg": Case(jpeg, np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")), 0),
        "xmp.webp": Case(webp, right, 0),
        "held.png": Case(saved(lying, "PNG", exif=exif(ROTATED)), right, 0),
        "held.avif": Case(saved(lying, "AVIF", quality=100, subsampling="4:4:4", exif=exif(ROTATED)), right, 6),
        "held.heic": Case(heic(lying, exif=exif(ROTATED)), right, 6, "cannot read HEIC"),
        "rgb16trns.png": Case(keyed_png(16, 2, key, other), half, 0),
        "l16trns.png": Case(keyed_png(16, 0, [0x1234], [0x1235]), halves(255, (0x12,) * 3), 0),
        "l4trns.png": Case(keyed_png(4, 0, [5], [10]), halves(255, (170,) * 3), 0),
        "l2trns.png": Case(keyed_png(2, 0, [1], [2]), halves(255, (170,) * 3), 0),
        "l1trns.png": Case(keyed_png(1, 0, [0], [0]), (255, 255, 255), 0),
        "l8trns.png": Case(keyed_png(8, 0, [85], [170]), halves(255, (170,) * 3), 0),
        "rgb8trns.png": Case(keyed_png(8, 2, [1, 2, 3], [1, 2, 4]), halves(255, (1, 2, 4)), 0),
        "wide_grey.png": Case(saved(Image.fromarray(ramp16), "PNG"), as_rgb(ramp16 >> 8), 0),
        "wide.png": Case(png(*SIZE, 16, 2, rows), as_rgb(ramp16 >> 8), 0),
        "apng.png": Case(apng(), (255, 0, 0), 0),
        "off_screen.gif": Case(gif_off_screen(), halves(255, (0, 200, 0)), 0),
        "off_screen.webp": Case(webp_off_screen(), halves(255, (0, 200, 0)), 0),
        "t12.tif": Case(tiff(packed_12(ramp12), (12,), 1), as_rgb(ramp12 >> 4), 0, tiff_alone),
        "white_is_zero16.tif": Case(tiff(wide.tobytes(), (16,), 0), (239, 239, 239), 0, tiff_alone),
        "planar16.tif": Case(tiff(both.tobytes(), (16, 16, 16), 2, 2), "lie in separate planes", 0, tiff_alone),
        "plain.tif": Case(saved(image, "TIFF"), right, 0, tiff_alone),
        "clear.avif": Case(saved(Image.new("RGBA", SIZE, (9, 9, 9, 0)), "AVIF"), (255, 255, 255), 1),
        "no_end.jpg": Case(jpeg[:-2], "lacks its end mark"),
        "trailer.jpg": Case(jpeg + b"\xff\xda" * 9, np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")), 0),
    }  # fmt: skip


def dicom_cases() -> dict[str, Case]:
    right = np.asarray(picture(*SIZE))
    grey = right[..., 0].copy()
    page = "a DICOM file, which a browser cannot read"
    ybr = np.asarray(Image.fromarray(right).convert("YCbCr"))
    kinds: dict[str, Callable[[], Case]] = {
        "rgb": lambda: Case(dicom(right), right, 0, page),
        "ybr_full": lambda: Case(dicom(ybr, "YBR_FULL"), right, 3, page),
        "jpeg_ybr_422": lambda: Case(dicom(right, "YBR_FULL_422", "JPEG"), right, 90, page),
        "jpeg2000": lambda: Case(dicom(right, "YBR_RCT", "JPEG2000"), right, 0, page),
        "monochrome1": lambda: Case(dicom(255 - grey, "MONOCHROME1"), as_rgb(grey), 0, page),
        "frames": lambda: Case(dicom(right, NumberOfFrames=2), "has several frames", 0, page),
        "other_class": lambda: Case(dicom(right, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), "is of CT Image", 0, page),
        "narrow": lambda: Case(dicom(right, PixelAspectRatio=[1, 2]), "are not square", 0, page),
        "twelve_bits": lambda: Case(dicom(right, BitsStored=12, BitsAllocated=16), "other than 8 bits", 0, page),
        "giant": lambda: Case(dicom(right, Rows=60_000, Columns=60_000), "at most 60 megapixels", 0, page),
    }
    return {f"{name}.dcm": case() for name, case in kinds.items()}


def cases() -> dict[str, Case]:
    """Every file by its name."""
    return colour_cases() | layout_cases() | dicom_cases()

"""A DICOM file of a photograph in, its pixels out: dermoscopic and photographic classes, one frame, 8 bits.

Only the elements that pixels need are read, by their tags: patient data are stepped over, so that nothing of them can be
logged, shown or kept, and errors repeat none of the file. Decoders of one file differ by up to three levels, so each transfer
syntax has one: uncompressed pixels are pydicom's, JPEG Baseline and JPEG 2000 Pillow's, whatever else is installed. pydicom
gives RGB also where the file says YBR_FULL_422; nothing is converted here again.

DICOM PS3.3 C.7.6.3 (pixels), A.32 (classes), PS3.5 8.2 (transfer syntaxes).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lesionlab.data.image_limits import ImageError, refuse_size
from lesionlab.errors import why_missing

if TYPE_CHECKING:
    from pydicom import Dataset

_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic
    "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
}
_DECODERS = {
    "1.2.840.10008.1.2": "",  # implicit, explicit, big-endian: uncompressed
    "1.2.840.10008.1.2.1": "",
    "1.2.840.10008.1.2.2": "",
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG Baseline
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000, lossless and not
    "1.2.840.10008.1.2.4.91": "pillow",
}
_TAGS = {
    "SOPClassUID": 0x00080016,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelAspectRatio": 0x00280034,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "ICCProfile": 0x00282000,
    "PixelData": 0x7FE00010,
}
_OVERLAY_ROWS = [group << 16 | 0x0010 for group in range(0x6000, 0x6020, 2)]
_MARK_END = 132
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

_READERS: list[Any] = []  # an item a thread that reads: what pydicom did with wrong values before the first of them
_LOCK = Lock()


def open_dicom(data: bytes) -> Image.Image:
    """Read a DICOM file as an image of mode RGB or L, its ICC profile in `info`.

    Raises:
        ImageError: pydicom is not installed, or the file is damaged, too large or of a kind that is not read.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise ImageError(why_missing("a DICOM file", "pydicom", "dicom"), code="not_an_image") from error
    with _values_unchecked():
        return _open(data)


def _open(data: bytes) -> Image.Image:
    import pydicom
    from pydicom.pixels import get_decoder

    try:
        syntax = _transfer_syntax(data)
        if syntax not in _DECODERS:
            raise ImageError(
                f"its pixels are coded as {syntax.name}, for which there is no decoder here: save it as PNG"
            )
        dataset = pydicom.dcmread(BytesIO(data), specific_tags=[*_TAGS.values(), *_OVERLAY_ROWS])
        _refuse(dataset)
        _refuse_other_size(dataset, syntax)
        decoder = get_decoder(syntax)
        pixels, found = decoder.as_array(dataset, index=0, decoding_plugin=_DECODERS[syntax])
    except ImageError:
        raise
    except Exception as error:  # whatever a damaged file leads to; its words may repeat what stands in the file
        raise ImageError(f"the DICOM file is damaged or cut short ({type(error).__name__})") from None
    return _image(pixels, str(found["photometric_interpretation"]), dataset)


@contextmanager
def _values_unchecked() -> Iterator[None]:
    """Keep pydicom from checking values while any thread reads; then it does again what the process had it do.

    Its warnings of wrong values repeat them, and in a damaged file they may be anything that stands there.
    """
    from pydicom.config import IGNORE, settings

    with _LOCK:
        _READERS.append(_READERS[0] if _READERS else settings.reading_validation_mode)
        settings.reading_validation_mode = IGNORE
    try:
        yield
    finally:
        with _LOCK:
            before = _READERS.pop()
            if not _READERS:
                settings.reading_validation_mode = before


def _transfer_syntax(data: bytes) -> Any:
    """Return how pixels are coded, a UID of the standard; read alone, since a file that is deflated as a whole is a bomb."""
    from pydicom.filereader import read_dataset

    head = BytesIO(data)
    head.seek(_MARK_END)
    meta = read_dataset(head, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    uid = meta.get("TransferSyntaxUID")
    if uid is None or not getattr(uid, "is_transfer_syntax", False):
        raise ImageError("the DICOM file does not say how its pixels are coded, or in a way that is not known")
    return uid


def _refuse(dataset: "Dataset") -> None:
    """Refuse what is no photograph of 8 bits and one frame, before its pixels are touched."""
    kind = dataset.get("SOPClassUID")
    if kind not in _CLASSES:
        name = kind.name if kind is not None and kind.type == "SOP Class" else "an unknown class"
        raise ImageError(
            f"the DICOM file is of {name}: read are dermoscopic and photographic images and screen captures"
        )
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise ImageError("the DICOM file has several frames: save the one that is meant as a file of its own")
    if any(tag in dataset for tag in _OVERLAY_ROWS):
        raise ImageError("the DICOM file draws overlays over its picture: save it without them")
    refuse_size(int(dataset.Columns), int(dataset.Rows))
    ratio = [int(part) for part in dataset.get("PixelAspectRatio") or (1, 1)]
    if ratio[0] != ratio[1]:
        raise ImageError("the pixels of the DICOM file are not square: save it with square ones")
    colours, samples = dataset.get("PhotometricInterpretation"), dataset.get("SamplesPerPixel")
    if (colours in _MONOCHROME and samples != 1) or (colours in _COLOURS and samples != 3):
        raise ImageError("the DICOM file is damaged: its colours and its samples per pixel do not fit together")
    if colours not in (*_MONOCHROME, *_COLOURS):
        raise ImageError("the DICOM file has colours of a kind that is not read: save it as RGB")
    if dataset.BitsAllocated != 8 or dataset.get("BitsStored", 8) != 8 or dataset.get("PixelRepresentation", 0) != 0:
        raise ImageError(
            "the DICOM file has values of other than 8 bits, of which the range is unknown: save it with 8 bits"
        )


def _refuse_other_size(dataset: "Dataset", syntax: str) -> None:
    """Refuse a compressed picture of another size than the file says, of which no limit has heard."""
    if not _DECODERS[syntax]:
        return
    from pydicom.encaps import get_frame

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    with Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")) as inner:
        if inner.size != (dataset.Columns, dataset.Rows):
            raise ImageError("the DICOM file is damaged: the picture in it has another size than it says")


def _image(pixels: np.ndarray, photometric: str, dataset: "Dataset") -> Image.Image:
    if photometric not in ("RGB", *_MONOCHROME) or pixels.dtype != np.uint8:
        raise ImageError("the DICOM file has colours of a kind that is not read: save it as RGB")
    image = Image.fromarray(255 - pixels if photometric == "MONOCHROME1" else pixels)
    image.format = "DICOM"
    image.info["icc_profile"] = bytes(dataset.get("ICCProfile") or b"")
    return image

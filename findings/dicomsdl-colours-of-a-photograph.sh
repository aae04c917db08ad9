#!/usr/bin/env bash
# dicomsdl 0.109.4 shows luminance and colour differences as red, green and blue, and cannot read colours that lie in planes.
#
# Seen: a photograph in DICOM, uncompressed, skin of RGB (200, 120, 90). Stored as YBR_FULL its picture (`toPilImage`, mode RGB) has
# (141, 100, 170): the stored values, a purple. Stored as RGB in planes (PlanarConfiguration 1) it is refused, "datasize '1800' is
# not suitable"; stored as RGB pixel by pixel it is right. pydicom and SimpleITK give (200, 120, 90) to within one for all three.
# Expected before it was run: YBR_FULL unconverted, planes read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dicomsdl==0.109.4 pydicom==3.0.2 numpy==1.26.4 pillow==12.0.0

cd "$work"
venv/bin/python - <<'PYTHON'
import dicomsdl
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid


def write(path: str, pixels: np.ndarray, photometric: str, is_planar: bool) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    photo = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    photo.SOPClassUID, photo.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    photo.Rows, photo.Columns, photo.SamplesPerPixel = pixels.shape
    photo.PhotometricInterpretation, photo.PlanarConfiguration = photometric, int(is_planar)
    photo.BitsAllocated, photo.BitsStored, photo.HighBit, photo.PixelRepresentation = 8, 8, 7, 0
    photo.PixelData = (pixels.transpose(2, 0, 1) if is_planar else pixels).tobytes()
    photo["PixelData"].VR = "OB"
    photo.save_as(path, enforce_file_format=True)


skin = np.full((20, 30, 3), (200, 120, 90), np.uint8)
write("rgb.dcm", skin, "RGB", False)
write("planes.dcm", skin, "RGB", True)
write("ybr.dcm", convert_color_space(skin, "RGB", "YBR_FULL"), "YBR_FULL", False)
found = {}
for name in ("rgb", "planes", "ybr"):
    right = pydicom.dcmread(f"{name}.dcm").pixel_array[0, 0]
    if np.abs(right.astype(int) - skin[0, 0]).max() > 1:
        raise SystemExit(f"Changed: pydicom 3.0.2 gives {right.tolist()} for {name}.")
    try:
        picture = dicomsdl.open(f"{name}.dcm").toPilImage()
        found[name] = (picture.mode, *picture.getpixel((0, 0)))
    except Exception as error:
        found[name] = "refused" if "is not suitable" in str(error) else repr(error)
print(f"dicomsdl 0.109.4, skin of (200, 120, 90): {found}")
if found != {"rgb": ("RGB", 200, 120, 90), "planes": "refused", "ybr": ("RGB", 141, 100, 170)}:
    raise SystemExit("Changed: other answers than those above.")
PYTHON

#!/usr/bin/env bash
# dicom2jpg 0.1.10 changes the colours of a photograph: the smallest value of any channel becomes 0, the largest 255.
#
# Seen: a DICOM file of the class VL Photographic Image, RGB, 8 bits, uncompressed, skin of (200, 120, 90) with a lesion of
# (90, 40, 30). Its picture has (255, 135, 90) and (90, 15, 0). pydicom gives the values as they were written. A brighter or darker
# photograph of one lesion comes out alike, a reflection or a black corner decides over all of it.
# Expected before it was run: the colours as they are, since only grey values have a window; or red and blue swapped.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dicom2jpg==0.1.10 pydicom==3.0.2

cd "$work"
venv/bin/python - <<'PYTHON'
import dicom2jpg
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid

pixels = np.full((20, 30, 3), (200, 120, 90), np.uint8)
pixels[5:15, 10:20] = (90, 40, 30)
meta = FileMetaDataset()
meta.TransferSyntaxUID = ExplicitVRLittleEndian
meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
meta.MediaStorageSOPInstanceUID = generate_uid()
photo = FileDataset("photo.dcm", {}, file_meta=meta, preamble=bytes(128))
photo.SOPClassUID, photo.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
photo.StudyInstanceUID, photo.SeriesInstanceUID = generate_uid(), generate_uid()
photo.PatientID, photo.Modality, photo.InstanceNumber = "A1", "XC", 1
photo.Rows, photo.Columns, photo.SamplesPerPixel = pixels.shape
photo.PhotometricInterpretation, photo.PlanarConfiguration = "RGB", 0
photo.BitsAllocated, photo.BitsStored, photo.HighBit, photo.PixelRepresentation = 8, 8, 7, 0
photo.PixelData = pixels.tobytes()
photo["PixelData"].VR = "OB"
photo.save_as("photo.dcm", enforce_file_format=True)

if not np.array_equal(pydicom.dcmread("photo.dcm").pixel_array, pixels):
    raise SystemExit("Changed: pydicom 3.0.2 reads other values.")
seen = dicom2jpg.dicom2img("photo.dcm")
skin, lesion = seen[0, 0].tolist(), seen[10, 15].tolist()
print(f"dicom2jpg 0.1.10: skin (200, 120, 90) becomes {tuple(skin)}, the lesion (90, 40, 30) {tuple(lesion)}")
if (skin, lesion) != ([255, 135, 90], [90, 15, 0]):
    raise SystemExit("Changed: other colours than those above.")
PYTHON

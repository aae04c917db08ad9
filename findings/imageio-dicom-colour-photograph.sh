#!/usr/bin/env bash
# imageio 2.38.1 reads a colour photograph in DICOM as grey, and with other files in its folder it gives one of those.
#
# Seen: imageio.v3.imread of an RGB file of the class VL Photographic Image (20 rows, 30 columns, all (200, 120, 90)), alone in its
# folder: an array (20, 30) of 200, 120, 90, 200, 120, 90 ...; no error. With a second file of another study in the folder, the
# same call gives an array (3, 20, 30) of that file's values and none of the one asked for. The only warning is that the plugin,
# which it takes by itself though pydicom is installed, is deprecated.
# Expected before it was run: (20, 30, 3), with the channels in disorder at the most where they lie in planes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check imageio==2.38.1 pydicom==3.0.2 numpy==2.4.1

mkdir "$work/alone" "$work/both"
cd "$work"
venv/bin/python -W ignore - <<'PYTHON' | grep -v "^ *Found\|^Reading"
import imageio.v3 as imageio
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid


def write(path: str, colour: tuple, series: str) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    photo = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    photo.SOPClassUID, photo.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    photo.StudyInstanceUID, photo.SeriesInstanceUID = generate_uid(), series
    photo.PatientID, photo.Modality, photo.InstanceNumber = "A1", "XC", 1
    photo.Rows, photo.Columns, photo.SamplesPerPixel = 20, 30, 3
    photo.PhotometricInterpretation, photo.PlanarConfiguration = "RGB", 0
    photo.BitsAllocated, photo.BitsStored, photo.HighBit, photo.PixelRepresentation = 8, 8, 7, 0
    photo.PixelData = np.full((20, 30, 3), colour, np.uint8).tobytes()
    photo["PixelData"].VR = "OB"
    photo.save_as(path, enforce_file_format=True)


write("alone/photo.dcm", (200, 120, 90), "1.2.826.0.1.2")
write("both/photo.dcm", (200, 120, 90), "1.2.826.0.1.2")
write("both/other.dcm", (90, 40, 30), "1.2.826.0.1.1")
alone, both = imageio.imread("alone/photo.dcm"), imageio.imread("both/photo.dcm")
values = sorted(set(both.ravel().tolist()))
print("\nimageio 2.38.1: an RGB photograph of 20 x 30 pixels, all (200, 120, 90):")
print(f"alone {alone.shape}, {alone[0, :6].tolist()}; beside another of (90, 40, 30) {both.shape}, of the values {values}")
if alone.shape != (20, 30) or alone[0, :6].tolist() != [200, 120, 90] * 2:
    raise SystemExit("Changed: it is read in another way now.")
if both.shape != (3, 20, 30) or values != [30, 40, 90]:
    raise SystemExit("Changed: beside another file it is read in another way now.")
PYTHON

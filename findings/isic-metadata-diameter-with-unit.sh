#!/usr/bin/env bash
# isic-metadata 4.12.0, by which the ISIC archive checks what is handed in, keeps a lesion's largest diameter to 0.01 mm where it
# is a bare number, and to 0.1 mm where its unit is written beside it.
#
# Seen: clin_size_long_diam_mm of 4.25 and "4.25" is 4.25; "4.25mm", "0.425cm" and "4250um" are 4.2, and "0.04mm" is 0.0 where "0.04" is 0.04.
# Halves go to the even digit or to whichever binary is nearer: "6.05mm" is 6.0, "6.15mm" 6.2. Nothing is said. The thickness of a
# melanoma (mel_thick_mm) keeps both digits with and without its unit.
# Expected before it was run: one size, however it is written; the field allows two decimal places.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check isic-metadata==4.12.0 pydantic==2.12.5

"$work/venv/bin/python" - <<'PYTHON'
from isic_metadata.metadata import MetadataRow

written = (4.25, "4.25", "4.25mm", "0.425cm", "4250um", "0.04", "0.04mm", "6.05mm", "6.15mm")
seen = [float(MetadataRow(clin_size_long_diam_mm=size).clin_size_long_diam_mm) for size in written]
for size, read in zip(written, seen, strict=True):
    print(f"isic-metadata 4.12.0, clin_size_long_diam_mm {size!r}: {read}")
thick = [float(MetadataRow(mel_thick_mm=size, diagnosis="Melanoma Invasive").mel_thick_mm) for size in ("0.75", "0.75mm")]
print(f"mel_thick_mm '0.75', '0.75mm': {thick}")
if seen != [4.25, 4.25, 4.2, 4.2, 4.2, 0.04, 0.0, 6.0, 6.2] or thick != [0.75, 0.75]:
    raise SystemExit("Changed: sizes are read otherwise.")
PYTHON

#!/usr/bin/env bash
# isic-challenge-scoring 5.6.0 cannot score a truth table in which one of the challenge's diagnoses does not occur.
#
# Seen: 60 images of six of the seven diagnoses of ISIC 2018 task 3 (no dermatofibroma, as in many a clinic's own test set), with
# valid predictions: it ends in "ValueError: array of sample points is empty", from its area above 80 % sensitivity.
# Expected before it was run: figures of the six, and of dermatofibroma none; its balanced accuracy is a mean over what occurs.
# Also seen on the way: it needs pandas below 3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check isic-challenge-scoring==5.6.0 pandas==2.3.3

cd "$work"
venv/bin/python - <<'PYTHON'
import csv
import random

COLUMNS = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
OCCURRING = [0, 1, 2, 3, 4, 6]
random.seed(1)


def write(name: str, rows: list) -> None:
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows([["image", *COLUMNS], *rows])


truth, predictions, whole = [], [], []
for number in range(60):
    for table, places in ((truth, OCCURRING), (whole, range(7))):
        place = places[number % len(places)]
        table.append([f"ISIC_{number:07}", *(float(place == column) for column in range(7))])
    shares = [random.random() for _ in COLUMNS]
    predictions.append([f"ISIC_{number:07}", *(round(share / sum(shares), 6) for share in shares)])
write("six.csv", truth)
write("seven.csv", whole)
write("predictions.csv", predictions)
PYTHON

score() { venv/bin/isic-challenge-scoring --output json classification "$1" predictions.csv; }
score seven.csv > seven.json || { echo "Changed: all seven diagnoses are not scored either."; exit 1; }
if score six.csv > six.txt 2>&1; then
  echo "Changed: six of seven diagnoses are scored now."
  exit 1
fi
grep -q "ValueError: array of sample points is empty" six.txt || { echo "Changed: another error."; tail -3 six.txt; exit 1; }
echo "isic-challenge-scoring 5.6.0: seven diagnoses are scored; with one that does not occur, $(tail -1 six.txt)"

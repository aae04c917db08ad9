#!/usr/bin/env bash
# tableone 0.9.5 describes the ages of a large collection by a row for each age, and those of its first rows by mean and deviation.
#
# Seen: ages in whole years, rounded to 5 as HAM10000's are. Of 200 rows and of 3,000 the table has one row, "age, mean (SD)"; of 10,000 rows of
# the very same column sixteen, "age, n (%)", one for each age that occurs, without a word. Numbers count as categories where
# fewer than one value in 200 is another one; melanoma's ages and nevi's are then compared by a chi-squared test, and no mean is given.
# Naming the other columns (`categorical=["sex"]`) gives the mean again; naming this one (`continuous=["age"]`) is refused, since it "cannot be
# both".
# Expected before it was run: mean and deviation at every size.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tableone==0.9.5 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1

"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pandas as pd
from tableone import TableOne

random = np.random.default_rng(0)
lesions = pd.DataFrame(
    {
        "age": 5 * random.integers(2, 18, 10_000),
        "sex": random.choice(["female", "male"], 10_000),
        "dx": random.choice(["mel", "nv"], 10_000),
    }
)


def age_rows(rows, **options):
    made = TableOne(lesions.head(rows), columns=["age", "sex"], groupby="dx", **options)
    return [name for name, _ in made.tableone.index if name.startswith("age")]


found = {rows: age_rows(rows) for rows in (200, 3_000, 10_000)}
for rows, names in found.items():
    print(f"tableone 0.9.5, {rows:,} rows: {len(names)} of age, {names[0]!r}")
named = age_rows(10_000, categorical=["sex"])
print(f"10,000 rows, categorical=['sex']: {named}")
try:
    age_rows(10_000, continuous=["age"])
    raise SystemExit("Changed: a column may be named as continuous.")
except ValueError as error:
    print(f"10,000 rows, continuous=['age']: {error}")
if found[200] != ["age, mean (SD)"] or found[3_000] != found[200] or found[10_000] != ["age, n (%)"] * 16:
    raise SystemExit("Changed: the kind of a column does not follow the size of the table any more.")
if named != ["age, mean (SD)"]:
    raise SystemExit("Changed: naming the categorical columns does not help any more.")
PYTHON

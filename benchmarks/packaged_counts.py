"""Write into the packaged model files how many training images each diagnosis had, which they were packaged without.

Eight of the eleven counts are in the file's decision rule, to the last image: its shift is the logarithm of their shares. The
rule moves the three rarest no further than the rarest that validation could judge. Only MILK10k shows these, one image a
lesion: theirs are its images less those of the validation part and of the test part, which the file names too. Written only
where all eleven add up to the training images of the model card. Nothing else in the files is changed.

    python benchmarks/packaged_counts.py --milk10k ../shared/milk10k
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from lesionlab.inference.facts import Facts, read_facts

MODELS = Path(__file__).parents[1] / "src" / "lesionlab" / "models"
FILES = ("bundled.onnx", "bundled-int8.onnx")


def counted(facts: Facts, milk10k: Path) -> list[int]:
    """Give the training images of each diagnosis; stops where they do not add up."""
    whole = int(re.findall(r"- train: ([\d,]+) images", facts.card)[0].replace(",", ""))
    shift, exponent = np.array(facts.decision["log_shift"]), facts.decision["exponent"]
    exact = np.exp(-shift / exponent) * (whole + 0.5 * len(shift)) - 0.5
    truth = pd.read_csv(milk10k / "MILK10k_Training_GroundTruth.csv")
    counts = np.rint(exact).astype(int)
    if np.abs(exact - counts).max() > 0.01 or facts.conformal is None:
        raise SystemExit(f"{facts.name}: its rule was not made of counts of {whole:,} images.")
    for place in np.flatnonzero(shift == shift.max()):
        diagnosis = facts.taxonomy.diagnoses[place]
        if diagnosis.dx == "df":  # the rarest that validation could judge
            continue
        tested = int(re.findall(rf"\({diagnosis.dx}\) \| (\d+) \|", facts.card)[0])
        counts[place] = int(truth[diagnosis.column].sum()) - facts.conformal.images[place] - tested
    if counts.sum() != whole:
        raise SystemExit(f"{facts.name}: {counts.tolist()} add up to {counts.sum():,} and not to {whole:,}.")
    return counts.tolist()


def main() -> None:
    """Count, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milk10k", type=Path, default=Path("../shared/milk10k"))
    milk10k = parser.parse_args().milk10k
    for name in FILES:
        data = (MODELS / name).read_bytes()
        facts = read_facts(data, name)
        counts = counted(facts, milk10k)
        model = onnx.load_from_string(data)
        if not facts.diagnosis_counts:
            model.metadata_props.add(key="diagnosis_counts", value=json.dumps(counts))
            (MODELS / name).write_bytes(model.SerializeToString())
        print(name, dict(zip(facts.taxonomy.dx, counts, strict=True)))


if __name__ == "__main__":
    main()

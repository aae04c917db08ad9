"""Give a packaged model's file its score of what is no dermatoscopic image anew, as the run that trained it does.

    python benchmarks/packaged_score.py src/lesionlab/models/bundled.onnx --data build/packaged/ham10000 \
        --data ../shared/milk10k --split build/packaged/splits.csv

fits it to the training part of the packaged model's split, chooses the threshold on the validation part, and writes the file in
place. What the network answers is not touched.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from held_out import add_model_arguments, drawn, images_of_split
from lesionlab.data.images import read_image
from lesionlab.files import replacing
from lesionlab.inference.bundle import open_bundle
from lesionlab.model.export.ood_score import MOST_REFERENCE, MOST_TRAINING, add_ood_score, in_words, without_score


def main() -> None:
    """Write the file's score anew, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    options = parser.parse_args()
    facts = open_bundle(options.model).facts
    table = images_of_split(options.data, options.split, facts.taxonomy)
    parts = {"train": MOST_TRAINING, "validation": MOST_REFERENCE}
    table = pd.concat([drawn(table[table["part"] == part], most) for part, most in parts.items()])
    pixels = np.stack([read_image(Path(path), facts.height, facts.width, facts.crop) for path in table["path"]])
    training, reference = (np.flatnonzero(table["part"] == part) for part in parts)
    with replacing(options.model) as temporary:
        onnx.save(without_score(onnx.load(options.model)), temporary)
        score = add_ood_score(temporary, pixels, training, reference, table["folder"].to_numpy())
    print(f"{options.model} {in_words(score)}")


if __name__ == "__main__":
    main()

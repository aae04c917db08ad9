"""Write into a packaged model's file which images it was trained on, as the run that trained it does since its file was made.

    python benchmarks/packaged_ids.py src/lesionlab/models/bundled.onnx --data build/packaged/ham10000 \
        --data ../shared/milk10k --split build/packaged/splits.csv

writes the ISIC ids of the split's training and validation part into the file, in place. Nothing else of it is touched.
"""

import argparse
import json

import onnx

from held_out import add_model_arguments, images_of_split
from lesionlab.data.isic_ids import written_ids
from lesionlab.files import replacing
from lesionlab.inference.bundle import open_bundle


def main() -> None:
    """Write the ids, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    options = parser.parse_args()
    facts = open_bundle(options.model).facts
    table = images_of_split(options.data, options.split, facts.taxonomy)
    known = table.loc[table["part"] != "test", "image_id"]
    model = onnx.load(options.model)
    written = {prop.key: prop.value for prop in model.metadata_props} | {"training_ids": json.dumps(written_ids(known))}
    onnx.helper.set_model_props(model, written)
    with replacing(options.model) as temporary:
        onnx.save(model, temporary)
    print(f"{options.model} names {len(known):,} images that it was trained on or chosen by")


if __name__ == "__main__":
    main()

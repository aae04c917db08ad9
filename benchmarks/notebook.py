"""lesionlab's `kaggle-cnn` against the notebook's own way, to the end of three epochs: time and peak memory.

The opponent is written as the notebook has it: every image through Pillow into a pandas column, float arrays in memory,
`ImageDataGenerator`, and `fit` as Keras ships it. One argument is left out: with the notebook's `steps_per_epoch` Keras 3 stops
every second epoch after one step (the generator ends there), so that three epochs would be two. Each side runs in a process of
its own, one after the other, with an empty pixel cache for lesionlab, and the same images, split, network, batch and epochs.

    python benchmarks/notebook.py --data ../shared/ham10000
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def the_notebook(data: Path, epochs: int) -> None:
    """Steps 1 to 13 of the notebook, in its own way."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np
    import pandas as pd
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from PIL import Image
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(0)
    paths = {path.stem: path for path in data.glob("HAM10000_images*/*.jpg")}
    table = pd.read_csv(data / "HAM10000_metadata.csv")
    table["path"] = table["image_id"].map(paths.get)
    table = table.dropna(subset=["path"])
    table["code"] = pd.Categorical(table["dx"]).codes
    table["image"] = table["path"].map(lambda path: np.asarray(Image.open(path).resize((100, 75))))
    x_train, x_test, y_train, y_test = train_test_split(table, table["code"], test_size=0.20, random_state=1234)
    x_train, x_test = (np.asarray(part["image"].tolist()) for part in (x_train, x_test))
    x_train = (x_train - np.mean(x_train)) / np.std(x_train)
    x_test = (x_test - np.mean(x_test)) / np.std(x_test)
    y_train, y_test = (keras.utils.to_categorical(part, num_classes=7) for part in (y_train, y_test))
    x_train, x_valid, y_train, y_valid = train_test_split(x_train, y_train, test_size=0.1, random_state=2)
    layers = keras.layers
    model = keras.Sequential([keras.Input((75, 100, 3))])
    for filters, dropout in ((32, 0.25), (64, 0.40)):
        model.add(layers.Conv2D(filters, (3, 3), activation="relu", padding="same"))
        model.add(layers.Conv2D(filters, (3, 3), activation="relu", padding="same"))
        model.add(layers.MaxPool2D((2, 2)))
        model.add(layers.Dropout(dropout))
    for layer in (layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5)):
        model.add(layer)
    model.add(layers.Dense(7, activation="softmax"))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    annealer = keras.callbacks.ReduceLROnPlateau("val_accuracy", factor=0.5, patience=3, min_lr=1e-5)
    generator = ImageDataGenerator(rotation_range=10, zoom_range=0.1, width_shift_range=0.1, height_shift_range=0.1)
    generator.fit(x_train)
    model.fit(
        generator.flow(x_train, y_train, batch_size=10),
        epochs=epochs,
        validation_data=(x_valid, y_valid),
        callbacks=[annealer],
        verbose=0,
    )


def lesionlab_run(data: Path, epochs: int) -> None:
    """The same steps by `lesionlab`'s own functions: read, decode into the cache, split, train."""
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.data.split import kaggle_split
    from lesionlab.data.statistics import channel_statistics, encode_labels
    from lesionlab.lifecycle.prepare import decode, inspect
    from lesionlab.model.architectures import build_network
    from lesionlab.model.backend import seed_everything
    from lesionlab.model.train import Part, train
    from lesionlab.recipe import read_recipe

    seed_everything(0)
    recipe = read_recipe("kaggle-cnn").with_changes("optimizer", epochs=epochs)
    collection = read_collection(data)
    table = inspect(collection).table
    cache = decode(collection, recipe.image.height, recipe.image.width, recipe.image.crop)
    parts, labels = kaggle_split(table), encode_labels(table["dx"], collection.taxonomy)
    rows = table["row"].to_numpy()
    training, validation = (Part(rows[parts == p], labels[parts == p]) for p in ("train", "validation"))
    network = build_network(recipe, *channel_statistics(cache.pixels, training.rows), n_diagnoses=7)
    with tempfile.TemporaryDirectory() as folder:
        train(network, recipe, cache.pixels, training, validation, seed=0, checkpoint=Path(folder) / "checkpoint.npz")


SIDES = {"notebook": the_notebook, "lesionlab": lesionlab_run}


def measure(side: str, data: Path, epochs: int) -> dict[str, float]:
    """Run one side in a process of its own: seconds from start to end of it, and peak resident memory in MiB."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--data", str(data), "--epochs", str(epochs), "--side", side]
        environment = os.environ | {"LESIONLAB_CACHE": cache, "TF_CPP_MIN_LOG_LEVEL": "2"}
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def main() -> None:
    """Print a row for each side and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in HAM10000's layout")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        started = time.perf_counter()
        SIDES[options.side](options.data, options.epochs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": time.perf_counter() - started, "peak_mib": peak}))
        return
    results = {side: measure(side, options.data, options.epochs) for side in SIDES}
    for side, result in results.items():
        print(f"{side:10} {result['seconds']:7.1f} s   peak {result['peak_mib']:7.0f} MiB")
    theirs, ours = results["notebook"], results["lesionlab"]
    faster, peak = theirs["seconds"] / ours["seconds"], ours["peak_mib"] / theirs["peak_mib"]
    print(f"lesionlab is {faster:.2f} times faster and peaks at {peak:.2f} of the notebook's memory")


if __name__ == "__main__":
    main()

"""One row of `gpu.py`: one recipe on one side, in a process of its own, for a backend is chosen once a process.

In: the options of `gpu.py` as JSON, with one `recipe` and one `side`; `KERAS_BACKEND` in the environment. Out: the row, as one
line of JSON on standard output.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from lesionlab.errors import UsageError
from lesionlab.recipe import Recipe, read_recipe

SIDES = {"jax": "jax", "torch": "torch", "by-hand": "torch"}  # side: the package it needs
VALIDATED = 64
ON_DEVICE = 8  # batches that the step alone goes round


def chosen_recipe(name: str, options: argparse.Namespace) -> Recipe:
    """Read a recipe and give it the precision, batch and size that were asked for."""
    recipe = read_recipe(name).with_changes("training", precision=options.precision)
    if options.batch:
        recipe = recipe.with_changes("optimizer", batch_size=options.batch)
    if options.px:
        longer = max(recipe.image.height, recipe.image.width)
        scaled = {side: round(getattr(recipe.image, side) * options.px / longer) for side in ("height", "width")}
        recipe = recipe.with_changes("image", **scaled)
    return recipe


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one recipe on one side: a row of the table, and what it was measured on."""
    recipe, package = chosen_recipe(options.recipe, options), SIDES[options.side]
    row = describe_device(package) | {"recipe": options.recipe, "side": options.side}
    row |= {"precision": recipe.training.precision, "batch": recipe.optimizer.batch_size}
    row["px"] = f"{recipe.image.height} x {recipe.image.width}"
    row["peak TFLOP/s"] = matrix_peak(package, options.peak_size, recipe.training.precision)
    row |= (by_hand if options.side == "by-hand" else by_keras)(recipe, options)
    row["TFLOP/s"] = row["step, images/s"] * row["GFLOP/image"] / 1e3
    row["share of peak"] = row["TFLOP/s"] / row["peak TFLOP/s"]
    if options.until and options.side != "by-hand":
        row["time to"] = time_to(recipe, options)
    return row


def by_keras(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Train by `lesionlab.model.train.train`, then call the step that it made."""
    from lesionlab.model import train as training
    from lesionlab.model.architectures import build_network
    from lesionlab.model.backend import keras, seed_everything

    seed_everything(0)
    recipe = recipe.with_changes("optimizer", epochs=options.epochs).with_changes("training", first_side=0)
    network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True)
    epochs: list[tuple[float, float]] = []  # seconds of the fit; when validation and checkpoint were done too
    with (
        random_images(recipe, options.images) as (pixels, labels),
        tempfile.TemporaryDirectory() as folder,
        keeping(training, "with_augmentation") as models,
        keeping(training, "Batches") as made,
    ):
        rows = np.arange(len(pixels))
        parts = [training.Part(rows[side], labels[side]) for side in (slice(-VALIDATED), slice(-VALIDATED, None))]
        training.train(
            network,
            recipe,
            pixels,
            *parts,
            seed=0,
            checkpoint=Path(folder) / "c.npz",
            report=lambda row: epochs.append((row["seconds"], time.perf_counter())),
            resident={"auto": None, "yes": True, "no": False}[options.resident],
        )
        (model,), (batches,) = models, made
        kept = [batches[index] for index in range(min(ON_DEVICE, len(batches)))]
    on_device = [tuple(map(keras.ops.convert_to_tensor, batch)) for batch in kept]
    counts = {"XLA": xla_gflop(model, on_device[0]), "layers": layers_gflop(network)}
    counted_by = "XLA" if counts["XLA"] else "layers"
    step, turn = keras_step(model), cycle(on_device)
    seconds = seconds_a_step(lambda: step(next(turn)), options.steps)
    fits = [fit for fit, _ in epochs[1:]]
    return {
        "parameters": network.count_params(),
        "is_compiled": model.jit_compile,
        "images on device": "yes" if any(layer.name == "resident" for layer in model.layers) else "no",
        "step, images/s": recipe.optimizer.batch_size / seconds,
        "train, images/s": recipe.optimizer.batch_size * len(batches) / statistics.median(fits),
        "input's share": 1 - seconds * len(batches) / statistics.median(fits),
        "outside fit": 1 - sum(fits) / (epochs[-1][1] - epochs[0][1]),
        "GFLOP/image": counts[counted_by],
        "counted by": counted_by,
        "GFLOP counts": counts,
    }


def by_hand(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Call the opponent's step; the faster of the ways to compile it counts."""
    import torch

    import gpu_by_hand

    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # as convolutions compute, and Keras on JAX
    found = []
    with random_images(recipe, options.images) as (pixels, labels):
        for mode in ("default", "reduce-overhead") if torch.cuda.is_available() else ("default",):
            torch.compiler.reset()
            step, parameters, gflop = gpu_by_hand.make_step(recipe, pixels, labels, mode=mode)
            speed = recipe.optimizer.batch_size / seconds_a_step(step, options.steps)
            found.append({"step, images/s": speed, "parameters": parameters, "GFLOP/image": gflop, "mode": mode})
    best = max(found, key=lambda row: row["step, images/s"])
    return best | {"images on device": "yes", "counted by": "layers", "modes": found}


def time_to(recipe: Recipe, options: argparse.Namespace) -> str:
    """Train a recipe on real images until the validation part's balanced accuracy is reached.

    The clock starts with `train`: compiling, validation and checkpoints count, reading the files does not.
    """
    from lesionlab.lifecycle import prepare, values
    from lesionlab.model.architectures import build_network
    from lesionlab.model.backend import seed_everything
    from lesionlab.model.pretrained import load_pretrained
    from lesionlab.model.train import Part, train

    class Reached(Exception):  # noqa: N818 - no error
        pass

    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    best = 0.0

    def watch(row: dict[str, float]) -> None:
        nonlocal best
        best = max(best, row["val_balanced_accuracy"])
        print(f"epoch {row['epoch']}: validation balanced accuracy {row['val_balanced_accuracy']:.3f}", flush=True)
        if best >= options.until:
            raise Reached(f"{best:.3f} in {time.perf_counter() - started:.1f} s, epoch {row['epoch']}")

    with tempfile.TemporaryDirectory() as folder:
        run = values.Run(values.Request(recipe, Path(options.data), Path(folder)))
        prepared = prepare.prepare(run)
        divided = prepare.divide(run, prepared)
        seed_everything(0)
        network = build_network(recipe, divided.mean, divided.std, n_diagnoses=7, for_training=True)
        try:
            load_pretrained(network, recipe)
        except UsageError as error:  # a file of weights fits one architecture
            return f"not tried: {error}"
        parts = (Part(divided.rows(part), divided.labels_of(part)) for part in ("train", "validation"))
        started = time.perf_counter()
        try:
            train(network, recipe, prepared.pixels, *parts, seed=0, checkpoint=Path(folder) / "c.npz", report=watch)
        except Reached as reached:
            return str(reached)
    return f"not reached: best {best:.3f} in {time.perf_counter() - started:.1f} s"


@contextlib.contextmanager
def random_images(recipe: Recipe, images: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Within it there are full batches of random images, and `VALIDATED` more, mapped from a file; and their labels."""
    size = recipe.optimizer.batch_size
    rng, total = np.random.default_rng(0), max(1, images // size) * size + VALIDATED
    shape = (total, recipe.image.height, recipe.image.width, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        np.save(path, rng.integers(0, 256, shape, dtype=np.uint8))
        yield np.load(path, mmap_mode="r"), rng.integers(0, 7, total)


@contextlib.contextmanager
def keeping(module: Any, name: str) -> Iterator[list[Any]]:
    """Within it, what `module.name` makes is kept in a list: `train` gives neither its model nor its batches away."""
    made, make = [], getattr(module, name)

    def make_and_keep(*args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]

    setattr(module, name, make_and_keep)
    try:
        yield made
    finally:
        setattr(module, name, make)


def keras_step(model: Any) -> Callable[[Any], Any]:
    """Give the function that `fit` calls for every batch; the model cannot be used otherwise afterwards."""
    from lesionlab.model.backend import keras

    if keras.backend.backend() == "torch":
        model.train()
        return lambda batch: model.train_function([batch])
    state = jax_state(model, purge_model_variables=True)  # given away to each step, so that none is held twice

    def step(batch: Any) -> Any:
        nonlocal state
        logs, state = model.train_function(state, iter([batch]))
        return logs

    return step


def jax_state(model: Any, **options: bool) -> Any:
    """Take the variables of a model as `fit` does on JAX."""
    kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    return model._get_jax_state(**dict.fromkeys(kinds, True), **options)


def seconds_a_step(step: Callable[[], Any], steps: int) -> float:
    """Median over three rounds, after one to warm up; the device is waited for at the end of a round only."""
    rounds = []
    for size in (min(steps, 20), steps, steps, steps):
        started = time.perf_counter()
        for _ in range(size):
            result = step()
        wait(result)
        rounds.append((time.perf_counter() - started) / size)
    return statistics.median(rounds[1:])


def wait(value: Any) -> None:
    """Wait until the device has computed a value, or all that it was given."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.block_until_ready(value)
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def xla_gflop(model: Any, batch: Any) -> float | None:
    """GFLOP an image that XLA counts in a training step before it optimises it; None on other backends."""
    from lesionlab.model.backend import keras

    if keras.backend.backend() != "jax":
        return None
    import jax

    cost = jax.jit(model.train_step).lower(jax_state(model), batch).cost_analysis()
    return cost["flops"] / len(batch[1]) / 1e9 if cost else None


def layers_gflop(network: Any) -> float:
    """GFLOP of an image and step in convolutions and products: forward, and twice that backward where trained."""
    total = 0
    for layer in network._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            places = math.prod(layer.output.shape[1:-1])  # () for a dense layer: 1
            total += 2 * (3 if layer.trainable else 1) * math.prod(kernel.shape) * places
    return total / 1e9


def matrix_peak(package: str, size: int, precision: str) -> float:
    """TFLOP/s of products of two square matrices, the best of five rounds of ten."""
    best = math.inf
    if package == "jax":
        import jax

        matrix = jax.random.normal(jax.random.key(0), (size, size)).astype(precision)
        product = jax.jit(lambda left, right: left @ right)
    else:
        import torch

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")  # TF32, in which convolutions of float32 compute
        device = "cuda" if torch.cuda.is_available() else "cpu"
        matrix, product = torch.randn(size, size, device=device).to(getattr(torch, precision)), torch.matmul
    for _ in range(6):  # the first compiles
        started = time.perf_counter()
        for _ in range(10):
            result = product(matrix, matrix)
        wait(result)
        best = min(best, time.perf_counter() - started)
    if package == "torch":
        torch.set_float32_matmul_precision(before)
    return 10 * 2 * size**3 / best / 1e12


def describe_device(package: str) -> dict[str, Any]:
    """Name the device, say whether it is a GPU, and give the versions that matter."""
    if package == "jax":
        import jax

        device = jax.devices()[0]
        name, is_gpu, built = device.device_kind, device.platform == "gpu", device.client.platform_version
        versions = f"JAX {jax.__version__} ({' '.join(built.split())})"
    else:
        import torch

        is_gpu = torch.cuda.is_available()
        name = torch.cuda.get_device_name() if is_gpu else "cpu"
        versions = f"PyTorch {torch.__version__}" + f" (cuDNN {torch.backends.cudnn.version()})" * is_gpu
    versions = f"Keras {version('keras')}, {versions}, Python {sys.version.split()[0]}"
    return {"device": name, "is_gpu": is_gpu, "versions": versions}


if __name__ == "__main__":
    asked = argparse.Namespace(**json.loads(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr):
        answer = measure(asked)
    print(json.dumps(answer))

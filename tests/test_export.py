"""Exports: one input, the facts inside, equal to Keras on real images, or nothing is written."""

import importlib.util
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from lesionlab.cli import main
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.inference.bundle import open_bundle
from lesionlab.inference.facts import make_facts
from lesionlab.inference.model import load_model
from lesionlab.lifecycle import export, export_int8
from lesionlab.model.architectures import build_network, with_decision
from lesionlab.model.backend import keras
from lesionlab.model.decision_rule import Decision, apply_decision
from lesionlab.model.export import int8, proof
from lesionlab.model.export.head import read_head, with_head
from lesionlab.model.export.int8 import quantise
from lesionlab.model.export.onnx import export_litert, export_onnx
from lesionlab.model.safe_load import load_network
from lesionlab.recipe import Recipe, read_recipe
from lesionlab.taxonomy import read_taxonomy
from run_files import run_manifest

pytestmark = pytest.mark.slow

SIZE = 32


RULE = Decision("prior-corrected", 1.0, (2.0, -1.0, 1.5, 2.5, 0.5, 3.0, 3.5), 0.8)


def recipe_of(architecture: str) -> Recipe:
    recipe = read_recipe("quick").with_changes("image", height=SIZE, width=SIZE)
    return recipe.with_changes("model", architecture=architecture, weights="none")


def network_of(architecture: str, seed: int = 1):
    """A network whose answers differ between images: its head is drawn wide."""
    network = build_network(recipe_of(architecture), np.full(3, 140.0), np.full(3, 40.0), n_diagnoses=7, seed=seed)
    head = network.get_layer("probabilities")
    kernel, bias = head.get_weights()
    head.set_weights([kernel * 8, bias])
    return network


@pytest.fixture(scope="module")
def facts() -> dict:
    return make_facts(
        name="test",
        taxonomy=read_taxonomy("ham10000"),
        height=SIZE,
        width=SIZE,
        crop="centre",
        decision={},
        training_data="none",
        licence="none",
        card="# Card",
    ).to_json()


@pytest.fixture(scope="module")
def pixels(phantoms: Path) -> np.ndarray:
    paths = read_collection(phantoms).table["path"][:24]
    return np.stack([read_image(Path(path), SIZE, SIZE, "centre") for path in paths])


@pytest.fixture(scope="module")
def run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a finished run that an export reads."""
    folder = tmp_path_factory.mktemp("run")
    table = read_collection(phantoms).table[["image_id", "lesion_id", "dx"]]
    parts = np.array(["train", "validation", "test"])[np.arange(len(table)) % 3]
    table.assign(group=table["lesion_id"], part=parts).to_csv(folder / "splits.csv", index=False)
    with_decision(network_of("small-cnn"), RULE).save(folder / "model.keras")
    (folder / "manifest.json").write_text(json.dumps(run_manifest(folder=str(phantoms))))
    decision = asdict(RULE) | {"thresholds": {}, "conformal": {}}
    (folder / "metrics.json").write_text(json.dumps({"decision": decision}))
    (folder / "recipe.toml").write_text(recipe_of("small-cnn").to_toml())
    (folder / "card.md").write_text("# A card")
    return folder


@pytest.mark.parametrize("architecture", ["small-cnn", "notebook-cnn"])
def test_onnx(architecture: str, facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    network = network_of(architecture)
    path = tmp_path / "m.onnx"
    assert export_onnx(network, path, facts, pixels) < proof.TOLERANCE
    opened = open_bundle(path)
    assert opened.facts.card == "# Card" and opened.has_activation_maps == (architecture == "small-cnn")
    assert [value.domain for value in onnx.load(path).opset_import if value.domain == ""] == [""]
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    by_keras = proof.keras_probabilities(network, pixels)
    assert np.ptp(by_keras, axis=0).max() > 0.01, "answers must differ for the comparison to mean anything"
    assert np.abs(load_model(path).predict(list(pixels)).probabilities - by_keras).max() < proof.TOLERANCE


def test_activation_maps_are_the_logits_by_place(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    network = network_of("small-cnn")
    export_onnx(network, tmp_path / "m.onnx", facts, pixels)
    session = open_bundle(tmp_path / "m.onnx").session
    probabilities, maps, features = session.run(["probabilities", "activation_maps", "features"], {"image": pixels})
    kernel, bias = network.get_layer("probabilities").get_weights()
    logits = maps.mean(axis=(1, 2)) + bias
    assert np.abs(logits - (features @ kernel + bias)).max() < 1e-4
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.abs(shares / shares.sum(axis=1, keepdims=True) - probabilities).max() < 1e-5


def test_an_export_that_differs_is_not_written(facts, pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = proof.keras_probabilities
    monkeypatch.setattr(proof, "keras_probabilities", lambda *arguments: true(*arguments) + 2e-4)
    with pytest.raises(LesionlabError, match=r"The ONNX export differs from Keras by 2.0e-04 .* nothing was written"):
        export_onnx(network_of("small-cnn"), tmp_path / "m.onnx", facts, pixels)
    assert list(tmp_path.iterdir()) == []


def convolutional(between) -> keras.Model:
    """A small network: what is given, between a stem and the head that an export looks for."""
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 4, strides=4)(layers.Rescaling(1 / 255)(inputs))
    for layer in between:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(7, activation="softmax", name="probabilities")(x))


def test_what_convnext_is_made_of_is_written(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    """A convolution with a group for each channel, and GELU: of neither, as TensorFlow has them, ONNX has an operator."""
    block = [keras.layers.Conv2D(8, 7, padding="same", groups=8), keras.layers.Dense(8, activation="gelu")]
    network = with_decision(convolutional(block), RULE)
    export_onnx(network, tmp_path / "m.onnx", facts, pixels)
    expected = proof.keras_probabilities(network, pixels)
    assert np.abs(load_model(tmp_path / "m.onnx").predict(list(pixels)).probabilities - expected).max() < 1e-5
    assert export_litert(network, tmp_path / "m.tflite", facts, pixels) < 1e-5


def test_what_efficientnet_normalises_by_is_no_input(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    export_onnx(convolutional([keras.layers.Normalization()]), tmp_path / "m.onnx", facts, pixels)
    assert [given.name for given in onnx.load(tmp_path / "m.onnx").graph.input] == ["image"]


def test_what_onnx_has_no_operator_for_is_said(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    network = convolutional([keras.layers.Lambda(lambda x: keras.ops.erfinv(keras.ops.tanh(x)))])
    with pytest.raises(LesionlabError, match="cannot be written as ONNX: No Op registered for Erfinv"):
        export_onnx(network, tmp_path / "m.onnx", facts, pixels)
    assert list(tmp_path.iterdir()) == []


def test_int8_is_as_good_or_not_written(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    network = network_of("small-cnn")
    export_onnx(network, tmp_path / "m.onnx", facts, pixels)
    labels = proof.keras_probabilities(network, pixels).argmax(axis=1)
    result = quantise(tmp_path / "m.onnx", tmp_path / "8.onnx", facts, pixels, pixels, labels, allowed_loss=0.5)
    assert result.images == len(pixels) and result.balanced_accuracy_float32 == 1.0 and result.same_answers > 0.5
    assert open_bundle(tmp_path / "8.onnx").has_activation_maps
    operators = {node.op_type for node in onnx.load(tmp_path / "8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    with pytest.raises(
        LesionlabError, match="int8 export loses .* points of balanced accuracy on 24 validation images"
    ):
        quantise(tmp_path / "m.onnx", tmp_path / "no.onnx", facts, pixels, pixels, labels, allowed_loss=-1.0)
    assert not (tmp_path / "no.onnx").exists()


def test_int8_decides_in_float32(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    """The rule behind the head in 8 bits gave rows that did not sum to 1, and no prediction."""
    network = network_of("small-cnn")
    expected = apply_decision(proof.keras_probabilities(network, pixels), RULE)
    export_onnx(with_decision(network, RULE), tmp_path / "m.onnx", facts, pixels, compact=False)
    result = quantise(
        tmp_path / "m.onnx", tmp_path / "8.onnx", facts, pixels, pixels, expected.argmax(axis=1), allowed_loss=1.0
    )
    found = load_model(tmp_path / "8.onnx").predict(list(pixels)).probabilities
    assert np.abs(found - expected).max() < 0.2 and result.same_answers > 0.9
    nodes = onnx.load(tmp_path / "8.onnx").graph.node
    head = next(at for at, node in enumerate(nodes) if node.op_type == "Softmax")
    assert not [node.name for node in nodes[head:] if node.op_type == "QuantizeLinear"]


def test_int8_of_an_adapted_file_decides_in_float32(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    """Its head was put in by `adapt`, with the rule behind it, under names of its own."""
    network = network_of("small-cnn")
    export_onnx(network, tmp_path / "m.onnx", facts, pixels, compact=False)
    data = (tmp_path / "m.onnx").read_bytes()
    head = read_head(data, np.array(RULE.log_shift), "m")
    for name in ("once", "twice"):
        data = with_head(data, head, facts, "m")
        (tmp_path / f"{name}.onnx").write_bytes(data)
        expected = load_model(tmp_path / f"{name}.onnx").predict(list(pixels)).probabilities
        given = tmp_path / f"{name}.onnx", tmp_path / f"{name}-8.onnx", facts, pixels, pixels, expected.argmax(axis=1)
        assert quantise(*given, allowed_loss=1.0).same_answers > 0.9
        found = load_model(tmp_path / f"{name}-8.onnx").predict(list(pixels)).probabilities
        assert np.abs(found - expected).max() < 0.2


def test_int8_that_gives_no_probabilities_is_not_written(
    facts: dict, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = with_decision(network_of("small-cnn"), RULE)
    export_onnx(network, tmp_path / "m.onnx", facts, pixels, compact=False)
    monkeypatch.setattr(int8, "_kept_float", lambda path: [])
    with pytest.raises(LesionlabError, match="gives no probabilities: those of an image do not sum to 1"):
        quantise(
            tmp_path / "m.onnx",
            tmp_path / "8.onnx",
            facts,
            pixels,
            pixels,
            np.arange(len(pixels)) % 7,
            allowed_loss=1.0,
        )
    assert not (tmp_path / "8.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert", "savedmodel", "keras"])
def test_export_of_a_run(format: str, run: Path, capfd) -> None:
    assert main(["export", str(run), "--format", format]) == 0
    shown, log = capfd.readouterr()
    assert "XNNPACK" not in log
    assert "written." in shown and "Largest difference from Keras:" in shown and "on 54 test images" in shown
    if format == "onnx":
        written = open_bundle(run / "model.onnx").facts
        assert written.card == "# A card" and written.training_data.startswith(
            "generated lesions, of no patient: 120 images"
        )
        assert str(run) not in json.dumps(written.to_json()) and "/" not in written.training_data
    elif format == "savedmodel":
        assert json.loads((run / "savedmodel" / "facts.json").read_text())["crop"] == "centre"
        assert main(["export", str(run), "--format", format]) == 0, "an older one is replaced"
    elif format == "litert":
        assert json.loads((run / "model.tflite.json").read_text())["crop"] == "centre"
    else:
        assert load_network(run / "exported.keras").output_shape == (None, 7)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_int8_of_a_run(run: Path, tmp_path: Path, capfd) -> None:
    arguments = ["export", str(run), "--format", "onnx-int8", "--out", str(tmp_path / "8.onnx")]
    assert main([*arguments, "--allowed-loss", "100"]) == 0
    assert "Balanced accuracy on 54 validation images" in capfd.readouterr().out
    assert main(["export", str(run), "--allowed-loss", "2"]) == 2
    assert "is of --format onnx-int8, not of onnx" in capfd.readouterr().err
    assert open_bundle(tmp_path / "8.onnx").facts.name == "quick-int8"
    assert [path.name for path in tmp_path.iterdir()] == ["8.onnx"]


def test_int8_of_a_file(run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "model.onnx"
    export.export_run(run, "onnx", source)
    command = ["export", str(source), "--format", "onnx-int8", "--data", str(phantoms), "--allowed-loss", "100"]
    assert main(command) == 2
    assert (
        "images that can be read; int8 needs at least 512: to calibrate on, and to test on" in capsys.readouterr().err
    )
    monkeypatch.setattr(export_int8, "CALIBRATION", 32)
    monkeypatch.setattr(export_int8, "_LEAST", 64)
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "quick-int8.onnx written" in shown and "images that the model may have been trained on" in shown
    before, after = load_model(source), load_model("quick-int8.onnx")
    assert after.facts.card.startswith(
        "> This file computes in 8-bit integers; the figures below are those of its float32 form."
    )
    assert after.facts.thresholds == before.facts.thresholds and after.facts.card.endswith(before.facts.card)
    paths = [Path(path) for path in read_collection(phantoms).table["path"][:20]]
    assert np.abs(after.predict(paths).probabilities - before.predict(paths).probabilities).mean() < 0.1
    assert after.bundle.has_ood_score == before.bundle.has_ood_score
    assert main(["export", "quick-int8.onnx", *command[2:]]) == 2
    assert "is a model of 8-bit integers already" in capsys.readouterr().err
    assert main([*command, "--out", str(source)]) == 2
    assert main(["export", str(source), "--data", str(phantoms)]) == 2
    assert "--data goes with a model file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics.json", "{}", "metrics.json does not say how it decides"),
        ("recipe.toml", None, "recipe.toml is gone"),
        ("recipe.toml", "[image]\nheight = 48\nwidth = 48\n", "takes other images than recipe.toml has it"),
        ("splits.csv", "image_id,lesion_id,group,dx,part\n", "splits.csv has no image of the part 'test'"),
    ],
)
def test_a_damaged_run_is_said(file: str, text: str | None, message: str, run: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    out = tmp_path / "out.keras"
    assert main(["export", str(folder), "--format", "keras", "--out", str(out)]) == 1
    assert message in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("format", ["onnx", "onnx-int8"])
def test_a_file_without_its_score_is_not_let_out(
    format: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"as it was")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.ood_score, "add_ood_score", fail)
    with pytest.raises(KeyboardInterrupt):
        export.export_run(run, format, out, allowed_loss=1.0)
    assert out.read_bytes() == b"as it was" and list(tmp_path.iterdir()) == [out]


def test_what_is_no_finished_run(run: Path, tmp_path: Path, phantoms: Path) -> None:
    with pytest.raises(UsageError, match="is no run directory. Give one that 'lesionlab run' has written"):
        export.export_run(tmp_path, "onnx")
    with pytest.raises(UsageError, match="nowhere does not exist. Choose another file with --out"):
        export.export_run(run, "onnx", tmp_path / "nowhere" / "m.onnx")
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "evaluation", "finished": "2026-11-26"}))
    with pytest.raises(UsageError, match="holds an evaluation, by 'lesionlab evaluate', and no run"):
        export.export_run(tmp_path, "onnx")
    (tmp_path / "manifest.json").write_text(json.dumps({"request": {}, "finished": None}))
    with pytest.raises(UsageError, match="is not finished. The same 'lesionlab run' goes on with it"):
        export.export_run(tmp_path, "onnx")
    (tmp_path / "splits.csv").write_bytes((run / "splits.csv").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(run_manifest(folder=str(tmp_path / "gone"))))
    with pytest.raises(LesionlabError, match="The images of the run in .* are gone: .*gone does not exist"):
        export.export_run(tmp_path, "keras")
    table = pd.read_csv(run / "splits.csv")
    table.loc[0, "image_id"] = "ISIC_9999999"
    table.to_csv(tmp_path / "splits.csv", index=False)
    for name in ("manifest.json", "recipe.toml"):
        (tmp_path / name).write_text((run / name).read_text())
    with pytest.raises(LesionlabError, match=r"1 images of the run are gone \(ISIC_9999999\)"):
        export.export_run(tmp_path, "keras")


@pytest.mark.parametrize(
    ("format", "name", "message"),
    [
        ("onnx", "report.html", "does not end in .onnx"),
        ("litert", "model.keras", "does not end in .tflite"),
        ("keras", "model.keras", "is a run's own model"),
        ("onnx", "final.onnx", "is a run's own model"),
        ("onnx-int8", "model.onnx", "is a run's own model"),
        ("onnx", "folder.onnx", "is a folder"),
    ],
)
def test_no_file_of_the_run_is_overwritten(format: str, name: str, message: str, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "folder.onnx").mkdir(parents=True)
    (folder / "manifest.json").write_bytes((run / "manifest.json").read_bytes())
    with pytest.raises(UsageError, match=message):
        export.export_run(folder, format, folder / name)


def test_a_run_that_is_none_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nope is no run directory"):
        export.export_run(Path("nope"), "onnx")


def test_a_folder_that_is_no_savedmodel_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(LesionlabError, match="exists and is no SavedModel"):
        export.export_run(run, "savedmodel", tmp_path / "mine")


def test_a_format_that_cannot_be_written_here(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else sys)
    with pytest.raises(
        UsageError,
        match="The format onnx cannot be written here: ONNX needs tf2onnx, which is not installed: pip install",
    ):
        export.export_run(run, "onnx")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="LiteRT is written from the TensorFlow backend, this one is torch"):
        export.export_run(run, "litert")


def test_litert(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    assert export_litert(network_of("small-cnn"), tmp_path / "m.tflite", facts, pixels) < proof.TOLERANCE
    assert json.loads((tmp_path / "m.tflite.json").read_text())["name"] == "test"


def test_the_mean_over_flipped_views_is_in_the_file(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    recipe = recipe_of("MobileNet")
    network = build_network(recipe, np.full(3, 140.0), np.full(3, 40.0), n_diagnoses=7, views=4)
    network.save(tmp_path / "m.keras")
    network = load_network(tmp_path / "m.keras")
    export_onnx(network, tmp_path / "m.onnx", facts, pixels)
    assert "ReverseSequence" not in {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    model = load_model(tmp_path / "m.onnx")
    straight = model.predict(list(pixels), explain=True)
    turned = model.predict([np.ascontiguousarray(image[::-1]) for image in pixels], explain=True)
    assert np.abs(straight.probabilities - turned.probabilities).max() < 1e-5
    for a, b in zip(straight, turned, strict=True):
        np.testing.assert_allclose(a.activation_maps, b.activation_maps[::-1], atol=1e-4)


def test_the_decision_is_in_the_file_and_in_keras_own(facts: dict, pixels: np.ndarray, tmp_path: Path) -> None:
    decision = Decision("prior-corrected", 1.0, (2.0, -1.0, 1.5, 2.5, 0.5, 3.0, 3.5), 0.8)
    network = network_of("small-cnn")
    expected = apply_decision(proof.keras_probabilities(network, pixels), decision)
    with_decision(network, decision).save(tmp_path / "m.keras")
    loaded = load_network(tmp_path / "m.keras")
    assert np.abs(proof.keras_probabilities(loaded, pixels) - expected).max() < 1e-6
    export_onnx(loaded, tmp_path / "m.onnx", facts, pixels)
    found = load_model(tmp_path / "m.onnx").predict(list(pixels), explain=True)
    assert np.abs(found.probabilities - expected).max() < 1e-5
    assert (found.probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert found[0].activation_maps.shape[2] == 7


@pytest.mark.parametrize(
    ("format", "said"),
    [("onnx", "copy it"), ("onnx-int8", "add --data DIR"), ("litert", "litert is made of a run: give its directory")],
)
def test_a_model_file_in_place_of_a_run_is_told_what_it_can_become(
    format: str, said: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tiny), "--format", format]) == 2
    assert f"{tiny} is a model file" in (told := capsys.readouterr().err) and said in told

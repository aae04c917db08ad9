"""The main job as its user runs it: `lesionlab run`, mostly in a process of its own, on generated lesions."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import lesionlab_here, undrawn_command, write_blank
from lesionlab.cli import main
from lesionlab.errors import LesionlabError
from lesionlab.recipe import read_recipe
from lesionlab.runs import directory, start
from lesionlab.taxonomy import DX, HAM10000
from run_files import run_manifest
from test_duplicates import KNOWN_PAIRS

CONTRACT = {
    "report.html",
    "metrics.json",
    "predictions.csv",
    "splits.csv",
    "history.csv",
    "recipe.toml",
    "manifest.json",
    "card.md",
    "figures",
    "model.keras",
    "model.onnx",
}


def test_the_fourteen_steps_are_named_in_order(finished: tuple[Path, str]) -> None:
    lines = [line for line in finished[1].splitlines() if "/14  " in line]
    assert [int(line.split("/")[0]) for line in lines] == list(range(1, 15))
    assert "Cleaning" in lines[3] and "Evaluation" in lines[13]
    assert "not a medical device" in finished[1]


def test_nothing_but_the_steps_is_printed(phantoms: Path, recipe: Path, finished: tuple[Path, str], capfd) -> None:
    """Of the run itself, in its own process, `finished` has seen to it."""
    assert main(["run", "--data", str(phantoms), "--recipe", str(recipe), "--out", str(finished[0])]) == 0
    assert capfd.readouterr().err == ""


def test_the_run_directory_holds_what_the_contract_says(finished: tuple[Path, str]) -> None:
    out = finished[0]
    visible = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert visible >= CONTRACT and "checkpoint.npz" not in visible
    metrics = json.loads((out / "metrics.json").read_text())
    for part in ("train", "validation", "test"):
        assert {"balanced_accuracy", "macro_auc", "accuracy"} <= set(metrics[part])
    assert metrics["is_generated"] is True


def test_the_predictions_give_the_metrics(finished: tuple[Path, str]) -> None:
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix

    predictions = pd.read_csv(finished[0] / "predictions.csv")
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    assert list(predictions.columns[:8]) == ["image", *HAM10000.columns]
    np.testing.assert_allclose(predictions[list(HAM10000.columns)].sum(axis=1), 1, atol=1e-5)
    test = predictions[predictions["part"] == "test"]
    assert metrics["test"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test.truth, test.predicted))
    assert metrics["test"]["confusion"] == confusion_matrix(test.truth, test.predicted, labels=DX).tolist()


def test_the_manifest_proves_the_split(finished: tuple[Path, str]) -> None:
    manifest = json.loads((finished[0] / "manifest.json").read_text())
    assert manifest["split"]["proof"]["is_leaking"] is False
    assert [stage["step"] for stage in manifest["stages"]] == list(range(1, 15))
    splits = pd.read_csv(finished[0] / "splits.csv")
    assert (splits.groupby("lesion_id")["part"].nunique() == 1).all()
    assert manifest["environment"]["packages"]["keras"] and len(manifest["data"]["fingerprint"]) == 64


def test_the_saved_models_give_the_predictions(finished: tuple[Path, str]) -> None:
    """Row 10: Keras and ONNX on the whole test part."""
    import onnxruntime

    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.lifecycle.prepare import decode
    from lesionlab.model.backend import keras

    out = finished[0]
    manifest = json.loads((out / "manifest.json").read_text())
    collection = read_collection(Path(manifest["data"]["folder"]))
    cache = decode(collection, 24, 24, "centre")
    predictions = pd.read_csv(out / "predictions.csv").set_index("image").loc[collection.table["image_id"]]
    expected = predictions[list(HAM10000.columns)].to_numpy()
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    by_onnx = session.run(None, {session.get_inputs()[0].name: np.asarray(cache.pixels)})[0]
    network = keras.models.load_model(out / "model.keras", safe_mode=True, compile=False)
    by_keras = network.predict_on_batch(np.asarray(cache.pixels, np.float32))
    for probabilities in (by_onnx, by_keras):
        np.testing.assert_allclose(probabilities, expected, atol=1e-4)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), expected.argmax(axis=1))


def test_a_finished_run_is_not_done_again(phantoms: Path, recipe: Path, finished: tuple[Path, str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished[0].rglob("*") if path.name != ".lock"}
    again = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", finished[0])
    assert again.returncode == 0 and "Nothing was done again" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in finished[0].rglob("*") if path.name != ".lock"} == before


def test_a_finished_run_that_lost_files_says_so_and_writes_its_report_anew(
    phantoms: Path, recipe: Path, finished: tuple[Path, str], tmp_path: Path, capsys
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    asked = ["run", "--data", str(phantoms), "--recipe", str(recipe), "--out", str(out)]
    assert main(asked) == 0 and "written anew" in capsys.readouterr().out
    assert (out / "report.html").read_bytes() == before
    (out / "card.md").unlink()
    (out / "splits.csv").unlink()
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "damaged: splits.csv, card.md are gone" in said and "--again" in said
    assert main(["export", str(out), "--format", "onnx"]) == 1 and "splits.csv is gone" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_a_folder_whose_name_is_no_unicode_is_refused(phantoms: Path, recipe: Path, tmp_path: Path, capsys) -> None:
    """From an old archive: bytes of Latin-1, which Python holds as lone surrogates."""
    odd = tmp_path / "f\udcfcnf"
    shutil.copytree(phantoms, odd)
    out = ["--out", str(tmp_path / "out")]
    for asked in (
        ["run", "--data", str(odd), *out],
        ["run", "--data", str(phantoms), "--recipe", str(recipe), "--out", str(odd / "run")],
        ["evaluate", "--data", str(odd), *out],
        ["evaluate", "--data", str(phantoms), "--out", str(odd / "e")],
        ["check", str(odd)],
    ):
        assert main(asked) == 2
        said = capsys.readouterr().err
        assert r"f\udcfcnf" in said and "is not valid in this system's file-name encoding" in said
    assert not (tmp_path / "out").exists()


def test_another_run_is_not_mixed_in(phantoms: Path, recipe: Path, finished: tuple[Path, str]) -> None:
    other = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", finished[0], "--seed", 8)
    assert other.returncode == 2
    assert "holds another run (it differs in: seed)" in other.stderr and "--again" in other.stderr


def test_the_same_split_file_with_other_parts_is_another_run(phantoms: Path, tmp_path: Path, capsys) -> None:
    """Else a training that went on after a kill would be tested on what it had learnt."""
    out, split = tmp_path / "out", tmp_path / "split.csv"
    images = pd.read_csv(next(phantoms.glob("*.csv")))["image_id"]
    arguments = ["run", "--data", str(phantoms), "--recipe", "mobile", "--split", str(split), "--out", str(out)]
    arguments += ["--weights", "nowhere.weights.h5"]  # it ends soon
    assert main(arguments) == 2 and "There is no split file" in capsys.readouterr().err
    pd.DataFrame({"image_id": images, "part": "train"}).to_csv(split, index=False)
    assert main(arguments) == 2 and "There is no weights file" in capsys.readouterr().err
    (out / "checkpoint.npz").touch()
    pd.DataFrame({"image_id": images, "part": "test"}).to_csv(split, index=False)
    assert main(arguments) == 2
    assert "holds another run (it differs in: split file)" in capsys.readouterr().err


def test_a_split_that_trains_on_one_diagnosis_alone_is_refused(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    table = pd.read_csv(next(phantoms.glob("*.csv")))
    part = np.where(table["dx"] == "nv", "train", np.where(table["dx"] == "mel", "validation", "test"))
    pd.DataFrame({"image_id": table["image_id"], "part": part}).to_csv(tmp_path / "split.csv", index=False)
    arguments = ["--data", phantoms, "--recipe", recipe, "--split", tmp_path / "split.csv", "--out", tmp_path / "run"]
    done = lesionlab_here("run", *arguments)
    assert done.returncode == 2 and "leaves one diagnosis alone to train on (nv)" in done.stderr


def test_one_diagnosis_alone_is_nothing_to_learn(phantoms: Path, recipe: Path, tmp_path: Path, capsys) -> None:
    table = pd.read_csv(next(phantoms.glob("*.csv")))
    (tmp_path / "data" / "nv").mkdir(parents=True)
    for image in table.loc[table["dx"] == "nv", "image_id"][:8]:
        shutil.copy(next(phantoms.rglob(f"{image}.jpg")), tmp_path / "data" / "nv")
    out = tmp_path / "out"
    assert main(["run", "--data", str(tmp_path / "data"), "--recipe", str(recipe), "--out", str(out)]) == 2
    assert "images kept are of one diagnosis (nv)" in capsys.readouterr().err


def test_a_clinic_that_is_not_there_is_said_before_images_are_decoded(
    phantoms: Path, recipe: Path, tmp_path: Path, capsys
) -> None:
    options = ["--data", str(phantoms), "--recipe", str(recipe), "--out", str(tmp_path / "run")]
    assert main(["run", *options, "--split", "source:nowhere"]) == 2
    told = capsys.readouterr()
    assert "split.source = 'nowhere': the data has '" in told.err and " 4/14  Cleaning" not in told.out


def test_hidden_files_of_the_user_are_left_alone(finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    kept = [out / ".env", out / ".env-template", out / ".gitignore", out / ".git" / ".lesionlab-x-abcd1234.txt"]
    (out / ".git").mkdir()
    for path in kept:
        path.write_text("mine")
    half_written = out / "figures" / ".lesionlab-history-abcd1234.svg"
    half_written.write_text("<svg")
    half_made = out / ".lesionlab-cases-abcd1234"
    half_made.mkdir()
    (half_made / "1.html").touch()
    assert start.find_finished(out, directory.open_run(out).head.request, again=False)
    assert all(path.read_text() == "mine" for path in kept) and not half_written.exists()
    assert not half_made.exists()


@pytest.mark.parametrize("name", ["mine/one", "..\\\\esc", "..", ""])
def test_a_recipe_name_that_is_no_name_of_a_folder_is_refused(name: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "own.toml").write_text(f'name = "{name}"\n')
    assert main(["run", "--recipe", str(tmp_path / "own.toml"), "--out", str(tmp_path / "o")]) == 2
    assert "is no name of a folder" in capsys.readouterr().err


def test_a_source_is_of_the_source_split_alone(tmp_path: Path, capsys) -> None:
    assert main(["run", "--recipe", "quick", "--split", "lesion:rosendahl", "--out", str(tmp_path / "o")]) == 2
    assert "only source:CLINIC takes a name behind the colon" in capsys.readouterr().err


def test_the_data_are_found_from_any_folder(tmp_path: Path) -> None:
    """What a relative --data was is in the request, in full."""
    for asked, folder, found in (("/data/ham", "../ham", "/data/ham"), ("generated: 700 lesions", "/c", "/c")):
        (tmp_path / "manifest.json").write_text(json.dumps(run_manifest(folder=folder) | {"request": {"data": asked}}))
        assert directory.open_run(tmp_path).data_folder == Path(found)


def test_a_search_or_folds_are_no_run(tmp_path: Path, capsys) -> None:
    (tmp_path / "fold-1").mkdir()
    for folder, request in ((tmp_path, {"folds": 2}), (tmp_path / "fold-1", {"space": {}})):
        (folder / "manifest.json").write_text(json.dumps({"request": request, "finished": "2026-11-25"}))
    inner, other = str(tmp_path / "fold-1"), str(tmp_path / "other")
    for call in (
        ["export", str(tmp_path)],
        ["train", str(tmp_path)],
        ["ensemble", str(tmp_path), inner, "--out", other],
    ):
        assert main(call) == 2
        assert f"no network of its own. Give one of the runs in it, such as {inner}." in capsys.readouterr().err


def test_again_takes_the_old_networks_away(finished: tuple[Path, str], tmp_path: Path) -> None:
    """A later `lesionlab train` or `ensemble` would take them for the new run's."""
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    for name in (
        "checkpoint.npz",
        "final.keras",
        "final.onnx",
        "final-checkpoint.npz",
        "model-int8.onnx",
        "exported.keras",
    ):
        (out / name).touch()
    for folder, file in (("savedmodel", "saved_model.pb"), ("final_notes", "mine.txt")):
        (out / folder).mkdir()
        (out / folder / file).touch()
    request = directory.open_run(out).head.request
    assert start.find_finished(out, request, again=False)
    assert start.find_finished(out, request, again=True) is None
    left = {path.name for path in out.iterdir()}
    assert not [name for name in left if name.startswith(("model.", "model-", "checkpoint", "exported", "savedmodel"))]
    assert [name for name in left if name.startswith("final")] == ["final_notes"]  # a folder of the user's
    assert start.find_finished(out, request, again=False) is None  # killed here, the run is an unfinished one


def same_numbers(one: Path, other: Path) -> None:
    for name in ("splits.csv", "predictions.csv", "metrics.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    histories = [pd.read_csv(out / "history.csv").drop(columns="seconds") for out in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_goes_on_to_the_same_numbers(
    phantoms: Path, recipe: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    """Row 8: SIGKILL while it trains, and at a random moment; then the run is through."""
    out = tmp_path / "killed"
    arguments = ("run", "--data", phantoms, "--recipe", recipe, "--out", out)
    stages = json.loads((finished[0] / "manifest.json").read_text())["stages"]
    seconds = 2 + sum(stage["seconds"] for stage in stages)  # two for the start of Python and the report
    for is_training in (True, False):
        process = subprocess.Popen(undrawn_command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if is_training:
            while not (out / "checkpoint.npz").exists():
                assert process.poll() is None
                time.sleep(0.02)
        else:
            time.sleep(random.Random(0).uniform(0.2, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for file in out.rglob("*.json"):
            if not file.name.startswith("."):
                json.loads(file.read_text())
    assert lesionlab_here(*arguments).returncode == 0
    same_numbers(finished[0], out)
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_a_run_in_use_is_left_alone(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    import fcntl

    out = tmp_path / "busy"
    out.mkdir()
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", out)
    assert refused.returncode == 2 and "Another run is at work in" in refused.stderr


def test_a_folder_with_other_things_is_left_alone(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", tmp_path)
    assert refused.returncode == 2 and "is not empty and holds no run (thesis.tex" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "manifest.json").write_text("{}")
    refused = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", tmp_path)
    assert refused.returncode == 2 and "is not a manifest of lesionlab's" in refused.stderr


def test_an_output_that_cannot_be_written(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", tmp_path / "file" / "run")
    assert refused.returncode == 2
    assert "cannot be written (Not a directory). Choose another folder with --out" in refused.stderr


def test_an_output_behind_a_symbolic_link(
    phantoms: Path, recipe: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    again = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", tmp_path / "link")
    assert again.returncode == 0 and "Nothing was done again" in again.stdout


@pytest.mark.parametrize("what", ["out", "cache"])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    what: str,
    phantoms: Path,
    recipe: Path,
    finished: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        out = small / "run" if what == "out" else tmp_path / "run"
        if what == "cache":
            monkeypatch.setenv("LESIONLAB_CACHE", str(small / "cache"))
        arguments = ("run", "--data", phantoms, "--recipe", recipe, "--out", out)
        full = lesionlab_here(*arguments)
        assert full.returncode == 1 and "The disk is full" in full.stderr, full.stderr
        assert "Traceback" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
        request.getfixturevalue("undrawn")
        later = lesionlab_here(*arguments)
        assert later.returncode == 0, later.stderr
        same_numbers(finished[0], out)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)  # the cache is still mapped into memory


@pytest.fixture(scope="module")
def doubtful(phantoms: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run on a split that leaks, whose network cannot be written as ONNX; and what the terminal showed."""

    def fail(*_: object) -> float:
        raise LesionlabError("The network cannot be written as ONNX: No Op registered.")

    out = tmp_path_factory.mktemp("doubtful") / "run"
    given = ("--data", phantoms, "--recipe", recipe, "--out", out, "--epochs", 1, "--limit", 90, "--split", "kaggle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lesionlab.model.export.onnx.export_onnx", fail)
        patch.setattr("matplotlib.figure.Figure.savefig", write_blank)
        done = lesionlab_here("run", *given)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_a_leaking_split_is_named_and_a_limit_takes_whole_lesions(phantoms: Path, doubtful: tuple[Path, str]) -> None:
    out, shown = doubtful
    proof = json.loads((out / "manifest.json").read_text())["split"]["proof"]
    assert proof["is_leaking"] and proof["test_images_sharing_a_lesion"] > 0
    assert f"THIS SPLIT LEAKS: {proof['test_images_sharing_a_lesion']} test images" in shown
    assert "leak" in (out / "report.html").read_text()
    taken, whole = pd.read_csv(out / "splits.csv"), pd.read_csv(next(phantoms.glob("*.csv")))
    assert 60 <= len(taken) <= 130 < len(whole)
    assert len(taken) == whole["lesion_id"].isin(taken["lesion_id"]).sum()


def test_a_network_that_onnx_cannot_hold_is_evaluated_all_the_same(doubtful: tuple[Path, str]) -> None:
    out, shown = doubtful
    assert "model.onnx was not written: The network cannot be written as ONNX" in shown
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["finished"] and manifest["export"]["onnx"] is None and "No Op" in manifest["export"]["reason"]
    assert "was not written: The network cannot be written" in (out / "report.html").read_text()
    assert (out / "model.keras").is_file()


@pytest.mark.usefixtures("undrawn")
def test_python_calls_the_same_run_to_the_same_numbers(
    phantoms: Path, recipe: Path, finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lesionlab as package

    monkeypatch.setattr(sys, "argv", ["-c"])  # as Python has it for `python -c CODE`
    request = package.Request(package.read_recipe(str(recipe)), phantoms, tmp_path / "run")
    assert package.run(request) == tmp_path / "run"
    same_numbers(finished[0], tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["command"] == "called from Python (-c)"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_real_images_in_one_epoch(ham10000: Path, imagenet_weights: Path, tmp_path: Path) -> None:
    """The published table, whole, with every thirtieth image and the known second photographs; ImageNet weights from a file."""
    table = pd.read_csv(ham10000 / "HAM10000_metadata.csv").sort_values("image_id")
    names = {*table["image_id"][::30], *(name for pair in KNOWN_PAIRS for name in pair)}
    data = tmp_path / "data"
    data.mkdir()
    (data / "HAM10000_metadata.csv").symlink_to(ham10000 / "HAM10000_metadata.csv")
    for name in names:
        (data / f"{name}.jpg").symlink_to(ham10000 / "HAM10000_images" / f"{name}.jpg")
    recipe = read_recipe("mobile").with_changes("image", height=64, width=64)
    path = tmp_path / "small.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    arguments = ("--data", data, "--recipe", path, "--weights", imagenet_weights, "--limit", 150, "--epochs", 1)
    done = lesionlab_here("run", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data"]["rows"] == 10_015 and not manifest["data"]["is_generated"]
    found = {finding["kind"]: finding for finding in manifest["findings"]}
    counts = {kind: finding["count"] for kind, finding in found.items()}
    known = {"age-empty": 57, "age-zero": 39, "sex-unknown": 57, "localization-unknown": 234, "localization-two": 2}
    assert {kind: counts.get(kind) for kind in known} == known
    assert counts["image-missing"] == len(manifest["set_aside"]) == 10_015 - len(names)
    pairs = {frozenset(item.split(" ~ ")) for item in found["near-duplicate"]["items"]}  # in the order of the table
    assert set(map(frozenset, KNOWN_PAIRS)) <= pairs
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    assert (splits.groupby("group")["part"].nunique() == 1).all() and set(splits["image_id"]) <= names

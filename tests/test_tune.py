"""The search for a recipe: what its space may hold; then a search of two trials by Ray Tune."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from conftest import lesionlab, lesionlab_here
from lesionlab.cli import main
from lesionlab.errors import UsageError
from lesionlab.lifecycle.search_space import Choices, Range, changed, read_space
from lesionlab.lifecycle.trial import run_trial, trial_number
from lesionlab.lifecycle.tune import Search, _write_job
from lesionlab.recipe import read_recipe

SPACE = """
[optimizer]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
batch_size = [16, 32]
[model]
dropout = { low = 0, high = 0.5 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_space_is_read(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, SPACE), read_recipe("quick"))
    assert space["optimizer.batch_size"] == Choices([16, 32])
    assert space["optimizer.learning_rate"] == Range(low=1e-4, high=1e-2, log=True, whole=False)
    assert space["model.dropout"].whole is False
    recipe = changed(read_recipe("quick"), {"optimizer.batch_size": 16, "model.dropout": 0.25})
    assert (recipe.optimizer.batch_size, recipe.model.dropout) == (16, 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "varies nothing"),
        ("[optimizer", "cannot be read"),
        ("batch_size = [1, 2]", r"must be a section \[batch_size\]"),
        ("[optimiser]\nbatch_size = [16]", "unknown section 'optimiser'"),
        ("[optimizer]\nbatchsize = [16]", "unknown key optimizer.batchsize"),
        ("[optimizer]\nbatch_size = 16", "must be a list of values or"),
        ("[optimizer]\nbatch_size = []", "must be a list of values or"),
        ("[optimizer]\nbatch_size = ['many']", "batch_size"),
        ("[optimizer]\nlearning_rate = { low = 1e-2, high = 1e-3 }", "low < high"),
        ("[optimizer]\nname = { low = 'adam', high = 'adamw' }", "low < high"),
        ("[optimizer]\nepochs = [3, 9]", "set the most epochs with --epochs"),
        ("[split]\ntest_share = [0.1, 0.2]", "evaluated on different lesions"),
        ("[optimizer]\nlearning_rate = { low = 1e-3, high = 1e-2, log = 'no' }", "log must be true or false, not 'no'"),
        ("[sides]\nfirst = [1, 2]", "unknown section 'sides'"),
        ("[decision]\nrule = ['none']", "is not tuned"),
    ],
)
def test_a_space_that_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_space(written(tmp_path, text), read_recipe("quick"))


def test_a_number_below_one_is_refused(phantoms: Path, tmp_path: Path, capsys) -> None:
    space = written(tmp_path, SPACE)
    command = ["tune", "quick", "--space", space, "--data", phantoms, "--out", tmp_path / "out", "--trials", "0"]
    with pytest.raises(SystemExit, match="2"):
        main([str(item) for item in command])
    assert "--trials: '0' is not a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[model]\narchitecture = ['small-cnn', 'MobilNet']\n",
            "unknown architecture 'MobilNet' (did you mean 'MobileNet'?)",
        ),
        (
            "[model]\narchitecture = ['InceptionV3']\n[image]\nheight = { low = 64, high = 96 }\n",
            "InceptionV3 at 64 x 64 px: Input size must be at least 75x75",
        ),
    ],
)
def test_every_network_is_looked_at_before_the_data(
    text: str, message: str, phantoms: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    space = written(tmp_path, text)
    command = ["tune", "quick", "--space", space, "--data", phantoms, "--out", tmp_path / "out"]
    assert main([str(item) for item in command]) == 2
    shown = capsys.readouterr().err
    assert message in shown and str(space) in shown


def test_a_search_reads_folders_as_a_run_does(phantoms: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    common = ["tune", "quick", "--out", str(tmp_path / "out"), "--data", str(phantoms)]
    assert (
        main([*common, "--space", "none.toml"]) == 2 and "There is no search space none.toml" in capsys.readouterr().err
    )
    space = str(written(tmp_path, SPACE))
    assert main([*common, "--space", space, "--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main([*common, "--space", space, "--taxonomy", "isic2o19"]) == 2
    assert "isic2019" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["photos", "."])
def test_a_search_of_no_data_or_among_them_is_refused_before_anything_is_written(
    data: str, phantoms: Path, tmp_path: Path, capsys
) -> None:
    given = phantoms if data == "." else phantoms / data
    out = phantoms / "search"
    command = ["tune", "quick", "--space", written(tmp_path, SPACE), "--data", given, "--out", out]
    assert main([str(item) for item in command]) == 2
    assert str(given) in capsys.readouterr().err and not out.exists()


@pytest.mark.slow
def test_failed_trials_are_said_and_end_with_1(
    phantoms: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trials as Ray gives them, one of them failed; then the finished search is asked for again."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    history = pd.DataFrame({"epoch": [1, 2], "val_balanced_accuracy": [0.3, 0.4]})
    drawn = {"optimizer.learning_rate": 1e-3}
    results = [
        SimpleNamespace(
            path="/s/run_trial_1a2b3_00001_1_x",
            metrics_dataframe=None,
            config=drawn,
            error=ValueError("Traceback …\nMemoryError: too much"),
        ),
        SimpleNamespace(
            path="/s/run_trial_1a2b3_00000_0_x",
            metrics_dataframe=history,
            config=drawn | {"optimizer.batch_size": 8},
            error=None,
        ),
    ]
    calls = []
    monkeypatch.setattr("lesionlab.cluster.connection.cluster", lambda address: contextlib.nullcontext())
    monkeypatch.setattr("lesionlab.lifecycle.ray_search.fit", lambda *_, **__: calls.append(1) or results)
    out = tmp_path / "out"
    options = [recipe, "--space", written(tmp_path, SPACE), "--data", phantoms, "--out", out, "--trials", 2]
    done = lesionlab_here("tune", *options)
    assert done.returncode == 1 and f"1 of 2 trials failed; reasons in {out / 'trials.csv'}" in done.stdout
    trials = pd.read_csv(out / "trials.csv")
    assert trials["error"].tolist()[1] == "MemoryError: too much" and trials["trial"].tolist() == [1, 2]
    assert read_recipe(str(out / "best.toml")).optimizer.batch_size == 8
    again = lesionlab_here("tune", *options)
    assert again.returncode == 1 and "--again starts it anew" in again.stdout and len(calls) == 1
    other = lesionlab_here("run", "--data", phantoms, "--recipe", recipe, "--out", out, "--again")
    assert other.returncode == 2 and f"{out} holds a search, not a run" in other.stderr
    (out / "search").mkdir()  # what a broken-off search leaves
    anew = lesionlab_here("tune", *options, "--again", "--seed", 1)
    assert anew.returncode == 1 and len(calls) == 2 and not (out / "search").exists()


@pytest.mark.slow
def test_a_trial_that_died_after_its_last_epoch_is_told_of_again(
    phantoms: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is whole: nothing is left to train, and Ray takes a trial that tells nothing for an error."""
    ray_tune = pytest.importorskip("ray.tune", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    told: list[dict] = []
    monkeypatch.setattr(ray_tune, "report", told.append)
    monkeypatch.setattr(ray_tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "one"))
    job = _write_job(Search(read_recipe(str(recipe)), tmp_path / "space.toml", phantoms, tmp_path), {})
    run_trial({"optimizer.learning_rate": 1e-3}, str(job), seed=0, settings={})
    first = list(told)
    assert [row["epoch"] for row in first] == [1, 2, 3]
    run_trial({"optimizer.learning_rate": 1e-3}, str(job), seed=0, settings={})
    assert told[3:] == first


@pytest.mark.slow
def test_more_cores_than_a_node_has_are_refused(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    """Ray would wait for a node that never comes."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    space = written(tmp_path, SPACE)
    done = lesionlab("tune", recipe, "--space", space, "--data", phantoms, "--out", tmp_path / "out", "--cpus", 4096)
    assert done.returncode == 2 and "--cpus 4096: no node has so many cores; the largest has" in done.stderr


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1a2b3_00004", 5),
        ("24170_00001", 2),
        ("run_trial_24170_00000_0_batch_size=16,learning_rate=0.0001_2026-11-26_04-50-31", 1),
        ("run_trial_1a2b3_00012_12_batch_size=16_2026-11-26_04-50-31", 13),
    ],
)
def test_a_trials_number_is_found_whatever_id_its_search_was_given(name: str, number: int) -> None:
    """One search in ten has an id of decimal digits alone; all its trials had one number, and all but one were lost."""
    assert trial_number(name) == number


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_gives_the_best_recipe_and_is_not_done_again(phantoms: Path, recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lesionlab[scale]'")
    out, space = tmp_path / "search", written(tmp_path, SPACE)
    options = [recipe, "--space", space, "--data", phantoms, "--out", out, "--trials", 2, "--epochs", 2, "--limit", 150]
    done = lesionlab("tune", *options)
    assert done.returncode == 0, done.stderr
    assert "--seed 0 --limit 150\n" in done.stdout  # else lesions that were searched on would be tested on
    trials = pd.read_csv(out / "trials.csv")
    assert len(trials) == 2 and trials["val_balanced_accuracy"].is_monotonic_decreasing
    best = read_recipe(str(out / "best.toml"))
    assert best.optimizer.learning_rate == pytest.approx(trials["optimizer.learning_rate"][0])
    assert best.optimizer.batch_size == trials["optimizer.batch_size"][0]
    again = lesionlab_here("tune", *options)
    assert again.returncode == 0 and "was finished" in again.stdout
    other = lesionlab_here("tune", *options, "--seed", 1)
    assert other.returncode == 2

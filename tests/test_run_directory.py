"""A run's directory, opened: as this version and an older one wrote it, unfinished, damaged, of another kind."""

import dataclasses
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from lesionlab.cli import main
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.lifecycle.run import identify
from lesionlab.lifecycle.values import Request
from lesionlab.recipe import read_recipe
from lesionlab.runs.directory import find_run, holds, open_evaluated, open_run
from lesionlab.runs.identity import Identity, Kind
from lesionlab.runs.model_facts import facts_of_refit, facts_of_run
from lesionlab.runs.start import find_finished, new_head, write_manifest
from lesionlab.taxonomy import HAM10000, Diagnosis, Taxonomy
from run_files import run_manifest

OLD = Path(__file__).parent / "data" / "run-8c5b32e"
OLD_COMMAND = ["run", "--recipe", "quick", "--seed", "3"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def change(folder: Path, **keys: object) -> None:
    held = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(held | keys))


def keeps(new: object, old: object) -> bool:
    """Whether every key and value is still there; keys that are new may stand beside them."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and keeps(new[key], value) for key, value in old.items())
    return new == old


def test_an_older_run_opens_with_nothing_lost(old: Path) -> None:
    run = open_run(old)
    assert run.kind is Kind.RUN and run.head.finished and run.taxonomy == HAM10000
    held = json.loads((old / "manifest.json").read_text())
    assert held["request"].pop("limit") is None
    assert keeps(json.loads(msgspec.json.encode(run.manifest)), held)
    assert run.recipe.name == "quick" and run.card().startswith("# Model card")
    assert len(run.splits()) == len(run.predictions()) == run.manifest.data.images
    assert list(run.history()["epoch"]) == list(range(1, len(run.history()) + 1))
    assert run.decision()["rule"] and run.exploration().images == run.manifest.data.images
    facts = facts_of_run(run)
    assert facts.taxonomy == HAM10000 and run.manifest.data.fingerprint[:16] in facts.training_data
    assert "trained by the recipe `quick` on all lesions" in facts_of_refit(run).card
    trained = run.splits().query("part == 'train'")["dx"]
    assert list(facts.diagnosis_counts) == [(trained == dx).sum() for dx in HAM10000.dx]
    assert sum(facts_of_refit(run).diagnosis_counts) == len(run.splits())


def test_a_run_of_an_ensemble_may_be_called_na(old: Path) -> None:
    (old / "history.csv").write_text("epoch,loss,run\n1,0.5,NA\n2,,null\n")
    history = open_run(old).history()
    assert list(history["run"]) == ["NA", "null"] and list(history["epoch"]) == [1, 2]
    assert history["loss"].fillna(-1).tolist() == [0.5, -1]


def test_an_older_run_is_known_again(old: Path, capsys) -> None:
    """As finished; without the figures, which are not kept here, it says so."""
    assert main([*OLD_COMMAND, "--out", str(old)]) == 1
    assert f"The run in {old} is damaged: figures is gone" in capsys.readouterr().err
    assert main(["run", "--recipe", "quick", "--seed", "4", "--out", str(old)]) == 2
    assert "holds another run (it differs in: seed)" in capsys.readouterr().err
    assert (old / "manifest.json").read_bytes() == (OLD / "manifest.json").read_bytes()


def test_an_older_run_that_is_not_finished_goes_on(old: Path) -> None:
    """As a kill left it in training: the short manifest, and a checkpoint."""
    held = json.loads((old / "manifest.json").read_text())
    head = {key: held[key] for key in ("lesionlab", "command", "request", "seed", "started")} | {"finished": None}
    (old / "manifest.json").write_text(json.dumps(head))
    (old / "checkpoint.npz").touch()
    request = Request(read_recipe("quick"), None, old, seed=3)
    assert find_finished(old, identify(request), again=False) is None
    other = identify(dataclasses.replace(request, limit=60))
    with pytest.raises(UsageError, match=r"holds another run \(it differs in: limit\)"):
        find_finished(old, other, again=False)
    with pytest.raises(UsageError, match="is not finished. The same 'lesionlab run' goes on with it"):
        open_run(old)


def test_older_runs_are_compared(old: Path, capsys) -> None:
    assert main(["compare", str(old), str(OLD)]) == 0
    assert "test images of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data": {"folder": "/f"}}, r"missing required field `layout` - at `\$.data`"),
        ({"split": None}, r"Expected `object`, got `null` - at `\$.split`"),
        ({"set_aside": [{"image_id": 3, "reason": ""}]}, r"Expected `str`, got `int` - at `\$.set_aside"),
        ({"model": {"architecture": "x"}}, "missing required field `parameters`"),
    ],
)
def test_a_damaged_manifest_is_said_where(keys: dict, message: str, old: Path, capsys) -> None:
    change(old, **keys)
    with pytest.raises(LesionlabError, match=f"is damaged: its manifest.json cannot be read .*{message}"):
        open_run(old)
    for command in (["train", str(old)], ["compare", str(old), str(OLD)], ["export", str(old), "--format", "keras"]):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "is damaged: its manifest.json cannot be read" in said and "--again" in said
    request = identify(Request(read_recipe("quick"), None, old, seed=3))
    assert find_finished(old, request, again=True) is None  # as the message advises


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"request": 3}', '{"kind": "evaluation", "finished": 3}', "\xff"])
def test_what_is_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="is not a manifest of lesionlab's. Give another folder"):
        find_run(tmp_path)
    assert not any(holds(tmp_path, kind) for kind in Kind)


@pytest.mark.parametrize(
    ("identity", "kind", "words"),
    [
        (Identity(seed=0), Kind.RUN, "a run"),
        (Identity(members=("/a", "/b")), Kind.ENSEMBLE, "an ensemble"),
        (Identity(folds=5), Kind.FOLDS, "folds"),
        (Identity(space={}), Kind.SEARCH, "a search"),
    ],
)
def test_kinds_are_told_apart(identity: Identity, kind: Kind, words: str, tmp_path: Path) -> None:
    write_manifest(tmp_path, new_head(identity, seed=0))
    found = find_run(tmp_path)
    assert found and found.kind is kind and holds(tmp_path, kind) and kind.in_words == words
    assert not any(holds(tmp_path, other) for other in Kind if other is not kind)
    another = Identity(folds=3) if kind is not Kind.FOLDS else Identity()
    with pytest.raises(UsageError, match=f"holds {words}, not {another.kind.in_words}. Choose another folder"):
        find_finished(tmp_path, another, again=True)


def test_an_evaluation_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"kind": "evaluation", "finished": null}')
    assert holds(tmp_path, Kind.EVALUATION)
    with pytest.raises(UsageError, match="holds an evaluation, by 'lesionlab evaluate', and no run"):
        open_run(tmp_path)
    with pytest.raises(UsageError, match="The evaluation in .* is not finished"):
        open_evaluated(tmp_path)


def test_a_run_carries_its_diagnoses(tmp_path: Path, old: Path) -> None:
    pair = (Diagnosis("good", "GOOD", "harmless", False), Diagnosis("bad", "BAD", "harmful", True))
    taxonomy = Taxonomy("two", pair, focus="bad")
    held = run_manifest()
    held["data"]["taxonomy"] = taxonomy.to_facts()
    (tmp_path / "manifest.json").write_text(json.dumps(held))
    assert open_run(tmp_path).taxonomy == taxonomy
    assert main(["compare", str(old), str(tmp_path)]) == 2
    assert main(["ensemble", str(tmp_path), str(old), "--out", str(tmp_path / "e")]) == 2


def test_a_taxonomy_that_is_asked_for_makes_another_run(tmp_path: Path, capsys) -> None:
    file = tmp_path / "own.toml"
    file.write_text(HAM10000.to_toml().replace('name = "ham10000"', 'name = "own"'), encoding="utf-8")
    plain = Request(read_recipe("quick"), None, tmp_path)
    asked = dataclasses.replace(plain, recipe=dataclasses.replace(plain.recipe, taxonomy=str(file)))
    assert asked.taxonomy and asked.taxonomy.name == "own" and plain.taxonomy is None
    assert identify(asked).differing(identify(plain)) == ["recipe", "taxonomy"]
    assert main(["run", "--taxonomy", "ham1000", "--out", str(tmp_path / "out")]) == 2
    assert "There is no taxonomy 'ham1000' (did you mean 'ham10000'?)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

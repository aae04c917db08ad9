"""What the documentation shows, runs."""

import argparse
import dataclasses
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lesionlab import load_model, write_phantoms
from lesionlab.cli import make_parser
from lesionlab.recipe import Recipe, recipe_names

ROOT = Path(__file__).parents[1]


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each subcommand."""
    return next(action.choices for action in make_parser()._actions if isinstance(action.choices, dict))


@pytest.mark.slow
def test_the_steps_run_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    text = (ROOT / "docs" / "steps.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "steps.md", "exec"), {"__name__": "__main__"})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1].split()[0]) <= 1  # balanced accuracy, and its interval


@pytest.mark.slow
def test_a_model_is_used_without_lesionlab_as_documented(tmp_path: Path) -> None:
    model = load_model()
    image = next(write_phantoms(tmp_path / "lesions", lesions=60, seed=4, size_px=(300, 400)).rglob("*.jpg"))
    shutil.copy(image, tmp_path / "photo.jpg")
    (tmp_path / "model.onnx").write_bytes(model.bundle.data)
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]
    assert "lesionlab" not in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, (expected,) = json.loads(done.stdout), model.predict(image)
    assert found.pop("ood_score") == pytest.approx(expected.ood_score, abs=1e-3)
    assert found == pytest.approx(expected.probabilities, abs=1e-3) and list(found) == list(expected.probabilities)
    # Sets, as the page words them.
    lines = dict(zip(found, model.facts.conformal.thresholds, strict=True))
    score = {dx: sum(p for p in found.values() if p > own) + own / 2 for dx, own in found.items()}
    likeliest = max(found, key=found.__getitem__)
    sets = {dx for dx in found if score[dx] <= lines[dx] or lines[dx] >= 1 or dx == likeliest}
    assert sets == set(expected.prediction_set)


def test_every_key_of_a_recipe_is_documented_with_its_default() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").splitlines()]
    documented = {key: row[1].strip("`") for row in rows if len(row) == 4 for key in re.findall(r"`([\w.]+)`", row[0])}
    recipe = dataclasses.asdict(Recipe())
    sections = {key: value for key, value in recipe.items() if isinstance(value, dict)}
    keys = {key: value for key, value in recipe.items() if key not in sections}
    keys |= {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    assert documented == {key: json.dumps(value) for key, value in keys.items()}
    names = {row[0].strip("| `") for row in rows if len(row) == 3} - {"name", "---"}
    assert names == set(recipe_names())


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `lesionlab ([\w-]+)`\n(.*?)(?=^## )", text, flags=re.DOTALL | re.MULTILINE))
    assert set(sections) == set(commands())
    for name, command in commands().items():
        options = {option for action in command._actions for option in action.option_strings} - {"-h", "--help"}
        assert options <= set(re.findall(r"--[a-z-]+", sections[name])), name


def test_the_help_in_the_documentation_is_what_the_commands_print() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- help: ([\w-]+) -->", text)) == {"lesionlab", *commands()}
    assert script["with_help"](text).split() == text.split(), "Run: python docs/make_commands.py"


def test_every_key_of_the_typed_files_is_documented() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- keys: (\w+) -->", text)) == set(script["FILES"])
    assert script["with_keys"](text).split() == text.split(), "Run: python docs/make_commands.py"


def test_the_manifest_of_a_run_holds_the_documented_keys_alone(finished: tuple[Path, str]) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    documented = {key for key, _ in script["keys_of"](script["FILES"]["manifest"])}
    held = json.loads((finished[0] / "manifest.json").read_text())
    assert set(held) == {key for key in documented if "." not in key}
    for name in ("environment", "data", "split", "pixels", "model", "export", "request"):
        assert {f"{name}.{key}" for key in held[name]} <= documented, name


def test_help_fits_a_terminal_and_explains_every_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, command in {"lesionlab": make_parser(), **commands()}.items():
        assert max(map(len, command.format_help().splitlines())) <= 80, name
        assert command.description, name
        unexplained = [action.dest for action in command._actions if not action.help and not action.choices]
        assert not unexplained, f"{name}: {unexplained}"


def test_the_public_names_exist_and_are_documented() -> None:
    import lesionlab

    for name in lesionlab.__all__:
        value = getattr(lesionlab, name)
        if callable(value):
            assert value.__doc__, name


@pytest.mark.slow
def test_type_checkers_know_the_public_names(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="mypy is not installed: pip install -e '.[dev]'")
    import lesionlab

    good = "".join(f"reveal_type(lesionlab.{name})\n" for name in lesionlab.__all__)
    (tmp_path / "use.py").write_text(f"import lesionlab\n{good}lesionlab.load_modle()\n", encoding="utf-8")
    said, faults, _ = api.run(["--follow-imports=silent", str(tmp_path / "use.py")])
    revealed = [line for line in said.splitlines() if "Revealed type" in line]
    assert len(revealed) == len(lesionlab.__all__) and not any('"Any"' in line for line in revealed), said + faults
    assert 'has no attribute "load_modle"' in said


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

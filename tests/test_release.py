"""What is released: one version in every file, the same requirements everywhere, and where the former version's paths are."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import lesionlab

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(requirements: list[str]) -> set[str]:
    return {line.replace(" ", "").replace("matplotlib-base", "matplotlib") for line in requirements}


def test_version_and_date_are_the_same_everywhere() -> None:
    version, date = re.findall(r"^## ([\d.]+), (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)[0]
    assert version == lesionlab.__version__
    assert f"\nversion: {version}\ndate-released: {date}\n" in text("CITATION.cff")
    assert f'\n  version: "{version}"\n' in text("deploy/conda/recipe.yaml")
    assert f"VERSION={version} DATE={date}" in text("RELEASING.md")


def test_the_conda_recipe_requires_what_the_package_requires() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    run = text("deploy/conda/recipe.yaml").partition("\n  run:\n")[2].partition("\n\n")[0]
    listed = normal(re.findall(r"- (.+)", run))
    assert listed == normal(project["dependencies"]) | {f"python{project['requires-python']}"}


def test_every_path_of_the_upgrade_notes_is_found_today() -> None:
    rows = re.findall(r"^\| `lesionlab\.(.+) \| (.+) \|$", text("docs/upgrading.md"), re.MULTILINE)
    assert len(rows) > 25
    for _, now in rows:
        for path in re.findall(r"`(lesionlab[\w.]+)`", now):
            assert found(path) is not None, path


def found(path: str) -> object:
    """Import the longest part that is a module, then look the rest up in it."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            place: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            place = getattr(place, name)
        return place
    pytest.fail(f"{path} is not there")

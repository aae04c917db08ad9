"""The notebooks and the site: stripped in git, executed and built here, and every link leads somewhere."""

import json
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from builders import write

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_notebooks_are_valid_and_hold_no_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["lifecycle", "seed", "trust"]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        is_stripped = all(not cell.outputs and cell.execution_count is None and not cell.metadata for cell in code)
        assert is_stripped, f"{path.name}: python notebooks/execute.py --strip"


def test_the_life_cycle_has_the_14_steps_in_order() -> None:
    cells = nbformat.read(ROOT / "notebooks" / "lifecycle.ipynb", as_version=4).cells
    heads = [cell.source.splitlines()[0] for cell in cells if cell.source.startswith("## Step ")]
    assert [head.split(":")[0] for head in heads] == [f"## Step {number}" for number in range(1, 15)]


def test_outputs_are_stripped(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(metadata={"x": 1})
    output = nbformat.v4.new_output("stream", text="said")
    notebook.cells = [nbformat.v4.new_code_cell("1", outputs=[output], execution_count=3, metadata={"tags": ["a"]})]
    nbformat.write(notebook, tmp_path / "n.ipynb")
    runpy.run_path(str(ROOT / "notebooks" / "execute.py"))["strip"](tmp_path / "n.ipynb")
    (cell,) = json.loads((tmp_path / "n.ipynb").read_text())["cells"]
    assert (cell["outputs"], cell["execution_count"], cell["metadata"], cell["source"]) == ([], None, {}, ["1"])


def test_a_link_of_html_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    write(
        tmp_path / "a.html",
        '<a href="b/c.html#x">c</a><a href="https://d">d</a><img src="gone.png"><a href="/a.html">a</a>',
    )
    write(tmp_path / "b" / "c.html", '<a href="../a.html">a</a><a href="a.html">a</a>')
    found = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["broken_links"](tmp_path)
    assert list(found) == ["a.html: gone.png leads nowhere", "b/c.html: a.html leads nowhere"]


def test_notebooks_are_executed_anew_where_they_or_the_code_have_changed(tmp_path: Path) -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_site.py"))
    state = made["state"]
    state.__globals__["ROOT"] = tmp_path
    write(tmp_path / "notebooks" / "a.ipynb", "{}")
    first = state()
    write(tmp_path / "src" / "__pycache__" / "a.pyc", "")
    assert state() == first
    write(tmp_path / "src" / "a.py", "")
    second = state()
    write(tmp_path / "notebooks" / "a.ipynb", "{ }")
    assert len({first, second, state()}) == 3


@pytest.mark.slow
def test_a_cell_that_fails_is_said_and_its_notebook_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    execute = runpy.run_path(str(ROOT / "notebooks" / "execute.py"))["main"]
    for path in NOTEBOOKS:
        cell = nbformat.v4.new_code_cell("raise ValueError('as it should')" if path.stem == "seed" else "1")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / path.name)
    monkeypatch.setitem(execute.__globals__, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["execute.py", str(tmp_path / "out")])
    with ThreadPoolExecutor(1) as pool:  # in this thread a browser's loop may run
        assert pool.submit(execute).result() == 1
    assert "as it should" in capfd.readouterr().err
    assert nbformat.read(tmp_path / "out" / "seed.ipynb", as_version=4).cells[0].outputs[0].ename == "ValueError"


@pytest.mark.slow
def test_the_notebooks_run_and_the_site_is_built_of_them(cache: Path) -> None:
    """All of it by the one command: a cell, a page or a link that fails, fails it."""
    from lesionlab.errors import LesionlabError
    from lesionlab.serve.onnxruntime_web import read_runtime

    try:
        read_runtime(None)  # from the tests' cache afterwards
    except LesionlabError as error:
        pytest.skip(f"needs onnxruntime-web: {error}")
    command = [sys.executable, str(ROOT / "docs" / "make_site.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build" / "site" / "html"
    life = (site / "notebooks" / "lifecycle.html").read_text(encoding="utf-8")
    assert "images of" in life and "95 % interval" in life and "data:image/svg+xml" in life
    assert not [page for page in site.glob("*.html") if '<script src="http' in page.read_text(encoding="utf-8")]
    searched = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert {"commands.html", "api.html", "notebooks/trust.html"} <= {doc["location"].split("#")[0] for doc in searched}
    assert (site / "in-the-browser" / "model.onnx").is_file()
    assert (site / "gallery" / "run-of-the-notebook" / "report.html").is_file()

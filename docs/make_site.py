"""Build the site: the pages of docs/, the notebooks executed, the API, live reports, and the page that runs in a browser.

    python docs/make_site.py      # into build/site/html; the notebooks are executed where they, or the code, have changed

Every link must lead somewhere, every notebook's cell must work and every page must be written: else nothing is built.
"""

import argparse
import base64
import hashlib
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat

import lesionlab
from lesionlab.cli import main as command
from lesionlab.taxonomy import read_taxonomy

ROOT = Path(__file__).resolve().parents[1]
DOCS, BUILD = ROOT / "docs", ROOT / "build" / "site"
SOURCE, HTML = BUILD / "docs", BUILD / "html"
_OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+)\)")
_API = {
    "The 14 steps": ("record_environment", "index_images", "read_collection", "decode_images", "near_duplicates", "clean",
                     "split", "prove", "channel_statistics", "encode_labels", "evaluate_part", "write_report"),
    "Runs": ("Request", "run", "open_run", "evaluate", "compare_runs"),
    "Predictions": ("load_model", "Patient", "LabelledPredictions", "embed", "Embeddings"),
    "Choices": ("Recipe", "read_recipe", "read_taxonomy", "DIAGNOSES", "DX"),
    "Generated lesions": ("write_phantoms",),
    "Errors, and in notebooks": ("LesionlabError", "UsageError", "load_ipython_extension"),
}  # fmt: skip
_SHOWN_TOO = {"Runs": ("lesionlab.runs.opened.OpenedRun",), "Predictions": (
    "lesionlab.inference.model.Model", "lesionlab.inference.predictions.Predictions",
    "lesionlab.inference.predictions.Prediction",
)}  # fmt: skip


def main() -> int:
    """Build it, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executed", type=Path, help="notebooks that notebooks/execute.py has executed already")
    parser.add_argument("--runtime", type=Path, help="onnxruntime-web's tarball, where there is no network")
    options = parser.parse_args()
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    executed = options.executed or execute_notebooks()
    write_notebooks(executed)
    write_gallery(executed / "made")
    write_page(options.runtime)
    (SOURCE / "api.md").write_text(api(), encoding="utf-8")
    (SOURCE / "taxonomies.md").write_text(taxonomies(), encoding="utf-8")
    for page in list(SOURCE.glob("*.md")):
        page.write_text(inside(page.read_text(encoding="utf-8")), encoding="utf-8")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(ROOT / "mkdocs.yml")]
    if subprocess.run(build, cwd=ROOT, check=False).returncode:
        return 1
    broken = list(broken_links(HTML))
    print(*broken, sep="\n", end="\n" if broken else "", file=sys.stderr)
    print(f"The site is in {HTML}. To look at it: python3 -m http.server --bind 127.0.0.1 --directory {HTML}")
    return 1 if broken else 0


def execute_notebooks() -> Path:
    """Execute the notebooks, and give the folder: the former one where neither they nor what they call has changed since."""
    folder = ROOT / "build" / "notebooks" / state()
    if not (folder / "done").exists():
        shutil.rmtree(folder.parent, ignore_errors=True)
        runpy.run_path(str(ROOT / "notebooks" / "execute.py"))["execute"](folder)
        (folder / "done").touch()
    return folder


def state() -> str:
    """Digest what the notebooks' outputs follow from: they themselves, lesionlab's code, and what is installed."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted([*(ROOT / "notebooks").glob("*.*"), *(ROOT / "src").rglob("*.*")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + hashlib.sha256(path.read_bytes()).digest())
    for name, version in sorted((each.metadata["Name"], each.version) for each in distributions()):
        digest.update(f"{name} {version}".encode())
    return digest.hexdigest()[:16]


def inside(text: str) -> str:
    """Have links to files outside docs/ lead to copies of them, and those to notebooks and to the README to their pages."""

    def moved(found: re.Match[str]) -> str:
        target = found[1]
        if target == "README.md":
            return "](index.md)"
        if target.startswith("notebooks/"):
            return f"]({target.removesuffix('.ipynb')}.md)"
        source = ROOT / target
        for path in [source] if source.is_file() else [path for path in sorted(source.rglob("*")) if path.is_file()]:
            copy = SOURCE / "source" / path.relative_to(ROOT).parent / f"{path.name}.txt"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        if source.is_file():
            return f"](source/{target}.txt)"
        names = sorted(path.name for path in (SOURCE / "source" / target).iterdir())
        lines = "\n".join(f"- [{name.removesuffix('.txt')}]({name})" for name in names)
        (SOURCE / "source" / target / "index.md").write_text(f"# {target}\n\n{lines}\n", encoding="utf-8")
        return f"](source/{target}/index.md)"

    return _OUTSIDE.sub(moved, text)


def write_notebooks(executed: Path) -> None:
    """Write each executed notebook as a page, and beside it the file itself."""
    folder = SOURCE / "notebooks"
    folder.mkdir()
    for path in sorted(executed.glob("*.ipynb")):
        shutil.copyfile(path, folder / path.name)
        text = "\n\n".join(parts_of(nbformat.read(path, as_version=4), path.stem, folder))
        text = text.replace("](../docs/", "](../")
        text = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", text)
        note = f'*Executed when this site was built. <a href="{path.name}" download>The notebook with its outputs.</a>*'
        title, _, rest = text.partition("\n")
        (folder / f"{path.stem}.md").write_text(f"{title}\n\n{note}\n{rest}\n", encoding="utf-8")


def parts_of(notebook: nbformat.NotebookNode, name: str, folder: Path) -> Iterator[str]:
    """Give the cells of a notebook as Markdown; pictures are written into the folder."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        yield f"```python\n{cell.source}\n```"
        said = "".join(output.text for output in cell.outputs if output.output_type == "stream").strip("\n")
        if said:
            yield f"```text\n{said}\n```"
        for place, output in enumerate(cell.outputs):
            data = output.get("data", {})
            if "text/html" in data:
                held = re.sub(r"\n\s*\n", "\n", data["text/html"])
                yield f'<div class="notebook-output">{held}</div>'
            elif "image/png" in data:
                file = f"{name}-{number}-{place}.png"
                (folder / file).write_bytes(base64.b64decode(data["image/png"]))
                yield f"![Output of the cell above]({file})"
            elif "text/plain" in data:
                yield f"```text\n{data['text/plain'].rstrip()}\n```"


def write_gallery(made: Path) -> None:
    """Copy the reports that the notebooks have made, and explore their lesions."""
    for name in ("run-of-the-notebook", "evaluation-of-the-run"):
        shutil.copytree(made / name, SOURCE / "gallery" / name, ignore=shutil.ignore_patterns("*.keras", "*.npz", ".*"))
    run("explore", made / "generated-lesions", "--out", SOURCE / "gallery" / "explored")


def write_page(runtime: Path | None) -> None:
    """Write the page that runs in the browser alone."""
    run("export", "--format", "web", "--out", SOURCE / "in-the-browser", *(["--runtime", runtime] if runtime else []))


def run(*arguments: object) -> None:
    """Run a command of lesionlab's, as the pages show it."""
    if command([str(argument) for argument in arguments]):
        raise SystemExit(f"lesionlab {' '.join(map(str, arguments))} has failed: the site is not built.")


def api() -> str:
    """Write the page of the Python API: every public name, from its docstring."""
    listed = {name for names in _API.values() for name in names}
    if listed != set(lesionlab.__all__) - {"__version__"}:
        raise SystemExit(f"docs/make_site.py: _API does not list {listed ^ set(lesionlab.__all__) - {'__version__'}}")
    lines = ["# Python", "", "Every name is imported as `lesionlab.NAME`, and loaded when it is first used.", ""]
    for title, names in _API.items():
        lines += [f"## {title}", ""]
        for place in (*(f"{lesionlab._HOME[name]}.{name}" for name in names), *_SHOWN_TOO.get(title, ())):
            lines += [f"::: {place}", "    options:", "      heading_level: 3", ""]
    return "\n".join(lines)


def taxonomies() -> str:
    """Write the page of the sets of diagnoses that come with lesionlab."""
    lines = ["# Sets of diagnoses", "", "Those that come with lesionlab. How they are chosen, and how to write your own: "
             "[data sets](datasets.md#sets-of-diagnoses).", ""]  # fmt: skip
    for path in sorted((ROOT / "src" / "lesionlab" / "taxonomies").glob("*.toml")):
        taxonomy = read_taxonomy(path.stem)
        lines += [f"## {taxonomy.name}", "", "| `dx` | column | name | malignant |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{d.dx}` | `{d.column}` | {d.name} | {'yes' if d.is_malignant else ''} |" for d in taxonomy.diagnoses
        ]
        lines.append("")
    return "\n".join(lines)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def broken_links(site: Path) -> Iterator[str]:
    """Name every link of every page that leads to no file of the site; `mkdocs` itself sees those of Markdown alone."""
    for page in sorted(site.rglob("*.html")):
        links = _Links()
        links.feed(page.read_text(encoding="utf-8"))
        for link in links.found:
            target = urlsplit(link)
            if target.scheme or target.netloc or not target.path:
                continue
            base = site if target.path.startswith("/") else page.parent
            if not (base / unquote(target.path).lstrip("/")).exists():
                yield f"{page.relative_to(site)}: {link} leads nowhere"


if __name__ == "__main__":
    sys.exit(main())

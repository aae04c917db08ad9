"""What the documentation shows, runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_steps_run_as_documented(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "steps.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_public_names_exist_and_are_documented() -> None:
    import lesionlab

    for name in lesionlab.__all__:
        value = getattr(lesionlab, name)
        if callable(value):
            assert value.__doc__, name


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

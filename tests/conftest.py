"""What several tests share: where the real data lies, and one small folder of generated lesions."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from lesionlab.cli import main
from lesionlab.recipe import read_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shell's background ignores SIGINT, and so would all that the tests start from there.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ham10000() -> Path:
    folder = SHARED / "ham10000"
    if not folder.is_dir():
        pytest.skip("../shared/ham10000 is absent: needs real images")
    return folder


@pytest.fixture(scope="session")
def imagenet_weights() -> Path:
    file = SHARED / "weights" / "mobilenet_1_0_224_imagenet_notop.weights.h5"
    if not file.is_file():
        pytest.skip("../shared/weights is absent: needs ImageNet weights")
    return file


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the tests' pixel cache out of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONLAB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 generated lesions in HAM10000's layout."""
    from lesionlab.data.phantom.write import write_phantoms

    folder = tmp_path_factory.mktemp("phantoms") / "generated"
    write_phantoms(folder, lesions=120, seed=3, size_px=(90, 120))
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe `quick`, made tiny."""
    tiny = read_recipe("quick").with_changes("image", height=24, width=24).with_changes("optimizer", epochs=3)
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(tiny.to_toml(), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lesionlab", *map(str, arguments)]


def lesionlab(*arguments: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=580, **options)


def lesionlab_here(*arguments: object) -> SimpleNamespace:
    """Run a command in this process, which has imported TensorFlow already: seconds less where a process is not the point."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main([str(argument) for argument in arguments])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="session")
def finished(phantoms: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One finished run directory, and what the terminal showed."""
    out = tmp_path_factory.mktemp("runs") / "first"
    done = lesionlab("run", "--data", phantoms, "--recipe", recipe, "--out", out)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    from browsing import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()

"""What several tests share: where the real data lies, one small folder of generated lesions, and one finished run on them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

# Two workers share the cores already: more threads of a library wait for each other, and burn a third of the time.
for setting in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(setting, "1")  # before NumPy and TensorFlow are imported, here and in what tests start

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

import tiny_onnx
from lesionlab.cli import main
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.recipe import read_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# How long a made-up input takes says more about the machine's other work than about the test.
settings.register_profile("lesionlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lesionlab")

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
def milk10k() -> Path:
    folder = SHARED / "milk10k"
    if not folder.is_dir():
        pytest.skip("../shared/milk10k is absent: needs real images")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    folder = SHARED / "cases"
    if not folder.is_dir():
        pytest.skip("../shared/cases is absent: needs the copies of public layouts")
    return folder


@pytest.fixture(scope="session")
def imagenet_weights() -> Path:
    file = SHARED / "weights" / "mobilenet_1_0_224_imagenet_notop.weights.h5"
    if not file.is_file():
        pytest.skip("../shared/weights is absent: needs ImageNet weights")
    return file


SLOW_FIXTURES = {"finished", "doubtful", "browser", "cluster"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What wants a trained run, a browser or a cluster is slow; the rest says so itself, by `@pytest.mark.slow`."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> MakeOnce:
    """Have a folder filled by the first worker that asks for it by its name; the others wait, and read it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "shared"
    shared.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.done").exists():
                shutil.rmtree(shared / name, ignore_errors=True)
                (shared / name).mkdir()
                fill(shared / name)
                (shared / f"{name}.done").touch()
        return shared / name

    return make


@pytest.fixture(scope="session", autouse=True)
def cache(make_once: MakeOnce) -> Iterator[Path]:
    """Keep the tests' pixel cache out of the user's."""
    folder = make_once("cache", lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESIONLAB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def phantoms(make_once: MakeOnce) -> Path:
    """120 generated lesions in HAM10000's layout."""
    from lesionlab.data.phantom.write import write_phantoms

    return (
        make_once("phantoms", lambda out: write_phantoms(out / "generated", lesions=120, seed=3, size_px=(90, 120)))
        / "generated"
    )


@pytest.fixture(scope="session")
def photos(phantoms: Path) -> list[Path]:
    """Twenty of the generated lesions."""
    return [Path(path) for path in read_collection(phantoms).table["path"][:20]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that is built in milliseconds."""
    return tiny_onnx.write(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe `quick`, made tiny."""
    tiny = read_recipe("quick").with_changes("image", height=24, width=24).with_changes("optimizer", epochs=3)
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(tiny.to_toml(), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lesionlab", *map(str, arguments)]


UNDRAWN = """
import sys
from matplotlib.figure import Figure
Figure.savefig = lambda self, path, **_: path.write_text("<svg></svg>")
from lesionlab.cli import main
sys.exit(main(sys.argv[1:]))
"""


def undrawn_command(*arguments: object) -> list[str]:
    """The same, with blank figures: as the fixture `undrawn` has them in this process."""
    return [sys.executable, "-c", UNDRAWN, *map(str, arguments)]


def lesionlab(*arguments: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=580, **options)


def lesionlab_here(*arguments: object) -> SimpleNamespace:
    """Run a command in this process, which has imported TensorFlow already: seconds less where a process is not the point."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main([str(argument) for argument in arguments])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def write_blank(_: object, path: Path, **__: object) -> None:
    """Write a figure's file without drawing it."""
    path.write_text("<svg></svg>", encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, and written blank: drawing them is a third of a run, and most of an evaluation."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", write_blank)


@pytest.fixture(scope="session")
def finished(
    phantoms: Path, recipe: Path, make_once: MakeOnce, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """One finished run directory, and what the terminal showed. The directory is this worker's: commands lock it."""

    def train(folder: Path) -> None:
        done = lesionlab("run", "--data", phantoms, "--recipe", recipe, "--out", folder / "first")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (folder / "shown").write_text(done.stdout, encoding="utf-8")

    made = make_once("finished", train)
    out = tmp_path_factory.mktemp("runs") / "first"
    shutil.copytree(made / "first", out)
    return out, (made / "shown").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
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

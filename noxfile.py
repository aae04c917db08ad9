"""Environments that are not this one: `nox` for the tests under every Python that is supported, and the wheel in each.

    nox -s tests-3.12 -- -m "not slow"    # one Python, the fast tests; what stands behind `--` goes to pytest
    nox -s lowest                         # the fast tests with the lowest versions that pyproject.toml allows
    nox -s wheel                          # the built wheel alone, in a bare environment of each Python

The interpreters are those of this machine; with uv installed, it fetches the absent.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests", "lowest", "wheel"]

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
MOST_BYTES = 20_000_000  # of the wheel


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Install the package for development and run its tests; what stands behind `--` goes to pytest."""
    session.install("-e", ".[dev]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0], venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the fast tests with the lowest versions of what pyproject.toml names: its lower bounds are true, or this fails."""
    session.install("--resolution", "lowest-direct", "-e", ".[dev]")
    # What old libraries say of newer ones beside them is not ours.
    old = ("-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning")
    session.run("pytest", *old, *(session.posargs or ("-m", "not slow")))


@nox.session(python=False)
def build(session: nox.Session) -> None:
    """Build the wheel and the source distribution into dist/, and check what an index would refuse."""
    for old in Path("dist").glob("lesionlab-*"):
        old.unlink()
    session.run("python", "-m", "build", external=True)
    session.run("python", "-m", "twine", "check", "--strict", *map(str, Path("dist").iterdir()), external=True)
    (wheel,) = Path("dist").glob("*.whl")
    if (size := wheel.stat().st_size) > MOST_BYTES:
        session.error(f"{wheel} has {size:,} bytes: an index takes {MOST_BYTES:,} at most here.")


@nox.session(python=PYTHONS, requires=["build"])
def wheel(session: nox.Session) -> None:
    """Install the wheel and nothing else, and use it as a newcomer does: no Keras, no network, another folder."""
    (built,) = Path("dist").resolve().glob("*.whl")
    session.install(str(built))
    session.chdir(session.create_tmp())
    session.run("lesionlab", "--version")
    session.run("lesionlab", "phantom", "lesions", "--lesions", "7")
    session.run("lesionlab", "predict", "lesions/HAM10000_images", "--out", "predictions.csv")
    session.run("lesionlab", "check", "lesions")
    session.run("lesionlab", "run", success_codes=[2], silent=True)  # says which extra it needs

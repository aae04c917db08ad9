"""The tests under every Python that is supported: `nox`; under one, `nox -s tests-3.12`; the fast ones, `nox -- -m "not slow"`.

Each session has an environment of its own. The interpreters are those of this machine; with uv installed, it fetches the absent.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True


@nox.session(python=nox.project.python_versions(nox.project.load_toml("pyproject.toml")))
def tests(session: nox.Session) -> None:
    """Install the package for development and run its tests; what stands behind `--` goes to pytest."""
    session.install("-e", ".[dev]")
    session.run("pytest", *session.posargs)

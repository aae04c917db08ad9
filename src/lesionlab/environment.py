"""Step 1: what a run ran on, so that its numbers can be taken again; and where on this machine things are kept."""

import importlib.util
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lesionlab.errors import UsageError, why_missing

BACKENDS = ("tensorflow", "jax", "torch")
_PACKAGES = (
    "keras tensorflow-cpu tensorflow jax torch numpy pandas pillow scikit-learn scipy matplotlib "
    "onnx tf2onnx onnxruntime"
).split()


def refuse_without_keras() -> None:
    """Raise a UsageError where Keras, or every backend of it, is not installed; import neither."""
    if importlib.util.find_spec("keras") is None or not any(map(importlib.util.find_spec, BACKENDS)):
        reason = why_missing("This", "Keras with a backend", "cpu")
        raise UsageError(f"{reason}. On a GPU 'lesionlab[gpu]' in its place.")


def record_environment() -> dict[str, Any]:
    """Python, platform, processor, memory in GiB and the versions of the libraries that are installed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": n_cores(),
        "memory_gib": _memory_gib(),
        "packages": _versions(),
    }


def called_as() -> str:
    """Give the command line that lesionlab was called by, or the program that called it from Python."""
    program = Path(sys.argv[0])
    if program.stem == "lesionlab" or program.parts[-2:] == ("lesionlab", "__main__.py"):
        return shlex.join(["lesionlab", *sys.argv[1:]])
    return f"called from Python ({program.name or 'interactive'})"


def settings() -> dict[str, str]:
    """Settings of this process that its work on other machines needs too: Keras's backend; where MLflow is, and as whom."""
    return {name: value for name, value in os.environ.items() if name == "KERAS_BACKEND" or name.startswith("MLFLOW_")}


def now() -> str:
    """Give the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def n_cores() -> int:
    """Count the processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    from importlib import metadata  # of a run alone: predict starts faster without

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def default_cache_dir() -> Path:
    """Return the cache's folder: $LESIONLAB_CACHE, else $XDG_CACHE_HOME/lesionlab, else ~/.cache/lesionlab.

    Raises:
        UsageError: neither variable is set and the user has no home.
    """
    if own := os.environ.get("LESIONLAB_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "lesionlab"
    except RuntimeError as error:  # a user without a home, as in some containers
        raise UsageError(
            "There is no home directory to keep decoded images in: name a folder in the environment variable LESIONLAB_CACHE."
        ) from error

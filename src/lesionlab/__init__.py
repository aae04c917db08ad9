"""lesionlab: from a folder of dermatoscopic images to an honestly evaluated classifier, and on to its use.

>>> import lesionlab
>>> from pathlib import Path
>>> recipe = lesionlab.read_recipe("mobile")
>>> lesionlab.run(lesionlab.Request(recipe, data=Path("HAM10000"), out=Path("runs/first")))  # doctest: +SKIP

Every step of a run is a plain function that can be called alone: see `docs/steps.md`. Names are looked up when they are
first used, so that `import lesionlab` loads neither Keras nor pandas. Research software, not a medical device.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lesionlab._version import __version__

if TYPE_CHECKING:  # for type checkers, which do not look into `__getattr__`
    from lesionlab.cli.notebook import load_ipython_extension as load_ipython_extension
    from lesionlab.data.clean import clean as clean
    from lesionlab.data.duplicates import near_duplicates as near_duplicates
    from lesionlab.data.layouts.recognise import index_images as index_images
    from lesionlab.data.layouts.recognise import read_collection as read_collection
    from lesionlab.data.patient import Patient as Patient
    from lesionlab.data.phantom.write import write_phantoms as write_phantoms
    from lesionlab.data.pixels import decode_images as decode_images
    from lesionlab.data.split import split as split
    from lesionlab.data.split_proof import prove as prove
    from lesionlab.data.statistics import channel_statistics as channel_statistics
    from lesionlab.data.statistics import encode_labels as encode_labels
    from lesionlab.environment import record_environment as record_environment
    from lesionlab.errors import LesionlabError as LesionlabError
    from lesionlab.errors import UsageError as UsageError
    from lesionlab.evaluation.labelled_predictions import LabelledPredictions as LabelledPredictions
    from lesionlab.evaluation.metrics import evaluate_part as evaluate_part
    from lesionlab.inference.features import Embeddings as Embeddings
    from lesionlab.inference.features import embed as embed
    from lesionlab.inference.model import load_model as load_model
    from lesionlab.lifecycle.compare import compare_runs as compare_runs
    from lesionlab.lifecycle.evaluate_elsewhere import evaluate as evaluate
    from lesionlab.lifecycle.run import Request as Request
    from lesionlab.lifecycle.run import run as run
    from lesionlab.recipe import Recipe as Recipe
    from lesionlab.recipe import read_recipe as read_recipe
    from lesionlab.report.page import write_report as write_report
    from lesionlab.runs.opened import open_run as open_run
    from lesionlab.taxonomy import DIAGNOSES as DIAGNOSES
    from lesionlab.taxonomy import DX as DX
    from lesionlab.taxonomy import read_taxonomy as read_taxonomy

# ONNX Runtime's official builds report to Microsoft, with the model's name and hashes, unless they are told not to before they
# are imported: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Threads of OpenMP that wait for each other give way. By default they spin, and t-SNE of 120 points, a report's feature map, took
# 100 s in place of 0.7 on a busy machine, 15 s of the processor in place of 0.4 (scikit-learn 1.9, 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "DIAGNOSES": "lesionlab.taxonomy",
    "DX": "lesionlab.taxonomy",
    "Embeddings": "lesionlab.inference.features",
    "LabelledPredictions": "lesionlab.evaluation.labelled_predictions",
    "LesionlabError": "lesionlab.errors",
    "Patient": "lesionlab.data.patient",
    "Recipe": "lesionlab.recipe",
    "Request": "lesionlab.lifecycle.run",
    "UsageError": "lesionlab.errors",
    "channel_statistics": "lesionlab.data.statistics",
    "clean": "lesionlab.data.clean",
    "compare_runs": "lesionlab.lifecycle.compare",
    "decode_images": "lesionlab.data.pixels",
    "embed": "lesionlab.inference.features",
    "encode_labels": "lesionlab.data.statistics",
    "evaluate": "lesionlab.lifecycle.evaluate_elsewhere",
    "evaluate_part": "lesionlab.evaluation.metrics",
    "load_ipython_extension": "lesionlab.cli.notebook",
    "load_model": "lesionlab.inference.model",
    "index_images": "lesionlab.data.layouts.recognise",
    "near_duplicates": "lesionlab.data.duplicates",
    "open_run": "lesionlab.runs.opened",
    "prove": "lesionlab.data.split_proof",
    "read_collection": "lesionlab.data.layouts.recognise",
    "read_recipe": "lesionlab.recipe",
    "read_taxonomy": "lesionlab.taxonomy",
    "record_environment": "lesionlab.environment",
    "run": "lesionlab.lifecycle.run",
    "split": "lesionlab.data.split",
    "write_phantoms": "lesionlab.data.phantom.write",
    "write_report": "lesionlab.report.page",
}
__all__ = ["__version__", *_HOME]


if not TYPE_CHECKING:  # a misspelt name is an error to a type checker

    def __getattr__(name: str) -> Any:
        """Import a public name from its module on first use."""
        if name not in _HOME:
            raise AttributeError(f"module 'lesionlab' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)

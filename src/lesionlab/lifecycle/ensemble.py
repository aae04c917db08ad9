"""Several finished runs made one: `lesionlab ensemble RUN RUN --out DIR`.

In: runs on the same images with the same split. Out: a run directory as of any run, of a network whose logits are the mean
of theirs; calibration, decision rule and thresholds are chosen anew, on the validation part that they have in common.

A member's answer is the mean over flipped copies of the image. In the ensemble the copies are shared out: each member sees
as many fewer as there are members, so that up to four together take no longer than the first alone. Weights are rounded to
8 bits, so that the file of four members is no larger than that of one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lesionlab import folders
from lesionlab._version import NOT_A_DEVICE
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.files import read_csv, write_csv, write_json, write_text
from lesionlab.lifecycle import evaluate, prepare
from lesionlab.lifecycle.values import CleanData, Request, Run, SplitData
from lesionlab.recipe import ImageChoice
from lesionlab.runs import directory
from lesionlab.runs.artifacts import decision_of, history_of, recipe_of
from lesionlab.runs.stages import announce, say
from lesionlab.taxonomy import DX

if TYPE_CHECKING:
    import keras

    from lesionlab.lifecycle.values import Trained


def ensemble(
    members: Sequence[Path], out: Path, *, name: str = "ensemble", calibration: str | None = None, again: bool = False
) -> Path:
    """Join finished runs into a run of its own and return its directory.

    Args:
        members: run directories, two or more; seed and split are those of the first.
        out: the new run directory.
        name: of the ensemble, as a recipe's.
        calibration: `none`, `temperature` or `vector`; None: as the first run's.
        again: do it again where `out` holds this very ensemble.

    Raises:
        UsageError: fewer than two, one run twice, a run that is not finished, runs that differ in images, split, size or crop, or
            `out` is one of them.
        LesionlabError: a step failed.

    """
    manifests = _fitting(members)
    if out.resolve() in [member.resolve() for member in members]:
        raise UsageError(f"{out} is one of the runs to join. Choose another folder with --out.")
    recipe = dataclasses.replace(recipe_of(members[0]), name=name, summary=_summary(members))
    if calibration:
        recipe = recipe.with_changes("decision", calibration=calibration)
    first = manifests[0]
    data = directory.data_folder(first)
    folders.refuse_among_images(out, data)
    request = Request(recipe, data, out, first["seed"], first["request"]["limit"])
    identity = {
        "recipe": recipe.to_toml(),
        "members": [str(member.resolve()) for member in members],
        "finished": [manifest["finished"] for manifest in manifests],
        "limit": request.limit,
    }
    with folders.claimed(out, directory.MANIFEST):
        if directory.begin(out, identity, again=again):
            announce(
                f"This ensemble is finished: {out / 'report.html'}\nNothing was done again; --again starts it anew."
            )
            return out
        manifest = directory.new_manifest(identity, request.seed)
        write_json(out / directory.MANIFEST, manifest)
        write_text(out / "recipe.toml", recipe.to_toml())
        _evaluate(Run(request, manifest), members)
    return out


def joined(members: Sequence[Path], file: str, name: str, statistics: tuple[np.ndarray, np.ndarray]) -> "keras.Model":
    """Join the networks that stand in `file` of each run directory; no decision rule, not calibrated, weights of 8 bits.

    Args:
        members: run directories.
        file: `model.keras` or `final.keras`.
        name: of the joined network.
        statistics: channel means and standard deviations, float (3,) each, of the images that all were trained on.

    """
    from lesionlab.model.export.compact_weights import round_weights
    from lesionlab.model.join import join

    each = []
    for number, folder in enumerate(members):
        views = max(1, recipe_of(folder).model.views // len(members))
        each.append(uncalibrated(folder, file, statistics, views=views, first_view=number * views))
    network = join(each, name)
    round_weights(network)
    return network


def uncalibrated(
    folder: Path, file: str, statistics: tuple[np.ndarray, np.ndarray], *, views: int, first_view: int
) -> "keras.Model":
    """A run's network as it was trained: its calibration, folded into the last layer, is taken out again; no decision rule.

    Args:
        folder: run directory.
        file: `model.keras` or `final.keras`.
        statistics: as of `joined`.
        views: of how many flipped copies of an image it takes the mean.
        first_view: which of the four comes first.

    """
    from lesionlab.model.architectures import build_network
    from lesionlab.model.decision_rule import read_decision, unfold_calibration
    from lesionlab.model.fast_layers import set_weights
    from lesionlab.model.safe_load import load_network

    recipe = recipe_of(folder)
    network = build_network(recipe, *statistics, n_diagnoses=len(DX), views=views, first_view=first_view)
    weights = load_network(folder / file).get_weights()
    if [values.shape for values in weights] != [values.shape for values in network.get_weights()]:
        raise LesionlabError(
            f"{folder / file} is no network of the recipe beside it: one of the two is another run's. Make the run anew."
        )
    set_weights(network, weights)
    last = network.get_layer("probabilities")
    decision = read_decision(decision_of(folder))
    kernel, bias = last.get_weights()
    last.set_weights(unfold_calibration(kernel, bias, decision))
    return network


def _evaluate(run: Run, members: Sequence[Path]) -> None:
    prepare.record_libraries(run)  # 1
    prepared = prepare.prepare(run)  # 2 to 4
    prepare.explore(run, prepared)  # 5
    prepare.load(run, prepared)  # 6
    divided = prepare.divide(run, prepared)  # 7 to 10
    _check_data(run, members, divided)
    evaluate.evaluate(run, prepared, divided, _trained(run, prepared, divided, members))  # 14
    announce(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def _trained(run: Run, prepared: CleanData, divided: SplitData, members: Sequence[Path]) -> "Trained":
    """Steps 11 to 13, without training."""
    from lesionlab.lifecycle.train import apply_decision_rule

    names = _names(members)
    with run.stages.step(11):
        network = joined(members, "model.keras", run.request.recipe.name, (divided.mean, divided.std))
        architectures = [recipe_of(member).model.architecture for member in members]
        run.manifest["model"] = {
            "architecture": " + ".join(architectures),
            "parameters": network.count_params(),
            "weights": f"those of the runs {names}",
        }
        say(f"{run.manifest['model']['architecture']}, {network.count_params():,} parameters, of the runs {names}")
    with run.stages.step(12):
        run.manifest["model"]["optimizer"] = f"none: the runs {names} are trained already"
        say(run.manifest["model"]["optimizer"])
    with run.stages.step(13):
        histories = [history_of(member).assign(run=member.resolve().name) for member in members]
        write_csv(pd.concat(histories), run.request.out / "history.csv")
        return apply_decision_rule(run, prepared, divided, network)


def _names(members: Sequence[Path]) -> str:
    return ", ".join(member.resolve().name for member in members)


def _summary(members: Sequence[Path]) -> str:
    return f"The runs {_names(members)} joined; the choices below are those of the first."


def _fitting(members: Sequence[Path]) -> list[dict[str, Any]]:
    """Manifests of runs that can be joined."""
    if len(members) < 2:
        raise UsageError("An ensemble needs two runs or more.")
    real = [member.resolve() for member in members]
    twice = [member for place, member in enumerate(members) if real[place] in real[:place]]
    if twice:
        raise UsageError(f"{twice[0]} is given twice. An ensemble needs two different runs or more.")
    manifests = [directory.read_finished(member) for member in members]
    for member, manifest in zip(members, manifests, strict=True):
        if inner := manifest["request"].get("members"):
            raise UsageError(f"{member} is an ensemble. Give the runs that it was made of: {' '.join(inner)}.")
    for member, manifest in zip(members[1:], manifests[1:], strict=True):
        if manifest["data"]["fingerprint"] != manifests[0]["data"]["fingerprint"]:
            raise UsageError(
                f"{member} has other images than {members[0]}. Only runs on the same images can be joined."
            )
        if _image(member) != _image(members[0]):
            raise UsageError(f"{member} has another image size, crop or normalisation than {members[0]}.")
        if not _parts(member).equals(_parts(members[0])):
            raise UsageError(
                f"{member} has another split than {members[0]}: its training images may be the other's test images. "
                f"Train it with --split {members[0] / 'splits.csv'}."
            )
    return manifests


def _check_data(run: Run, members: Sequence[Path], divided: SplitData) -> None:
    if run.manifest["data"]["fingerprint"] != directory.read_finished(members[0])["data"]["fingerprint"]:
        raise UsageError(
            f"The images of {members[0]} are other ones now. Put the old ones back, or make the runs anew."
        )
    now = divided.table.set_index("image_id")["part"].sort_index()
    if not now.equals(_parts(members[0])):
        raise UsageError(f"The images of {members[0]} are split otherwise now: they or its recipe.toml have changed.")


def _parts(member: Path) -> pd.Series:
    return read_csv(member / "splits.csv").set_index("image_id")["part"].sort_index()


def _image(member: Path) -> ImageChoice:
    return recipe_of(member).image

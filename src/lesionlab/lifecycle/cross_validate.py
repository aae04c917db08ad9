"""Cross-validation: every lesion is tested on once, by a network that has seen nothing of it.

In: the request of a run, a number of folds. Out: a run directory for each fold (`fold-1`, …), made by `lifecycle.run` one
after the other or by Ray side by side, and over them `folds.csv` (who is tested on where), `predictions.csv` (each image's
prediction by the network that was not trained on it) and `folds.json` (metrics of each fold, and over all).
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from lesionlab import environment, folders
from lesionlab._version import NOT_A_DEVICE
from lesionlab.cluster import connection, tasks
from lesionlab.data.groups import groups_by_dx, groups_with, part_size, shuffled
from lesionlab.data.split_proof import prove
from lesionlab.data.statistics import encode_labels
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.evaluation.intervals import in_words
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import HEADLINE, evaluate_part, title
from lesionlab.files import write_csv, write_json, write_text
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.run import identify, run, validated
from lesionlab.lifecycle.values import Request, Run
from lesionlab.runs import directory, start
from lesionlab.runs.stages import announce, say
from lesionlab.taxonomy import Taxonomy
from lesionlab.tracking.trackers import closing_trackers, open_stores, start_folds


def assign_folds(table: pd.DataFrame, n_folds: int, taxonomy: Taxonomy, *, seed: int) -> pd.Series:
    """Give each image the fold, 1 to `n_folds`, that it is tested in; groups stay whole, diagnoses are spread evenly.

    Args:
        table: columns `group` (lesions, joined by near-duplicates) and `dx`.
        n_folds: at least 2.
        taxonomy: of the table's diagnoses.
        seed: of the draw.

    Raises:
        UsageError: a diagnosis has too few groups for every fold to test, validate and train on one.

    """
    fold_of_group: dict[str, int] = {}
    dealt = 0  # goes on from diagnosis to diagnosis, so that what is left over does not always fall to fold 1
    for dx, groups in groups_by_dx(table, taxonomy).items():
        number = groups_with(table, dx, groups)
        if len(groups) and (number < n_folds or number - -(-number // n_folds) < 2):
            raise UsageError(
                f"{taxonomy.name_of[dx]} ({dx}) has {number} lesions: too few for {n_folds} folds, of which each must test, "
                "validate and train on at least one. Give fewer --folds, or more data."
            )
        for group in shuffled(groups, seed):
            fold_of_group[group] = dealt % n_folds + 1
            dealt += 1
    return table["group"].map(fold_of_group).rename("fold")


def fold_parts(
    table: pd.DataFrame, folds: pd.Series, fold: int, taxonomy: Taxonomy, *, validation_share: float, seed: int
) -> pd.Series:
    """Divide for one fold: it is tested on; of each other diagnosis's groups a share of all is validated on.

    Raises:
        LesionlabError: a lesion, group or image content lies on two sides.

    """
    parts = pd.Series("train", index=table.index, name="part", dtype=object)
    parts[folds == fold] = "test"
    rest = table[folds != fold]
    of_all = groups_by_dx(table, taxonomy)
    for dx, groups in groups_by_dx(rest, taxonomy).items():
        n_validated = part_size(validation_share, len(of_all[dx]), most=len(groups) - 1)
        chosen = set(shuffled(groups, seed + fold)[:n_validated].tolist())
        parts.loc[rest.index[rest["group"].isin(chosen)]] = "validation"
    if prove(table, parts).is_leaking:
        raise LesionlabError(f"Fold {fold} leaks: images of one lesion, or the same image, lie on two sides of it.")
    return parts


def cross_validate(request: Request, n_folds: int, *, engine: str = "local", address: str | None = None) -> Path:
    """Run every fold and evaluate all of them together; return the directory.

    Args:
        request: as for `lifecycle.run`; its recipe's split says only how much is validated on.
        n_folds: 2 to 100.
        engine: `local`, one fold after the other, or `ray`, as many side by side as there are cores.
        address: of a Ray cluster, see `lesionlab.cluster.connection.cluster`; its nodes must see data and directory.

    Raises:
        UsageError: a recipe with a split of its own, too few lesions, or a directory that holds another run.
        LesionlabError: a fold failed. Finished folds stay; the same call goes on.

    """
    asked = request.recipe.split.name
    if asked != "lesion":
        raise UsageError(f"Folds divide the lesions themselves: take split.name = {asked!r} out of the recipe.")
    if engine == "ray":  # before the data are read, which takes longer
        connection.reach(address)
    request = validated(request)
    environment.refuse_without_keras()
    settings = environment.settings() | open_stores(request.track)
    with folders.claimed(request.out, directory.MANIFEST):
        identity = msgspec.structs.replace(identify(request), folds=n_folds)
        finished = start.find_finished(request.out, identity, again=request.again)
        if finished:
            announce(
                f"These folds were finished on {(finished.head.finished or '')[:16]}: {request.out / 'folds.json'}"
            )
            return request.out
        head = start.new_head(identity, request.seed, _started(request))
        start.write_manifest(request.out, head)
        write_text(request.out / directory.RECIPE, request.recipe.to_toml())
        trackers = start_folds(request.track, request.out, again=request.again)
        with closing_trackers(trackers):
            requests = _fold_requests(request, n_folds)
            for number, out in _finished_folds(requests, head.started, engine, address, settings):
                say(f"fold {number} of {n_folds}: " + _headline(directory.open_run(out).figures()["test"]))
            _evaluate(request, n_folds)
            start.write_manifest(request.out, msgspec.structs.replace(head, finished=environment.now()))
    return request.out


def _fold_requests(request: Request, n_folds: int) -> list[Request]:
    """Read and clean the data once, divide it, and word each fold as the request of an ordinary run."""
    clean = prepare.prepare(Run(request))
    table, taxonomy = clean.cleaned.table, clean.taxonomy
    folds = assign_folds(table, n_folds, taxonomy, seed=request.seed)
    write_csv(table[["image_id", "lesion_id", "group", "dx"]].assign(fold=folds), request.out / "folds.csv")
    requests = []
    for fold in range(1, n_folds + 1):
        share = request.recipe.split.validation_share
        parts = fold_parts(table, folds, fold, taxonomy, validation_share=share, seed=request.seed)
        path = (request.out / f"fold-{fold}.csv").resolve()
        write_csv(pd.DataFrame({"image_id": table["image_id"], "part": parts}), path)
        recipe = request.recipe.with_changes("split", name="file", file=str(path))
        data = folders.resolved(request.data) if request.data else None
        out = (request.out / f"fold-{fold}").resolve()
        requests.append(dataclasses.replace(request, recipe=recipe, data=data, out=out))
    return requests


def _started(request: Request) -> str:
    """Say when these folds were last begun anew: a call that goes on with them begins nothing."""
    held = directory.find_training(request.out)
    return held.head.started if held and held.head.started and not request.again else environment.now()


def _as_begun(fold: Request, started: str) -> Request:
    """Have a fold made anew that is older than the folds were last begun, though the call that did so was broken off."""
    held = directory.find_training(fold.out) if fold.out.is_dir() else None
    return dataclasses.replace(fold, again=held is not None and held.head.started < started)


def _finished_folds(
    requests: list[Request], started: str, engine: str, address: str | None, settings: dict[str, str]
) -> Iterator[tuple[int, Path]]:
    if engine == "local":
        for number, request in enumerate(requests, start=1):
            announce(f"\nFold {number} of {len(requests)}")
            yield number, run(_as_begun(request, started))
        return
    with connection.cluster(address) as ray:
        resources = ray.cluster_resources()
        cpus = max(1, min(int(resources.get("CPU", 1)) // len(requests), tasks.largest_node(ray)))
        gpus = 1 if resources.get("GPU") else 0
        announce(f"\n{len(requests)} folds on Ray, {cpus} core(s) each; {requests[0].out.parent}/fold-*.log")
        calls = (((request, started, cpus, settings), number) for number, request in enumerate(requests, start=1))
        for number, out in tasks.in_parallel(ray, run_fold, calls, cpus=cpus, gpus=gpus):
            yield number, out


def run_fold(request: Request, started: str, cpus: int, settings: dict[str, str]) -> Path:
    """Run one fold in a worker, under the caller's settings; what it prints goes into a file beside its directory."""
    os.environ.update(settings)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(cpus))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    log = request.out.with_name(f"{request.out.name}.log")
    with log.open("w", encoding="utf-8") as file, redirect_stdout(file):
        try:
            return run(_as_begun(request, started))  # asked anew by Ray, where its worker died, it goes on
        except LesionlabError as error:
            raise LesionlabError(f"{request.out.name} on node {tasks.node_name()}: {error}") from error


def _evaluate(request: Request, n_folds: int) -> None:
    """Put the folds' test predictions together and evaluate them: each lesion counts once."""
    runs = [directory.open_run(request.out / f"fold-{fold}") for fold in range(1, n_folds + 1)]
    if len({run.manifest.data.fingerprint for run in runs}) > 1:
        raise LesionlabError(
            f"The folds in {request.out} are of different data: images or labels changed. Start with --again."
        )
    tables = [run.predictions() for run in runs]
    tested = [table[table["part"] == "test"].assign(fold=fold) for fold, table in enumerate(tables, start=1)]
    together = pd.concat(tested, ignore_index=True)
    n_missing = len(pd.read_csv(request.out / "folds.csv")) - len(together)
    if n_missing:
        raise LesionlabError(
            f"{n_missing:,} images were not tested on: a node could not read them. Every node must see the data under the "
            "same path; --again starts anew."
        )
    write_csv(together, request.out / "predictions.csv")
    taxonomy, lesions = runs[0].taxonomy, together["lesion_id"].to_numpy()
    probabilities = together[list(taxonomy.columns)].to_numpy()
    part = LabelledPredictions(encode_labels(together["truth"], taxonomy), probabilities, lesions, taxonomy)
    overall = evaluate_part(part, seed=request.seed)
    figures = [run.figures()["test"] for run in runs]
    summary: dict[str, Any] = {"n_folds": n_folds, "together": msgspec.to_builtins(overall), "folds": figures}
    announce(f"\n{len(together):,} images, each tested on once, in {n_folds} folds")
    for name in HEADLINE:
        values = np.array([figure[name] for figure in figures], dtype=float)
        mean, deviation = float(np.nanmean(values)), float(np.nanstd(values, ddof=1))
        summary[name] = {"mean": mean, "standard_deviation": deviation}
        together_in_words = in_words(getattr(overall, name), overall.intervals[name])
        words = title(name, len(taxonomy)).replace("AUC", "auc")
        say(f"{words:17} folds {mean:.3f} ± {deviation:.3f}; together {together_in_words}")
    write_json(request.out / "folds.json", summary)
    announce(NOT_A_DEVICE)


def _headline(test: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {test[name]:.3f}" for name in HEADLINE)

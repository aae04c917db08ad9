"""The model card of an adapted model: what it was made of, by how many lesions, what that changed, what it is not for."""

from collections.abc import Sequence

from lesionlab._version import NOT_A_DEVICE
from lesionlab.evaluation.before_after import FEWEST_LESIONS, DiagnosisGain, Gain
from lesionlab.evaluation.notebook_html import interval_text
from lesionlab.inference.facts import Facts


def adapted_card(
    *,
    old: Facts,
    data: str,
    words: str,
    new: Sequence[str],
    gains: Sequence[Gain],
    diagnoses: Sequence[DiagnosisGain],
) -> str:
    """Write the card, in Markdown.

    Args:
        old: facts of the model that was adapted.
        data: the clinic's images, in words.
        words: what was chosen, in words.
        new: codes of diagnoses that the old model did not know.
        gains: figures before and after.
        diagnoses: the clinic's diagnoses, with their lesions and sensitivities.

    """
    known = "The old model knew all of its diagnoses." if not new else f"New to the old model: {', '.join(new)}."
    rows = [
        f"| {g.name} | {_with(g.before, g.before_interval)} | {_with(g.after, g.after_interval)} | {g.verdict} |"
        for g in gains
    ]
    lines = [
        f"# Model card: {old.name}, adapted",
        f"**{NOT_A_DEVICE}**",
        f"Adapted to {data}. What was done: {words}. {known} Features, and the network behind them, are those of {old.name}.",
        "## What cross-validation measured",
        "Five folds by lesion; each lesion is predicted by a head that was fitted and chosen without it. The model file's own "
        "head has seen all of them. 95 % intervals over lesions.",
        "| figure | before | after | |\n| --- | --- | --- | --- |\n" + "\n".join(rows),
        "| diagnosis | lesions | sensitivity before | after |\n| --- | --- | --- | --- |\n"
        + "\n".join(map(_row, diagnoses)),
        f"Of a diagnosis with fewer than {FEWEST_LESIONS} lesions no sensitivity is stated. These figures are of this clinic, "
        "its cameras and its mix of diagnoses, and of no other.",
        f"## The model that was adapted\n\nIt says of its training: {old.training_data}. Licence: {old.licence}.",
    ]
    return "\n\n".join(lines) + "\n"


def _row(row: DiagnosisGain) -> str:
    before, after = ("not stated" if share is None else f"{share:.3f}" for share in (row.before, row.after))
    return f"| {row.name} ({row.dx}) | {row.lesions:,} | {before} | {after} |"


def _with(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} ({interval_text(interval)})"

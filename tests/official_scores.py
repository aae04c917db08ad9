"""Tables to score, and what the challenges' own scorers say of them, frozen in `official_scores.json`.

Made anew, in an environment of its own, with the code of Kaggle's notebook "ISIC pAUC-aboveTPR" saved as pauc.py, by

    pip install isic-challenge-scoring==5.6.0 pandas==2.3.3 && python tests/official_scores.py pauc.py
"""

import io
import json
import random
import runpy
import sys
from pathlib import Path

COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CASES = ("plain", "ties", "weights", "unsure", "never-scored", "names-with-suffix")
REFERENCE = Path(__file__).with_suffix(".json")


def table(case: str, images: int = 120) -> tuple[str, str]:
    """Truth and predictions as CSV, drawn from a seed of the case."""
    draw = random.Random(case)
    names = [f"ISIC_{number:07}" for number in range(images)]
    if case == "never-scored":
        names[-1] = "ISIC_0035068"
    head = ",".join(("image", *COLUMNS))
    truth = [head + (",score_weight,validation_weight" if case == "weights" else "")]
    predictions = []
    for number, name in enumerate(names):
        label = number if number < 7 else draw.choices(range(7), (12, 55, 8, 6, 11, 4, 4))[0]
        row = [name, *(f"{float(index == label)}" for index in range(7))]
        if case == "weights":
            row += [str(draw.choice((0.0, 0.5, 1.0, 2.0))) for _ in range(2)]
        truth.append(",".join(row))
        shares = [draw.random() ** 3 + (0.6 * draw.random() if index == label else 0.0) for index in range(7)]
        values = [share / sum(shares) * (0.4 if case == "unsure" else 1.0) for share in shares]
        if case == "ties":
            values = [round(value * 4) / 4 for value in values]
        written = f"{name}.JPG" if case == "names-with-suffix" else name
        predictions.append(",".join([written, *(f"{value:.6f}" for value in values)]))
    draw.shuffle(predictions)
    return "\n".join(truth) + "\n", "\n".join([head, *predictions]) + "\n"


# What the official scorer ranks by; of 2024, Kaggle's notebook does.
CHALLENGES = {
    "isic2016": (("malignant",), "ap"),
    "isic2017": (("melanoma", "seborrheic_keratosis"), "auc"),
    "isic2019": (("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"), "balanced_accuracy"),
    "isic2020": (("target",), "auc"),
    "isic2024": (("target",), "auc"),
    "milk10k": (
        ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"),
        "balanced_accuracy",
    ),
}
KINDS = ("plain", "ties", "weights")


def challenge_table(challenge: str, kind: str, images: int = 150) -> tuple[str, str]:
    """Truth and predictions of a challenge as CSV with the column `image`, drawn from a seed; `ties` has values of 0.5 too."""
    columns, _ = CHALLENGES[challenge]
    draw = random.Random(challenge + kind)
    has_one_answer = len(columns) > 2
    head = ",".join(("image", *columns))
    truth, predictions = [head + (",score_weight,validation_weight" if kind == "weights" else "")], [head]
    for number in range(images):
        answer = number % len(columns) if number < 2 * len(columns) else draw.randrange(len(columns))
        marks = [float(index == answer if has_one_answer else draw.random() < 0.2) for index in range(len(columns))]
        if not has_one_answer and number < 2:
            marks = [float(number)] * len(columns)
        scores = [min(1.0, 0.3 * mark + draw.random() * 0.8) for mark in marks]
        if kind == "ties":
            scores = [round(score * 8) / 8 for score in scores]
        weights = (
            [str(draw.choice((0.0, 0.5, 1.0, 2.0))) for _ in range(2)] if kind == "weights" and number > 25 else []
        )
        weights = weights or (["1.0", "1.0"] if kind == "weights" else [])
        truth.append(",".join([f"ISIC_{number:07}", *map(str, marks), *weights]))
        predictions.append(",".join([f"ISIC_{number:07}", *(f"{score:.6f}" for score in scores)]))
    return "\n".join(truth) + "\n", "\n".join(predictions) + "\n"


def official(truth: str, predictions: str, metric: str) -> dict:
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    streams = io.StringIO(truth), io.StringIO(predictions)
    return ClassificationScore.from_stream(*streams, ClassificationMetric(metric)).to_dict(rocs=False)


def kaggle(notebook: dict, truth: str, predictions: str) -> float:
    import pandas

    tables = [pandas.read_csv(io.StringIO(text))[["image", "target"]] for text in (truth, predictions)]
    return float(notebook["score"](*tables, "image"))


def main() -> None:
    found = {case: official(*table(case), "balanced_accuracy") for case in CASES}
    notebook = runpy.run_path(sys.argv[1])
    for challenge, (_, metric) in CHALLENGES.items():
        for kind in KINDS:
            pair = challenge_table(challenge, kind)
            found[f"{challenge}/{kind}"] = official(*pair, metric)
            if challenge == "isic2024" and kind != "weights":  # which Kaggle knows none of
                found[f"{challenge}/{kind}"]["pauc"] = kaggle(notebook, *pair)
    REFERENCE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Tables to score, and what the challenge's own scorer says of them, frozen in `official_scores.json`.

Made anew, in an environment of its own, by

    pip install isic-challenge-scoring==5.6.0 pandas==2.3.3 && python tests/official_scores.py
"""

import io
import json
import random
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


def official(case: str) -> dict:
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    truth, predictions = (io.StringIO(text) for text in table(case))
    score = ClassificationScore.from_stream(truth, predictions, ClassificationMetric.BALANCED_ACCURACY)
    return score.to_dict(rocs=False)


if __name__ == "__main__":
    REFERENCE.write_text(json.dumps({case: official(case) for case in CASES}, indent=1) + "\n")

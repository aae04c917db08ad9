"""`predictions.csv` of a run or an evaluation: what it holds, beside which `RunDirectory.predictions` reads it."""

import numpy as np
import pandas as pd

from lesionlab.evaluation.answers import TIE, answers_of
from lesionlab.taxonomy import Taxonomy


def predictions_table(table: pd.DataFrame, probabilities: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """ISIC's columns, then part, lesion, truth and prediction; `undecided` for a tie."""
    predictions = pd.DataFrame(probabilities, columns=list(taxonomy.columns))
    predictions.insert(0, "image", table["image_id"].to_numpy())
    return predictions.assign(
        part=table["part"].to_numpy(),
        lesion_id=table["lesion_id"].to_numpy(),
        truth=table["dx"].to_numpy(),
        predicted=np.array((*taxonomy.dx, TIE))[answers_of(probabilities)],
    )

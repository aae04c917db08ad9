"""The weights of scikit-learn's logistic regression, a column for each diagnosis of a taxonomy."""

import numpy as np


def weights_of_all(regression: object, n_diagnoses: int, *, absent: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Give kernel (d, k) and bias (k,) of every diagnosis.

    Args:
        regression: a fitted `sklearn.linear_model.LogisticRegression`; of two diagnoses it keeps the weights of the second alone.
        n_diagnoses: k.
        absent: bias of a diagnosis that it was not fitted to; its weights are 0.

    """
    coefficients, intercept = regression.coef_, regression.intercept_  # type: ignore[attr-defined]
    classes = regression.classes_  # type: ignore[attr-defined]
    if len(classes) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel = np.zeros((coefficients.shape[1], n_diagnoses))
    bias = np.full(n_diagnoses, absent)
    kernel[:, classes] = coefficients.T
    bias[classes] = intercept
    return kernel, bias

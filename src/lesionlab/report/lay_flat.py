"""Features laid flat: rows of many numbers become places in two dimensions, near where the rows are alike.

Places are of t-SNE (van der Maaten and Hinton, JMLR 9, 2008) or of UMAP (McInnes et al., arXiv:1802.03426), both behind a PCA.
Distances are those of neighbours alone: how far two clumps are apart means nothing.
"""

import sys
import warnings
from typing import Any

import numpy as np

_COMPONENTS = 50
_NEIGHBOURS = 15  # of UMAP, its usual number


def lay_flat(features: np.ndarray, *, seed: int, is_umap: bool = False) -> np.ndarray:
    """Place rows (n, d), n of 3 or more, in two dimensions: float (n, 2); rows that are all the same lie in one."""
    from sklearn.decomposition import PCA

    if np.allclose(features, features[:1]):  # t-SNE divides by their spread
        return np.zeros((len(features), 2))
    components = min(_COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features.astype(np.float64))
    return _by_umap(reduced, seed) if is_umap else _by_tsne(reduced, seed)


def _by_tsne(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(reduced) - 1) / 3)
    start = "pca" if reduced.shape[1] > 1 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(reduced)


def _by_umap(reduced: np.ndarray, seed: int) -> np.ndarray:
    near = min(_NEIGHBOURS, len(reduced) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed makes it use one core, and that its own network lacks TensorFlow
        return _umap().UMAP(n_neighbors=near, init="random", random_state=seed).fit_transform(reduced)


def _umap() -> Any:
    """Import UMAP without the TensorFlow that it loads for a network of its own, which takes seconds and prints a log."""
    is_hidden = "tensorflow" not in sys.modules
    if is_hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]  # the import system's way to say: not there
    try:
        import umap
    finally:
        if is_hidden:
            del sys.modules["tensorflow"]
    return umap

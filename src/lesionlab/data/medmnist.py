"""DermaMNIST's `.npz` files: HAM10000 as small arrays; they become PNG files in the cache, read like any other."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesionlab.data.pixels import default_cache_dir
from lesionlab.errors import UsageError
from lesionlab.progress import track

# MedMNIST's order of labels (Yang et al., Sci. Data 10, 41, 2023).
MEDMNIST_DX = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def read_medmnist(path: Path) -> pd.DataFrame:
    """Read a DermaMNIST file; each image counts as a lesion of its own, since MedMNIST drops the lesion ids.

    Raises:
        UsageError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = [(name, arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "val", "test")]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a DermaMNIST file ({error}).") from error
    folder = default_cache_dir() / "medmnist" / f"{path.stem}-{path.stat().st_size}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, images, labels in parts:
        if images.ndim != 4 or images.dtype != np.uint8 or labels.max(initial=0) >= len(MEDMNIST_DX):
            raise UsageError(f"{path}: {name}_images is {images.dtype} {images.shape}; expected uint8 (n, h, w, 3).")
        for index in track(range(len(images)), f"unpacking {name}"):
            file = folder / f"{name}_{index:05}.png"
            if not file.exists():
                Image.fromarray(images[index]).save(file)
            dx = MEDMNIST_DX[int(labels[index].item())]
            rows.append({"image_id": file.stem, "lesion_id": file.stem, "dx": dx, "path": str(file)})
    unknown = dict.fromkeys(("dx_type", "age", "sex", "localization"), "unknown")
    return pd.DataFrame(rows).assign(dataset="medmnist", **unknown)

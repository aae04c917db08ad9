"""From the pixel cache to the training step: batches of pixels, one-hot labels and class weights."""

import math

import numpy as np
from PIL import Image

from lesionlab.files import release_pages
from lesionlab.model.backend import compiles_by_shape, full_precision, keras
from lesionlab.model.degrade import degraded

# Pages of the memory-mapped cache stay in this process's resident set once read; they are given back this often.
_RELEASE_EVERY_BYTES = 128 * 2**20


class Batches(keras.utils.PyDataset):
    """Batches of a part of the data, shuffled anew each epoch from `(seed, epoch)` where a seed is given."""

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        n_diagnoses: int,
        class_weights: np.ndarray | None = None,
        sampling: np.ndarray | None = None,
        soft: np.ndarray | None = None,
        mixup: float = 0.0,
        degrade: float = 0.0,
        seed: int | None = None,
        are_full: bool = False,
        share: tuple[int, int] = (0, 1),
        as_rows: bool = False,
        workers: int = 1,
    ) -> None:
        """Take uint8 `pixels` (n, h, w, 3), the `rows` of this part and their integer `labels`, 0 to `n_diagnoses` - 1.

        `class_weights` and `sampling`, float (n_diagnoses,), say how much an image of each diagnosis weighs and how often it is
        drawn; `mixup` is alpha, `degrade` the share of images made worse. The latter three need a seed. `soft`, float32
        (rows, n_diagnoses), is given in place of one-hot labels. `are_full`: the last batch is filled up with images from the
        beginning of the epoch's order, so that all have one shape. `share`: (k, n) gives the k-th of n equal shares of each
        batch, k from 0. `as_rows`: batches hold numbers into `rows`, int32 (b,), in place of pixels. `workers`: threads that
        read ahead while a step computes, in order; with 1 the step waits for each batch.
        """
        super().__init__(
            workers=workers, use_multiprocessing=False, max_queue_size=4
        )  # reading is far faster than a step; a batch can have 20 MB
        self._pixels, self._rows = pixels, rows
        self._targets = np.eye(n_diagnoses, dtype=np.float32)[labels] if soft is None else soft
        weights = np.ones(n_diagnoses) if class_weights is None else class_weights
        self._weights = weights[labels].astype(np.float32)
        self._chances = None if sampling is None else sampling[labels] / sampling[labels].sum()
        self._batch_size, self._mixup, self._degrade = batch_size, mixup, degrade
        self._seed, self._epoch = seed, 0
        self._are_full, self._share, self._read_bytes = are_full, share, 0
        self._as_rows = as_rows
        self.side = 0  # longer side that images are scaled to, in px; 0 leaves them
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch (0-based); the same seed and epoch give the same order."""
        order = np.arange(len(self._rows))
        if self._seed is not None:
            random = np.random.default_rng([self._seed, epoch])
            if self._chances is None:
                random.shuffle(order)
            else:
                order = random.choice(order, len(order), p=self._chances)
        if self._are_full:
            order = np.resize(order, len(self) * self._batch_size)  # repeats it from its beginning
        self._order, self._epoch = order, epoch

    def __len__(self) -> int:
        """Count the batches; the last one may be smaller."""
        return math.ceil(len(self._rows) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read one batch: float32 pixels (b, h, w, 3) 0 to 255, or int32 rows (b,); one-hot (b, k); weights (b,)."""
        places = np.arange(len(self._order))[index * self._batch_size : (index + 1) * self._batch_size]
        if not self._mixup:
            return self._read(self._shared(places))
        images, one_hot, weights = self._mixed(index, *self._read(places))  # with partners from all of the batch
        return self._shared(images), self._shared(one_hot), self._shared(weights)

    def _shared(self, batch: np.ndarray) -> np.ndarray:
        """Take this process's share of what lies along the first axis."""
        number, of = self._share
        return batch[len(batch) * number // of : len(batch) * (number + 1) // of]

    def _read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read what stands at these places of the epoch's order."""
        chosen = self._order[places]
        if self._as_rows:
            return chosen.astype(np.int32), self._targets[chosen], self._weights[chosen]
        images = self._pixels[self._rows[chosen]]
        self._release_pages(images.nbytes)
        if self.side:
            images = _scaled(images, self.side)
        if self._degrade:
            images = np.stack([self._degraded(image, place) for image, place in zip(images, places, strict=True)])
        return images.astype(np.float32), self._targets[chosen], self._weights[chosen]

    def _degraded(self, image: np.ndarray, place: int) -> np.ndarray:
        return degraded(image, self._degrade, np.random.default_rng([self._seed or 0, self._epoch, place, 1]))

    def _mixed(
        self, index: int, images: np.ndarray, one_hot: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mix each image, label and weight of a batch with those of another image of it."""
        random = np.random.default_rng([self._seed or 0, self._epoch, index])
        other = random.permutation(len(images))
        share = random.beta(self._mixup, self._mixup, size=(len(images), 1)).astype(np.float32)
        images = share[..., None, None] * images + (1 - share[..., None, None]) * images[other]
        one_hot = share * one_hot + (1 - share) * one_hot[other]
        return images, one_hot, share[:, 0] * weights + (1 - share[:, 0]) * weights[other]

    def _release_pages(self, read_bytes: int) -> None:
        self._read_bytes += read_bytes
        if self._read_bytes > _RELEASE_EVERY_BYTES:
            self._read_bytes = 0
            release_pages(self._pixels)


def _scaled(images: np.ndarray, side: int) -> np.ndarray:
    """Scale uint8 images (b, h, w, 3) so that their longer side has `side` px."""
    height, width = scaled_size(images.shape[1], images.shape[2], side)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)) for image in images]
    )


def scaled_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width, in px, of an image that is scaled so that its longer side has `side` px."""
    longer = max(height, width)
    return round(height * side / longer), round(width * side / longer)


def predict(network: keras.Model, pixels: np.ndarray, rows: np.ndarray, *, batch_size: int = 32) -> np.ndarray:
    """Probabilities of the images at `rows`: float64 (n, k), in the order of `rows`."""
    size = min(batch_size, max(1, len(rows)))
    batches = Batches(pixels, rows, np.zeros(len(rows), dtype=int), batch_size=size, n_diagnoses=1)
    with full_precision():
        return np.concatenate([_predict_batch(network, batches[i][0], size) for i in range(len(batches))])


def _predict_batch(network: keras.Model, images: np.ndarray, size: int) -> np.ndarray:
    count = len(images)
    if compiles_by_shape():
        images = np.resize(images, (size, *images.shape[1:]))  # repeats images where they are fewer
    return np.asarray(network.predict_on_batch(images))[:count].astype(np.float64)

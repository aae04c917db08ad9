"""Images in, answers out, on as many threads as there are cores; what cannot be begun soon is refused at once.

Each thread decodes one image and runs it through the network on its own core. Images of several requests are not put into one
batch: on a CPU a batch of eight takes eight times as long as one (docs/serve.md), so it would only make the first wait.
"""

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lesionlab.data.patient import Patient
from lesionlab.environment import n_cores
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Prediction, Unreadable
from lesionlab.serve.uploads import Upload

_SMOOTHING = 0.1


class Busy(Exception):
    """More images are waiting than may; `seconds` is when to come again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"come again in {seconds} s")
        self.seconds = seconds


class Engine:
    """Runs a model on a bounded number of waiting images."""

    def __init__(self, model: Model, most_waiting: int) -> None:
        self.model = model
        self.workers = n_cores()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="serve")
        self._most = most_waiting
        self._waiting = 0
        self._seconds = 0.05  # an image takes, smoothed
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Images that are under way or wait."""
        return self._waiting

    def check(self, images: int) -> None:
        """Raise Busy where that many more images would have to wait too long."""
        if self._waiting and self._waiting + images > self._most:
            raise Busy(max(1, math.ceil(self._waiting * self._seconds / self.workers)))

    async def predict(
        self, uploads: Sequence[Upload], *, explain: bool, patient: Patient, features: bool = False
    ) -> list[Prediction | Unreadable]:
        """Predict the images of one request, in their order; `patient` is whom all of them are of.

        Raises:
            Busy: too many are waiting already.
            LesionlabError: the model fails.

        """
        self.check(len(uploads))
        loop = asyncio.get_running_loop()
        self._waiting += len(uploads)
        sources = [Source(upload.name, upload.name, upload.data, patient) for upload in uploads]
        futures = [loop.run_in_executor(self._pool, self._answer, source, explain, features) for source in sources]
        for future in futures:
            future.add_done_callback(self._done)
        return await asyncio.gather(*futures)

    def close(self) -> None:
        """End the threads; what has begun is finished."""
        self._pool.shutdown(cancel_futures=True)

    def _answer(self, source: Source, explain: bool, features: bool) -> Prediction | Unreadable:
        started = time.perf_counter()
        (answer,) = self.model.predict_batch([source], explain=explain, features=features)
        with self._lock:
            self._seconds += _SMOOTHING * (time.perf_counter() - started - self._seconds)
        return answer

    def _done(self, _: object) -> None:
        self._waiting -= 1

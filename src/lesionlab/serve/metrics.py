"""Counters and times of a service, as Prometheus reads them; of images and their names nothing."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lesionlab.predict import Prediction, Unreadable

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)


class Meter:
    """What one service has done."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = Counter(
            "lesionlab_images", "Images answered, by decision", ["decision"], registry=self._registry
        )
        self._seconds = Histogram(
            "lesionlab_predict_seconds",
            "Time from a request's images to its answers",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._waiting = Gauge("lesionlab_images_waiting", "Images under way or waiting", registry=self._registry)

    def time(self) -> AbstractContextManager[object]:
        """Time the answering of one request."""
        return self._seconds.time()

    def count(self, answers: Sequence[Prediction | Unreadable]) -> None:
        """Count the images of one request."""
        for decision in _decisions(answers):
            self._images.labels(decision).inc()

    def page(self, waiting: int) -> Response:
        """Write the figures in Prometheus's text format."""
        self._waiting.set(waiting)
        return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _decisions(answers: Sequence[Prediction | Unreadable]) -> Iterator[str]:
    for answer in answers:
        yield "unreadable" if isinstance(answer, Unreadable) else answer.decision

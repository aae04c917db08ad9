"""Counters and times of a service, as Prometheus reads them; of images and their names nothing."""

from collections.abc import Iterator, Sequence

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lesionlab.inference.predictions import Prediction, Unreadable

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
_SHARES = tuple(step / 10 for step in range(1, 11))
_SCORES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class Meter:
    """What one service has done."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("lesionlab_requests", "Requests, by status", ["status"], registry=self._registry)
        self._images = Counter(
            "lesionlab_images", "Images answered, by decision", ["decision"], registry=self._registry
        )
        self._seconds = Histogram(
            "lesionlab_predict_seconds",
            "Time from a request's images to its predictions; refused requests are not timed",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._diagnoses = Counter(
            "lesionlab_diagnoses",
            "Dermatoscopic images answered, by predicted diagnosis",
            ["dx"],
            registry=self._registry,
        )
        self._uncertainty = Histogram(
            "lesionlab_uncertainty", "Uncertainty of the predictions", buckets=_SHARES, registry=self._registry
        )
        self._ood = Histogram(
            "lesionlab_ood_score", "How little images look dermatoscopic", buckets=_SCORES, registry=self._registry
        )
        self._waiting = Gauge("lesionlab_images_waiting", "Images under way or waiting", registry=self._registry)

    def count_request(self, status: int) -> None:
        """Count a request by the status that it was answered with, refusals among them."""
        self._requests.labels(status).inc()

    def count_images(self, answers: Sequence[Prediction | Unreadable], seconds: float) -> None:
        """Count the images of a request that was answered, and take the time that they took."""
        self._seconds.observe(seconds)
        for decision in _decisions(answers):
            self._images.labels(decision).inc()
        for answer in answers:
            if isinstance(answer, Prediction):
                self._count_drift(answer)

    def _count_drift(self, prediction: Prediction) -> None:
        """Count what shows from month to month whether other pictures come in; `compare-data` tests it on the pictures."""
        if prediction.ood_score is not None:
            self._ood.observe(prediction.ood_score)
        if prediction.is_dermatoscopic is not False:
            self._diagnoses.labels(prediction.dx).inc()
            self._uncertainty.observe(prediction.uncertainty)

    def page(self, waiting: int) -> Response:
        """Write the figures in Prometheus's text format."""
        self._waiting.set(waiting)
        return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _decisions(answers: Sequence[Prediction | Unreadable]) -> Iterator[str]:
    for answer in answers:
        yield "unreadable" if isinstance(answer, Unreadable) else answer.decision

"""Metrics of a server, in the text format of Prometheus."""

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emotion.app.pool import Pool

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Metrics of one server.

    Args:
        pool: Pool of workers.
        model: Name of the model.
        version: Its version.
    """

    def __init__(self, pool: Pool, model: str, version: str) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = Counter(
            "emotion_requests", "Requests for a prediction, by status code.", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "emotion_request_duration_seconds",
            "Time from the headers of a request to its answer, by status code.",
            ["status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        gauges = {
            "emotion_queue_length": ("Recordings that wait for a worker.", lambda: pool.waiting),
            "emotion_running": ("Recordings that are being predicted.", lambda: pool.running),
            "emotion_workers": ("Workers whose model is loaded.", lambda: pool.ready),
        }
        for name, (description, value) in gauges.items():
            Gauge(name, description, registry=self.registry).set_function(value)
        Info("emotion_model", "The model.", registry=self.registry).info({"name": model, "version": version})

    def text(self) -> bytes:
        """Return the text format of Prometheus."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that measures the requests for a prediction.

    Args:
        app: Application.
        metrics: Metrics to update.
        path: Path of the measured requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, path: str) -> None:
        self.app, self.metrics, self.path = app, metrics, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), "500"

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            self.metrics.requests.labels(status).inc()
            self.metrics.seconds.labels(status).observe(time.perf_counter() - start)

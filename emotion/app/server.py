"""A server that predicts uploaded recordings."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.requests import ClientDisconnect

import emotion
from emotion.app.limits import MAX_CONNECTIONS, MAX_HEADERS_S, Limits, RefusedError, busy
from emotion.app.metrics import Measured, Metrics
from emotion.app.model import ModelVersion
from emotion.app.pool import Pool
from emotion.app.protocol import timed_protocol
from emotion.app.upload import Upload, receive
from emotion.app.worker import LoadPredictor, Task
from emotion.errors import EmotionError, suggest

_PATH = "/predict"
_PARAMETERS = ("timeline", "window", "hop", "min_confidence")
_CLIENT_CLOSED_REQUEST = 499  # of nginx; it is counted, since the client is gone
_MAX_TIME_S = 3600.0
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The JSON of emotion predict: a list with one object, or with one for each window."},
    400: {"description": "The form cannot be read."},
    408: {"description": "The upload took too long."},
    413: {"description": "The upload is too large."},
    415: {"description": "The body is compressed."},
    422: {"description": "The file cannot be predicted, is too long, or a parameter is wrong."},
    429: {"description": "Too many recordings are waiting; try again after the seconds of Retry-After."},
    500: {"description": "The recording could not be predicted."},
    503: {"description": "The server has no space for uploads, or is being stopped."},
    504: {"description": "The prediction took too long and was stopped."},
}


class Admission:
    """Uploads that are received at a time, each in a folder of its own that is deleted after the answer.

    Args:
        pool: Pool of workers.
        folder: Folder of temporary files.
    """

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool, self.folder, self._uploads = pool, folder, 0

    async def predict(self, request: Request, min_confidence: float, windows: tuple[float, float] | None) -> str:
        """Return the JSON of the prediction of the recording in a request.

        Raises:
            RefusedError: there is no prediction.
            ClientDisconnect: the client ended the connection.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as own:
            upload = await self._receive(request, Path(own))
            answer = await self.pool.predict(Task(upload.path, upload.name, min_confidence, windows))
        if answer.status != 200:
            raise RefusedError(answer.status, answer.text)
        return answer.text

    async def _receive(self, request: Request, own: Path) -> Upload:
        if self.pool.is_full:  # before the body is read
            raise busy("too many recordings are waiting")
        if self._uploads >= self.pool.limits.uploads:
            raise busy("too many files are being uploaded")
        self._uploads += 1
        try:
            return await receive(request, own, self.pool.limits)
        finally:
            self._uploads -= 1


def build(pool: Pool, model: ModelVersion, folder: Path) -> FastAPI:
    """Return the application.

    Args:
        pool: Started pool of workers.
        model: Name and version of the model.
        folder: Existing folder for temporary files.
    """
    app = FastAPIOffline(
        redoc_url=None,
        title="emotion",
        version=emotion.__version__,
        description="Predict the emotion of recordings. No file is kept.",
    )
    admission, metrics = Admission(pool, folder), Metrics(pool, *model)
    app.add_middleware(Measured, metrics=metrics, path=_PATH)
    app.add_exception_handler(RefusedError, _refuse)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=_CLIENT_CLOSED_REQUEST))
    app.add_exception_handler(Exception, lambda *_: JSONResponse({"detail": "internal error"}, 500))

    @app.post(_PATH, responses=_RESPONSES, openapi_extra=_BODY)
    async def predict(
        request: Request,
        timeline: Annotated[bool, Query(description="Predict each window and each face.")] = False,
        window: Annotated[
            float | None, Query(ge=0.1, le=_MAX_TIME_S, description="Duration of a window in s; implies timeline.")
        ] = None,
        hop: Annotated[
            float | None, Query(ge=0.1, le=_MAX_TIME_S, description="Step between windows in s; implies timeline.")
        ] = None,
        min_confidence: Annotated[
            float, Query(ge=0, le=1, description="Answer uncertain where no emotion has this probability.")
        ] = 0.0,
    ) -> Response:
        """Predict the emotion of a recording: a form with one file, or the file itself."""
        if unknown := sorted(set(request.query_params) - {*_PARAMETERS}):
            raise RefusedError(422, f"unknown parameter {unknown[0]}: {suggest(unknown[0], _PARAMETERS)}")
        follows = timeline or window is not None or hop is not None
        text = await admission.predict(request, min_confidence, windows_of(window, hop) if follows else None)
        return Response(text, media_type="application/json")

    _add_reports(app, pool, model, metrics)
    return app


def _add_reports(app: FastAPI, pool: Pool, model: ModelVersion, metrics: Metrics) -> None:
    """Add the health and the metrics of the server."""

    @app.get("/health", responses={503: {"description": "No model is loaded."}})
    async def health() -> Response:
        """Report whether the model is loaded."""
        ready = pool.ready > 0
        state = {"status": "ready" if ready else "loading", "model": model.name, "version": model.version}
        return JSONResponse(state, 200 if ready else 503)

    @app.get("/metrics")
    async def report_metrics() -> Response:
        """Report metrics in the text format of Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"detail": error.message}, error.status, error.headers)


def serve(load: LoadPredictor, model: ModelVersion, limits: Limits, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; accepted requests are answered before the end.

    Args:
        load: Function that loads the model; it must be picklable.
        model: Name and version of the model.
        limits: Limits of the server.
        host: Address on which it is reached; `127.0.0.1` from this machine alone.
        port: Likewise; 0 for a free one.

    Raises:
        EmotionError: the model cannot be loaded, or the port is taken.
    """
    listener = _listen(host, port)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // limits.workers)))  # of each worker
    with listener, started_pool(load, limits) as pool, tempfile.TemporaryDirectory(prefix="emotion-serve-") as folder:
        app = build(pool, model, Path(folder))
        place = f"http://{_in_address(host)}:{listener.getsockname()[1]}"
        with _no_interrupt():
            print(f"serving {model.name} {model.version} at {place} until you press Ctrl+C", flush=True)
            uvicorn.Server(_configure(app, limits)).run(sockets=[listener])


@contextmanager
def started_pool(load: LoadPredictor, limits: Limits) -> Iterator[Pool]:
    """Yield workers whose model is loaded, and stop them at the end of the block.

    Raises:
        EmotionError: the model cannot be loaded.
    """
    pool = Pool(load, limits)
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()


def _configure(app: FastAPI, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=timed_protocol(min(limits.timeout_s, MAX_HEADERS_S)),
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(3 * limits.timeout_s) + 1,  # upload, queue and prediction
    )


def windows_of(window: float | None, hop: float | None) -> tuple[float, float]:
    """Return duration of windows and step between them, in seconds, with the defaults of `emotion predict`."""
    window = 3.0 if window is None else window
    return window, min(1.0, window) if hop is None else hop


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise EmotionError(
            f"cannot serve at {_in_address(host)}:{port}: {reason}; choose another --port or --host"
        ) from error


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Leave SIGINT and SIGTERM to uvicorn, which raises them again after it stopped."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

"""HTTP with limits of time that uvicorn lacks: for the headers of a request, and for a client that does not read."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def timed_protocol(timeout_s: float) -> type["TimedProtocol"]:
    """Return the class of connections with a limit of time, in seconds, as uvicorn creates them."""
    return type("TimedProtocol", (TimedProtocol,), {"timeout_s": timeout_s})


class TimedProtocol(H11Protocol):
    """A connection that is closed if headers, or the reading of an answer, take longer than `timeout_s`.

    The bodies of requests are limited by `emotion.app.upload.receive`.
    """

    timeout_s: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for headers."""
        super().connection_made(transport)  # pyright: ignore[reportArgumentType] (uvicorn declares a subclass)
        self._start(self._refuse)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, or stop waiting when a request began."""
        super().data_received(data)
        waits = self.cycle is None or self.cycle.response_complete
        if not waits:
            self._cancel()
        elif self._timer is None and not self.transport.is_closing():
            self._start(self._refuse)

    def pause_writing(self) -> None:
        """Start to wait for a client that does not read."""
        super().pause_writing()
        self._start(self.transport.abort)

    def resume_writing(self) -> None:
        """Stop to wait for a client that did not read."""
        super().resume_writing()
        self._cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._cancel()
        super().connection_lost(exc)

    def _refuse(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.write(_TIMEOUT)
            self.transport.close()

    def _start(self, end) -> None:  # noqa: ANN001
        self._cancel()
        self._timer = self.loop.call_later(self.timeout_s, end)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

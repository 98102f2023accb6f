"""HTTP with limits of time that uvicorn lacks: for headers, for the rest of a refused body, and for slow readers."""

import asyncio
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_DRAIN_S = 2  # in which the rest of a refused body is read; a connection that is closed at once may lose the answer


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
        self._start(self._refuse, self.timeout_s)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, or stop waiting when a request began."""
        super().data_received(data)
        waits = self.cycle is None or self.cycle.response_complete
        if not waits:
            self._cancel()
        elif self._timer is None and not self.transport.is_closing():
            is_refused = self.conn.their_state is h11.SEND_BODY
            self._start(self._refuse, min(self.timeout_s, _DRAIN_S) if is_refused else self.timeout_s)

    def pause_writing(self) -> None:
        """Start to wait for a client that does not read."""
        super().pause_writing()
        self._start(self.transport.abort, self.timeout_s)

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
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:  # a part of the headers
                self.transport.write(_TIMEOUT)
            self.transport.close()

    def _start(self, end: Callable[[], None], seconds: float) -> None:
        self._cancel()
        self._timer = self.loop.call_later(seconds, end)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

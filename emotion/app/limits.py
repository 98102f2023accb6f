"""The limits of a server, and requests that it refuses."""

from dataclasses import dataclass

MAX_CONNECTIONS = 500
"""Maximum number of open connections, under the 1,024 open files that many systems allow a process."""

MAX_HEADERS_S = 20
"""Maximum time of the headers of a request, and of the reading of an answer, in seconds."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        max_size_mb: Maximum size of an upload, in MB.
        max_duration_s: Maximum duration of a recording, in seconds.
        timeout_s: Maximum time of an upload, of waiting for a worker, and of a prediction, each, in seconds.
        queue: Maximum number of uploaded recordings that wait for a worker.
        uploads: Maximum number of uploads at a time.
        workers: Number of processes that predict.
        max_memory_mb: Maximum memory of a worker, in MB; 0 for any.
    """

    max_size_mb: float = 100
    max_duration_s: float = 300
    timeout_s: float = 60
    queue: int = 16
    uploads: int = 64
    workers: int = 1
    max_memory_mb: int = 4000

    @property
    def max_bytes(self) -> int:
        """Maximum size of an upload, in bytes."""
        return round(self.max_size_mb * 1e6)


class RefusedError(Exception):
    """Raised for a request that is not answered with a prediction.

    Args:
        status: Status code of HTTP.
        message: Message to the client, one line without paths of this machine.
        headers: Further headers of the answer (default: none).
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def busy(message: str) -> RefusedError:
    """Return the refusal of a request that may be repeated soon."""
    return RefusedError(429, f"{message}; try again later", {"Retry-After": "1"})

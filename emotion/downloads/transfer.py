"""HTTP downloads that are retried, resumed and verified."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import Retry

from emotion import __version__
from emotion.errors import EmotionError, is_not_writable

log = logging.getLogger(__name__)
logging.getLogger("urllib3").setLevel(logging.ERROR)  # `_LoggingRetry` logs the same more briefly

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which a request is repeated."""
_CHUNK = 1 << 18  # bytes
_MAX_LIST_BYTES = 32 << 20  # bytes
_MAX_PAUSE_S = 120
_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 15


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        name: File name.
        address: Address of the content.
        size: Size in bytes, or None if unknown.
        checksums: Checksums, such as `md5 900150983cd24fb0d6963f7d28e17f72`.
    """

    name: str
    address: str
    size: int | None
    checksums: tuple[str, ...]


class _LoggingRetry(Retry):
    """A `Retry` that logs each repeated request in one line."""

    def increment(self, *arguments: Any, **named: Any) -> Retry:
        response, error = named.get("response"), named.get("error")
        log.info("retrying: %s", _reason(error) if error else f"the server answers {getattr(response, 'status', '')}")
        return super().increment(*arguments, **named)


class Session:
    """An HTTP session that repeats requests after transient errors, with exponential backoff.

    Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`).

    Args:
        retries: Maximum number of attempts without progress (default: 5).
        timeout: Time without data after which a request is repeated, in seconds (default: 60).
        pause: Time before the second repetition, in seconds, doubled each time (default: 1).
    """

    def __init__(self, retries: int = 5, timeout: float = 60, pause: float = 1) -> None:
        self.retries, self.timeout, self.pause = retries, timeout, pause
        self.stopped = threading.Event()
        self._session = requests.Session()
        self._session.max_redirects = _MAX_REDIRECTS
        self._session.headers.update({"User-Agent": f"emotion/{__version__}", "Accept-Encoding": "identity"})
        retry = _LoggingRetry(
            total=retries,
            redirect=False,
            status_forcelist=TRANSIENT,
            backoff_factor=pause,
            backoff_max=_MAX_PAUSE_S,
            retry_after_max=_MAX_PAUSE_S,
            raise_on_status=False,
        )
        self._session.mount("https://", HTTPAdapter(max_retries=retry))
        self._session.mount("http://", HTTPAdapter(max_retries=retry))

    def json(self, address: str) -> Any:
        """Return the JSON document at an address.

        Raises:
            EmotionError: the server cannot be reached, refuses, or does not answer with a JSON document.
        """
        with _one_line_errors(address), self._get(address) as answer:
            body = b""
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                if len(body) > _MAX_LIST_BYTES:
                    raise EmotionError(f"{address} answers with more than a list of files")
            try:
                return json.loads(body)
            except (ValueError, RecursionError) as error:
                raise EmotionError(f"{address} did not answer with a list of files; try again later") from error

    def fetch(self, remote: RemoteFile, path: Path, advance: Callable[[int], None]) -> None:
        """Download and verify a file, resuming an earlier attempt.

        Args:
            remote: File to download.
            path: Target; the incomplete file has the suffix `.partial`.
            advance: Function that receives the number of new bytes, negative if the download restarts.

        Raises:
            EmotionError: the file cannot be downloaded, or its size or checksum is wrong. An incomplete file is kept
                for the next attempt, unless its checksum is wrong.
        """
        partial = path.with_name(f"{path.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        advance(_size(partial))
        defect = ""
        for _ in range(2):  # a resumed file may consist of two versions; the second attempt does not resume
            self._complete(remote, partial, advance)
            defect = _find_defect(remote, partial)
            if not defect:
                partial.replace(path)
                return
            advance(-_size(partial))
            partial.unlink()
        raise EmotionError(f"{remote.address} has {defect}; it was removed: try again later, or another --mirror")

    def _complete(self, remote: RemoteFile, partial: Path, advance: Callable[[int], None]) -> None:
        """Append the missing bytes to an incomplete file."""
        failures, most = 0, _size(partial)
        while remote.size is None or _size(partial) < remote.size:
            with _one_line_errors(remote.address):
                answer = self._get(remote.address, _size(partial))
            reason = "the connection ended"
            try:
                if self._append(answer, remote, partial, advance):
                    return
            except (HTTPError, OSError) as error:
                if is_not_writable(error):
                    raise
                reason = _reason(error)
            failures = 0 if _size(partial) > most else failures + 1
            most = max(most, _size(partial))
            if failures > self.retries:
                raise EmotionError(
                    f"{remote.address} could not be downloaded ({reason}); repeat the command to resume after "
                    f"{_size(partial):,} bytes"
                )
            self.stopped.wait(min(self.pause * 2**failures / 2, _MAX_PAUSE_S))

    def _append(
        self, answer: requests.Response, remote: RemoteFile, partial: Path, advance: Callable[[int], None]
    ) -> bool:
        """Write the body of an answer; return True if the file is complete."""
        size = _size(partial)
        with answer:
            start = _start_offset(answer)
            if answer.status_code == requests.codes.requested_range_not_satisfiable or start not in (0, size):
                advance(-size)
                partial.unlink(missing_ok=True)
                return False
            if start != size:  # the server does not support ranges
                advance(-size)
            with partial.open("ab" if start else "wb") as file:
                written = start
                while chunk := answer.raw.read1(_CHUNK):  # without waiting for a full chunk, so that nothing is lost
                    if self.stopped.is_set():
                        raise EmotionError(f"{remote.name} was stopped after {written:,} bytes")
                    if remote.size is not None and written + len(chunk) > remote.size:
                        raise EmotionError(
                            f"{remote.address} sends more than the {remote.size:,} bytes that it should have; try "
                            "again later, or another --mirror"
                        )
                    file.write(chunk)
                    written += len(chunk)
                    advance(len(chunk))
        return remote.size is None or written == remote.size

    def _get(self, address: str, start: int = 0) -> requests.Response:
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._session.get(address, headers=headers, stream=True, timeout=(_CONNECT_TIMEOUT_S, self.timeout))
        if answer.status_code in (200, 206, 416):
            return answer
        answer.close()
        again = "; try again later" if answer.status_code in TRANSIENT else ""
        raise EmotionError(f"{address} answers {answer.status_code} {answer.reason}{again}")


@contextmanager
def _one_line_errors(address: str) -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        raise EmotionError(
            f"{address} could not be reached ({_reason(error)}); check the network, set HTTPS_PROXY for a proxy, or "
            "choose another server with --mirror"
        ) from error


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause, without the addresses of objects."""
    while (inner := getattr(error, "reason", None) or (error.args[0] if error.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, ProtocolError):
        return "the connection broke"
    text = " ".join(str(error).split()).rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1]
    return f"{type(error).__name__}: {text}"[:200]


def _start_offset(answer: requests.Response) -> int:
    """Return the offset of the first byte of an answer, or -1 if it is unknown."""
    if answer.status_code != requests.codes.partial_content:
        return 0
    given = answer.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    return int(given) if given.isdecimal() and len(given) < 20 else -1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _find_defect(remote: RemoteFile, path: Path) -> str:
    """Return a description of a wrong size or checksum, or an empty string."""
    if remote.size is not None and _size(path) != remote.size:
        return f"{_size(path):,} bytes instead of {remote.size:,}"
    for checksum in remote.checksums:
        name, expected = checksum.split(" ", 1)
        if name not in ("md5", "sha256", "sha512", "sha1"):
            return f"a checksum of an unknown kind, {name}"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != expected:
            return f"the {name} checksum {found} instead of {expected}"
    return ""


def is_complete(remote: RemoteFile, path: Path) -> bool:
    """Return True if a file exists and has the size and checksums of a remote file."""
    return path.is_file() and not _find_defect(remote, path)

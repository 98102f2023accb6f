"""Files from servers: resumed where they were cut off, and verified."""

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
logging.getLogger("urllib3").setLevel(logging.ERROR)  # `_LoggingRetry` logs the same in fewer words

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""What servers answer that may answer otherwise a little later."""
_CHUNK = 1 << 18  # bytes
_MAX_LIST_BYTES = 32 << 20  # bytes
_MAX_PAUSE_S = 120  # seconds
_MAX_REDIRECTS = 5
_CONNECT = 15  # seconds


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        name: What it is called, a plain name.
        address: Of what it holds.
        size: Bytes; None if unknown.
        checksums: Such as `md5 900150983cd24fb0d6963f7d28e17f72`.
    """

    name: str
    address: str
    size: int | None
    checksums: tuple[str, ...]


class _LoggingRetry(Retry):
    """Tells that a server is asked again, in a line."""

    def increment(self, *arguments: Any, **named: Any) -> Retry:
        response, error = named.get("response"), named.get("error")
        log.info("asked again: %s", _why(error) if error else f"the server answers {getattr(response, 'status', '')}")
        return super().increment(*arguments, **named)


class Session:
    """Asks servers, and asks again, with ever longer pauses, where that may help.

    Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`).

    Args:
        retries: How often without a byte more.
        timeout: Seconds without a byte, after which a server is asked again.
        pause: Seconds before the second time that it is asked again, doubled every time; a server may ask for more.
    """

    def __init__(self, retries: int = 5, timeout: float = 60, pause: float = 1) -> None:
        self.retries, self.timeout, self.pause = retries, timeout, pause
        self.stopped = threading.Event()
        self._session = requests.Session()
        self._session.max_redirects = _MAX_REDIRECTS
        self._session.headers.update({"User-Agent": f"emotion/{__version__}", "Accept-Encoding": "identity"})
        asked_again = _LoggingRetry(
            total=retries,
            redirect=False,
            status_forcelist=TRANSIENT,
            backoff_factor=pause,
            backoff_max=_MAX_PAUSE_S,
            retry_after_max=_MAX_PAUSE_S,
            raise_on_status=False,
        )
        self._session.mount("https://", HTTPAdapter(max_retries=asked_again))
        self._session.mount("http://", HTTPAdapter(max_retries=asked_again))

    def json(self, address: str) -> Any:
        """What a server lists at `address`.

        Raises:
            EmotionError: it cannot be reached, refuses, or answers with something else.
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

    def fetch(self, remote: Remote, path: Path, advance: Callable[[int], None]) -> None:
        """Bring `remote` to `path`, which goes on where an earlier attempt ended, and is verified.

        Args:
            remote: What.
            path: Where; only whole files get this name. `path` with `.partial` after it is what there is so far.
            advance: Told how many bytes there are more, or less where it begins anew.

        Raises:
            EmotionError: it could not be fetched, or is not what it should be. What there is stays for the next
                time, unless its checksum is wrong.
        """
        partial = path.with_name(f"{path.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        advance(_size(partial))
        wrong = ""
        for _ in range(2):  # a file put together in parts may be of two versions; the second time it is in one
            self._complete(remote, partial, advance)
            wrong = _find_defect(remote, partial)
            if not wrong:
                partial.replace(path)
                return
            advance(-_size(partial))
            partial.unlink()
        raise EmotionError(f"{remote.address} has {wrong}; it was removed: try again later, or another --mirror")

    def _complete(self, remote: Remote, partial: Path, advance: Callable[[int], None]) -> None:
        """Append to `partial` what it lacks."""
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
                reason = _why(error)
            failures = 0 if _size(partial) > most else failures + 1
            most = max(most, _size(partial))
            if failures > self.retries:
                raise EmotionError(
                    f"{remote.address} could not be fetched ({reason}); give the command again to go on after "
                    f"{_size(partial):,} bytes"
                )
            self.stopped.wait(min(self.pause * 2**failures / 2, _MAX_PAUSE_S))

    def _append(self, answer: requests.Response, remote: Remote, partial: Path, advance: Callable[[int], None]) -> bool:
        """Write what a server sends; returns whether that was all."""
        have = _size(partial)
        with answer:
            begins = _begins(answer)
            if answer.status_code == requests.codes.requested_range_not_satisfiable or begins not in (0, have):
                advance(-have)
                partial.unlink(missing_ok=True)
                return False
            if begins != have:  # no ranges: all of it comes again
                advance(-have)
            with partial.open("ab" if begins else "wb") as file:
                written = begins
                while chunk := answer.raw.read1(_CHUNK):  # what has come, so that nothing of it is lost
                    if self.stopped.is_set():
                        raise EmotionError(f"{remote.name} was left after {written:,} bytes")
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
        answer = self._session.get(address, headers=headers, stream=True, timeout=(_CONNECT, self.timeout))
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
            f"{address} could not be reached ({_why(error)}): is there a network, or a proxy to be named in "
            "HTTPS_PROXY? Or give another server with --mirror"
        ) from error


def _why(error: BaseException) -> str:
    """The innermost reason, without the addresses of objects."""
    while (inner := getattr(error, "reason", None) or (error.args[0] if error.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, ProtocolError):
        return "the connection broke"
    text = " ".join(str(error).split()).rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1]
    return f"{type(error).__name__}: {text}"[:200]


def _begins(answer: requests.Response) -> int:
    """The first byte that an answer holds; -1 where it does not say so."""
    if answer.status_code != requests.codes.partial_content:
        return 0
    given = answer.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    return int(given) if given.isdecimal() and len(given) < 20 else -1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _find_defect(remote: Remote, path: Path) -> str:
    """Empty where size and checksums are as they should be."""
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


def is_whole(remote: Remote, path: Path) -> bool:
    """Whether `path` is what `remote` should be."""
    return path.is_file() and not _find_defect(remote, path)

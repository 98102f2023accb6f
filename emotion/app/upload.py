"""Uploads, which are written to a temporary file while their size and their time are limited."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from emotion.app.limits import Limits, RefusedError
from emotion.errors import printable
from emotion.media.suffixes import MEDIA_SUFFIXES

log = logging.getLogger(__name__)

_MAX_NAME = 200  # characters
_MAX_HEADER = 8192  # bytes, in a part of a form
_MAX_PARTS = 16  # of a form
_DEFAULT_NAME = "recording"


class Upload(NamedTuple):
    """A received recording.

    Attributes:
        path: Temporary file.
        name: Name of the recording, by the client; it is part of the answer alone.
    """

    path: Path
    name: str


async def receive(request: Request, folder: Path, limits: Limits) -> Upload:
    """Write the recording in the body of a request to a new file.

    The body is a form with one file (`multipart/form-data`), or the file itself.

    Args:
        request: Request whose body was not read.
        folder: Empty folder of this request.
        limits: Limits of size and time.

    Raises:
        RefusedError: the body is too large, too slow, empty, or not as described.
        ClientDisconnect: the client ended the connection.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    _require_plain_body(request, limits)
    path = folder / "upload"
    try:
        with open(path, "wb") as file:
            body = _chunks(request, limits)
            async with asyncio.timeout(limits.timeout_s):
                if kind == b"multipart/form-data":
                    name = await _write_form(body, options.get(b"boundary", b""), file)
                else:
                    name = await _write_body(body, file)
            size = file.tell()
    except TimeoutError:
        raise RefusedError(
            408, f"the upload took longer than {limits.timeout_s:g} s", {"Connection": "close"}
        ) from None
    except OSError as error:
        log.error("an upload cannot be written: %s", error)
        raise RefusedError(503, "the server has no space for uploads; try again later") from None
    if not size:
        raise RefusedError(422, f"{name}: the file is empty (zero bytes)")
    # FFmpeg knows some formats by their suffix alone.
    suffix = Path(name).suffix.lower()
    return Upload(path.rename(path.with_suffix(suffix)) if suffix in MEDIA_SUFFIXES else path, name)


def _require_plain_body(request: Request, limits: Limits) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise RefusedError(415, "Content-Encoding is not supported; send the file as it is")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the upload is larger than {limits.max_size_mb:g} MB")


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large(limits)
        yield chunk


async def _write_body(body: AsyncIterator[bytes], file: BinaryIO) -> str:
    async for chunk in body:
        file.write(chunk)
    return _DEFAULT_NAME


async def _write_form(body: AsyncIterator[bytes], boundary: bytes, file: BinaryIO) -> str:
    """Write the only file of a form, and return its name."""
    form = _Form(file)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_header_field": form.add_field,
                "on_header_value": form.add_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_headers,
                "on_part_data": form.add_data,
            },
        )
        async for chunk in body:
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, UnicodeError) as error:
        raise RefusedError(400, "the form cannot be read") from error
    if form.name is None:
        raise RefusedError(422, "the form has no file; name one, such as with curl -F file=@clip.wav")
    return form.name


class _Form:
    """A form that is parsed: its file is written, and other fields are skipped.

    Args:
        file: File to write.

    Attributes:
        name: Name of the file; None before it is found.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.name: str | None = None
        self._file, self._parts, self._is_file = file, 0, False
        self._field, self._value, self._disposition = b"", b"", b""

    def begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise RefusedError(400, f"the form has more than {_MAX_PARTS} fields")
        self._disposition, self._is_file = b"", False

    def add_field(self, data: bytes, start: int, end: int) -> None:
        self._field = _extended(self._field, data[start:end])

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self._value = _extended(self._value, data[start:end])

    def end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._is_file = b"filename" in options
        if self._is_file and self.name is not None:
            raise RefusedError(400, "the form has several files; send one in each request")
        if self._is_file:
            self.name = shown_name(options[b"filename"].decode("utf-8", "replace"))

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(data[start:end])


def _extended(header: bytes, part: bytes) -> bytes:
    if len(header) + len(part) > _MAX_HEADER:
        raise RefusedError(400, "the form cannot be read")
    return header + part


def shown_name(name: str) -> str:
    r"""Return the name of a file without folders and control characters.

    Example:
        >>> shown_name("C:\\clips\\happy.wav"), shown_name("../../etc/passwd"), shown_name("a\nb.wav"), shown_name("")
        ('happy.wav', 'passwd', 'a\\nb.wav', 'recording')
    """
    base = printable(name.replace("\\", "/").rsplit("/", 1)[-1])
    return base[-_MAX_NAME:] or _DEFAULT_NAME

"""Errors of the user, and their output as one line with an exit status."""

import difflib
import errno
import io
import os
import select
import shlex
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEBACK_VARIABLE = "EMOTION_TRACEBACK"
_NOT_WRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)
_ENDED_BY_SIGPIPE = 128 + 13  # exit status of a command whose output pipe was closed
_MIN_SIMILARITY = 0.6  # of two words, in [0, 1]


class EmotionError(Exception):
    r"""Raised for an error that the user can correct; its message is one line that names the cause and the remedy.

    Control characters, such as in file names, are escaped.

    Example:
        >>> str(EmotionError("strange\x1b name.wav: no\n such file\n"))
        'strange\\x1b name.wav: no such file'
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(" ".join(part.strip() for part in text.strip().splitlines())))


def printable(text: str) -> str:
    r"""Escape the characters of a text that are not printable, including surrogates.

    Example:
        >>> printable("two\nlines, caf\udce9")
        'two\\nlines, caf\\udce9'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def error_message(error: BaseException) -> str:
    r"""Return the message of an exception of another library as one line.

    Example:
        >>> error_message(ValueError("not a number:\n  x")), error_message(EOFError())
        ('not a number: x', 'EOFError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__


def counted(count: int, noun: str) -> str:
    """Return a number with a regular noun in the singular or plural.

    Example:
        >>> counted(1, "recording"), counted(1440, "recording")
        ('1 recording', '1,440 recordings')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the most similar known words, three at most, or with all known words.

    Example:
        >>> suggest("mfcc_cn", ["mfcc_cnn", "audio_lstm"])
        'did you mean mfcc_cnn?'
        >>> suggest("xyz", ["b", "a"])
        'known: a, b'
    """
    known = sorted(known)
    likeness = {other: difflib.SequenceMatcher(a=other, b=word).ratio() for other in known}
    threshold = max([_MIN_SIMILARITY, *(value - 0.15 for value in likeness.values())])
    near = sorted((other for other in known if likeness[other] >= threshold), key=lambda other: -likeness[other])
    return f"did you mean {' or '.join(near[:3])}?" if near else f"known: {', '.join(known)}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an expected error as one line on stderr, and exit with status 1.

    With the environment variable EMOTION_TRACEBACK=1 the traceback is printed instead. Unexpected errors are defects of
    this package and keep their traceback; a full or read-only disk is expected.
    """
    # An error in a thread, such as TensorBoard's on a full disk, is raised again in the main thread.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # characters that the terminal cannot encode are escaped
            stream.reconfigure(errors="backslashreplace")
    threading.excepthook = lambda thread: None if _is_expected(thread.exc_value) else threading.__excepthook__(thread)
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # it is None if the shell closed it
                sys.stdout.flush()
    except (EmotionError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _pipe_is_broken():
            sys.exit(_ENDED_BY_SIGPIPE)
        if not _is_expected(error):
            raise
        print(f"error: {error if isinstance(error, EmotionError) else _not_writable(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _pipe_is_broken() -> bool:
    """Return True if stdout or stderr is a pipe that was closed, such as by `head`.

    The stream is redirected to the null device, since Python would report an error when it flushes the buffer at exit.
    """
    broken = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _is_broken(stream.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            broken = True
    return broken


def _is_broken(descriptor: int) -> bool:
    """Return True if a pipe has no reader."""
    if not hasattr(select, "poll"):  # on Windows
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def shown_command(script: str, *arguments: str) -> str:
    """Return a command line that can be pasted into a shell.

    Args:
        script: `train` or `evaluate`: the script, or the subcommand if `emotion` was called.
        *arguments: Its arguments.
    """
    called = Path(sys.argv[0]).name
    program = f"python {script}.py" if called in ("train.py", "evaluate.py") else f"emotion {script}"
    return " ".join([program, *map(shlex.quote, arguments)])


def is_not_writable(error: BaseException | None) -> bool:
    """Return True if an error means that a disk is full or read-only, or that a path leads nowhere."""
    return isinstance(error, OSError) and error.errno in _NOT_WRITABLE


def _is_expected(error: BaseException | None) -> bool:
    """Return True if an error is printed without traceback."""
    expected = isinstance(error, EmotionError) or is_not_writable(error)
    return expected and not os.environ.get(TRACEBACK_VARIABLE)


def _not_writable(error: OSError) -> str:
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return f"cannot use {error.filename}: {error.strerror}; choose another name"
    return f"cannot use {error.filename or 'the output'}: {error.strerror}; free space, or choose another folder"

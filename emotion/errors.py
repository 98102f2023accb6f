"""Errors a person can act on, and the one place that turns them into a line and an exit status."""

import difflib
import errno
import io
import os
import select
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TRACEBACK_VARIABLE = "EMOTION_TRACEBACK"
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_ENDED_BY_SIGPIPE = 128 + 13  # as a shell reports other commands that write to a pipe that nobody reads
_MIN_SIMILARITY = 0.6  # of two words, from 0 to 1


class EmotionError(Exception):
    r"""Something the user can mend; its text is one line that names the thing and the remedy.

    What would move a cursor or break the line, such as in names of files, is written out.

    Example:
        >>> str(EmotionError("strange\x1b name.wav: no\n such file\n"))
        'strange\\x1b name.wav: no such file'
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(" ".join(part.strip() for part in text.strip().splitlines())))


def printable(text: str) -> str:
    r"""A text without what would move a cursor, break a line or be no text at all, which is written out.

    Example:
        >>> printable("two\nlines, caf\udce9")
        'two\\nlines, caf\\udce9'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def error_message(error: BaseException) -> str:
    r"""Return the message of an error of another library, as one line.

    Example:
        >>> error_message(ValueError("not a number:\n  x")), error_message(EOFError())
        ('not a number: x', 'EOFError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which of `known` was probably meant, or list them all.

    Example:
        >>> suggest("mfcc_cn", ["mfcc_cnn", "audio_lstm"])
        'did you mean mfcc_cnn?'
        >>> suggest("xyz", ["b", "a"])
        'known: a, b'
    """
    known = sorted(known)
    likeness = {other: difflib.SequenceMatcher(a=other, b=word).ratio() for other in known}
    # Near is what is alike, and not much less so than what is most alike.
    least = max([_MIN_SIMILARITY, *(value - 0.15 for value in likeness.values())])
    near = sorted((other for other in known if likeness[other] >= least), key=likeness.get, reverse=True)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an expected error as one line on stderr and exit with status 1.

    With the environment variable EMOTION_TRACEBACK=1 the whole traceback is shown instead. Unexpected errors are
    defects of this package and always keep theirs; a disk that is full or must not be written is none.
    """
    # What fails in a thread, as TensorBoard's does when a disk is full, is raised once more where it was asked for.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal of few letters lacks is written out
            stream.reconfigure(errors="backslashreplace")
    threading.excepthook = lambda thread: None if _is_expected(thread.exc_value) else threading.__excepthook__(thread)
    try:
        try:
            yield
        finally:
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
    """Return True if nobody reads standard output or errors any more, such as `head` that has seen enough.

    Such a stream is closed, or Python would complain about what is still buffered when it ends.
    """
    gone = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _is_broken(stream.fileno()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            gone = True
    return gone


def _is_broken(descriptor: int) -> bool:
    """Return True if a pipe has no reader."""
    if not hasattr(select, "poll"):  # on Windows
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def is_not_writable(error: BaseException | None) -> bool:
    """Whether a disk is full, or must not be written."""
    return isinstance(error, OSError) and error.errno in _NOT_WRITABLE


def _is_expected(error: BaseException | None) -> bool:
    """Whether one line is enough to tell of an error."""
    expected = isinstance(error, EmotionError) or is_not_writable(error)
    return expected and not os.environ.get(TRACEBACK_VARIABLE)


def _not_writable(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"cannot use{where}: {error.strerror}; free space, or choose another folder"

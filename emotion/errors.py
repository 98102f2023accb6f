"""Errors a person can act on, and the one place that turns them into a line and an exit status."""

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TRACEBACK_VARIABLE = "EMOTION_TRACEBACK"
_ALIKE = 0.6  # of two words, from 0 to 1


class EmotionError(Exception):
    """Something the user can mend; its text is one line that names the thing and the remedy."""


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
    least = max([_ALIKE, *(value - 0.15 for value in likeness.values())])
    near = sorted((other for other in known if likeness[other] >= least), key=likeness.get, reverse=True)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an expected error as one line on stderr and exit with status 1.

    With the environment variable EMOTION_TRACEBACK=1 the whole traceback is shown instead. Unexpected errors are
    defects of this package and always keep theirs.
    """
    try:
        yield
    except EmotionError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

"""The emotions, and the label schemes that they can be mapped onto."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from emotion.errors import EmotionError, suggest

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The eight emotions of RAVDESS, in the order of its file names."""

KNOWN = (*EMOTIONS, "bored", "contempt")
"""Everything that a recording may be labelled with."""

OF_CORPUS = {
    "ravdess": EMOTIONS,
    "tess": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "emodb": ("neutral", "happy", "sad", "angry", "fearful", "disgust", "bored"),
    "fer2013": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
}
"""What each corpus holds."""


def _same(emotions: tuple[str, ...]) -> dict[str, str]:
    return {emotion: emotion for emotion in emotions}


SCHEMES: dict[str, dict[str, str]] = {
    "emotions": _same(EMOTIONS),
    "emodb": _same(OF_CORPUS["emodb"]),
    "fer2013": _same(OF_CORPUS["fer2013"]),
    "ferplus": _same((*OF_CORPUS["fer2013"], "contempt")),
    # The basic emotions that most corpora share; calm is what RAVDESS alone tells apart from neutral.
    "seven": {"neutral": "neutral", "calm": "neutral", **_same(OF_CORPUS["fer2013"])},
    "happy_sad": _same(("happy", "sad")),
    # Surprise can be either, so it takes no part.
    "valence": {
        **dict.fromkeys(("sad", "angry", "fearful", "disgust"), "negative"),
        **dict.fromkeys(("neutral", "calm"), "neutral"),
        "happy": "positive",
    },
    **{
        f"shared_{one}_{other}": _same(tuple(emotion for emotion in OF_CORPUS[one] if emotion in OF_CORPUS[other]))
        for one, other in combinations(OF_CORPUS, 2)
    },
}
"""Each scheme maps an emotion onto a label; a recording whose emotion it does not name takes no part. `shared_…` are
the emotions that two corpora have in common."""


FROM_DATA = "from_data"
"""The name that stands for the emotions of the recordings at hand; a run keeps the list of them instead."""


def emotions_in(found: Iterable[str]) -> list[str]:
    """Return the emotions that occur, each once and in the order of `KNOWN`: what `labels=from_data` stands for.

    Raises:
        EmotionError: there are fewer than two, which nothing can tell apart.
    """
    found = set(found)
    if len(found) < 2:
        alone = ", ".join(found) or "of no emotion"
        raise EmotionError(
            f"labels={FROM_DATA}: the recordings have the label {alone} alone; at least two labels are needed"
        )
    return [emotion for emotion in KNOWN if emotion in found]


def label_names(name: str | Sequence[str]) -> str:
    """Return a label scheme as one text: its name, or its emotions with commas between them.

    Example:
        >>> label_names("valence"), label_names(["happy", "sad"])
        ('valence', 'happy,sad')
    """
    return name if isinstance(name, str) else ",".join(map(str, name))


def scheme(name: str | Sequence[str]) -> dict[str, str]:
    """Return the mapping emotion -> label of a scheme.

    Args:
        name: Name of a scheme, or a list of emotions, each of which is a label; a list may be written as one text.

    Raises:
        EmotionError: no scheme has that name, or a list holds something else than two or more emotions.

    Example:
        >>> scheme("sad,happy")
        {'sad': 'sad', 'happy': 'happy'}
    """
    text = label_names(name)
    if isinstance(name, str) and "," not in text:
        if name not in SCHEMES:
            raise EmotionError(f"unknown label scheme labels={name}: {suggest(name, [*SCHEMES, FROM_DATA])}")
        return SCHEMES[name]
    emotions = text.split(",")
    if unknown := [emotion for emotion in emotions if emotion not in KNOWN]:
        raise EmotionError(f"labels=[{text}]: {unknown[0]!r} is no emotion: {suggest(unknown[0], KNOWN)}")
    if len(set(emotions)) < max(2, len(emotions)):
        raise EmotionError(f"labels=[{text}]: at least two emotions are needed, each once")
    return _same(tuple(emotions))


def classes(name: str | Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a scheme in their fixed order, which is that of a model's outputs."""
    return tuple(dict.fromkeys(scheme(name).values()))

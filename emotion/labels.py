"""The emotions, and the label schemes onto which they are mapped."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from emotion.errors import EmotionError, suggest

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The eight emotions of RAVDESS, in the order of its file names."""

KNOWN = (*EMOTIONS, "bored", "contempt")
"""All emotions with which a recording may be labelled."""

OF_CORPUS = {
    "ravdess": EMOTIONS,
    "tess": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "emodb": ("neutral", "happy", "sad", "angry", "fearful", "disgust", "bored"),
    "fer2013": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "ased": ("neutral", "happy", "sad", "angry", "fearful"),
    "crema_d": ("neutral", "happy", "sad", "angry", "fearful", "disgust"),
    "emovo": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "esd": ("neutral", "happy", "sad", "angry", "surprised"),
    "iemocap": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "meld": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
    "savee": tuple(emotion for emotion in EMOTIONS if emotion != "calm"),
}
"""The emotions of each corpus."""


def _same(emotions: tuple[str, ...]) -> dict[str, str]:
    return {emotion: emotion for emotion in emotions}


SCHEMES: dict[str, dict[str, str]] = {
    "emotions": _same(EMOTIONS),
    **{corpus: _same(emotions) for corpus, emotions in OF_CORPUS.items()},
    "ferplus": _same((*OF_CORPUS["fer2013"], "contempt")),
    # The basic emotions that most corpora share; only RAVDESS distinguishes calm from neutral.
    "seven": {"neutral": "neutral", "calm": "neutral", **_same(OF_CORPUS["fer2013"])},
    "happy_sad": _same(("happy", "sad")),
    # Surprise can be positive or negative, so it is excluded.
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
"""Mappings from emotions to labels by name; recordings with other emotions are excluded. The name of a corpus
stands for its emotions, `shared_…` for the common emotions of two corpora."""


FROM_DATA = "from_data"
"""Name of the scheme of all emotions that occur in the data; a run saves the list of them."""


def emotions_in(found: Iterable[str]) -> list[str]:
    """Return the distinct emotions in the order of `KNOWN`, for `labels=from_data`.

    Raises:
        EmotionError: there are fewer than two.
    """
    found = set(found)
    if len(found) < 2:
        only = f"only the label {', '.join(found)}" if found else "no label"
        raise EmotionError(f"labels={FROM_DATA}: the recordings have {only}; at least two labels are needed")
    return [emotion for emotion in KNOWN if emotion in found]


def label_names(name: str | Sequence[str]) -> str:
    """Return a label scheme as text: its name, or its emotions separated by commas.

    Example:
        >>> label_names("valence"), label_names(["happy", "sad"])
        ('valence', 'happy,sad')
    """
    return name if isinstance(name, str) else ",".join(map(str, name))


def scheme(name: str | Sequence[str]) -> dict[str, str]:
    """Return the mapping from emotions to labels of a scheme.

    Args:
        name: Name of a scheme, or a list of emotions, each of which is a label; also as text with commas.

    Raises:
        EmotionError: the name is unknown, or the list does not hold two or more distinct emotions.

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
        raise EmotionError(f"labels=[{text}]: {unknown[0]!r} is not an emotion: {suggest(unknown[0], KNOWN)}")
    if len(set(emotions)) < max(2, len(emotions)):
        raise EmotionError(f"labels=[{text}]: at least two emotions are needed, each once")
    return _same(tuple(emotions))


def classes(name: str | Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a scheme in the order of the outputs of a model."""
    return tuple(dict.fromkeys(scheme(name).values()))

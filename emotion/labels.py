"""The emotions, and the label schemes that they can be mapped onto."""

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


def scheme(name: str) -> dict[str, str]:
    """The mapping emotion -> label of the scheme called `name`.

    Raises:
        EmotionError: no scheme has that name.
    """
    if name not in SCHEMES:
        raise EmotionError(f"unknown label scheme labels={name}: {suggest(name, SCHEMES)}")
    return SCHEMES[name]


def classes(name: str) -> tuple[str, ...]:
    """The labels of a scheme in their fixed order, which is that of a model's outputs."""
    return tuple(dict.fromkeys(scheme(name).values()))

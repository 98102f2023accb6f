"""The emotions, and the label schemes that they can be mapped onto."""

from emotion.errors import EmotionError, suggest

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The eight emotions of RAVDESS, in the order of its file names."""

SCHEMES: dict[str, dict[str, str]] = {
    "emotions": {emotion: emotion for emotion in EMOTIONS},
    "happy_sad": {"happy": "happy", "sad": "sad"},
}
"""Each scheme maps an emotion onto a label; a recording whose emotion it does not name takes no part."""


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

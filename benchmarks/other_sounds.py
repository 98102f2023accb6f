"""Measure how the shipped model answers sounds without speech, and how far from speech they are.

Usage: EMOTION_DATA=DIR python benchmarks/other_sounds.py. Writes emotion/shipped/audio/other_sounds.json, which the
card shows: the share of synthetic sounds (music, noise, machines, nature) in which speech is detected, and the area
under the ROC curve of `Prediction.distance` between those sounds and recordings of speech, and between singing and
speech of RAVDESS without pauses.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from emotion.files import write_text
from emotion.inference import Predictor
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.shipped import DIRECTORY

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sounds import RATE, sounds

SEEDS = 2
SPEECH = {
    "ravdess": "ravdess/Audio_Speech_Actors_01-24/**/*.flac",
    "tess": "tess/**/*.flac",
    "ased": "ased/**/*.opus",
}
SONG = "ravdess_song_full/**/*.*"  # uncut
EACH = 150  # recordings of each corpus


def main():
    root = Path(os.environ["EMOTION_DATA"])
    predictor = Predictor.from_run(DIRECTORY / "audio")
    made = [sound for seed in range(SEEDS) for _, sound in sounds(seed)]
    called = [predictor.predict(sound, RATE).emotion != NO_SPEECH for sound in made if np.abs(sound).max() > 0]
    found = {"sounds": len(called), "called_speech": round(float(np.mean(called)), 4)}
    found["auroc_singing"] = auroc(distances(predictor, root, SPEECH["ravdess"]), distances(predictor, root, SONG))
    predictor.reader.speech_only = False
    far = [predictor.predict(sound, RATE).distance for sound in made if np.abs(sound).max() > 1e-3]
    for corpus, pattern in SPEECH.items():
        found[f"auroc_{corpus}"] = auroc(distances(predictor, root, pattern), far)
    write_text(DIRECTORY / "audio" / "other_sounds.json", json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def distances(predictor, root, pattern):
    """Return the distance of about `EACH` of the recordings that a pattern finds, of those with speech."""
    files = sorted(root.glob(pattern))
    answers = predictor.predict(files[:: max(1, len(files) // EACH)])
    return [answer.distance for answer in answers if answer.emotion != NO_SPEECH]


def auroc(near, far):
    """Return the area under the ROC curve for finding `far` by its greater distance."""
    return round(float(roc_auc_score([0] * len(near) + [1] * len(far), near + far)), 4)


if __name__ == "__main__":
    main()

"""Compare the shipped models in 8 bits with the same models in 32 bits, on the recordings of their test splits.

Usage: EMOTION_DATA=DIR python benchmarks/int8.py. Writes emotion/shipped/int8.csv, which the card shows: the size of
both files, their UAR, how often and how much their answers differ, and the median time of a prediction by each, of
recordings that are already read. The two predict in turn, in one process with one thread.
"""

import csv
import io
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read by OnnxModel

import numpy as np
from sklearn.metrics import recall_score

from emotion import runs
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.errors import EmotionError
from emotion.files import write_text
from emotion.inference.export import export
from emotion.inference.onnx_model import OnnxModel
from emotion.inference.recordings import Reader
from emotion.inference.shipped import DIRECTORY, EXPORTED, PARTS
from emotion.labels import scheme
from emotion.progress import track

N_CHECKED = 8  # recordings on which the exported file is checked


def main():
    root = Path(os.environ["EMOTION_DATA"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with zipfile.ZipFile(root / "fer2013.zip") as images:
            images.extractall(work / "fer2013")
        for part, data in zip(PARTS, (root, work / "fer2013"), strict=True):
            rows.append(compare(part, test_split(part, data), work / f"{part}.onnx"))
            print(rows[-1])
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(DIRECTORY / "int8.csv", table.getvalue())


def test_split(part, data):
    """Return pairs of path and label, of the recordings of the test split of a part."""
    config = runs.load_config(DIRECTORY / part)
    corpus = instantiate(config.data.corpus, Corpus)
    directory = corpus.locate(str(data))
    table = corpus.scan(directory)
    splits = runs.load_splits(DIRECTORY / part)
    table = table[table["recording"].isin(splits.loc[splits["split"] == "test", "recording"])]
    media = "audio" if part == "audio" else "video"
    labels = scheme(config.labels)
    return [(directory / path, labels[emotion]) for path, emotion in zip(table[media], table["emotion"], strict=True)]


def compare(part, recordings, path):
    """Return the row of a part."""
    export(DIRECTORY / part, path, "onnx", [str(file) for file, _ in recordings[:: len(recordings) // N_CHECKED]])
    paths = {"float32": path, "int8": DIRECTORY / part / EXPORTED}
    models = {name: OnnxModel(file) for name, file in paths.items()}
    reader = Reader(models["int8"].modalities, models["int8"].sample_rate)
    answers, seconds, truth = {name: [] for name in models}, {name: [] for name in models}, []
    for number, (file, label) in enumerate(track(recordings, f"predicting by {part}", len(recordings))):
        try:
            recording = reader.read(file)
        except EmotionError as error:
            sys.exit(f"error: {error}")
        if not recording.arrays:
            continue  # no speech
        truth.append(label)
        for name in sorted(models, reverse=bool(number % 2)):
            start = time.perf_counter()
            answers[name].append(models[name]([recording])[0][0])
            seconds[name].append(time.perf_counter() - start)
    labels = models["int8"].labels
    probabilities = {name: np.stack(own) for name, own in answers.items()}
    predicted = {name: own.argmax(axis=1) for name, own in probabilities.items()}
    expected = [labels.index(label) for label in truth]
    difference = abs(probabilities["float32"] - probabilities["int8"]).max(axis=1)
    row = {"modality": part, "recordings": len(truth)}
    row |= {f"{name}_mb": f"{file.stat().st_size / 1e6:.1f}" for name, file in paths.items()}
    row |= {f"{name}_uar": f"{recall_score(expected, own, average='macro'):.4f}" for name, own in predicted.items()}
    row["changed_answers"] = int((predicted["float32"] != predicted["int8"]).sum())
    row["mean_difference"], row["max_difference"] = f"{difference.mean():.4f}", f"{difference.max():.4f}"
    row |= {f"{name}_ms": f"{1e3 * np.median(own):.2f}" for name, own in seconds.items()}
    ratio = np.median(np.array(seconds["int8"]) / np.array(seconds["float32"]))
    return row | {"time_ratio": f"{ratio:.2f}"}


if __name__ == "__main__":
    main()

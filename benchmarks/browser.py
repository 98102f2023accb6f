"""Compare the answers of the static page in headless Chromium with those of Python, and their time.

Usage: EMOTION_DATA=DIR python benchmarks/browser.py [onnxruntime-web.tgz]. Downloads onnxruntime-web with npm if it is
not given. Writes results/browser.csv: by kind of file the largest difference to the model of the page in Python, and to
the shipped model, whose products are in 8 bits; and the median time of a prediction, from the file to the answer.
Python has one thread, as the page.
"""

import csv
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from emotion.files import write_text
from emotion.inference import Predictor
from emotion.inference.browser import write_page
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.shipped import DIRECTORY, EXPORTED
from emotion.media.audio import read_audio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pages import download_runtime, open_page, predict, served

EACH = 40  # recordings of each corpus
RATE = 16_000
SPEECH = {
    "RAVDESS": "ravdess/Audio_Speech_Actors_01-24/**/*.flac",
    "TESS": "tess/**/*.flac",
    "ASED": "ased/**/*.opus",
}


def main():
    root = Path(os.environ["EMOTION_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        package = Path(sys.argv[1]) if len(sys.argv) > 1 else downloaded(work)
        write_page(work / "site", runtime=package)
        page, shipped = work / "site" / "model.onnx", DIRECTORY / "audio" / EXPORTED
        models = {"page": Predictor.from_file(page), "shipped": Predictor.from_file(shipped)}
        with served(work / "site") as address, sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page()
            open_page(tab, address)
            rows = [compare(kind, files, tab, models) for kind, files in recordings(root, work).items()]
            browser.close()
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(Path(__file__).parents[1] / "results" / "browser.csv", table.getvalue())
    print(table.getvalue(), end="")


def downloaded(work):
    """Download onnxruntime-web, and return the file."""
    if error := download_runtime(work):
        sys.exit(f"error: npm cannot download onnxruntime-web: {error}")
    return next(work.glob("*.tgz"))


def recordings(root, work):
    """Return files by kind; those of the corpora are written as WAV at 16 and 44.1 kHz."""
    found = {}
    for corpus, pattern in SPEECH.items():
        every = sorted(root.glob(pattern))
        files = every[:: len(every) // EACH][:EACH]
        found[f"{corpus}, WAV, 16 kHz"] = [write(work / f"{corpus}-{file.stem}.wav", file, RATE) for file in files]
        if corpus == "RAVDESS":
            found["RAVDESS, WAV, 44.1 kHz"] = [write(work / f"44-{file.stem}.wav", file, 44_100) for file in files]
            found["RAVDESS, FLAC, 16 kHz"] = files
        if corpus == "ASED":
            found["ASED, Opus"] = files
    originals = sorted((root / "ravdess_originals").rglob("*.wav"))
    for name, channels in (("mono", 1), ("stereo", 2)):
        kind = [file for file in originals if soundfile.info(file).channels == channels]
        found[f"RAVDESS, WAV, 48 kHz, {name}"] = kind
    return found


def write(path, source, rate):
    soundfile.write(path, read_audio(source, rate), rate)
    return path


def compare(kind, files, tab, models):
    """Return the row of a kind of files."""
    differences, seconds = {name: [] for name in models}, {name: [] for name in ("chromium", *models)}
    changed = n_compared = 0
    for file in files:
        emotion, probabilities, _ = predict(tab, file)
        expected = {}
        for name, model in models.items():
            start = time.perf_counter()
            expected[name] = model.predict(file)
            seconds[name].append(time.perf_counter() - start)
        if emotion != expected["page"].emotion:
            changed += 1
        if emotion == NO_SPEECH:
            continue
        n_compared += 1
        seconds["chromium"].append(float(tab.locator("#answer").get_attribute("data-seconds")))
        for name, own in expected.items():
            differences[name].append(
                max(abs(probabilities[label] - own.probabilities[label]) for label in own.probabilities)
            )
    return {
        "files": kind,
        "recordings": len(files),
        "with_speech": n_compared,
        "changed_answers": changed,
        "max_difference": f"{max(differences['page']):.1e}",
        "max_difference_to_shipped": f"{max(differences['shipped']):.3f}",
        "chromium_ms": f"{1e3 * np.median(seconds['chromium']):.0f}",
        "python_ms": f"{1e3 * np.median(seconds['page']):.0f}",
        "shipped_ms": f"{1e3 * np.median(seconds['shipped']):.0f}",
    }


if __name__ == "__main__":
    main()

"""Tests of the static page: its answers in a browser equal those of Python, and nothing is sent."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
import soundfile

from conftest import ROOT, make_once, skip
from emotion.errors import EmotionError
from emotion.inference import Predictor
from emotion.inference.browser import SOURCE, write_page
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.shipped import DIRECTORY
from emotion.media.audio import read_audio
from emotion.media.highpass import high_pass
from emotion.media.int16 import to_int16
from emotion.plots.figure import EMOTION_COLORS
from emotion.prepare.speech import speech_parts, speech_probability

WAIT = 120_000  # milliseconds
TOLERANCE = 1e-3
VERSION = re.search(r"onnxruntime-web@([\d.]+)", (SOURCE / "index.html").read_text())[1]


@pytest.fixture(scope="session")
def runtime():
    """Return the package onnxruntime-web, from npm."""
    if not shutil.which("npm"):
        pytest.skip("no npm, which downloads onnxruntime-web: install Node.js")

    def download(folder):
        done = subprocess.run(
            ["npm", "pack", f"onnxruntime-web@{VERSION}"], cwd=folder, capture_output=True, text=True, timeout=600
        )
        (folder / "error.txt").write_text(done.stderr if done.returncode else "")

    folder = make_once("onnxruntime-web", download)
    if error := (folder / "error.txt").read_text():
        pytest.skip(f"npm cannot download onnxruntime-web: {error.strip().splitlines()[-1]}")
    return next(folder.glob("*.tgz"))


@pytest.fixture(scope="module")
def site(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "site"
    write_page(folder, runtime=runtime)
    return folder


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def predictor(site):
    return Predictor.from_file(site / "model.onnx")


@pytest.fixture
def view(browser, address):
    """Yield the loaded page; the test fails if it sends a request or writes an error to the console."""
    tab = browser.new_page()
    problems = []
    tab.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#file:enabled", timeout=WAIT)
    tab.on("request", lambda request: problems.append(request.url))
    yield tab
    tab.close()
    assert not problems


def predict(view, file):
    """Return the emotion, the probabilities and the text of the answer."""
    view.locator("#file").set_input_files(str(file))
    view.wait_for_selector("#answer .emotion, #error:not([hidden])", timeout=WAIT)
    view.wait_for_selector("#file:enabled", timeout=WAIT)
    rows = view.locator("#probabilities:not([hidden]) tr")
    found = rows.evaluate_all("rows => rows.map(row => [row.cells[0].innerText, Number(row.dataset.probability)])")
    lines = view.inner_text("#answer").splitlines()
    return re.sub(r" \d+ %$", "", lines[0]) if lines else None, dict(found), "\n".join(lines)


@pytest.fixture(scope="module")
def recordings(real_data, tmp_path_factory):
    """Return WAV files by kind, of real speech."""
    folder = tmp_path_factory.mktemp("recordings")
    originals = sorted((real_data / "ravdess_originals").rglob("*.wav"))
    files = {}
    for file in originals:
        kind = "stereo, 48 kHz" if soundfile.info(file).channels == 2 else "mono, 48 kHz"
        files.setdefault(kind, file)
    for corpus, pattern in (("RAVDESS", "ravdess/Audio_Speech*/*/*.flac"), ("TESS", "tess/*/*.flac")):
        source = sorted(real_data.glob(pattern))[100]
        samples, rate = soundfile.read(source, dtype="int16")
        assert rate == 16_000
        files[corpus] = folder / f"{corpus}.wav"
        soundfile.write(files[corpus], samples, rate)
        files[f"{corpus}, FLAC"] = source
    ased = read_audio(sorted(real_data.glob("ased/*/*.opus"))[7], 16_000)
    speech = [read_audio(file, 16_000) for file in sorted(real_data.glob("ravdess/Audio_Speech*/*/*.flac"))[::300]]
    rate_of = {"16 bits, 44.1 kHz": 44_100, "8 kHz": 8_000, "24 bits, 22.05 kHz": 22_050}
    made = {
        "ASED": (ased, 16_000, "PCM_16"),
        "floats": (ased, 16_000, "FLOAT"),
        "8 bits": (speech[0], 16_000, "PCM_U8"),
        "32 bits": (speech[1], 16_000, "PCM_32"),
        "longer than 10 s": (np.concatenate(speech), 16_000, "PCM_16"),
        "longer than the blocks of the detector": (np.tile(np.concatenate(speech), 2), 16_000, "PCM_16"),
        "one channel is silent": (np.stack([speech[2], 0 * speech[2]], axis=1), 16_000, "PCM_16"),
        "channels cancel": (np.stack([speech[2], -speech[2]], axis=1), 16_000, "PCM_16"),
    }
    import soxr

    for kind, rate in rate_of.items():
        made[kind] = (soxr.resample(speech[1], 16_000, rate), rate, "PCM_24" if "24" in kind else "PCM_16")
    for kind, (samples, rate, subtype) in made.items():
        files[kind] = folder / f"{kind}.wav"
        soundfile.write(files[kind], samples, rate, subtype=subtype)
    return files


@pytest.mark.slow
def test_answers_equal_those_of_python(view, predictor, recordings):
    for kind, file in recordings.items():
        expected = predictor.predict(file)
        emotion, probabilities, text = predict(view, file)
        difference = max(abs(probabilities[label] - value) for label, value in expected.probabilities.items())
        print(f"{kind}: {difference:.1e}")
        assert difference < TOLERANCE, kind
        assert emotion == expected.emotion
        assert f"(their average is 1)" in text
        assert f"recordings {expected.distance:.2f}" in text or difference > 1e-6
        for note in expected.notes:
            assert f"Note: {note}." in text

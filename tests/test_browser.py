"""Tests of the static page: its answers in a browser equal those of Python, and nothing is sent."""

import csv
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr

from conftest import ROOT, make_once
from emotion.errors import EmotionError
from emotion.inference import Predictor
from emotion.inference.browser import SOURCE, write_page
from emotion.inference.export import export
from emotion.inference.predictions import NO_SPEECH
from emotion.inference.shipped import DIRECTORY
from emotion.media.audio import read_audio, to_waveform
from emotion.media.int16 import to_int16
from emotion.prepare.speech import speech_parts
from pages import VERSION, answer_of, download_runtime, open_page, predict, served

RATE = 16_000
TOLERANCE = 1e-3
SHIPPED_TOLERANCE = 0.05  # of the shipped model, which computes in 8 bits


@pytest.fixture(scope="session")
def runtime():
    """Return the package onnxruntime-web. npm and its registry are optional in CI too."""
    if not shutil.which("npm"):
        pytest.skip("no npm, which downloads onnxruntime-web: install Node.js")
    folder = make_once("onnxruntime-web", lambda new: (new / "error.txt").write_text(download_runtime(new)))
    if error := (folder / "error.txt").read_text():
        pytest.skip(f"npm cannot download onnxruntime-web: {error}")
    return next(folder.glob("*.tgz"))


@pytest.fixture(scope="module")
def site(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "site"
    write_page(folder, runtime=runtime)
    return folder


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def predictor(site):
    return Predictor.from_file(site / "model.onnx")


@pytest.fixture
def view(browser, address):
    """Yield the loaded page; the test fails if it sends a request later, or writes an error to the console."""
    tab = browser.new_page()
    problems = []
    tab.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    open_page(tab, address)
    tab.on("request", lambda request: problems.append(request.url))
    yield tab
    tab.close()
    assert not problems


@pytest.fixture(scope="module")
def recordings(real_data, tmp_path_factory):
    """Return files by kind, of real speech."""
    folder = tmp_path_factory.mktemp("recordings")
    originals = sorted((real_data / "ravdess_originals").rglob("*.wav"), key=lambda file: soundfile.info(file).channels)
    ravdess = sorted(real_data.glob("ravdess/Audio_Speech*/*/*.flac"))
    files = {"RAVDESS, FLAC": ravdess[100], "RAVDESS, 48 kHz": originals[0], "RAVDESS, 48 kHz, stereo": originals[-1]}
    one, two, three = (read_audio(file, RATE) for file in ravdess[::600])
    several = np.concatenate([one, two, three])
    made = {
        "RAVDESS": (one, RATE, "PCM_16"),
        "TESS": (read_audio(sorted(real_data.glob("tess/*/*.flac"))[100], RATE), RATE, "PCM_16"),
        "ASED": (read_audio(sorted(real_data.glob("ased/*/*.opus"))[7], RATE), RATE, "PCM_16"),
        "floats": (one, RATE, "FLOAT"),
        "8 bits": (two, RATE, "PCM_U8"),
        "32 bits": (two, RATE, "PCM_32"),
        "over 10 s": (several, RATE, "PCM_16"),
        "over 16 s, a block of the detector": (np.tile(several, 2), RATE, "PCM_16"),
        "one channel is silent": (np.stack([two, 0 * two], axis=1), RATE, "PCM_16"),
        "channels cancel each other": (np.stack([two, -two], axis=1), RATE, "PCM_16"),
        "8 kHz": (soxr.resample(two, RATE, 8_000), 8_000, "PCM_16"),
        "24 bits, 44.1 kHz": (soxr.resample(two, RATE, 44_100), 44_100, "PCM_24"),
    }
    for kind, (samples, rate, subtype) in made.items():
        files[kind] = folder / f"{kind}.wav"
        soundfile.write(files[kind], samples, rate, subtype=subtype)
    return files


@pytest.mark.slow
def test_answers_equal_those_of_python(view, predictor, recordings):
    assert soundfile.info(recordings["RAVDESS, 48 kHz, stereo"]).channels == 2
    shipped = Predictor.from_file(DIRECTORY / "audio" / "model.onnx")
    for kind, file in recordings.items():
        expected = predictor.predict(file)
        emotion, probabilities, text = predict(view, file)
        assert probabilities == pytest.approx(expected.probabilities, abs=TOLERANCE), kind
        assert probabilities == pytest.approx(shipped.predict(file).probabilities, abs=SHIPPED_TOLERANCE), kind
        assert emotion == expected.emotion
        assert float(re.search(r"distance ([\d.]+)", text)[1]) == pytest.approx(expected.distance, abs=0.01)
        assert all(f"Note: {note}." in text for note in expected.notes), text


@pytest.mark.slow
def test_files_without_speech_and_unusable_files_are_answered_as_by_python(view, predictor, tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    for name, samples, note in (("tone", tone, "no speech was detected"), ("silence", 0 * tone, "is silent")):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
        assert predictor.predict(tmp_path / f"{name}.wav").emotion == NO_SPEECH
        emotion, probabilities, text = predict(view, tmp_path / f"{name}.wav")
        assert (emotion, probabilities) == (NO_SPEECH, {})
        assert f"Note: {note}." in text
    (tmp_path / "notes.wav").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", tone[:0], RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "long.wav", np.zeros(301 * 8000), 8000)
    for name, message in (
        ("notes", "it is not a sound file that this browser can read"),
        ("empty", "it holds no samples"),
        ("nan", "it holds NaN or infinite samples"),
        ("long", "it is 5.0 minutes long; at most 5 are allowed here"),
    ):
        emotion, probabilities, text = predict(view, tmp_path / f"{name}.wav")
        assert (emotion, probabilities) == (None, {})
        assert message in text


@pytest.mark.slow
def test_page_cannot_send_anything(browser, address):
    tab = browser.new_page()
    open_page(tab, address)
    blocked = "address => new Promise(resolve => {{addEventListener('securitypolicyviolation', event => "
    blocked += "resolve(event.effectiveDirective), {{once: true}}); {}}})"
    for send, directive in (
        ("fetch(address)", "connect-src"),
        ("navigator.sendBeacon(address, 'x')", "connect-src"),
        ("new WebSocket(address.replace('http', 'ws'))", "connect-src"),
        ("new Image().src = address", "img-src"),
        ("import(address)", "script-src-elem"),
    ):
        for other in ("https://cdn.jsdelivr.net/npm/x", address.replace("127.0.0.1", "localhost")):
            assert tab.evaluate(blocked.format(send), other) == directive
    tab.close()


@pytest.mark.slow
def test_microphone_is_recorded_with_the_keyboard(browser, address):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    running = browser.browser_type.launch(executable_path=chromium, args=options)
    tab = running.new_page()
    open_page(tab, address)
    tab.locator("#record").focus()
    tab.keyboard.press("Enter")
    tab.get_by_text("Stop (1 s)").wait_for()
    tab.keyboard.press("Enter")
    emotion, _, text = answer_of(tab)
    running.close()
    assert emotion == NO_SPEECH  # the device beeps
    assert "Your recording: " in text


@pytest.mark.slow
def test_missing_microphone_is_reported(view):
    view.locator("#record").click()
    view.wait_for_selector("#error:not([hidden])")
    assert "Recording failed: " in view.inner_text("#error")
    assert view.locator("#input").get_attribute("aria-busy") == "false"


@pytest.mark.slow
def test_page_loads_the_runtime_from_the_cdn_if_its_hash_is_right(browser, site, recordings, predictor, tmp_path):
    write_page(tmp_path / "page")

    def answer(route, change):
        content = (site / "onnxruntime-web" / route.request.url.rsplit("/", 1)[1]).read_bytes()
        kind = "application/wasm" if route.request.url.endswith("wasm") else "text/javascript"
        route.fulfill(body=content + change, headers={"access-control-allow-origin": "*", "content-type": kind})

    with served(tmp_path / "page") as address:
        tab = browser.new_page()
        tab.route(f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/*", lambda route: answer(route, b""))
        open_page(tab, address)
        probabilities = predict(tab, recordings["TESS"])[1]
        assert probabilities == pytest.approx(predictor.predict(recordings["TESS"]).probabilities, abs=TOLERANCE)
        tab.close()
        for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
            tab = browser.new_page()
            tab.route("https://cdn.jsdelivr.net/**", lambda route: answer(route, b""))
            tab.route(f"https://cdn.jsdelivr.net/**/{name}", lambda route: answer(route, b" "))
            tab.goto(address)
            tab.wait_for_selector("#error:not([hidden])", timeout=20_000)
            assert "The model could not be loaded" in tab.inner_text("#error")
            assert tab.locator("#file").is_disabled()
            tab.close()


@pytest.mark.slow
def test_page_with_an_own_model_answers_as_python(browser, runtime, trained, demo_root, tmp_path):
    export(trained, tmp_path / "model.onnx", "onnx")
    write_page(tmp_path / "page", tmp_path / "model.onnx", runtime)
    predictor = Predictor.from_file(tmp_path / "model.onnx")
    assert not predictor.reader.speech_only
    with served(tmp_path / "page") as address:
        tab = browser.new_page()
        open_page(tab, address)
        for clip in sorted(demo_root.glob("Actor_01/03-*.wav"))[:3]:
            expected = predictor.predict(clip)
            emotion, probabilities, text = predict(tab, clip)
            assert probabilities == pytest.approx(expected.probabilities, abs=TOLERANCE)
            assert emotion == expected.emotion
            assert "speech" not in text
        soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
        assert "it is silent" in predict(tab, tmp_path / "silence.wav")[2]
        tab.close()


@pytest.mark.slow
def test_page_without_a_model_names_the_command(browser, tmp_path):
    shutil.copytree(SOURCE, tmp_path / "page")
    with served(tmp_path / "page") as address:
        tab = browser.new_page()
        tab.goto(address)
        tab.wait_for_selector("#error:not([hidden])")
        assert "write the page with: emotion demo-page DIR" in tab.inner_text("#error")
        tab.close()


@pytest.fixture(scope="module")
def run_javascript(tmp_path_factory):
    """Return a function that runs an expression with the modules of the page, and an argument, in Node.js."""
    if not shutil.which("node"):
        pytest.skip("no node, which runs the modules of the page: install Node.js")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(
        "import fs from 'node:fs';\nimport * as audio from './audio.js';\nimport * as files from './files.js';\n"
        "import * as speech from './speech.js';\nconst argument = JSON.parse(fs.readFileSync(0));\n"
        "const run = new Function('audio', 'files', 'speech', 'argument', `return ${process.argv[2]}`);\n"
        "console.log(JSON.stringify(run(audio, files, speech, argument)));\n"
    )

    def run(expression, argument):
        command = ["node", "run.js", expression]
        done = subprocess.run(command, input=json.dumps(argument), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    "rate", [8_000, 16_000, *(pytest.param(rate, marks=pytest.mark.slow) for rate in (44_100, 48_000))]
)
def test_preparation_equals_that_of_python(run_javascript, rate):
    random = np.random.default_rng(rate)
    smooth = np.convolve(random.standard_normal(rate // 2 + 13), np.hanning(15) / 7, "same").astype(np.float32)
    mixes = ([1], [1, 0.8], [1, 0.01], [1, -1], [1, 1, 1, 5, 1, 1])
    recordings = [0.1 * np.outer(smooth, weights).astype(np.float32) for weights in mixes]
    prepared = "argument.recordings.map(channels => audio.prepare({rate: argument.rate, channels: channels.map(channel "
    prepared += (
        "=> Float32Array.from(channel)), isFloat: true}, 16000)).map(made => [Array.from(made.samples), made.notes])"
    )
    found = run_javascript(prepared, {"rate": rate, "recordings": [channels.T.tolist() for channels in recordings]})
    for channels, (samples, noted) in zip(recordings, found, strict=True):
        notes = []
        expected = to_int16(to_waveform(channels, rate, RATE, notes.append)).astype(int)
        largest = 1 if rate != 44_100 else 30  # soxr takes several steps from 44.1 kHz, and has other ends
        assert abs(np.array(samples) - expected).max() <= largest
        assert [f"waveform: {note}" for note in noted] == notes


@pytest.mark.slow
def test_parts_of_speech_equal_those_of_python(run_javascript, monkeypatch):
    from emotion.prepare import speech

    random = np.random.default_rng(0)
    for count in (1, 3, 4, 60, 200):
        probabilities = np.repeat(random.random(-(-count // 4)), 4)[:count]
        monkeypatch.setattr(speech, "speech_probability", lambda *_, found=probabilities: found)
        samples = np.zeros(count * 512 - 100, np.int16)
        found = run_javascript("speech.speechParts(argument, 512 * argument.length - 100)", probabilities.tolist())
        assert [tuple(part) for part in found] == speech_parts(samples, RATE)


def test_rounding_is_to_even(run_javascript):
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6, 3.0]
    assert run_javascript("argument.map(audio.round)", values) == np.rint(values).tolist()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_files_are_read_as_in_python(run_javascript, tmp_path, subtype):
    samples = np.random.default_rng(0).uniform(-1, 1, (100, 3))
    path = tmp_path / "sound.wav"
    read = "(({channels, rate, notes}) => [channels.map(channel => Array.from(channel)), rate, notes])"
    read += "(files.decodeWav(Uint8Array.from(argument).buffer))"
    for format_, cut in (("WAV", 0), ("WAVEX", 0), ("WAV", 1)):
        soundfile.write(path, samples, 8, subtype=subtype, format=format_)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - cut * 240])
        channels, rate, notes = run_javascript(read, list(path.read_bytes()))
        expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
        np.testing.assert_array_equal(np.array(channels, np.float32).T, expected)
        assert rate == 8
        assert len(notes) == cut


def test_other_files_are_left_to_the_browser(run_javascript, tmp_path):
    soundfile.write(tmp_path / "sound.flac", np.zeros(10), 22_050)
    soundfile.write(tmp_path / "law.wav", np.zeros(10), 8_000, subtype="ULAW")
    for name, rate in (("sound.flac", 22_050), ("law.wav", None)):
        content = list((tmp_path / name).read_bytes())
        assert run_javascript("files.decodeWav(Uint8Array.from(argument).buffer)", content) is None
        assert run_javascript("files.rateOfFlac(Uint8Array.from(argument).buffer) ?? null", content) == rate


def test_page_is_written_with_the_shipped_model(tmp_path):
    onnx = pytest.importorskip("onnx")
    site = tmp_path / "site"
    write_page(site)
    description = json.loads((site / "model.json").read_text())
    predictor = Predictor.from_file(site / "model.onnx")
    assert description["labels"] == list(predictor.labels)
    assert description["files"] == {name: (site / name).stat().st_size for name in ("model.onnx", "speech.onnx")}
    operators = {node.op_type for node in onnx.load(site / "model.onnx").graph.node}
    assert not operators & {"MatMulInteger", "DynamicQuantizeLinear"}
    page = (site / "index.html").read_text()
    assert page.count(f"cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/") == 4
    random = np.random.default_rng(0)
    recordings = [predictor.reader.from_waveform(np.zeros(1, np.float32))]
    predictor.reader.speech_only = False
    recordings = [
        predictor.reader.from_waveform(0.1 * random.standard_normal(n).astype(np.float32)) for n in (500, RATE)
    ]
    shipped = Predictor.from_file(DIRECTORY / "audio" / "model.onnx")
    for one, other in zip(*(each.predict_recordings(recordings) for each in (predictor, shipped)), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=SHIPPED_TOLERANCE)
    with pytest.raises(EmotionError, match=r"site is not an empty folder; choose another one"):
        write_page(site)


def test_documentation_has_the_measured_differences():
    page = (ROOT / "docs" / "browser.md").read_text()
    with (ROOT / "results" / "browser.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            cells = [row[key] for key in ("files", "recordings", "max_difference", "max_difference_to_shipped")]
            assert f"| {' | '.join(cells)} | {row['chromium_ms']} ms | {row['python_ms']} ms |" in page


def test_other_models_and_packages_are_refused(tmp_path):
    with pytest.raises(EmotionError, match="is not a model of emotions from audio at 16000 Hz, which alone"):
        write_page(tmp_path / "site", DIRECTORY / "face" / "model.onnx")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "ort.wasm.bundle.min.mjs").write_text("other")
    (tmp_path / "other.tgz").write_text("no archive")
    for package in (tmp_path, tmp_path / "other.tgz", tmp_path / "missing.tgz"):
        with pytest.raises(EmotionError, match=rf"does not hold onnxruntime-web {re.escape(VERSION)} .*: npm pack"):
            write_page(tmp_path / "site", runtime=package)
    assert not (tmp_path / "site").exists()

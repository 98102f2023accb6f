"""The page on which people try a model, as they see it in a browser."""

import socket
import subprocess
import sys
import urllib.request

import pytest

from emotion.inference import Predictor, page

WAIT = 120_000  # milliseconds


@pytest.fixture(scope="module")
def address(trained):
    """The page of a model of sound, served by the command line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "emotion.cli", "demo", "--run", str(trained), "--port", str(port)]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = serving.stdout.readline()
    assert f"the page is at http://127.0.0.1:{port}" in line, line + serving.stdout.read()
    yield f"http://127.0.0.1:{port}"
    serving.terminate()
    serving.wait(30)


@pytest.fixture
def view(browser, address):
    """The page; whatever it asks of other machines fails the test."""
    tab = browser.new_page(viewport={"width": 1200, "height": 1600})
    elsewhere = []
    tab.on("request", lambda request: elsewhere.append(request.url) if is_elsewhere(request.url) else None)
    tab.goto(address)
    yield tab
    tab.close()
    assert not elsewhere


def is_elsewhere(url):
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def hand_in(view, kind, file):
    view.get_by_role("tab", name=kind).click()
    view.locator(f"#{kind.lower()} input[type=file]").first.set_input_files(str(file))
    view.wait_for_function("/based on|cannot/.test(document.querySelector('#note')?.innerText)", timeout=WAIT)
    return view.inner_text("#note")


@pytest.mark.slow
def test_the_answer_stands_on_the_page(view, trained, demo_root):
    clip = sorted((demo_root / "Actor_02").glob("03-*.wav"))[3]
    assert "based on audio" in hand_in(view, "Audio", clip)
    prediction = Predictor.from_run(trained)(clip)
    lines = view.inner_text("#answer").split("\n")
    assert prediction.emotion in lines
    assert f"{100 * prediction.probabilities[prediction.emotion]:.0f}%" in lines
    view.locator("#audio-plot img").wait_for(timeout=WAIT)
    assert view.get_by_role("tab", name="Image").count() == 0  # this model sees nothing


@pytest.mark.slow
def test_what_is_wrong_is_told(view, tmp_path):
    (tmp_path / "notes.wav").write_text("no sound")
    assert "This cannot be predicted: cannot be decoded" in hand_in(view, "Audio", tmp_path / "notes.wav")


@pytest.mark.slow
def test_it_is_reached_from_this_machine_alone(address):
    port = int(address.rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent; it tells by which address this machine is known elsewhere
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no address but its own")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own, port), timeout=5)
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200


def test_a_long_recording_has_a_timeline_and_a_very_long_one_is_refused(trained, demo_root, tmp_path, monkeypatch):
    import numpy as np
    import soundfile

    from emotion.media.audio import read_audio

    sound = read_audio(sorted((demo_root / "Actor_02").glob("03-*.wav"))[0], 16_000)
    soundfile.write(tmp_path / "long.wav", np.resize(sound, 6 * 16_000), 16_000)
    predictor = Predictor.from_run(trained)
    shown = page.show(predictor, str(tmp_path / "long.wav"))
    assert shown.probabilities
    assert shown.timeline is not None
    assert shown.faces is None
    assert page.show(predictor, None) == page.PageOutput()
    monkeypatch.setattr(page, "MAX_DURATION_S", 5.0)
    refused = page.show(predictor, str(tmp_path / "long.wav"))
    assert refused.probabilities is None
    assert "minutes long" in refused.note

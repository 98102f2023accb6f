"""Tests of the demo page in a browser."""

import socket
import subprocess
import sys
import urllib.request

import pytest

from emotion.inference import Predictor, page

WAIT = 120_000  # milliseconds


@pytest.fixture(scope="module")
def address(trained):
    """Yield the address of the page of an audio model, served by the command line."""
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
    """Yield the page; the test fails if the page sends requests to other machines."""
    tab = browser.new_page(viewport={"width": 1200, "height": 1600})
    external = []
    tab.on("request", lambda request: external.append(request.url) if is_external(request.url) else None)
    tab.goto(address)
    yield tab
    tab.close()
    assert not external


def is_external(url):
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def upload(view, kind, file):
    view.get_by_role("tab", name=kind).click()
    view.locator(f"#{kind.lower()} input[type=file]").first.set_input_files(str(file))
    view.wait_for_function("/based on|cannot/.test(document.querySelector('#note')?.innerText)", timeout=WAIT)
    return view.inner_text("#note")


@pytest.mark.slow
def test_page_shows_the_prediction(view, trained, demo_root):
    clip = sorted((demo_root / "Actor_02").glob("03-*.wav"))[3]
    assert "based on audio" in upload(view, "Audio", clip)
    prediction = Predictor.from_run(trained).predict(clip)
    lines = view.inner_text("#answer").split("\n")
    assert prediction.emotion in lines
    assert f"{100 * prediction.probabilities[prediction.emotion]:.0f}%" in lines
    view.locator("#audio-plot img").wait_for(timeout=WAIT)
    assert view.get_by_role("tab", name="Image").count() == 0  # this model uses no images


@pytest.mark.slow
def test_errors_are_shown(view, tmp_path):
    (tmp_path / "notes.wav").write_text("no audio")
    assert "This cannot be predicted: cannot be decoded" in upload(view, "Audio", tmp_path / "notes.wav")


@pytest.mark.slow
def test_page_is_only_reachable_from_this_machine(address):
    port = int(address.rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent; only selects the outgoing interface
        address_in_network = probe.getsockname()[0]
    if address_in_network.startswith("127."):
        pytest.skip("this machine has no address but its own")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address_in_network, port), timeout=5)
    with urllib.request.urlopen(address, timeout=30) as response:
        assert response.status == 200


def test_long_recordings_have_a_timeline_and_too_long_ones_are_refused(trained, demo_root, tmp_path, monkeypatch):
    import numpy as np
    import soundfile

    from emotion.media.audio import read_audio

    audio = read_audio(sorted((demo_root / "Actor_02").glob("03-*.wav"))[0], 16_000)
    soundfile.write(tmp_path / "long.wav", np.resize(audio, 6 * 16_000), 16_000)
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

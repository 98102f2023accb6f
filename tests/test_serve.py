"""Tests of `emotion serve` with the audio part of the shipped model: its answers, its limits, and hostile uploads."""

import asyncio
import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import soundfile

from emotion.app.limits import Limits, RefusedError
from emotion.app.upload import receive
from emotion.inference.shipped import DIRECTORY, EXPORTED
from emotion.media import decoders
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from hostile_files import flac_without_duration, huge_image, wav, zip_bomb
from serving import running, wait_for

MAX_MB, MAX_S, TIMEOUT_S = 1, 20, 2
MODEL = ("--model", DIRECTORY / "audio" / EXPORTED)
LIMITS = ("--max-size", MAX_MB, "--max-duration", MAX_S, "--timeout", TIMEOUT_S, "--workers", 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with running(["-m", "emotion.cli", "serve", "--port", "0", *map(str, (*MODEL, *LIMITS))], folder) as server:
        yield server


@pytest.fixture(autouse=True)
def no_file_is_kept(request):
    yield
    if "server" in request.fixturenames:
        assert request.getfixturevalue("server").kept() is True


@pytest.fixture
def clip(real_data, tmp_path):
    source = real_data / "ravdess" / "Audio_Speech_Actors_01-24" / "Actor_03" / "03-01-05-02-01-01-03.flac"
    return shutil.copyfile(source, tmp_path / "clip.flac")


def detail(response):
    return response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", ()),
        ("?timeline=true", ("--timeline",)),
        ("?window=1&hop=0.5", ("--window", "1", "--hop", "0.5")),
        ("?min_confidence=0.99", ("--min-confidence", "0.99")),
    ],
)
def test_answers_equal_those_of_predict(server, clip, command, query, options):
    expected = command("predict", clip.name, "--format", "json", *MODEL, *options)
    assert expected.returncode == 0, expected.stderr
    response = server.upload(clip.read_bytes(), clip.name, f"/predict{query}")
    assert (response.status_code, response.text) == (200, expected.stdout)
    assert response.headers["content-type"] == "application/json"


def test_a_file_is_also_read_from_the_body(server, clip):
    form = server.upload(clip.read_bytes(), clip.name).json()
    (body,) = server.post(content=clip.read_bytes(), headers={"content-type": "audio/flac"}).json()
    assert [body | {"name": "clip.flac"}] == form and body["name"] == "recording"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../../tmp/evil.flac", "evil.flac"),
        ("C:\\clips\\a.flac", "a.flac"),
        ("/etc/passwd", "passwd"),
        ("a\u202eb.flac", "a\\u202eb.flac"),
        ("x" * 3000 + ".flac", "x" * 195 + ".flac"),
    ],
)
def test_names_of_clients_are_not_used_as_paths(server, clip, sent, shown):
    response = server.upload(clip.read_bytes(), sent)
    assert (response.status_code, response.json()[0]["name"]) == (200, shown)


HOSTILE = {
    "ZIP bomb": (zip_bomb, "clip.wav", "clip.wav: is a ZIP archive, not a recording; unpack it"),
    "gzip": (lambda: gzip.compress(bytes(10**7)), "a.gz", "a.gz: is a gzip archive, not a recording; unpack it"),
    "HTML": (lambda: b"<!DOCTYPE html><p>", "a.wav", "a.wav: is an HTML page, not a recording; download it again"),
    "empty": (lambda: b"", "a.wav", r"a.wav: the file is empty \(zero bytes\)"),
    "noise": (lambda: bytes(range(256)) * 40, "a.mp3", "a.mp3: .+"),
    "script": (lambda: b"#!/bin/sh\nrm -rf /\n", "a.sh", "a.sh: cannot be decoded .+"),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:3,\n/etc/passwd\n", "a.m3u8", "a.m3u8: is a playlist, .+"),
    "concat": (lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", "a.wav", "a.wav: is a playlist, .+"),
    "NaN": (lambda: wav(np.full(9000, np.nan), subtype="FLOAT"), "a.wav", "a.wav: holds NaN or infinite samples"),
    "two hours of silence": (
        lambda: wav(np.zeros(2 * 3600 * 8_000), 8_000, format="FLAC"),
        "a.flac",
        "a.flac: has a duration of 7200 s; at most 20 s are allowed",
    ),
    "unknown duration": (flac_without_duration, "a.flac", "a.flac: has a duration of 2400 s; .+"),
    "image of 30 GB": (huge_image, "a.png", "a.png: an image has no audio"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(server, kind):
    make, name, message = HOSTILE[kind]
    response = server.upload(make(), name)
    assert response.status_code == 422
    assert re.fullmatch(message, detail(response)), detail(response)
    assert str(server.folder) not in response.text


@pytest.mark.parametrize("channels", [1, 2])
def test_decoding_stops_at_the_maximum_duration(channels, tmp_path, monkeypatch):
    decoded = []
    split = decoders.split_header

    def count(chunks):
        header, chunks = split(chunks)
        return header, (decoded.append(len(chunk)) or chunk for chunk in chunks)

    monkeypatch.setattr("emotion.media.decoders.split_header", count)
    monkeypatch.setattr("emotion.media.audio.split_header", count)
    noise = np.random.default_rng(0).normal(0, 0.1, (600 * 8_000, channels))
    soundfile.write(tmp_path / "a.flac", noise, 8_000)
    with pytest.raises(MediaError, match="is longer than 3 s"):
        read_audio(tmp_path / "a.flac", 16_000, max_duration_s=3)
    assert sum(decoded) < 2 * 60 * 8_000  # a minute in each pass


def test_messages_equal_those_of_predict(server, command, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"%PDF-1.7 ")
    expected = command("predict", "a.wav", *MODEL)
    assert expected.stderr == f"error: {detail(server.upload(b'%PDF-1.7 ', 'a.wav'))}\n"


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"content": bytes(MAX_MB * 10**6 + 1)}, 413, "the upload is larger than 1 MB"),
        ({"files": {"file": bytes(MAX_MB * 10**6)}}, 413, "the upload is larger than 1 MB"),
        ({"content": (bytes(65536) for _ in range(10**9))}, 413, "the upload is larger than 1 MB"),
        ({"content": b"", "headers": {"content-type": "audio/wav"}}, 422, "recording: the file is empty (zero bytes)"),
        ({"content": b"RIFF", "headers": {"content-encoding": "gzip"}}, 415, "Content-Encoding is not supported"),
        ({"data": {"file": "text"}, "files": {}}, 422, "recording: cannot be decoded"),
        ({"files": [("a", ("a.wav", b"a")), ("b", ("b.wav", b"b"))]}, 400, "several files"),
        ({"files": [("a", (None, b"a"))]}, 422, "the form has no file"),
        ({"files": [(f"{n}", (None, b"a")) for n in range(99)]}, 400, "the form has more than 16 fields"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "the form cannot be"),
        ({"files": [("a", ("a" * 10**5, b"a"))]}, 400, "the form cannot be read"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form cannot be read"),
    ],
)
def test_bodies_that_are_not_allowed(server, request_, status, message):
    response = server.post(**request_)
    assert response.status_code == status
    assert message in detail(response)


def test_a_full_disk_is_reported(tmp_path):
    async def stream():
        yield b"RIFF"

    (tmp_path / "upload").symlink_to("/dev/full")
    with pytest.raises(RefusedError, match="no space for uploads") as error:
        asyncio.run(receive(SimpleNamespace(headers={}, stream=stream), tmp_path, Limits()))
    assert error.value.status == 503


@pytest.mark.parametrize(
    "query", ["window=0", "hop=nan", "hop=1e-9", "min_confidence=2", "timeline=perhaps", "windw=1"]
)
def test_wrong_parameters_are_refused(server, clip, query):
    assert server.upload(clip.read_bytes(), path=f"/predict?{query}").status_code == 422


def test_slow_clients_are_cut_off(server, clip):
    """Send headers, a body, and a form byte by byte, while others are answered."""
    starts = (
        b"POST /predict HTTP/1.1\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 1000\r\n\r\n--b\r\n",
    )
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in starts]
    ended = threading.Event()

    def trickle(connection, start):
        connection.sendall(start)
        while not ended.wait(0.1):
            try:
                connection.sendall(b"a")
            except OSError:
                return

    threads = [threading.Thread(target=trickle, args=pair) for pair in zip(connections, starts, strict=True)]
    for thread in threads:
        thread.start()
    assert server.upload(clip.read_bytes()).status_code == 200
    for connection in connections:
        connection.settimeout(30)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        connection.close()
    ended.set()
    for thread in threads:
        thread.join()


def test_a_client_that_disconnects_leaves_nothing(server):
    before = server.metric('emotion_requests_total{status="499"}')
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + bytes(200_000))
    assert server.kept() is True
    assert wait_for(lambda: server.metric('emotion_requests_total{status="499"}') == before + 1)


def test_health_and_metrics(server, clip):
    state = httpx.get(server.address + "/health")
    assert state.status_code == 200
    assert state.json()["status"] == "ready" and state.json()["model"] == "model.onnx"
    before = server.metric('emotion_requests_total{status="200"}')
    seconds = 'emotion_request_duration_seconds_count{status="200"}'
    observed = server.metric(seconds)
    server.upload(clip.read_bytes())
    assert server.metric('emotion_requests_total{status="200"}') == before + 1
    assert server.metric(seconds) == observed + 1
    assert server.metric("emotion_queue_length") == 0 and server.metric("emotion_workers") == 1
    version = state.json()["version"]
    assert server.metric(f'emotion_model_info{{name="model.onnx",version="{version}"}}') == 1


def test_the_page_of_the_api_needs_no_other_server(server):
    page = httpx.get(server.address + "/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href|url)[=:] *["\']([^"\']+)', page.text)
    assert len(links) >= 3 and all(link.startswith("/") for link in links)
    assert all(httpx.get(server.address + link).status_code == 200 for link in links)
    assert set(httpx.get(server.address + "/openapi.json").json()["paths"]) == {"/predict", "/health", "/metrics"}


@pytest.mark.parametrize("name", ["fastapi", "prometheus_client"])
def test_without_the_extra_one_line_names_it(name):
    code = f"import sys; sys.modules[{name!r}] = None; sys.argv[1:] = ['serve']; import emotion.cli as e; e.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"error: {name} is not installed: pip install 'emotion[serve]'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--queue", "-1"), "-1 is not a whole number from 0"),
        (("--workers", "0"), "0 is not a whole number from 1"),
        (("--timeout", "nan"), "nan is not a number from 0.1"),
        (("--max-size", "big"), "big is not a number from 0.001"),
        (("--port", "99999"), "cannot serve at 127.0.0.1:99999"),
        (("--model", "none.onnx", "--port", "0"), "none.onnx: no such file"),
    ],
)
def test_wrong_options_are_refused(command, arguments, message):
    result = command("serve", *arguments)
    assert result.returncode in (1, 2) and message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_reported(command, server):
    result = command("serve", "--port", server.port)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: cannot serve at 127.0.0.1:{server.port}: Address already in use; choose")


def test_other_commands_do_not_import_the_server():
    code = "import emotion.cli, json, sys; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert "emotion.cli.serve" in modules
    assert not {"fastapi", "uvicorn", "starlette", "prometheus_client", "numpy"} & set(modules)

"""Tests of the workers and the queue of `emotion serve`, with a model that sleeps, crashes or fails on request."""

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving import FAKE, running, wait_for

pytestmark = pytest.mark.slow

LIMITS = {"timeout_s": 2, "queue": 1, "workers": 1, "uploads": 3, "max_memory_mb": 1000}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(["-c", FAKE], tmp_path_factory.mktemp("served"), LIMITS=json.dumps(LIMITS)) as server:
        yield server


@pytest.fixture(autouse=True)
def is_usable_afterwards(request):
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        assert wait_for(lambda: httpx.get(server.address + "/health").status_code == 200)
        assert server.upload(b"answer").status_code == 200
        assert server.kept() is True


def detail(response):
    return response.json()["detail"]


@pytest.fixture
def clients():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def is_running(server, running=1, waiting=0):
    return server.metric("emotion_running") == running and server.metric("emotion_queue_length") == waiting


def test_a_full_queue_is_answered_with_429(server, clients):
    first = clients.submit(server.upload, b"sleep 1")
    assert wait_for(lambda: is_running(server))
    second = clients.submit(server.upload, b"sleep 0")
    assert wait_for(lambda: is_running(server, waiting=1))
    third = server.upload(b"answer")
    assert (third.status_code, third.headers["retry-after"]) == (429, "1")
    assert detail(third) == "too many recordings are waiting; try again later"
    assert [first.result().status_code, second.result().status_code] == [200, 200]
    assert server.metric('emotion_requests_total{status="429"}') >= 1


def test_a_full_queue_is_answered_before_the_body_is_read(server, clients):
    answers = [clients.submit(server.upload, b"sleep 1")]
    assert wait_for(lambda: is_running(server))
    answers.append(clients.submit(server.upload, b"sleep 0"))
    assert wait_for(lambda: is_running(server, waiting=1))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsleep")
        assert connection.recv(1000).startswith(b"HTTP/1.1 429")
    assert [answer.result().status_code for answer in answers] == [200, 200]


def test_too_many_uploads_are_answered_with_429(server, clients):
    finish = threading.Event()

    def body():
        yield b"answer"
        finish.wait(20)

    slow = [clients.submit(server.post, content=body()) for _ in range(LIMITS["uploads"])]
    assert wait_for(lambda: server.upload(b"answer").status_code == 429)
    assert detail(server.upload(b"answer")) == "too many files are being uploaded; try again later"
    finish.set()
    assert {answer.result().status_code for answer in slow} <= {200, 408, 429}


@pytest.mark.slow
def test_a_recording_waits_for_a_limited_time(server, clients):
    first = clients.submit(server.upload, b"sleep 30")
    assert wait_for(lambda: is_running(server))
    second = server.upload(b"answer")
    assert (second.status_code, detail(second)) == (429, "no worker became free in time; try again later")
    assert first.result().status_code == 504


def test_a_prediction_that_takes_too_long_is_stopped(server):
    response = server.upload(b"sleep 30")
    assert response.status_code == 504
    assert detail(response) == "the prediction took longer than 2 s and was stopped"


@pytest.mark.parametrize("content", [b"crash", b"raise"])
def test_defects_are_answered_without_details(server, content):
    response = server.upload(content)
    assert response.status_code == 500
    assert detail(response) == "the recording could not be predicted; this is a defect or a limit of the server"


def test_the_memory_of_a_worker_is_limited(server):
    response = server.upload(b"allocate 2000000000")
    assert response.status_code == 422
    assert detail(response) == "clip.wav: needs more memory than 1,000 MB"


@pytest.mark.slow
def test_a_worker_that_holds_much_memory_is_replaced(server):
    before = worker_ids(server.process.pid)
    assert server.upload(b"hold 1000").status_code == 200
    assert worker_ids(server.process.pid) == before
    assert server.upload(b"hold 600000000").status_code == 200
    assert wait_for(lambda: len(worker_ids(server.process.pid)) == len(before))
    assert worker_ids(server.process.pid) != before


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_accepted_requests_are_answered_before_the_end(tmp_path, clients, number):
    limits = LIMITS | {"queue": 4}
    with running(["-c", FAKE], tmp_path / "served", LIMITS=json.dumps(limits)) as server:
        accepted = [clients.submit(server.upload, b"sleep 0.5") for _ in range(3)]
        assert wait_for(lambda: is_running(server, waiting=2))
        server.process.send_signal(number)
        assert wait_for(lambda: refuses(server))
        assert [answer.result().status_code for answer in accepted] == [200, 200, 200]
        assert server.process.wait(20) == 0
        assert not list(server.folder.iterdir())
        assert "Traceback" not in server.process.stderr.read()


def refuses(server):
    try:
        httpx.get(server.address + "/health")
    except httpx.ConnectError:
        return True
    except httpx.RemoteProtocolError:  # it stopped between the connection and the request
        pass
    return False


@pytest.mark.slow
def test_workers_end_with_a_server_that_is_killed(tmp_path):
    with running(["-c", FAKE], tmp_path / "served", LIMITS=json.dumps(LIMITS)) as server:
        children = worker_ids(server.process.pid)
        assert len(children) >= 1
        server.process.kill()
        server.process.wait()
        assert wait_for(lambda: not any(is_alive(child) for child in children))


def worker_ids(server):
    """Return the children of a process, which each of its threads may have started."""
    lists = [(task / "children").read_text() for task in Path(f"/proc/{server}/task").iterdir()]
    return sorted(int(child) for children in lists for child in children.split())


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

"""Servers for the tests: `emotion serve` in a process of its own, and a model that misbehaves on request."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx

from conftest import ROOT
from emotion.inference import Prediction

FAKE = "from serving import serve_fake; serve_fake()"

HELD = []


@dataclass
class Server:
    """A running server.

    Attributes:
        address: Its address.
        process: Its process.
        folder: Folder in which its temporary files are.
    """

    address: str
    process: subprocess.Popen
    folder: Path

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def post(self, path="/predict", **options):
        return httpx.post(self.address + path, timeout=60, **options)

    def upload(self, content, name="clip.wav", path="/predict"):
        return self.post(path, files={"file": (name, content)})

    def metric(self, line):
        """Return the value of a metric, 0 if it was not observed."""
        text = httpx.get(self.address + "/metrics").text
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line + " ")), 0.0)

    def kept(self):
        """Return the temporary files after the last answer."""
        return wait_for(lambda: not list(self.folder.rglob("upload*"))) or list(self.folder.rglob("upload*"))


def wait_for(condition, seconds=20):
    """Return True as soon as a condition holds, False if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def running(command, folder, python=sys.executable, **environment):
    """Yield the server that a command of Python starts; it is killed if it is still there at the end."""
    folder.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": paths} | environment
    process = subprocess.Popen(
        [python, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving "), line + process.stderr.read()
        yield Server(line.split(" at ")[1].split()[0], process, folder)
    finally:
        process.kill()
        process.communicate()


def serve_fake():
    """Serve the model of `load_fake` with the limits in the environment variable LIMITS."""
    import logging

    from emotion.app.limits import Limits
    from emotion.app.model import ModelVersion
    from emotion.app.server import serve

    logging.basicConfig(level=logging.INFO)
    serve(load_fake, ModelVersion("fake", "1"), Limits(**json.loads(os.environ["LIMITS"])), "127.0.0.1", 0)


def load_fake():
    time.sleep(0.2)  # a worker that is replaced is not ready at once
    return SimpleNamespace(reader=SimpleNamespace(cropper=None), predict=predict_fake)


def predict_fake(path):
    """Do what the file contains."""
    command, _, value = path.read_text().partition(" ")
    if command == "sleep":
        time.sleep(float(value))
    elif command == "crash":
        os._exit(3)
    elif command == "raise":
        raise ValueError(f"a defect at {path}")
    elif command == "allocate":
        bytearray(int(value))
    elif command == "hold":
        HELD.append(b"\1" * int(value))
    return Prediction(str(path), "happy", {"happy": 1.0}, ("audio",))

"""Tests of the container of `emotion serve`: its packages, its size, and its answers, without Docker."""

import re
import subprocess
import tomllib

import pytest

from conftest import ROOT
from emotion.inference import Predictor
from emotion.inference.output import to_json
from serving import running

DOCKER = ROOT / "docker"
BASE_MB = 130
"""Unpacked size of python:3.11-slim, rounded up."""
MAX_MB = 500
SYSTEM_LIBRARIES = {
    *("libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "ld-linux-x86-64.so.2"),
    *("libmvec.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"),
}
"""Libraries that python:3.11-slim has."""


def requirements(path):
    lines = path.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_packages_have_the_ranges_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *project["optional-dependencies"]["serve"]}
    assert requirements(DOCKER / "requirements.txt") | requirements(DOCKER / "requirements-no-deps.txt") <= known
    assert set(project["optional-dependencies"]["serve"]) <= requirements(DOCKER / "requirements.txt")


def test_files_of_the_dockerfile_are_in_its_context():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = build["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "docker", build["project"]["readme"], *build["project"]["license-files"]}
    assert needed | set(wheel["packages"]) | set(wheel["force-include"]) == kept
    assert re.search(r"^USER [1-9]", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return a virtual environment that the script of the Dockerfile installed."""
    folder = tmp_path_factory.mktemp("container") / "emotion"
    result = subprocess.run([DOCKER / "install.sh", folder], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.slow
def test_the_image_is_small(environment):
    size = sum(file.stat().st_size for file in environment.rglob("*") if file.is_file() and not file.is_symlink())
    assert BASE_MB + size / 1e6 < MAX_MB
    assert not list(environment.rglob("torch"))


@pytest.mark.slow
def test_libraries_are_those_of_the_base_image(environment):
    libraries = [*environment.rglob("*.so"), *environment.rglob("*.so.*")]
    own = {library.name for library in libraries}
    dynamic = subprocess.run(["readelf", "-d", *libraries], capture_output=True, text=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    assert needed and needed - own <= SYSTEM_LIBRARIES


@pytest.mark.slow
def test_the_server_answers_without_torch(environment, real_data, tmp_path):
    clip = next((real_data / "ravdess").rglob("03-01-05-*.flac"))
    video = next((real_data / "ravdess_faces" / "clips").glob("*.mp4"))
    for file in environment.rglob("*"):  # the container is read-only
        if not file.is_symlink():
            file.chmod(file.stat().st_mode & ~0o222)
    command = ["-m", "emotion.cli", "serve", "--port", "0", "--workers", "1"]
    with running(command, tmp_path / "served", python=environment / "bin" / "python", PYTHONPATH="") as server:
        prediction = Predictor.shipped().predict(clip)
        answer = server.upload(clip.read_bytes(), clip.name)
        assert answer.text == to_json([prediction]).replace(str(clip), clip.name)
        (voice,) = server.upload(video.read_bytes(), video.name).json()
        assert voice["modalities"] == ["audio"]
        assert voice["notes"] == ["faces need torch, which is not installed"]
        server.process.terminate()
        assert server.process.wait(20) == 0

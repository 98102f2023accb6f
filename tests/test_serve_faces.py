"""Tests of `emotion serve` with the shipped model, which detects faces."""

import shutil

import httpx
import pytest

from hostile_files import huge_image, huge_video
from serving import running, wait_for

pytestmark = pytest.mark.slow
MAX_MB = 2500


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = ("--port", "0", "--workers", "1", "--max-memory", str(MAX_MB))
    with running(["-m", "emotion.cli", "serve", *options], tmp_path_factory.mktemp("served")) as server:
        yield server


def test_videos_and_images_are_answered_as_by_predict(server, command, real_data, tmp_path):
    faces = real_data / "ravdess_faces"
    for source in (next((faces / "clips").glob("*.mp4")), next((faces / "actor_stills").glob("*.png"))):
        shutil.copyfile(source, tmp_path / source.name)
        expected = command("predict", source.name, "--format", "json")
        assert server.upload(source.read_bytes(), source.name).text == expected.stdout
    assert server.kept() is True


def test_huge_frames_and_images_do_not_exceed_the_memory(server):
    video, image = server.upload(huge_video(), "a.mp4"), server.upload(huge_image(), "a.png")
    assert video.status_code in (422, 500), video.text  # whichever library lacks memory
    assert image.json()["detail"] == "a.png: an image has no audio; cannot be decoded as an image"
    assert wait_for(lambda: httpx.get(server.address + "/health").status_code == 200)
    assert server.kept() is True

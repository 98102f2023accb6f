"""Tests of live prediction from a file in real time and from simulated devices."""

import subprocess
import sys
import time
import types
from itertools import islice

import numpy as np
import pytest
import soundfile

from emotion.errors import EmotionError
from emotion.inference import Predictor, live
from emotion.media.audio import read_audio
from scenes import scene


@pytest.fixture
def speech(demo_root):
    return read_audio(sorted((demo_root / "Actor_01").glob("03-*.wav"))[0], 16_000)


@pytest.mark.slow
def test_files_are_followed_in_real_time(trained, speech, tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.resize(speech, 4 * 16_000), 16_000)
    command = [sys.executable, "-m", "emotion.cli", "live", str(tmp_path / "clip.wav"), "--run", str(trained)]
    done = subprocess.run([*command, "--window", "2", "--hop", "1"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0:02", "0:03", "0:04"]
    assert all(line.endswith("audio") for line in lines)
    predictor = Predictor.from_run(trained)
    started = time.monotonic()
    estimates = list(live.follow_file(predictor, tmp_path / "clip.wav", 2, 1))
    assert time.monotonic() - started >= 4
    segments = list(predictor.timeline(tmp_path / "clip.wav", 2, 1))
    assert [estimate.prediction for estimate in estimates] == [segment.prediction for segment in segments]


def microphone(waveform):
    """Return a replacement of `sounddevice` whose microphone records `waveform` repeatedly."""

    class InputStream:
        def __init__(self, callback, blocksize, **_):
            self.blocks = np.resize(waveform, 20 * blocksize).reshape(20, blocksize, 1).astype(np.float32)
            self.callback = callback

        def __enter__(self):
            for block in self.blocks:
                self.callback(block, len(block), None, None)

        def __exit__(self, *_):
            pass

    return types.SimpleNamespace(
        InputStream=InputStream, PortAudioError=OSError, query_devices=lambda kind: {"default_samplerate": 16_000.0}
    )


def test_microphone_is_predicted(trained, speech, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", microphone(speech))
    predictor = Predictor.from_run(trained)
    estimates = list(islice(live.follow_devices(predictor, window=1.0, hop=0.1), 3))
    last_second = np.resize(speech, 32_000)[16_000:]  # the last second of what was played
    expected = predictor.predict(last_second, sample_rate=16_000).probabilities
    assert estimates[0].prediction.probabilities == pytest.approx(expected, abs=1e-3)
    assert [estimate.time for estimate in estimates] == sorted(estimate.time for estimate in estimates)


@pytest.mark.slow
def test_camera_is_predicted(train_in_process, video_overrides, face, monkeypatch):
    model = ("model=face_cnn", "data.on_error=skip", "trainer.max_epochs=1", "faces.frames=4")
    predictor = Predictor.from_run(train_in_process(*video_overrides, *model))
    with pytest.raises(EmotionError, match="camera 99 cannot be opened"):
        next(live.follow_devices(predictor, window=1.0, hop=0.5, camera=99))

    class Camera:
        def __init__(self, number):
            self.pixels = scene((face, 200, 60))[..., ::-1] if number == 0 else scene()

        def isOpened(self):
            return True

        def read(self):
            time.sleep(0.02)
            return True, self.pixels

        def release(self):
            pass

    monkeypatch.setattr(live.cv2, "VideoCapture", Camera)
    prediction = next(live.follow_devices(predictor, window=1.0, hop=0.5)).prediction
    assert prediction.modalities == ("face",)
    assert (
        next(live.follow_devices(predictor, window=1.0, hop=0.5, camera=1)).prediction is None
    )  # no face in the frame


def test_missing_devices_are_reported(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(EmotionError, match=r"pip install 'emotion\[live\]'"):
        next(live.follow_devices(Predictor.from_run(trained), 1, 1))
    absent = microphone(np.zeros(1))
    absent.query_devices = lambda kind: (_ for _ in ()).throw(ValueError("No input device matching"))
    monkeypatch.setitem(sys.modules, "sounddevice", absent)
    with pytest.raises(EmotionError, match="no microphone is available"):
        next(live.follow_devices(Predictor.from_run(trained), 1, 1))

"""Tests of edge cases: empty, huge and damaged files, unusual file names, and untrusted runs and tables."""

import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from emotion import runs
from emotion.corpora.folder import Folder
from emotion.corpora.ravdess import Ravdess
from emotion.errors import EmotionError
from emotion.inference import Predictor, Problem, recordings
from emotion.inference.predictions import NO_SPEECH
from emotion.labels import EMOTIONS
from emotion.prepare.waveforms import prepare_waveforms

RATE = 16_000


@pytest.fixture(scope="module")
def predictor():
    return Predictor.shipped()


def header(rate=RATE, channels=1, samples=RATE, bits=16, data=b"\0\0" * 4000):
    """Return the bytes of a wav file with an arbitrary header."""
    block = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + struct.pack("<4sI", b"data", samples) + data


def write_wav(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)


def ten_hours(path):
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_16", format="FLAC") as file:
        block = np.random.default_rng(0).integers(-3, 3, 8000 * 60).astype(np.int16)
        for _ in range(600):
            file.write(block)


speech = np.sin(np.arange(RATE) / 9) * 0.3
AUDIO_FILES = {
    "no samples": ("a.wav", lambda path: write_wav(path, np.zeros(0)), "holds no samples"),
    "one sample": ("a.wav", lambda path: write_wav(path, np.full(1, 0.5)), NO_SPEECH),
    "NaN": ("a.wav", lambda path: write_wav(path, np.full(RATE, np.nan), subtype="FLOAT"), "holds NaN or infinite"),
    "one infinite sample": (
        "a.wav",
        lambda path: write_wav(path, np.append(speech, np.inf), subtype="FLOAT"),
        "holds NaN or infinite",
    ),
    "a constant (DC)": ("a.wav", lambda path: write_wav(path, np.full(RATE, 0.5)), NO_SPEECH),
    "digital silence": ("a.wav", lambda path: write_wav(path, np.zeros(RATE)), NO_SPEECH),
    "samples far beyond full scale": (
        "a.wav",
        lambda path: write_wav(path, speech * 1e30, subtype="FLOAT"),
        "its samples reach 3e\\+29; full scale is 1",
    ),
    "ten hours": ("a.flac", ten_hours, "is longer than 208 minutes"),
    "a header of one sample a second": (
        "a.wav",
        lambda path: path.write_bytes(header(rate=1)),
        "sampling rate of 1 Hz",
    ),
    "a header of 4 GHz": (
        "a.wav",
        lambda path: path.write_bytes(header(rate=4_000_000_000)),
        "decoded",
    ),
    "a header of 60,000 channels": (
        "a.wav",
        lambda path: path.write_bytes(header(channels=60_000)),
        "cannot be decoded",
    ),
    "a header of 4 GB": (
        "a.wav",
        lambda path: path.write_bytes(header(samples=2**32 - 1, data=speech_bytes())),
        NO_SPEECH,
    ),
    "an empty file": ("a.wav", lambda path: path.write_bytes(b""), "is empty"),
    "text": ("a.mp3", lambda path: path.write_text("not audio"), "cannot be decoded"),
    "a folder called a.wav": ("a.wav", lambda path: path.mkdir(), "no such file"),
}


def speech_bytes():
    return (speech * 32767).astype("<i2").tobytes()


def write_encoded(path, codec, images, rate=10, **metadata):
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_without_key_frames(path):
    """Write a video without the packets from which decoding can start."""
    whole = path.with_name("whole.mp4")
    ramp = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    write_encoded(whole, "mpeg4", [ramp + number for number in range(20)])
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = stream
                target.mux(packet)
    whole.unlink()


def write_huge_video_header(path, side=60_000):
    """Write an AVI whose header gives a width and height of `side` pixels."""
    write_encoded(path, "rawvideo", [np.zeros((48, 32, 3), np.uint8)] * 3)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<II", 32, 48), struct.pack("<II", side, side)))


def write_huge_image_header(path):
    valid = cv2.imencode(".png", np.zeros((48, 32, 3), np.uint8))[1].tobytes()
    start = valid[:16] + struct.pack(">II", 60_000, 60_000) + valid[24:29]
    path.write_bytes(start + struct.pack(">I", zlib.crc32(start[12:])) + valid[33:])


def write_titled(path, face, title):
    """Write a video whose title is not valid text, a case found by fuzzing."""
    write_encoded(path, "mpeg4", [face], title="a title of some length")
    content = path.read_bytes()
    assert b"a title of some length" in content
    path.write_bytes(content.replace(b"a title of some length", title.ljust(22)))


def write_unknown_codec(path):
    """Write a file with an audio and a video stream of unknown codecs, a case found by fuzzing."""
    with av.open(str(path), "w", format="matroska") as container:
        audio, video = container.add_stream("pcm_s16le", RATE, layout="mono"), container.add_stream("mpeg4", 10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.rate = RATE
        container.mux(audio.encode(frame))
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*video.encode(image), *video.encode(None), *audio.encode(None)])
    content = path.read_bytes()
    for known, unknown in ((b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"), (b"V_MPEG4/ISO/ASP", b"V_XYZXY/ISO/ASP")):
        assert known in content
        content = content.replace(known, unknown)
    path.write_bytes(content)


NO_FRAME = "no face was found|cannot be decoded|holds no frames"
VIDEO_FILES = {
    "a video of one frame": ("a.mp4", lambda path, face: write_encoded(path, "mpeg4", [face]), None),
    "a title that is not valid UTF-8": ("a.mp4", lambda path, face: write_titled(path, face, b"\xad\xff\xfe"), None),
    "a video without a key frame": (
        "a.mp4",
        lambda path, face: write_without_key_frames(path),
        NO_FRAME,
    ),
    "a video with a header of 60,000 × 60,000": (
        "a.avi",
        lambda path, face: write_huge_video_header(path),
        "cannot be decoded|no frames",
    ),
    "a video of an unknown codec": ("a.mkv", lambda path, face: write_unknown_codec(path), "its coding is unknown"),
    "an image with a header of 60,000 × 60,000": (
        "a.png",
        lambda path, face: write_huge_image_header(path),
        "as an image",
    ),
}


def check_prediction(predictor, path, record_robustness, group, case, expected, folder):
    start = time.monotonic()
    (prediction,) = predictor.predict([path])
    assert time.monotonic() - start < 60
    if expected is None:
        assert not isinstance(prediction, Problem) and sum(prediction.probabilities.values()) == pytest.approx(1)
        assert np.isfinite(list(prediction.probabilities.values())).all()
        record_robustness(group, case, "is predicted")
    elif expected == NO_SPEECH:
        assert not isinstance(prediction, Problem)
        assert prediction.emotion == NO_SPEECH
        record_robustness(group, case, f"is answered `no speech`: {'; '.join(prediction.notes)}")
    else:
        assert isinstance(prediction, Problem) and re.search(expected, prediction.reason), prediction
        record_robustness(group, case, prediction.reason, {str(folder): "DIR"})


LONG = ("ten hours",)


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c in LONG else ()) for c in AUDIO_FILES])
def test_unusual_audio_is_predicted_or_refused(case, predictor, tmp_path, record_robustness):
    name, make, expected = AUDIO_FILES[case]
    make(tmp_path / name)
    check_prediction(predictor, tmp_path / name, record_robustness, "Audio", case, expected, tmp_path)


@pytest.mark.parametrize("case", VIDEO_FILES)
def test_unusual_videos_are_predicted_or_refused(case, predictor, face, tmp_path, record_robustness):
    name, make, expected = VIDEO_FILES[case]
    make(tmp_path / name, face)
    check_prediction(predictor, tmp_path / name, record_robustness, "Video and images", case, expected, tmp_path)


def test_too_long_videos_are_refused_without_decoding(predictor, face, tmp_path, monkeypatch, record_robustness):
    write_encoded(tmp_path / "a.mp4", "mpeg4", [face] * 30)
    monkeypatch.setattr(recordings, "MAX_DURATION_S", 2.0)
    with pytest.raises(EmotionError, match="minutes long; cut it, or use emotion predict --timeline"):
        predictor.predict(tmp_path / "a.mp4")
    record_robustness("Long videos", "a video of more than 35 minutes", "is refused: cut it, or use `--timeline`")


NAMES = {
    "spaces and quotes": "a 'quoted' \"name\" with  spaces",
    "a line break and a tab": "two\nlines\tand more",
    "Unicode, right to left, combining": "грусть 悲しい حزن e\u0301 🙂",
    "commas, semicolons, formulas": "=1+2,;|$(rm -rf x)`ls`",
    "255 bytes": "x" * 251,
    "terminal escape sequences": "a\x1b[2Jb",
    "markup": "[red]angry <b>bold",
}


@pytest.fixture
def unusual_names(demo_root, tmp_path):
    """Return a folder of emotions whose files have unusual names."""
    root = tmp_path / "corpus"
    for emotion in range(1, 9):
        folder = root / EMOTIONS[emotion - 1]
        folder.mkdir(parents=True)
        for actor, name in enumerate(NAMES.values(), start=1):
            (folder / f"{name}.wav").symlink_to(
                demo_root / f"Actor_{actor:02}" / f"03-01-0{emotion}-01-01-01-{actor:02}.wav"
            )
    return root


@pytest.mark.slow
def test_unicode_file_names_work_from_training_to_prediction(
    unusual_names, train_in_process, trained, record_robustness, capfd
):
    overrides = ("data=folder", f"data.root={unusual_names}", "protocol=random", "trainer.max_epochs=1")
    run_dir = train_in_process(*overrides)
    table = pd.read_csv(run_dir / "predictions.csv", encoding_errors="surrogateescape")
    splits = runs.load_splits(run_dir)
    assert len(splits) == 8 * len(NAMES)
    stems = {recording.split("/", 2)[2] for recording in splits["recording"]}
    assert stems == set(NAMES.values()) and set(table["recording"]) <= set(splits["recording"])

    capfd.readouterr()
    command = ["predict", "--run", run_dir, "--format", "json", unusual_names / "happy"]
    done = subprocess.run([sys.executable, "-m", "emotion.cli", *map(str, command)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    names = {Path(row["name"]).name.removesuffix(".wav") for row in json.loads(done.stdout)}
    assert names == set(NAMES.values())
    for case in NAMES:
        record_robustness("File names", case, "is trained on, evaluated and listed under its name")


@pytest.mark.slow
def test_file_names_that_are_not_utf8_are_refused(demo_root, trained, tmp_path, record_robustness):
    folder = tmp_path / "happy"
    folder.mkdir()
    path = folder / os.fsdecode(b"caf\xe9.wav")
    shutil.copyfile(next(demo_root.rglob("*.wav")), path)
    for corpus in (Folder(), Ravdess()):
        with pytest.raises(EmotionError, match="its name is not valid UTF-8; rename it") as error:
            corpus.scan(tmp_path)
    record_robustness("File names", "bytes that are not UTF-8", str(error.value), {str(tmp_path): "DIR"})
    command = [sys.executable, "-m", "emotion.cli", "predict", "--run", trained, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 1
        and "its name is not valid UTF-8; rename it" in done.stderr
        and done.stderr.count("\n") == 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "csv"])
def test_escape_sequences_in_file_names_are_not_printed(unusual_names, trained, form):
    command = ["predict", "--run", trained, "--format", form, unusual_names / "sad"]
    done = subprocess.run([sys.executable, "-m", "emotion.cli", *map(str, command)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    if form == "table":
        assert b"\x1b" not in done.stdout and "a\\x1b[2Jb" in done.stdout.decode()


def test_circular_and_dangling_links_are_handled(tmp_path, record_robustness):
    (tmp_path / "Actor_01").mkdir()
    (tmp_path / "Actor_01" / "again").symlink_to(tmp_path)
    name = tmp_path / "03-01-01-01-01-01-01.wav"
    write_wav(name, speech)
    looped, dangling = (tmp_path / f"03-01-0{number}-01-01-01-01.wav" for number in (2, 3))
    looped.symlink_to(looped)
    dangling.symlink_to(tmp_path / "nowhere")
    table = Ravdess().scan(tmp_path, "speech")
    assert len(table) == 3  # the folder was searched once
    store = prepare_waveforms(table, tmp_path, RATE, tmp_path / "cache")
    assert len(store.problems) == 2 and all("no such file" in problem for problem in store.problems)
    record_robustness("Folders", "a link to a folder above", "is not followed")
    record_robustness(
        "Folders", "links to themselves or to missing files", "no such file; handled as set by data.on_error"
    )


@contextmanager
def unprivileged_user():
    """Run as a user without permissions, which requires root."""
    if os.geteuid():
        pytest.skip("only root can change its user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def make_accessible(path):
    """Make a folder and its parents accessible to all users, as far as necessary."""
    for folder in (path, *path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:  # another pytest process may have closed an outer folder again
            folder.chmod(folder.stat().st_mode | 0o055)


def test_folders_without_permission_are_reported(tmp_path, record_robustness):
    make_accessible(tmp_path)
    closed = tmp_path / "Actor_01"
    closed.mkdir(mode=0o700)
    with unprivileged_user(), pytest.raises(EmotionError, match="Actor_01: Permission denied") as error:
        Ravdess().scan(tmp_path)
    record_robustness("Folders", "a folder without permission to list it", str(error.value), {str(tmp_path): "DIR"})


def test_files_without_permission_are_reported(tmp_path, record_robustness):
    make_accessible(tmp_path)
    name = "03-01-01-01-01-01-01.wav"
    write_wav(tmp_path / name, speech)
    (tmp_path / name).chmod(0o600)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with unprivileged_user():
        store = prepare_waveforms(Ravdess().scan(tmp_path), tmp_path, RATE, tmp_path / "cache")
    assert len(store.problems) == 1
    record_robustness("Folders", "a file without permission to read it", store.problems.iloc[0])


@pytest.mark.slow
def test_a_corpus_of_100_000_files_is_scanned_in_seconds(tmp_path, record_robustness):
    for folder in range(100):
        (tmp_path / f"{folder:03}").mkdir()
        for number in range(1000):
            name = "03-01-05-02-02-01-07.wav" if number % 2 else f"note {number}.txt"
            (tmp_path / f"{folder:03}" / f"{number:04} {name}").touch()
    (tmp_path / "03-01-05-02-02-01-07.wav").touch()
    start = time.monotonic()
    assert len(Ravdess().scan(tmp_path)) == 1
    with pytest.raises(EmotionError, match="no folder recording"):
        Folder().scan(tmp_path)
    assert time.monotonic() - start < 20  # usually less than one
    record_robustness("Folders", "100,000 files", "are scanned in seconds")


class TouchOnUnpickling:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def replace_text(run, name, old, new):
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new, 1))


RUNS = {
    "a `_target_` of another package": lambda run, mark: replace_text(
        run,
        "config.yaml",
        "_target_: emotion.models.mfcc_cnn.MfccCnn",
        f"_target_: pathlib.Path.touch\n    self: {mark}",
    ),
    "a `_target_` of this package that is not a network": lambda run, mark: replace_text(
        run, "config.yaml", "_target_: emotion.models.mfcc_cnn.MfccCnn", "_target_: emotion.files.write_text"
    ),
    "a YAML tag": lambda run, mark: replace_text(
        run, "config.yaml", "seed: 0", f"seed: !!python/object/apply:os.system ['touch {mark}']"
    ),
    "nested YAML aliases": lambda run, mark: (run / "config.yaml").write_text(
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join(['*' + o] * 9)}]\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True))
    ),
    "a network of 40 billion weights": lambda run, mark: replace_text(
        run, "config.yaml", "    hidden:\n    - 128", "    hidden: [200000, 200000]"
    ),
    "a pickle of code as its checkpoint": lambda run, mark: torch.save(
        {"state_dict": TouchOnUnpickling(mark)}, run / "checkpoints" / "best.ckpt"
    ),
    "a bare pickle as its checkpoint": lambda run, mark: (run / "checkpoints" / "best.ckpt").write_bytes(
        pickle.dumps(TouchOnUnpickling(mark))
    ),
    "the checkpoint of another model": lambda run, mark: torch.save(
        {"state_dict": {"classifier.other": torch.zeros(3)}}, run / "checkpoints" / "best.ckpt"
    ),
    "a number instead of a configuration": lambda run, mark: (run / "config.yaml").write_text("17"),
    "no checkpoint": lambda run, mark: (run / "checkpoints" / "best.ckpt").unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_untrusted_runs_execute_nothing(case, trained, demo_root, tmp_path, record_robustness):
    run, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(trained, run)
    RUNS[case](run, mark)
    clip = next(demo_root.rglob("*.wav"))
    done = subprocess.run(
        [sys.executable, "-m", "emotion.cli", "predict", "--run", run, clip], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert not mark.exists()
    record_robustness("Untrusted runs", case, done.stderr, {str(tmp_path): "DIR"})


@pytest.mark.parametrize("path", ["/etc/passwd", "../elsewhere/a.wav", "happy/../../a.wav", ""])
def test_tables_cannot_list_files_outside_the_folder(path, tmp_path, record_robustness):
    (tmp_path / "list.csv").write_text(f"path,emotion\n{path},happy\n")
    with pytest.raises(EmotionError, match="is not below the directory of the corpus") as error:
        Folder("list.csv").scan(tmp_path)
    record_robustness("Tables", f"a list with the path `{path}`", str(error.value), {str(tmp_path): "DIR"})

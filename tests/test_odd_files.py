"""Files that ask for too much or hold next to nothing, people's own names, and runs that would do something."""

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
from emotion.labels import EMOTIONS
from emotion.prepare.waveforms import prepare_waveforms

RATE = 16_000


@pytest.fixture(scope="module")
def predictor():
    return Predictor.shipped()


def header(rate=RATE, channels=1, samples=RATE, bits=16, data=b"\0\0" * 4000):
    """A wav that says of itself what it likes."""
    block = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + struct.pack("<4sI", b"data", samples) + data


def written(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)


def ten_hours(path):
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_16", format="FLAC") as file:
        block = np.random.default_rng(0).integers(-3, 3, 8000 * 60).astype(np.int16)
        for _ in range(600):
            file.write(block)


speech = np.sin(np.arange(RATE) / 9) * 0.3
SOUNDS = {
    "no samples": ("a.wav", lambda path: written(path, np.zeros(0)), "holds no samples"),
    "one sample": ("a.wav", lambda path: written(path, np.full(1, 0.5)), "is silent"),
    "NaN": ("a.wav", lambda path: written(path, np.full(RATE, np.nan), subtype="FLOAT"), "holds NaN or infinite"),
    "one infinite sample": (
        "a.wav",
        lambda path: written(path, np.append(speech, np.inf), subtype="FLOAT"),
        "holds NaN or infinite",
    ),
    "a constant (DC)": ("a.wav", lambda path: written(path, np.full(RATE, 0.5)), "is silent"),
    "digital silence": ("a.wav", lambda path: written(path, np.zeros(RATE)), "is silent"),
    "samples far beyond full scale": (
        "a.wav",
        lambda path: written(path, speech * 1e30, subtype="FLOAT"),
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
    "a header of 4 GB": ("a.wav", lambda path: path.write_bytes(header(samples=2**32 - 1, data=speech_bytes())), None),
    "an empty file": ("a.wav", lambda path: path.write_bytes(b""), "is empty"),
    "text": ("a.mp3", lambda path: path.write_text("no sound at all"), "cannot be decoded"),
    "a folder called a.wav": ("a.wav", lambda path: path.mkdir(), "no such file"),
}


def speech_bytes():
    return (speech * 32767).astype("<i2").tobytes()


def encoded(path, codec, pictures, rate=10, **metadata):
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def without_key_frames(path):
    """All but the packets from which decoding could start."""
    whole = path.with_name("whole.mp4")
    ramp = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    encoded(whole, "mpeg4", [ramp + number for number in range(20)])
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = stream
                target.mux(packet)
    whole.unlink()


def absurd(path, side=60_000):
    """An AVI whose header says that its pictures are `side` pixels wide and high."""
    encoded(path, "rawvideo", [np.zeros((48, 32, 3), np.uint8)] * 3)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<II", 32, 48), struct.pack("<II", side, side)))


def absurd_picture(path):
    good = cv2.imencode(".png", np.zeros((48, 32, 3), np.uint8))[1].tobytes()
    start = good[:16] + struct.pack(">II", 60_000, 60_000) + good[24:29]
    path.write_bytes(start + struct.pack(">I", zlib.crc32(start[12:])) + good[33:])


def titled(path, face, title):
    """Found by fuzzing: what a file says of itself need not be text."""
    encoded(path, "mpeg4", [face], title="a title of some length")
    content = path.read_bytes()
    assert b"a title of some length" in content
    path.write_bytes(content.replace(b"a title of some length", title.ljust(22)))


# Found by fuzzing: a stream of which FFmpeg knows that it is sound, or pictures, and nothing else.
def unknown_coding(path):
    with av.open(str(path), "w", format="matroska") as container:
        sound, pictures = container.add_stream("pcm_s16le", RATE, layout="mono"), container.add_stream("mpeg4", 10)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.rate = RATE
        container.mux(sound.encode(frame))
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*pictures.encode(picture), *pictures.encode(None), *sound.encode(None)])
    content = path.read_bytes()
    for known, unknown in ((b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"), (b"V_MPEG4/ISO/ASP", b"V_XYZXY/ISO/ASP")):
        assert known in content
        content = content.replace(known, unknown)
    path.write_bytes(content)


NO_FRAME = "no face was found|cannot be decoded|holds no frames"
VIDEOS = {
    "a video of one frame": ("a.mp4", lambda path, face: encoded(path, "mpeg4", [face]), None),
    "a title that is no text": ("a.mp4", lambda path, face: titled(path, face, b"\xad\xff\xfe"), None),
    "a video without a key frame": (
        "a.mp4",
        lambda path, face: without_key_frames(path),
        NO_FRAME,
    ),
    "a video whose header says 60,000 × 60,000": (
        "a.avi",
        lambda path, face: absurd(path),
        "cannot be decoded|no frames",
    ),
    "a video in an unknown coding": ("a.mkv", lambda path, face: unknown_coding(path), "its coding is unknown"),
    "an image whose header says 60,000 × 60,000": ("a.png", lambda path, face: absurd_picture(path), "as an image"),
}


def check_prediction(predictor, path, record_robustness, group, what, expected, folder):
    began = time.monotonic()
    (answer,) = predictor.predict([path])
    assert time.monotonic() - began < 60
    if expected is None:
        assert not isinstance(answer, Problem) and sum(answer.probabilities.values()) == pytest.approx(1)
        assert np.isfinite(list(answer.probabilities.values())).all()
        record_robustness(group, what, "is predicted")
    else:
        assert isinstance(answer, Problem) and re.search(expected, answer.reason), answer
        record_robustness(group, what, answer.reason, {str(folder): "DIR"})


LONG = ("ten hours",)


@pytest.mark.parametrize("what", [pytest.param(w, marks=pytest.mark.slow if w in LONG else ()) for w in SOUNDS])
def test_sound_that_is_hardly_one(what, predictor, tmp_path, record_robustness):
    name, make, expected = SOUNDS[what]
    make(tmp_path / name)
    check_prediction(predictor, tmp_path / name, record_robustness, "Audio", what, expected, tmp_path)


@pytest.mark.parametrize("what", VIDEOS)
def test_videos_that_are_hardly_one(what, predictor, face, tmp_path, record_robustness):
    name, make, expected = VIDEOS[what]
    make(tmp_path / name, face)
    check_prediction(predictor, tmp_path / name, record_robustness, "Video and images", what, expected, tmp_path)


def test_a_video_that_goes_on_for_hours_is_not_decoded(predictor, face, tmp_path, monkeypatch, record_robustness):
    encoded(tmp_path / "a.mp4", "mpeg4", [face] * 30)
    monkeypatch.setattr(recordings, "MAX_DURATION_S", 2.0)
    with pytest.raises(EmotionError, match="minutes long; cut it, or use emotion predict --timeline"):
        predictor(tmp_path / "a.mp4")
    record_robustness(
        "Long videos", "a video of more than 35 minutes", "is not predicted as one: cut it, or `--timeline`"
    )


NAMES = {
    "spaces and quotes": "a 'quoted' \"name\" with  spaces",
    "a line break and a tab": "two\nlines\tand more",
    "Unicode, right to left, combining": "грусть 悲しい حزن e\u0301 🙂",
    "commas, semicolons, formulas": "=1+2,;|$(rm -rf x)`ls`",
    "255 bytes": "x" * 251,
    "what moves a terminal's cursor": "a\x1b[2Jb",
    "markup": "[red]angry <b>bold",
}


@pytest.fixture
def oddly_named(demo_root, tmp_path):
    """A folder of emotions in which five people have a name each that is odd in every way."""
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
def test_people_s_own_names_go_all_the_way(oddly_named, train_in_process, trained, record_robustness, capfd):
    typed = ("data=folder", f"data.root={oddly_named}", "protocol=random", "trainer.max_epochs=1")
    run_dir = train_in_process(*typed)
    table = pd.read_csv(run_dir / "predictions.csv", encoding_errors="surrogateescape")
    splits = runs.load_splits(run_dir)
    assert len(splits) == 8 * len(NAMES)
    found = {recording.split("/", 2)[2] for recording in splits["recording"]}
    assert found == set(NAMES.values()) and set(table["recording"]) <= set(splits["recording"])

    capfd.readouterr()
    command = ["predict", "--run", run_dir, "--format", "json", oddly_named / "happy"]
    done = subprocess.run([sys.executable, "-m", "emotion.cli", *map(str, command)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    names = {Path(row["name"]).name.removesuffix(".wav") for row in json.loads(done.stdout)}
    assert names == set(NAMES.values())
    for what in NAMES:
        record_robustness("Names of files", what, "is trained on, evaluated and listed under its name")


@pytest.mark.slow
def test_names_that_are_no_text(demo_root, trained, tmp_path, record_robustness):
    folder = tmp_path / "happy"
    folder.mkdir()
    path = folder / os.fsdecode(b"caf\xe9.wav")
    shutil.copyfile(next(demo_root.rglob("*.wav")), path)
    for corpus in (Folder(), Ravdess()):
        with pytest.raises(EmotionError, match="its name is not valid UTF-8; rename it") as error:
            corpus.scan(tmp_path)
    record_robustness("Names of files", "bytes that are not UTF-8", str(error.value), {str(tmp_path): "DIR"})
    command = [sys.executable, "-m", "emotion.cli", "predict", "--run", trained, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 1
        and "its name is not valid UTF-8; rename it" in done.stderr
        and done.stderr.count("\n") == 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_name_cannot_move_the_cursor(oddly_named, trained, form):
    command = ["predict", "--run", trained, "--format", form, oddly_named / "sad"]
    done = subprocess.run([sys.executable, "-m", "emotion.cli", *map(str, command)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    if form == "table":
        assert b"\x1b" not in done.stdout and "a\\x1b[2Jb" in done.stdout.decode()


def test_loops_of_links_and_links_that_lead_nowhere(tmp_path, record_robustness):
    (tmp_path / "Actor_01").mkdir()
    (tmp_path / "Actor_01" / "again").symlink_to(tmp_path)
    name = tmp_path / "03-01-01-01-01-01-01.wav"
    written(name, speech)
    looped, dangling = (tmp_path / f"03-01-0{number}-01-01-01-01.wav" for number in (2, 3))
    looped.symlink_to(looped)
    dangling.symlink_to(tmp_path / "nowhere")
    table = Ravdess().scan(tmp_path, "speech")
    assert len(table) == 3  # the folder was walked through once
    store = prepare_waveforms(table, tmp_path, RATE, tmp_path / "cache")
    assert len(store.problems) == 2 and all("no such file" in problem for problem in store.problems)
    record_robustness("Folders", "a link to a folder above", "is not followed")
    record_robustness(
        "Folders", "links to themselves or to nowhere", "no such file: raise, skip or go on, as data.on_error says"
    )


@contextmanager
def somebody_else():
    """For a while this process is that of a user who owns nothing; only root can be."""
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def opened(path):
    """Let everybody through to a folder of the tests; where they are let through already, nothing is changed."""
    for folder in (path, *path.parents):
        if folder.stat().st_mode & 0o005 == 0o005:
            break
        folder.chmod(folder.stat().st_mode | 0o055)


def test_a_folder_that_must_not_be_listed_is_named(tmp_path, record_robustness):
    opened(tmp_path)
    closed = tmp_path / "Actor_01"
    closed.mkdir(mode=0o700)
    with somebody_else(), pytest.raises(EmotionError, match="Actor_01: Permission denied") as error:
        Ravdess().scan(tmp_path)
    record_robustness("Folders", "a folder that must not be listed", str(error.value), {str(tmp_path): "DIR"})


def test_files_that_must_not_be_read_are_problems(tmp_path, record_robustness):
    opened(tmp_path)
    name = "03-01-01-01-01-01-01.wav"
    written(tmp_path / name, speech)
    (tmp_path / name).chmod(0o600)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with somebody_else():
        store = prepare_waveforms(Ravdess().scan(tmp_path), tmp_path, RATE, tmp_path / "cache")
    assert len(store.problems) == 1
    record_robustness("Folders", "a file that must not be read", store.problems.iloc[0])


@pytest.mark.slow
def test_a_corpus_of_100_000_files_is_scanned_in_seconds(tmp_path, record_robustness):
    for folder in range(100):
        (tmp_path / f"{folder:03}").mkdir()
        for number in range(1000):
            name = "03-01-05-02-02-01-07.wav" if number % 2 else f"note {number}.txt"
            (tmp_path / f"{folder:03}" / f"{number:04} {name}").touch()
    (tmp_path / "03-01-05-02-02-01-07.wav").touch()
    began = time.monotonic()
    assert len(Ravdess().scan(tmp_path)) == 1
    with pytest.raises(EmotionError, match="no folder recording"):
        Folder().scan(tmp_path)
    assert time.monotonic() - began < 20  # it takes less than one
    record_robustness("Folders", "100,000 files", "are scanned in seconds")


class Marks:
    """What unpickling would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def changed(run, name, old, new):
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new, 1))


RUNS = {
    "a `_target_` of another package": lambda run, mark: changed(
        run,
        "config.yaml",
        "_target_: emotion.models.mfcc_cnn.MfccCnn",
        f"_target_: pathlib.Path.touch\n    self: {mark}",
    ),
    "a `_target_` of this package that is no network": lambda run, mark: changed(
        run, "config.yaml", "_target_: emotion.models.mfcc_cnn.MfccCnn", "_target_: emotion.files.write_text"
    ),
    "a YAML tag": lambda run, mark: changed(
        run, "config.yaml", "seed: 0", f"seed: !!python/object/apply:os.system ['touch {mark}']"
    ),
    "aliases that grow": lambda run, mark: (run / "config.yaml").write_text(
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join(['*' + o] * 9)}]\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True))
    ),
    "a network of 40 billion weights": lambda run, mark: changed(
        run, "config.yaml", "    hidden:\n    - 128", "    hidden: [200000, 200000]"
    ),
    "a pickle of code as its checkpoint": lambda run, mark: torch.save(
        {"state_dict": Marks(mark)}, run / "checkpoints" / "best.ckpt"
    ),
    "a bare pickle as its checkpoint": lambda run, mark: (run / "checkpoints" / "best.ckpt").write_bytes(
        pickle.dumps(Marks(mark))
    ),
    "the checkpoint of another model": lambda run, mark: torch.save(
        {"state_dict": {"classifier.other": torch.zeros(3)}}, run / "checkpoints" / "best.ckpt"
    ),
    "a number instead of a configuration": lambda run, mark: (run / "config.yaml").write_text("17"),
    "no checkpoint": lambda run, mark: (run / "checkpoints" / "best.ckpt").unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("trick", RUNS)
def test_an_untrusted_run_executes_nothing(trick, trained, demo_root, tmp_path, record_robustness):
    run, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(trained, run)
    RUNS[trick](run, mark)
    clip = next(demo_root.rglob("*.wav"))
    done = subprocess.run(
        [sys.executable, "-m", "emotion.cli", "predict", "--run", run, clip], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert not mark.exists()
    record_robustness("Untrusted runs", trick, done.stderr, {str(tmp_path): "DIR"})


@pytest.mark.parametrize("path", ["/etc/passwd", "../elsewhere/a.wav", "happy/../../a.wav", ""])
def test_a_table_cannot_name_what_is_outside(path, tmp_path, record_robustness):
    (tmp_path / "list.csv").write_text(f"path,emotion\n{path},happy\n")
    with pytest.raises(EmotionError, match="is not below the directory of the corpus") as error:
        Folder("list.csv").scan(tmp_path)
    record_robustness("Tables", f"a list with the path `{path}`", str(error.value), {str(tmp_path): "DIR"})

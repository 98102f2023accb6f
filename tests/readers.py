"""All readers of untrusted files, with valid files from which invalid ones are derived.

A reader reads any file or raises an `EmotionError`; `test_fuzzing.py` and `fuzz.py` test this.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

RUN = ("config.yaml", "splits.csv", "metrics.json", "environment.json", "overrides.yaml")


@dataclass(frozen=True)
class ReaderOf:
    """A reader.

    Attributes:
        seeds: Returns the contents of valid files, given the folder of `material`.
        read: Reads the file at a path.
        name: Name of the file.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    name: str


def material(folder, trained):
    """Write small files of every kind to a folder: audio, video, images, the run `trained` and its ONNX export."""
    import cv2
    import soundfile

    from emotion.corpora import demo_face, demo_voice
    from emotion.inference.export import export

    take = "01-05-01-01-01-03"
    spoken = demo_voice.synthesise(take)
    short = spoken.waveform[:4000]
    for suffix, options in ((".wav", {"subtype": "PCM_16"}), (".flac", {})):
        soundfile.write(folder / f"audio{suffix}", short, demo_voice.SAMPLE_RATE, **options)
    soundfile.write(folder / "float.wav", short.astype(np.float32), demo_voice.SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(folder / "audio.ogg", short, demo_voice.SAMPLE_RATE)
    demo_face.write_video(folder / "video.mp4", take, spoken)
    image = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 48, 3))
    for suffix in (".png", ".jpg", ".webp"):
        cv2.imwrite(str(folder / f"image{suffix}"), image)
    shutil.copytree(trained, folder / "run")
    export(folder / "run", folder / "model.onnx", "onnx")
    return folder


def _files(*names):
    return lambda folder: [(folder / name).read_bytes() for name in names]


def _texts(*texts):
    return lambda folder: [text.encode() for text in texts]


def _audio(path):
    from emotion.media.audio import read_audio

    return read_audio(path, 16_000)


def _streamed(path):
    from emotion.media.audio import stream_audio

    return list(stream_audio(path, 16_000))


def _video(path):
    from emotion.media.video import frame_times, read_frames, video_duration

    video_duration(path)
    frame_times(path)
    return [image.pixels(64) for image in islice(read_frames(path), 3)]


def _image(path):
    from emotion.media.image import Image

    return Image(path).pixels(32)


def _splits(path):
    from emotion.protocols.protocol import load

    fold = path.parent / "splits" / "corpus" / "protocol" / "0"
    fold.mkdir(parents=True, exist_ok=True)
    for split in ("dev", "test"):
        (fold / f"{split}.csv").write_text("recording,speaker,emotion\n")
    path.replace(fold / "train.csv")
    return load("corpus", "protocol", 0, True, directory=path.parent / "splits")


def _corpus_table(path):
    from emotion.corpora.folder import Folder

    table = Folder(path.name).scan(path.parent)
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in table["audio"])
    return table


def _action_units(path):
    from emotion.prepare.action_units import read_action_units

    for pooling in ("mean", "none"):
        units = read_action_units(path, ("intensity", "presence"), pooling, str)
        assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in units.values())
    return units


def _run_file(name):
    """Return a reader of a whole run in which one file is replaced."""

    def read(path):
        from emotion import runs
        from emotion.inference.networks import network_of

        run = path.parent.parent / "run"
        valid = (run / name).read_bytes()
        try:
            path.replace(run / name)
            runs.load_splits(run)
            runs.load_metrics(run)
            runs.load_overrides(run)
            runs.load_pretraining(run)
            return network_of(run, "cpu")
        finally:
            (run / name).write_bytes(valid)

    return ReaderOf(_files(f"run/{name}"), read, Path(name).name)


def _overrides(path):
    from emotion.hydra_cli.overrides import check_overrides

    return check_overrides(path.read_text("utf-8", "surrogateescape").split("\n"))


def _file_names(path):
    from emotion.corpora.ravdess import Ravdess
    from emotion.corpora.tess import Tess

    folder = path.parent / "named"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in path.read_bytes().split(b"\n"):
        name = name.replace(b"/", b"").replace(b"\0", b"")[:255]
        if name not in (b"", b".", b".."):
            (Path(folder) / name.decode("utf-8", "surrogateescape")).touch()
    return [corpus.describe(corpus.scan(folder), "both") for corpus in (Ravdess(), Tess())]


def _archive(path):
    from emotion.downloads.unpack import unpack

    folder = path.parent / "unpacked"
    try:
        unpack(path, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _zip(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("Actor_01/03-01-01-01-01-01-01.wav", b"audio" * 50)
        opened.write(folder / "audio.wav", "Actor_01/03-01-01-01-01-02-01.wav")
    return [packed.getvalue()]


REQUESTED_PARTS = (("ravdess", ("video-song",), (1,)), ("tess", (), ()))


def _server_list(path):
    from emotion.downloads.sources import SOURCES

    class Server:
        def json(self, address):
            try:
                return json.loads(path.read_bytes())
            except ValueError:
                return None

    return [SOURCES[name].parts(Server(), "http://localhost", *requested) for name, *requested in REQUESTED_PARTS]


def _estimator(path):
    from sklearn.linear_model import LogisticRegression  # noqa: F401 (the class in the file)

    return _head().load(path)


def _head():
    from emotion.config.target import Target
    from emotion.models.estimator import EstimatorHead

    return EstimatorHead(Target("sklearn.linear_model.LogisticRegression"), 2, 0)


def _estimator_file(folder):
    head = _head()
    head.fit(np.arange(12.0).reshape(6, 2), np.arange(6) % 2, None)
    head.save(folder / "best.skops")
    return [next(folder.glob("*.skops")).read_bytes()]


def _onnx_model(path):
    from emotion.inference.onnx_model import OnnxModel

    return OnnxModel(path)


def _emobox(path):
    from emotion.corpora.emobox import EmoBox

    folder = path.parent / "emobox"
    folder.mkdir(exist_ok=True)
    path.replace(folder / path.name)
    (folder / "label_map.json").write_text('{"h": "Happy", "s": "Sad"}')
    return EmoBox(str(folder), on_error="skip").read(path.parent)


UNITS = "name,success,{}\nclip1,1,{}\nclip2,1,{}\n"


def _unit_table(folder):
    from emotion.prepare.action_units import unit_names

    columns = unit_names(("intensity", "presence"))
    rows = [",".join(str(round(0.1 * number, 1)) for number in range(len(columns)))] * 2
    text = UNITS.format(",".join(columns), *rows)
    return [text.encode(), text.replace(",", ";").encode()]


READERS = {
    "wav": ReaderOf(_files("audio.wav", "float.wav"), _audio, "audio.wav"),
    "flac": ReaderOf(_files("audio.flac"), _audio, "audio.flac"),
    "ogg, by FFmpeg": ReaderOf(_files("audio.ogg", "audio.wav"), _streamed, "audio.ogg"),
    "audio of a video": ReaderOf(_files("video.mp4"), _audio, "video.mp4"),
    "frames of a video": ReaderOf(_files("video.mp4"), _video, "video.mp4"),
    "image": ReaderOf(_files("image.png", "image.jpg", "image.webp"), _image, "image.png"),
    "split CSV": ReaderOf(
        _texts("recording,speaker,emotion\nravdess/01-01-01-01-01-01,ravdess/01,neutral\n"), _splits, "train.csv"
    ),
    "table of a folder": ReaderOf(
        _texts("path,emotion,speaker\na/b.wav,happy,anna\nc.mp4,sadness,ben\n"), _corpus_table, "table.csv"
    ),
    "action units": ReaderOf(_unit_table, _action_units, "units.csv"),
    **{name: _run_file(name) for name in (*RUN, "checkpoints/best.ckpt")},
    "overrides": ReaderOf(
        _texts("model=mfcc_cnn\nseed=1,2\n+data.root=x", "optimizer.lr=interval(0.1,1)\nfeatures=[mfcc,chroma]"),
        _overrides,
        "overrides.txt",
    ),
    "names of files": ReaderOf(
        _texts("03-01-05-02-02-01-07.wav\nOAF_back_angry.wav\n01-02-03-01-01-01-01.mp4"), _file_names, "names.txt"
    ),
    "archive": ReaderOf(_zip, _archive, "archive.zip"),
    "list of a server": ReaderOf(
        _texts(
            '{"files": [{"key": "Video_Song_Actor_01.zip", "size": 9, "checksum": "md5:00"}], '
            '"data": [{"dataFile": {"id": 1, "filename": "OAF_back_angry.wav", "filesize": 3, "md5": "00"}}]}',
        ),
        _server_list,
        "record.json",
    ),
    "metadata of EmoBox": ReaderOf(
        _texts(
            '{"key": "a", "wav": "audio.wav", "emo": "h"}\n{"key": "b", "wav": "x/b.wav", "emo": "s", "speaker": 1}'
        ),
        _emobox,
        "corpus.jsonl",
    ),
    "exported model": ReaderOf(_files("model.onnx"), _onnx_model, "model.onnx"),
    "estimator": ReaderOf(_estimator_file, _estimator, "best.skops"),
}

"""Tests of exported models: their predictions equal those of the run, and they do not need this package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from emotion.errors import EmotionError
from emotion.inference import Predictor, export
from emotion.inference.bundle import bundle
from emotion.inference.shipped import DIRECTORY
from emotion.labels import EMOTIONS
from emotion.media.audio import read_audio

SMALL = ("trainer.max_epochs=1", "faces.frames=3", "data.on_error=allow_missing_modality")
AUDIO_AND_FACE = (
    "model=late_fusion",
    "model.branches.audio=audio_lstm",
    "model.branches.face=face_cnn",
    "model.branches.face.images.size=32",
)


@pytest.fixture(scope="module")
def clips(demo_root):
    return sorted((demo_root / "Actor_01").glob("03-*.wav"))[:5]


@pytest.mark.slow
def test_audio_model_runs_without_torch(trained, clips, tmp_path):
    path = tmp_path / "model.onnx"
    command = [sys.executable, "-m", "emotion.cli"]
    done = subprocess.run([*command, "export", str(trained), "--output", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "on 8 recordings" in done.stdout
    script = "import runpy, sys\ntry:\n    runpy.run_module('emotion.cli', run_name='__main__')\nfinally:\n"
    script += "    print('torch' in sys.modules, file=sys.stderr)\n"
    arguments = ["predict", *map(str, clips), "--model", str(path), "--format", "json"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.stderr.split() == ["False"]
    expected = Predictor.from_run(trained).predict(clips)
    for prediction, reference in zip(json.loads(done.stdout), expected, strict=True):
        assert prediction["probabilities"] == pytest.approx(reference.probabilities, abs=1e-4)
        assert prediction["emotion"] == reference.emotion


@pytest.mark.slow
def test_onnx_model_accepts_any_batch_size_and_length_and_ignores_padding(trained, tmp_path):
    import onnxruntime

    export.export(trained, tmp_path / "model.onnx", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["emotion"])
    assert metadata["labels"] == list(EMOTIONS)
    assert metadata["sample_rate"] == 16_000
    assert list(metadata["inputs"]) == [value.name for value in session.get_inputs()]
    predictor, random = Predictor.from_run(trained), np.random.default_rng(0)
    waveforms = [0.1 * random.standard_normal(length).astype(np.float32) for length in (1, 500, 16_000, 100_001)]
    padded = np.stack([np.pad(waveform, (0, 100_001 - len(waveform))) for waveform in waveforms])
    lengths = np.array([len(waveform) for waveform in waveforms])
    batched, distances = session.run(None, {"waveform": padded, "waveform_length": lengths})
    for waveform, row, distance in zip(waveforms, batched, distances, strict=True):
        alone, _ = session.run(None, {"waveform": waveform[None], "waveform_length": np.array([len(waveform)])})
        np.testing.assert_allclose(row, alone[0], atol=1e-5)
        expected = predictor.predict_recordings([predictor.reader.from_waveform(waveform)])[0]
        # The run rounds waveforms to 16 bits.
        np.testing.assert_allclose(row, list(expected.probabilities.values()), atol=2e-4)
        assert distance == pytest.approx(expected.distance, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "tolerance", "megabytes"), [("onnx", 1e-4, 20), ("onnx_int8", 0.05, 5)])
def test_layers_of_whisper_are_exported(real_data, tmp_path, form, tolerance, megabytes):
    files = sorted((real_data / "ravdess" / "Audio_Speech_Actors_01-24" / "Actor_02").glob("*.flac"))[:4]
    path = tmp_path / "model.onnx"
    assert export.export(DIRECTORY / "audio", path, form, list(map(str, files))).difference < tolerance
    assert path.stat().st_size < megabytes * 1e6
    assert str(tmp_path.home()).encode() not in path.read_bytes()
    run, exported = Predictor.from_run(DIRECTORY / "audio"), Predictor.from_file(path)
    random = np.random.default_rng(0)
    waveforms = [0.1 * random.standard_normal(length).astype(np.float32) for length in (100, 16_000, 200_001)]
    for one, other in zip(
        *(each.predict_recordings([each.reader.from_waveform(own) for own in waveforms]) for each in (run, exported)),
        strict=True,
    ):
        assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)


@pytest.fixture(scope="module")
def fusion_run(own_videos, tmp_path_factory):
    """Return a run of an LSTM and a CNN that resizes faces."""
    import hydra

    from emotion.config.compose import DIRECTORY as CONFIGS
    from emotion.hydra_cli.overrides import choose_branches
    from emotion.pipelines.train import train

    run_dir = tmp_path_factory.mktemp("fusion") / "run"
    data = ["data=folder", f"data.root={own_videos}", "data.corpus.speaker=person..", "protocol=speakers5"]
    overrides = choose_branches([*data, *AUDIO_AND_FACE, *SMALL])
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", overrides=overrides)
    train(config, run_dir, overrides)
    return run_dir


@pytest.mark.slow
def test_exported_fusion_predicts_from_audio_and_face_or_audio_alone(fusion_run, own_videos, tmp_path):
    path = tmp_path / "model.onnx"
    files = [own_videos / "happy" / name for name in ("person01.mp4", "person01_again.wav", "person02.mp4")]
    checked = export.export(fusion_run, path, "onnx", [str(own_videos / "sad"), str(files[1])])
    assert checked.recordings == 6
    assert checked.difference < 1e-5
    exported, expected = (
        list(predictor.predict(files)) for predictor in (Predictor.from_file(path), Predictor.from_run(fusion_run))
    )
    assert [prediction.modalities for prediction in exported] == [("audio", "face"), ("audio",), ("audio", "face")]
    for one, other in zip(exported, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.slow
def test_exported_program_needs_torch_alone(fusion_run, own_videos, tmp_path):
    path = tmp_path / "model.pt2"
    assert export.export(fusion_run, path, "pt2").difference < 1e-5
    script = f"""
import sys, json, torch
extra = {{"emotion.json": ""}}
program = torch.export.load({str(path)!r}, extra_files=extra).module()
names = list(json.loads(extra["emotion.json"])["inputs"])
assert names == ["waveform", "waveform_length", "faces", "face_count"], names
faces = torch.zeros(2, 3, 3, 112, 112, dtype=torch.uint8)
(probabilities,) = program(torch.zeros(2, 20_000), torch.tensor([20_000, 9_000]), faces, torch.tensor([3, 0]))
assert probabilities.shape == (2, 8) and torch.allclose(probabilities.sum(dim=1), torch.ones(2))
(probabilities,) = program(torch.zeros(1, 20_000), torch.tensor([20_000]), faces[:1, :1], torch.tensor([1]))
assert probabilities.shape == (1, 8)
assert "emotion" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "pattern"),
    [("audio", "ravdess/Audio_Speech*/Actor_02/*.flac"), ("face", "ravdess_faces/actor_stills/*.png")],
)
def test_shipped_models_are_exported_as_programs(real_data, tmp_path, part, pattern):
    files = [str(file) for file in sorted(real_data.glob(pattern))[:3]]
    assert export.export(DIRECTORY / part, tmp_path / "model.pt2", "pt2", files).difference < 1e-5


@pytest.mark.slow
def test_export_with_different_predictions_is_not_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export.Onnx, "write", lambda _, network, *__: lambda recordings: network(recordings)[0] + 1e-3)
    with pytest.raises(EmotionError, match=r"was not written: on 8 recordings .* by up to 0.001"):
        export.export(trained, tmp_path / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_missing_and_invalid_files_are_refused(trained, train_in_process, clips, tmp_path, monkeypatch):
    with pytest.raises(EmotionError, match=r"nothing\.wav: no such file"):
        export.export(trained, tmp_path / "model.onnx", "onnx", [str(tmp_path / "nothing.wav")])
    (tmp_path / "no.onnx").write_text("not a model")
    with pytest.raises(EmotionError, match=r"no\.onnx is not an ONNX model"):
        Predictor.from_file(tmp_path / "no.onnx")
    with pytest.raises(EmotionError, match="no such file"):
        Predictor.from_file(tmp_path / "nowhere.onnx")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(EmotionError, match=r"pip install 'emotion\[onnx\]'"):
            Predictor.from_file(tmp_path / "no.onnx")


def test_bundle_is_smaller_than_its_run_and_predicts_the_same(trained, clips, tmp_path):
    bundle(trained, tmp_path / "small")
    files = {file.relative_to(tmp_path / "small").as_posix(): file for file in (tmp_path / "small").rglob("*.*")}
    assert {"config.yaml", "splits.csv", "metrics.json", "checkpoints/best.ckpt"} <= set(files)
    size = {
        name: (folder / "checkpoints/best.ckpt").stat().st_size
        for name, folder in (("small", tmp_path / "small"), ("whole", trained))
    }
    assert size["small"] < 0.25 * size["whole"]
    assert str(trained.parent) not in "".join(file.read_text() for name, file in files.items() if "ckpt" not in name)
    for one, other in zip(
        Predictor.from_run(tmp_path / "small").predict(clips), Predictor.from_run(trained).predict(clips), strict=True
    ):
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.01)
    with pytest.raises(EmotionError, match="is not empty"):
        bundle(trained, tmp_path / "small")


@pytest.mark.parametrize(("length", "size"), [(112, 48), (100, 64), (32, 48), (224, 160), (50, 49)])
def test_images_are_resized_like_torch_resizes_bytes(length, size):
    from emotion.features.resize import _resize_like_cpu, resize_images

    images = torch.randint(256, (8, 3, length, length), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_resize_like_cpu(images, size), resize_images(images, size).float())


@pytest.mark.slow
def test_exported_model_predicts_real_speech(real_data, trained, tmp_path):
    clips = sorted((real_data / "ravdess_originals").rglob("*.wav"))
    export.export(trained, tmp_path / "model.onnx", "onnx", list(map(str, clips[:3])))
    predictor, exported = Predictor.from_run(trained), Predictor.from_file(tmp_path / "model.onnx")
    waveform = read_audio(clips[5], 16_000)
    assert exported.predict(waveform, 16_000).probabilities == pytest.approx(
        predictor.predict(waveform, 16_000).probabilities, abs=1e-4
    )

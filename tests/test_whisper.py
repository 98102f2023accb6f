"""Tests of the packaged Whisper encoder, and of augmented copies of features."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from conftest import build_classifier, build_datamodule, make_batch
from emotion.data.feature_cache import copy_key
from emotion.downloads.whisper_encoder import convert
from emotion.errors import EmotionError
from emotion.features.whisper import SIZE, WEIGHTS_FILE, WhisperEncoder
from emotion.pipelines.results import cache_features

RATE = 16_000
WHISPER = ("model=whisper", "data.sample_rate=16000")
COPIES = (*WHISPER, "augment=[noise,equalizer]", "features.n_augmented_copies=2")


def voice(samples=2 * RATE):
    """Return a sound like a voice: harmonics of a gliding pitch, with pauses."""
    time = torch.arange(samples) / RATE
    phase = 2 * torch.pi * torch.cumsum(150 + 60 * torch.sin(3 * time), 0) / RATE
    return sum(torch.sin(k * phase) / k for k in range(1, 12)) * (torch.sin(9 * time) > -0.3) * 0.1


def encode(encoder, *waveforms):
    length = torch.tensor([len(waveform) for waveform in waveforms])
    features, frames = encoder(torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), length)
    return [item[:, :count] for item, count in zip(features, frames.tolist(), strict=True)]


def test_values_are_those_of_the_published_encoder():
    # Means over time by ONNX Runtime of Smart Turn v3.2, whose activations are rounded to 8 bits, every 64th of 384.
    expected = torch.tensor(
        [
            [-0.029, 0.195, 0.306, -0.056, 0.0, 0.79],
            [0.717, 0.487, 0.403, 0.943, 0.5, 0.397],
            [0.327, 0.393, 0.371, 0.869, 0.513, 0.059],
        ]
    )
    (features,) = encode(WhisperEncoder(RATE, pooling="none"), voice(127_999))
    assert features.shape == (3 * SIZE, 400)
    torch.testing.assert_close(features.unflatten(0, (3, SIZE)).mean(dim=2)[:, ::64], expected, atol=0.1, rtol=0)


def test_an_item_does_not_depend_on_the_batch_nor_on_its_level():
    encoder, whole = WhisperEncoder(RATE), voice()
    (alone,), (quiet,) = encode(encoder, whole), encode(encoder, whole / 9)
    first, _ = encode(encoder, whole, whole[:9000])
    torch.testing.assert_close(first, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quiet, alone, atol=1e-3, rtol=1e-3)


def test_statistics_are_those_of_the_frames():
    (frames,), (pooled,) = (
        encode(encoder, voice()) for encoder in (WhisperEncoder(RATE, pooling="none"), WhisperEncoder(RATE))
    )
    layers = frames.unflatten(0, (3, SIZE))
    expected = torch.stack([layers.mean(dim=2), layers.std(dim=2, correction=0)], dim=1).flatten()
    torch.testing.assert_close(pooled[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 8.0, 8.01, 30.0])
def test_recordings_of_any_duration_are_encoded(seconds):
    noise = 0.1 * torch.randn(max(1, int(seconds * RATE)), generator=torch.Generator().manual_seed(0))
    (frames,) = encode(WhisperEncoder(RATE, layers=(0,), pooling="none"), noise)
    assert frames.shape[1] == pytest.approx(seconds * 50, abs=3)
    assert frames.isfinite().all()


def test_silence_has_finite_features():
    (features,) = encode(WhisperEncoder(RATE), torch.zeros(RATE))
    assert features.isfinite().all()


def test_the_weights_are_not_in_checkpoints(compose):
    classifier = build_classifier(compose(*WHISPER), 6)
    state = classifier.state_dict()
    assert sum(value.numel() for value in state.values()) < 20_000
    other = build_classifier(compose(*WHISPER), 6)
    other.load_state_dict(state)
    batch = make_batch()
    torch.testing.assert_close(other.eval()(batch), classifier.eval()(batch))


def test_spectrum_augmentations_change_the_features(compose):
    front_end = build_classifier(compose(*WHISPER, "augment=equalizer", "augment.equalizer.probability=1"), 6)
    (end,) = front_end.front_ends
    waveform, length = voice()[None], torch.tensor([2 * RATE])
    assert not torch.allclose(end.extract(waveform, length, True)[0], end.extract(waveform, length)[0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.sample_rate=22050"], "whisper needs audio at 16000 Hz: set data.sample_rate=16000"),
        (["features.sets.whisper.layers=[]"], "names no layer"),
        (["features.n_augmented_copies=2"], "n_augmented_copies=2 needs augmentations of audio"),
        (["features.n_augmented_copies=2", "features.cache=false", "augment=noise"], "needs features.cache=true"),
    ],
)
def test_wrong_settings_are_refused(compose, overrides, message):
    with pytest.raises(EmotionError, match=message):
        build_classifier(compose("model=whisper", *overrides), 6)


@pytest.mark.slow
def test_copies_are_trained_on_and_evaluated_without(compose, demo_root, cache):
    composed = compose(*COPIES, f"data.root={demo_root.parent}")
    datamodule = build_datamodule(composed)
    datamodule.setup()
    classifier = build_classifier(composed, len(datamodule.classes))
    cache_features(classifier, datamodule, torch.device("cpu"), training=True)
    train, clean, dev = (
        datamodule.dataset("train", augmented=True),
        datamodule.dataset("train"),
        datamodule.dataset("dev"),
    )
    assert len(train) == 2 * len(clean)
    assert len(dev.features) == 1
    (key,) = train.features
    n_clean = len(clean)
    first, second, plain = train[0], train[n_clean], clean[0]
    assert first["recording"] == second["recording"] == plain["recording"]
    one, two, none = (batch["features"][key][0] for batch in (first, second, plain))
    assert not torch.equal(one, two)
    assert not torch.equal(one, none)


@pytest.mark.slow
def test_copies_are_the_same_for_all_seeds(compose, demo_root, cache):
    found = []
    for seed in (0, 1):
        composed = compose(*COPIES, f"data.root={demo_root.parent}", f"seed={seed}")
        torch.manual_seed(seed)
        datamodule = build_datamodule(composed)
        datamodule.setup()
        classifier = build_classifier(composed, len(datamodule.classes))
        cache_features(classifier, datamodule, torch.device("cpu"), training=True)
        ((_, copies),) = datamodule.copies.values()
        recording = datamodule.table["recording"].iloc[0]
        found.append(copies.select([copy_key(recording, 1)]).padded([0])[0])
    torch.testing.assert_close(*found)


def test_a_model_is_trained_and_predicts(command, demo_root, tmp_path):
    run = tmp_path / "run"
    train = command("train", *COPIES, f"data.root={demo_root.parent}", "trainer.max_epochs=2", f"run_dir={run}")
    assert train.returncode == 0, train.stderr
    files = [str(path) for path in sorted(demo_root.glob("Actor_0[12]/03-01-0[1-4]-01-01-01-*.wav"))]
    answers = json.loads(command("predict", *files, "--run", str(run), "--format", "json").stdout)
    assert all(answer["distance"] > 0 and answer["adapted_to"] is None for answer in answers)


@pytest.mark.slow
def test_packaged_weights_are_those_of_the_published_file(tmp_path):
    package = ("pipecat-ai==1.14.0", "--no-deps", "--only-binary", ":all:", "--quiet")
    subprocess.run([sys.executable, "-m", "pip", "download", *package, "--dest", tmp_path], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx", tmp_path)
    (published,) = tmp_path.rglob("*.onnx")
    found = convert(published)
    with np.load(WEIGHTS_FILE, allow_pickle=False) as packaged:
        assert set(packaged) == set(found)
        for name in packaged:
            np.testing.assert_array_equal(packaged[name], found[name])

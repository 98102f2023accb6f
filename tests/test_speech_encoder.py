"""Tests of speech encoders of transformers: tiny ones with random weights, read from folders."""

import shutil
import sys

import pytest
import torch
import yaml
from encoders import KINDS, save_encoder

from conftest import make_batch
from emotion.errors import EmotionError
from emotion.features.speech_encoder import SpeechEncoder
from emotion.features.transformers_library import describe_encoder
from emotion.inference import Predictor

SIZES = (9_000, 300, 16_000, 9_000)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Return a function that returns the folder of an encoder."""
    folders = {}

    def make(kind):
        if kind not in folders:
            folders[kind] = save_encoder(tmp_path_factory.mktemp(kind), kind)
        return str(folders[kind])

    return make


def build(folder, **options):
    features = SpeechEncoder(16_000, folder, **options)
    features.load_pretrained()
    return features


def inputs(sizes=SIZES):
    batch = make_batch(sizes)
    return batch["waveform"], batch["waveform_length"]


@pytest.mark.parametrize("kind", KINDS)
def test_states_equal_those_of_the_library(encoder, kind):
    from transformers import AutoFeatureExtractor, AutoModel

    folder = encoder(kind)
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    waveform, length = inputs((9_000, 16_000))
    features, frames = build(folder, layers="all").eval()(waveform, length)
    for item, count, own, own_count in zip(waveform, length.tolist(), features, frames.tolist(), strict=True):
        values = extractor(item[:count].numpy(), sampling_rate=16_000, return_tensors="pt")
        network = model.get_encoder() if kind == "whisper" else model
        with torch.no_grad():
            found = network(*values.values(), output_hidden_states=True)
        expected = torch.cat([*found.hidden_states[1:-1], found.last_hidden_state], dim=2)[0]
        assert own_count == (-(-count // 320) if kind == "whisper" else len(expected))
        assert torch.allclose(own[:, :own_count].T, expected[:own_count], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(encoder, kind):
    features = build(encoder(kind), layers="all")
    waveform, length = inputs()
    together, frames = features(waveform, length)
    for item, size, found, count in zip(waveform, length.tolist(), together, frames.tolist(), strict=True):
        alone, own = features(item[None, :size], torch.tensor([size]))
        assert own.item() == count
        torch.testing.assert_close(found[:, :count], alone[0], atol=5e-5, rtol=0)
        assert not found[:, count:].any()


def test_long_recordings_are_encoded_in_parts_by_whisper(encoder):
    features = build(encoder("whisper"))
    waveform, length = inputs((490_000, 16_000))
    found, frames = features(waveform, length)
    assert frames.tolist() == [1500 + 32, 50]
    last, _ = features(waveform[:1, 480_000:490_000], torch.tensor([10_000]))
    assert torch.allclose(found[0, :, 1500:1532], last[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["xlsr", "wavlm", "whisper"])
@pytest.mark.parametrize("layers", ["all", "middle"])
@pytest.mark.parametrize("finetune", ["lora", "all", 1])
def test_fine_tuning_moves_what_it_should(encoder, kind, layers, finetune):
    features = build(encoder(kind), layers=layers, finetune=finetune).train()
    if layers == "middle" and finetune == 1:
        assert not any(parameter.requires_grad for parameter in features.parameters())
        return
    before = {name: value.clone() for name, value in features.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in features.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # the first step of LoRA moves one of its two matrices
        optimizer.zero_grad()
        features(*inputs())[0].square().sum().backward()
        missing = [name for name, p in features.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing
        optimizer.step()
    moved = {name for name, value in features.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    used = {"all": 3, "middle": 2}[layers]
    for name in moved:
        if finetune == "lora":
            assert "lora_" in name
        elif finetune == 1:
            assert "layers.2." in name or "layer_norm" in name
        else:
            assert "feature_extractor" not in name
            assert not any(f"layers.{number}." in name for number in range(used, 3))


def test_rates_of_lower_layers_decay(encoder):
    overrides = ["finetune=all", "lr_multiplier=0.1", "layer_decay=0.5"]
    module = _lightning(encoder("xlsr"), overrides)
    rates = {rate: {id(p) for p in group} for rate, group in module._parameters_by_lr().items()}
    features = module.classifier.encoder.front_end.features
    for number, expected in enumerate((0.025, 0.05, 0.1)):
        assert all(id(parameter) in rates[expected] for parameter in features.blocks[number].parameters())
    assert all(id(parameter) in rates[1.0] for parameter in module.classifier.head.parameters())


def _lightning(folder, overrides):
    from emotion.notebook import build as build_parts
    from emotion.notebook import configure

    own = [f"features.sets.speech_encoder.{override}" for override in overrides]
    return build_parts(configure("model=speech_encoder", f"model.encoder={folder}", *own))[0]


def test_checkpointing_gives_the_same_gradients(encoder):
    found = []
    for checkpointing in (False, True):
        described = describe_encoder(encoder("xlsr"))
        described["model"] |= {key: 0.0 for key in described["model"] if "dropout" in key}
        options = {"finetune": "all", "gradient_checkpointing": checkpointing}
        features = build(encoder("xlsr"), architecture=described, **options)
        features.train()(*inputs())[0].square().sum().backward()
        found.append([parameter.grad for parameter in features.parameters() if parameter.requires_grad])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))


@pytest.mark.slow
def test_a_run_needs_its_encoder_for_training_only(encoder, tmp_path, train_in_process, demo_root):
    folder = shutil.copytree(encoder("wavlm"), tmp_path / "my encoder")
    run = train_in_process("model=speech_encoder", f"model.encoder='{folder}'", "trainer.max_epochs=1")
    path = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    before = Predictor.from_run(run).predict(path).probabilities
    shutil.rmtree(folder)
    assert Predictor.from_run(run).predict(path).probabilities == before
    text = (run / "config.yaml").read_text()
    assert str(tmp_path) not in text + (run / "overrides.yaml").read_text()
    assert yaml.safe_load(text)["features"]["sets"]["speech_encoder"]["architecture"]["model"]["hidden_size"] == 24


def test_what_does_not_fit_is_refused(encoder, tmp_path, monkeypatch):
    folder = encoder("wavlm")
    for options, message in (
        ({"layers": 4}, "from 1 to 3 is allowed"),
        ({"finetune": 4}, "has 3 layers"),
        ({"encoder": None}, "model.encoder is missing"),
        ({"encoder": str(tmp_path / "none")}, "there is no such folder"),
        ({"sample_rate": 8_000}, "set data.sample_rate=16000"),
        (
            {"architecture": {"model": {"model_type": "wavlm", "hidden_size": 7}, "input": {"sampling_rate": 16_000}}},
            "not valid",
        ),
    ):
        with pytest.raises(EmotionError, match=message):
            SpeechEncoder(**{"sample_rate": 16_000, "encoder": folder} | options)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EmotionError, match="of the kind bert; known kinds are data2vec-audio"):
        describe_encoder(str(tmp_path))
    other = SpeechEncoder(16_000, encoder("xlsr"), architecture=describe_encoder(folder))
    with pytest.raises(EmotionError, match="another network"):
        other.load_pretrained()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EmotionError, match=r"peft is not installed: pip install 'emotion.transformers.'"):
        SpeechEncoder(16_000, folder, finetune="lora")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EmotionError, match=r"transformers is not installed: pip install 'emotion.transformers.'"):
        SpeechEncoder(16_000, folder)

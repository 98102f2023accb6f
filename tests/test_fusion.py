"""Tests of fusion models and missing modalities."""

import pytest
import torch
from torch import nn

from conftest import CLASSES, build_classifier, make_batch
from emotion.config.compose import DIRECTORY
from emotion.errors import EmotionError
from emotion.models.late_fusion import Concatenation, Gated, MeanLogProbability

FUSIONS = sorted(path.stem for path in (DIRECTORY / "model" / "fusion").glob("*.yaml"))


class Identity(nn.Module):
    """An encoder whose embedding is a key of the batch."""

    def __init__(self, key, size):
        super().__init__()
        self.key, self.embed_dim = key, size

    def forward(self, batch):
        return batch[self.key]

    def present(self, batch):
        return batch[f"has_{self.key}"]


def identities(**options):
    return Concatenation({"one": Identity("one", 3), "other": Identity("other", 2)}, **options)


def make_embeddings(items=6):
    torch.manual_seed(0)
    present = torch.ones(items, dtype=torch.bool)
    return {
        "one": torch.rand(items, 3),
        "other": torch.rand(items, 2),
        "has_one": present,
        "has_other": present.clone(),
    }


def test_identity_encoders_give_exactly_the_concatenation():
    batch, fusion = make_embeddings(), identities(modality_dropout=0.5).eval()
    assert fusion.embed_dim == 5
    torch.testing.assert_close(fusion(batch), torch.cat([batch["one"], batch["other"]], dim=1), atol=0, rtol=0)


def test_missing_modalities_are_zero_and_their_values_ignored():
    batch = make_embeddings()
    batch["has_other"][[1, 4]] = False
    batch["other"][[1, 4]] = torch.nan
    joined = identities().train()(batch)
    torch.testing.assert_close(joined[:, :3], batch["one"])
    assert not joined[[1, 4], 3:].any()
    torch.testing.assert_close(joined[[0, 2, 3, 5], 3:], batch["other"][[0, 2, 3, 5]])


def test_modality_dropout_drops_at_most_one_modality_in_training_only():
    batch, fusion = make_embeddings(4000), identities(modality_dropout=0.4)
    batch["has_other"][:1000] = False
    dropped = torch.stack([part.eq(0).all(dim=1) for part in fusion.train()(batch).split([3, 2], dim=1)], dim=1)
    assert not dropped.all(dim=1).any()
    assert not dropped[:1000, 0].any()
    assert abs(dropped[1000:].float().mean(dim=0) - 0.2).max() < 0.03
    assert not fusion.eval()(batch)[:, :3].eq(0).all(dim=1).any()


def test_gate_uses_the_present_modality_alone():
    torch.manual_seed(0)
    batch = make_embeddings()
    fusion = Gated({"one": Identity("one", 3), "other": Identity("other", 2)}, width=4).eval()
    hidden = fusion.layers[0](batch["one"]).tanh()
    assert not torch.allclose(fusion(batch), hidden)
    batch["has_other"][:] = False
    torch.testing.assert_close(fusion(batch), hidden)


@pytest.mark.parametrize("weights", [None, {"other": 0.9, "one": 0.4}])
def test_log_probabilities_of_present_modalities_are_weighted(weights):
    torch.manual_seed(0)
    batch = make_embeddings()
    heads = {"one": nn.Linear(3, 5), "other": nn.Linear(2, 5)}
    encoders = {"one": Identity("one", 3), "other": Identity("other", 2)}
    fusion = MeanLogProbability(encoders, heads, 5, weights=weights)
    fusion.encoders["one"].is_frozen = fusion.encoders["other"].is_frozen = False
    batch["has_other"][2] = False
    audio, face = (heads[key](batch[key]).log_softmax(dim=1) for key in ("one", "other"))
    expected = 0.4 * audio + 0.9 * face if weights else (audio + face) / 2
    expected[2] = (1.3 if weights else 1.0) * audio[2]
    torch.testing.assert_close(fusion.eval()(batch), expected)


def test_weights_of_a_fusion_are_those_of_its_branches():
    encoders = {"one": Identity("one", 3), "other": Identity("other", 2)}
    with pytest.raises(EmotionError, match="weights has one, new; the branches are one, other"):
        MeanLogProbability(encoders, {}, 5, weights={"one": 1.0, "new": 1.0})


@pytest.fixture(params=FUSIONS)
def late_fusion(compose, request):
    torch.manual_seed(0)
    config = compose("model=late_fusion", "model.branches.face=action_units", f"model/fusion={request.param}")
    classifier = build_classifier(config, CLASSES)
    for front_end in classifier.front_ends:
        front_end.fit([make_batch()])
    return classifier


def mask_modality(batch, modality, rows):
    changed = {key: value.clone() if torch.is_tensor(value) else value for key, value in batch.items()}
    changed[{"audio": "waveform_length", "action_units": "action_unit_frames"}[modality]][rows] = 0
    changed[{"audio": "waveform", "action_units": "action_units"}[modality]][rows] = torch.nan
    return changed


@pytest.mark.parametrize("modality", ["audio", "action_units"])
@pytest.mark.parametrize("rows", [[0, 2], [0, 1, 2, 3]])
def test_fusion_predicts_from_either_modality_alone(late_fusion, modality, rows):
    whole, partial = make_batch(), mask_modality(make_batch(), modality, rows)
    late_fusion.eval()
    logits, reference = late_fusion(partial), late_fusion(whole)
    assert logits.isfinite().all()
    others = [row for row in range(4) if row not in rows]
    torch.testing.assert_close(logits[others], reference[others])
    assert not torch.allclose(logits[rows], reference[rows])


@pytest.mark.parametrize("rows", [[1], [0, 1, 2]])
@pytest.mark.parametrize("modality", ["audio", "action_units"])
def test_gradients_are_finite_with_missing_modalities(late_fusion, modality, rows):
    batch = mask_modality(make_batch(), modality, rows)
    nn.functional.cross_entropy(late_fusion.train()(batch), batch["label"]).backward()
    grads = [parameter.grad for parameter in late_fusion.parameters() if parameter.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


def test_normalisation_ignores_missing_modalities(late_fusion):
    whole, partial = make_batch(), make_batch()
    for key in ("waveform_length", "action_unit_frames"):
        partial[key][2] = 0
    partial["action_units"][2] = 0
    kept = {key: value[[0, 1, 3]] if torch.is_tensor(value) else value for key, value in whole.items()}
    for front_end in late_fusion.front_ends:
        front_end.fit([partial])
        mean, std = front_end.mean.clone(), front_end.std.clone()
        front_end.fit([kept])
        torch.testing.assert_close(front_end.mean, mean)
        torch.testing.assert_close(front_end.std, std)


def test_mixup_refuses_missing_modalities(late_fusion):
    batch = mask_modality(make_batch(), "audio", [1]) | {"mix_partner": torch.arange(4), "mix_weight": torch.ones(4)}
    with pytest.raises(EmotionError, match="mixup"):
        late_fusion.train()(batch)


@pytest.mark.parametrize("fusion", ["concatenation", "gated", "cross_attention", "mean_log_probability"])
def test_fusions_accept_any_number_of_branches(compose, fusion):
    more = (
        "model.branches.units=action_units",
        "model.branches.vector=functionals",
        "model.branches.second=audio_lstm",
    )
    for branches, names in (
        (["~model.branches.face"], ["audio"]),
        (["~model.branches.face", more[0]], ["audio", "units"]),
        (["~model.branches.face", *more], ["audio", "units", "vector", "second"]),
    ):
        if fusion == "cross_attention" and len(names) == 1:
            continue  # cross-attention needs at least two branches
        classifier = build_classifier(compose("model=late_fusion", *branches, f"model/fusion={fusion}"), CLASSES)
        assert list(classifier.encoder.encoders) == names
        logits = classifier.eval()(make_batch())
        assert logits.shape == (4, CLASSES) and logits.isfinite().all()

"""Tests of the contract of every model, feature set and fusion; new YAML files are included automatically."""

import numpy as np
import pytest
import torch

from conftest import CLASSES, TINY_ENCODER, TINY_VIDEO, build_classifier, make_batch
from emotion.config.compose import DIRECTORY
from emotion.errors import EmotionError
from emotion.models.autoencoder import ErrorHead
from emotion.models.estimator import EstimatorHead

MODELS = sorted(path.stem for path in (DIRECTORY / "model").glob("*.yaml"))
FEATURES = sorted(path.stem for path in (DIRECTORY / "features").glob("*.yaml") if path.stem != "deltas")
FUSIONS = sorted(path.stem for path in (DIRECTORY / "model" / "fusion").glob("*.yaml"))
TEXTS = {name: (DIRECTORY / "features" / f"{name}.yaml").read_text() for name in FEATURES}
STANDALONE = [name for name, text in TEXTS.items() if "cannot be stacked" in text]
# With 8-bit quantisation, rounding errors are as large as the output of random weights.
OPTIONS = {
    "vggish": ["features.sets.vggish.postprocess=false"],
    # A ResNet starts with residual branches of weight zero, which get no gradient in the first step.
    "face_backbone": ["model.backbone.architecture=mobilenetv4_conv_small"],
    "face_video": [
        f"model.backbone.encoder={TINY_VIDEO}",
        "model.backbone.weights=none",
        "model.images.size=32",
    ],
    "speech_encoder": [f"features.sets.speech_encoder.encoder={TINY_ENCODER}"],
}
# Every model, audio models with two feature sets; every feature set with a model that takes any; every fusion.
PAIRS = [(m, m if m in FEATURES else "mfcc") for m in MODELS] + [("mfcc_cnn", "log_mel"), ("audio_lstm", "log_mel")]
PAIRS += [(f"late_fusion model/fusion={fusion} model.branches.face=action_units", "mfcc") for fusion in FUSIONS]
OTHER_FEATURES = [f for f in FEATURES if f not in ("mfcc", "log_mel", *MODELS)]
# From a single vector the recurrent weights of an LSTM get no gradient.
PAIRS += [("vggish" if "one vector" in TEXTS[f] else "audio_lstm", f) for f in OTHER_FEATURES]
PAIRS += [("audio_lstm", "[mfcc,chroma,rms,deltas]")]
SLOW = {"face_cnn_s4", "face_facenet", "face_vgg16", "hubert", "vggish", "wav2vec2", "wavlm"}
SLOW |= {"face_backbone", "face_video", "random_forest", "speech_encoder", "spline_variants", "xgboost"}
EACH_PAIR = pytest.mark.parametrize(
    ("model", "features"), [pytest.param(*pair, marks=[pytest.mark.slow] if SLOW & {*pair} else []) for pair in PAIRS]
)


def unpadded_item(batch, row):
    """Return one item of a batch without its padding."""
    length = int(batch["waveform_length"][row])
    alone = {key: value[row : row + 1] for key, value in batch.items()}
    faces = int(batch["face_mask"][row].sum())
    unpadded = {"waveform": alone["waveform"][:, :length]}
    unpadded |= {key: alone[key][:, :faces] for key in ("faces", "face_mask")}
    return alone | unpadded


@pytest.fixture
def build(compose):
    def build_one(model, features, *overrides):
        torch.manual_seed(0)
        options = [
            *f"model={model}".split(),
            f"features={features}",
            *OPTIONS.get(model if model not in FEATURES else features, []),
            *overrides,
        ]
        classifier = build_classifier(compose(*options), CLASSES)
        for front_end in classifier.front_ends:
            front_end.fit([make_batch()])
        if isinstance(classifier.head, EstimatorHead):
            vectors = torch.randn(8 * CLASSES, classifier.encoder.embed_dim).numpy()
            classifier.head.fit(vectors, np.arange(len(vectors)) % CLASSES, None)
        if isinstance(classifier.head, ErrorHead):
            errors = torch.arange(4.0 * CLASSES)[:, None]
            classifier.head.fit(errors, errors[:, 0].long() % CLASSES)
        return classifier

    return build_one


@EACH_PAIR
def test_outputs_have_the_right_shape_and_are_finite(build, model, features):
    classifier, batch = build(model, features).eval(), make_batch()
    assert classifier(batch).shape == (4, CLASSES)
    assert classifier(batch).isfinite().all()
    assert classifier.encoder(batch).shape == (4, classifier.encoder.embed_dim)
    probabilities = classifier.predict(batch)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


@EACH_PAIR
def test_every_parameter_gets_a_gradient(build, model, features):
    classifier, batch = build(model, features).train(), make_batch()
    if isinstance(classifier.head, EstimatorHead):
        assert not list(classifier.parameters())  # fitted, not trained
        return
    if isinstance(classifier.head, ErrorHead):
        classifier.encoder.backbone.loss(*classifier.encoder.front_end(batch))[0].mean().backward()
    else:
        torch.nn.functional.cross_entropy(classifier(batch), batch["label"]).backward()
    without_gradient = [
        name
        for name, parameter in classifier.named_parameters()
        if not name.startswith("encoder.front_end.features.")  # pretrained networks are frozen
        and (parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any())
    ]
    assert without_gradient == []


@EACH_PAIR
def test_padded_equals_unpadded_and_a_batch_of_one_works(build, model, features):
    classifier, batch = build(model, features).eval(), make_batch()
    # Update the running statistics, so that batch normalisation is not the identity.
    classifier.train()
    for _ in range(3):
        classifier(batch)
    classifier.eval()
    batched, embedded = classifier(batch), classifier.encoder(batch)
    for row in range(4):
        alone = unpadded_item(batch, row)
        torch.testing.assert_close(classifier(alone)[0], batched[row], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(classifier.encoder(alone)[0], embedded[row], atol=1e-3, rtol=1e-3)


@EACH_PAIR
@pytest.mark.parametrize("length", [1, *(pytest.param(length, marks=pytest.mark.slow) for length in (100, 2_000))])
def test_very_short_items_are_predicted(build, model, features, length):
    classifier = build(model, features).eval()
    assert classifier(make_batch((length,))).isfinite().all()


@EACH_PAIR
def test_silence_is_predicted(build, model, features):
    batch = make_batch()
    batch["waveform"] = torch.zeros_like(batch["waveform"])
    assert build(model, features).eval()(batch).isfinite().all()


@EACH_PAIR
def test_evaluation_is_deterministic(build, model, features):
    classifier, batch = build(model, features).eval(), make_batch()
    torch.testing.assert_close(classifier(batch), classifier(batch), atol=0, rtol=0)


def test_pointwise_convolutions_have_no_stride(build):
    """oneDNN 3.10 writes gradients out of bounds for strided 1×1 convolutions of few channels-last channels."""
    classifier = build("face_cnn", "mfcc", "model.backbone.widths=[8,16]")
    convolutions = [module for module in classifier.modules() if isinstance(module, torch.nn.Conv2d)]
    assert {c.stride for c in convolutions if c.kernel_size == (1, 1)} == {(1, 1)}


@pytest.mark.parametrize("model", ["mfcc_cnn", "audio_lstm"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_pooling_ignores_other_items_of_the_batch(build, model, pooling):
    classifier = build(model, "mfcc", f"model.backbone.pooling={pooling}").eval()
    batch = make_batch()
    batched = classifier(batch)
    for row in range(4):
        torch.testing.assert_close(classifier(unpadded_item(batch, row))[0], batched[row], atol=1e-4, rtol=1e-4)


def test_lstm_has_about_the_published_number_of_parameters(build):
    # The residual LSTM of the literature has 47,000 parameters with 53 features.
    lstm = build("audio_lstm", "[mfcc,chroma,rms,deltas]", "model.backbone.width=64").encoder.backbone
    assert 30_000 < sum(parameter.numel() for parameter in lstm.parameters()) < 150_000


def test_too_few_features_for_a_cnn_are_refused(build):
    with pytest.raises(EmotionError, match="too few"):
        build("mfcc_cnn", "rms")


@EACH_PAIR
def test_options_of_the_front_end_compose(build, model, features):
    overrides = ["features.duration_s=1.5", "features.trim_db=null", "augment=none"]
    overrides += [] if features in STANDALONE else ["features.n_delta_orders=2"]
    classifier = build(model, features, *overrides)
    assert classifier.eval()(make_batch()).isfinite().all()

"""Tests of integrated gradients and Grad-CAM."""

import cv2
import pytest
import torch

from conftest import CLASSES, build_classifier, make_batch
from emotion.plots import attribution
from emotion.plots.figure import save_figure


def select_item(batch, row=1):
    return {key: value[row : row + 1] for key, value in batch.items()}


@pytest.fixture
def fusion(compose):
    torch.manual_seed(0)
    sizes = ("model.branches.face.images.size=32", "model.branches.face.backbone.widths=[8,16,16,16]")
    return build_classifier(compose("model=late_fusion", "model.branches.face=face_cnn", *sizes), CLASSES).eval()


@pytest.mark.parametrize("model", ["mfcc_cnn", "audio_lstm"])
def test_integrated_gradients_add_up_to_the_logit(compose, model):
    torch.manual_seed(0)
    classifier, batch = build_classifier(compose(f"model={model}"), CLASSES).eval(), select_item(make_batch())
    classifier.encoder.front_end.fit([make_batch()])
    (part,) = attribution.attribute(classifier, batch, 3).values()
    features, frames = classifier.encoder.front_end(batch)
    with torch.no_grad():
        network, head = classifier.encoder.backbone, classifier.head
        difference = (head(network(features, frames)) - head(network(torch.zeros_like(features), frames)))[0, 3]
    assert part.input.shape == part.attribution.shape == features.shape[1:]
    assert part.attribution.sum() == pytest.approx(float(difference), rel=0.1, abs=0.01)


@pytest.mark.slow
def test_grad_cam_highlights_the_region_that_separates_the_classes(compose):
    torch.manual_seed(0)
    sizes = ("model.images.size=64", "model.images.color=grey", "model.backbone.widths=[8,16,16]")
    classifier = build_classifier(compose("model=face_cnn", *sizes, "model.head.hidden=[]"), 2)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.01)

    def batch(count):
        label = torch.arange(count) % 2
        faces = torch.randint(90, 110, (count, 1, 1, 64, 64), dtype=torch.uint8)
        for face, is_bright in zip(faces, label, strict=True):
            face[..., 24:40, 8:24] = 255 if is_bright else 100  # bright on the left, or nowhere
        return {"faces": faces, "face_mask": torch.ones(count, 1, dtype=torch.bool), "label": label}

    for _ in range(40):
        samples = batch(32)
        torch.nn.functional.cross_entropy(classifier.train()(samples), samples["label"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    sample = select_item(batch(2))
    (part,) = attribution.attribute(classifier, sample, 1).values()
    assert part.attribution.shape == (1, 64, 64)
    assert part.attribution.min() >= 0
    assert part.attribution[0, 24:40, 8:24].mean() > 2 * part.attribution.mean()


@pytest.mark.slow
def test_fusion_models_have_attributions_for_each_modality(fusion, tmp_path):
    whole = select_item(make_batch())
    parts = attribution.attribute(fusion, whole, 0)
    assert set(parts) == {"audio", "face"}
    no_audio = whole | {"waveform_length": torch.zeros(1, dtype=torch.int64)}
    assert set(attribution.attribute(fusion, no_audio, 0)) == {"face"}
    figure = attribution.plot_attributions(
        [("both", parts), ("no audio", attribution.attribute(fusion, no_audio, 0))], "x"
    )
    save_figure(figure, tmp_path / "attribution.png")
    assert cv2.imread(str(tmp_path / "attribution.png")).shape[1] > 1000
    # The model is left unchanged.
    again = attribution.attribute(fusion, whole, 0)
    assert (again["face"].attribution == parts["face"].attribution).all()

"""Tests of video encoders of transformers over face crops, with random weights in place of published ones."""

import json
import shutil

import pandas as pd
import pytest
import torch
import transformers

from conftest import TINY_VIDEO, build_classifier, make_batch
from emotion.errors import EmotionError
from emotion.features.images import CENTER, STD
from emotion.inference.predictor import Predictor
from emotion.models.video_backbone import TransformersVideo

SIZES = {"image_size": 32, "num_frames": 4, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {
    "videomae": {"patch_size": 16, "tubelet_size": 2},
    "timesformer": {"patch_size": 16},
    "vivit": {"tubelet_size": [2, 16, 16]},
}
OPTIONS = ("model=face_video", f"model.backbone.encoder={TINY_VIDEO}", "model.images.size=32")


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes an encoder of a kind, with random weights, into a folder."""

    def write(kind):
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(kind, **SIZES, **KINDS[kind], intermediate_size=32)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / kind)
        shutil.copy(TINY_VIDEO / "preprocessor_config.json", tmp_path / kind)
        return tmp_path / kind

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_equal_those_of_transformers(folder, kind):
    place = folder(kind)
    own = TransformersVideo(3, 32, str(place))
    own.load_pretrained()
    own.eval()
    expected = transformers.AutoModel.from_pretrained(place).eval()
    image = json.loads((TINY_VIDEO / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(image[f"image_{key}"])[:, None, None] for key in ("mean", "std"))
    pixels = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        states = expected((pixels - mean) / std).last_hidden_state
        states = states if kind == "videomae" else states[:, 1:]
        torch.testing.assert_close(own((pixels - CENTER) / STD), states.mean(dim=1), atol=1e-5, rtol=1e-5)
        parts = own.encode_frames((pixels - CENTER) / STD)
    assert parts.shape == (2, 24, 4 if kind == "timesformer" else 2)
    first = {"videomae": states[:, :4], "vivit": states[:, :4], "timesformer": states[:, ::4]}[kind]
    torch.testing.assert_close(parts[:, :, 0], first.mean(dim=1), atol=1e-5, rtol=1e-5)


def test_images_are_chosen_at_equal_steps_and_repeated_in_short_clips(compose):
    classifier = build_classifier(compose(*OPTIONS, "model.backbone.weights=none"), 8).eval()
    batch, encoder = make_batch(), classifier.encoder
    faces = torch.randint(256, (2, 9, 3, 32, 32)).byte()
    batch = {"faces": faces, "face_mask": torch.arange(9) < torch.tensor([[9], [2]])}
    images, _ = encoder.front_end(batch)
    clips = encoder.clips(batch)
    torch.testing.assert_close(clips[0], images[[0, 3, 5, 8]])
    torch.testing.assert_close(clips[1], images[[9, 9, 10, 10]])
    alone = encoder({name: value[1:, :2] for name, value in batch.items()})
    torch.testing.assert_close(alone[0], encoder(batch)[1], atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_refused(compose, tmp_path):
    for changes, error in (
        (["model.images.size=64"], "takes colour images of 32 pixels"),
        (["model.images.color=grey"], "takes colour images of 32 pixels"),
        (
            [f"model.backbone.encoder={TINY_VIDEO.parent / 'tiny_encoder'}"],
            "is of the kind wav2vec2; known",
        ),
        (["model.backbone.encoder=null"], r"model\.backbone\.encoder is missing"),
        ([f"model.backbone.encoder={tmp_path / 'none'}"], "there is no such folder"),
    ):
        with pytest.raises(EmotionError, match=error):
            build_classifier(compose(*OPTIONS, *changes), 8)


def test_a_backbone_of_timm_is_named_in_one_word(compose):
    pytest.importorskip("timm")
    from emotion.hydra_cli.overrides import choose_branches

    typed = ["model=face_backbone", "model.backbone=mobilenetv4_conv_small", "model.branches.face.backbone=resnet18"]
    assert choose_branches(typed)[1:] == [
        "model.backbone.architecture=mobilenetv4_conv_small",
        "model.branches.face.backbone.architecture=resnet18",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["false", "true"])
def test_a_run_holds_its_video_encoder(folder, train_in_process, video_overrides, own_videos, freeze):
    place = folder("videomae")
    options = ("model=face_video", f"model.backbone.encoder={place}", "model.images.size=32", f"model.freeze={freeze}")
    few = ("faces.frames=4", "faces.size=32", "data.on_error=skip", "trainer.max_epochs=2")
    run_dir = train_in_process(*video_overrides, *options, *few)
    weights = transformers.AutoModel.from_pretrained(place).state_dict()
    shutil.rmtree(place)
    table = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'").set_index("recording")
    predictor = Predictor.from_run(run_dir)
    state = predictor.model.classifier.encoder.backbone.model.state_dict()
    moved = any(not torch.equal(state[name], value) for name, value in weights.items())
    assert moved == (freeze == "false")
    for recording in table.index[:3]:
        prediction = predictor.predict(own_videos / f"{recording.removeprefix('folder/')}.mp4")
        for emotion, probability in prediction.probabilities.items():
            assert probability == pytest.approx(table.loc[recording, emotion], abs=2e-3)

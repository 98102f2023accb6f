"""Tests of image networks of timm, with random weights in place of published ones."""

import sys

import pytest
import timm
import torch

from conftest import build_classifier, make_batch
from emotion.errors import EmotionError
from emotion.features.images import CENTER, STD
from emotion.models.timm_backbone import TimmBackbone

NAMES = ("resnet18", "mobilenetv4_conv_small", "vit_tiny_patch16_224")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), [(3, 64), (1, 48)])
def test_embeddings_equal_those_of_timm(tmp_path, name, channels, size):
    torch.manual_seed(0)
    network = timm.create_model(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    own = TimmBackbone(channels, size, name, str(tmp_path / "weights.pth"))
    own.load_pretrained()
    own.eval()
    fixed = {"img_size": size} if name.startswith("vit") else {}
    overlay = {"file": str(tmp_path / "weights.pth"), "custom_load": False}
    expected = timm.create_model(
        name, pretrained=True, num_classes=0, in_chans=channels, pretrained_cfg_overlay=overlay, **fixed
    ).eval()
    pixels = torch.rand(2, channels, size, size)
    config = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    if channels == 1:
        mean, std = mean.mean(), std.mean()
    with torch.no_grad():
        found = own((pixels - CENTER) / STD)
        torch.testing.assert_close(found, expected((pixels - mean) / std), atol=1e-5, rtol=1e-5)
    assert found.shape == (2, own.embed_dim)


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    with pytest.raises(EmotionError, match="architecture=resnet19: did you mean resnet18"):
        TimmBackbone(3, 64, "resnet19")
    with pytest.raises(EmotionError, match="architecture=xyzxyz: timm has no such network"):
        TimmBackbone(3, 64, "xyzxyz")
    with pytest.raises(EmotionError, match=r"weights=none.pth of resnet18 cannot be read"):
        TimmBackbone(3, 64, "resnet18", "none.pth").load_pretrained()
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "other.pth")
    with pytest.raises(EmotionError, match=r"of another network, with layer1.2"):
        TimmBackbone(3, 64, "resnet18", str(tmp_path / "other.pth")).load_pretrained()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EmotionError, match=r"timm is not installed: pip install 'emotion.timm.'"):
        TimmBackbone(3, 64)


def test_a_branch_of_a_fusion_may_be_one(compose):
    model = build_classifier(compose("model=late_fusion", "model.branches.face=face_backbone"), 8).eval()
    assert model(make_batch()).shape == (4, 8)

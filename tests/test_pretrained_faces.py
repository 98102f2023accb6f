"""Tests of published pretrained image networks."""

import pickle
import urllib.error

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torchvision.models import vgg16

from conftest import build_classifier, typed_config
from emotion import runs, warm_start
from emotion.errors import EmotionError
from emotion.models.pretrained_faces import FaceFacenet, FaceVgg16
from emotion.training.callbacks import AtomicCheckpoints


def count_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def normalise(pixels):
    return (pixels - 0.5) / 0.25


@pytest.mark.slow
def test_parameter_counts_equal_published_ones(compose):
    assert count_parameters(build_classifier(compose("model=face_cnn_s4"), 8)) == 1_837_496
    assert count_parameters(FaceVgg16(3)) == 14_714_688  # Simonyan & Zisserman's convolutions
    assert count_parameters(FaceFacenet(3)) == count_parameters(InceptionResnetV1())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of random weights in the published file format, and their reference networks."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    networks = {"vgg": vgg16(weights=None), "facenet": InceptionResnetV1(classify=True, num_classes=3)}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pt")
    return folder, networks


@pytest.mark.slow
def test_loaded_weights_give_the_output_of_the_reference_network(files):
    folder, networks = files
    pixels = torch.rand(2, 3, 96, 96)
    vgg, facenet = FaceVgg16(3, str(folder / "vgg.pt")).eval(), FaceFacenet(3, str(folder / "facenet.pt")).eval()
    for network in (vgg, facenet):
        network.load_pretrained()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (pixels - mean[:, None, None]) / std[:, None, None]
    expected = networks["vgg"].eval().features(normalised).mean(dim=(2, 3))
    torch.testing.assert_close(vgg(normalise(pixels)), expected, atol=1e-4, rtol=1e-4)

    reference = networks["facenet"].eval()
    reference.classify = False
    embedding = torch.nn.functional.normalize(facenet(normalise(pixels)))
    torch.testing.assert_close(embedding, reference(2 * pixels - 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("network", "name", "url"),
    [(FaceVgg16, "imagenet", "vgg16-397923af.pth"), (FaceFacenet, "vggface2", "20180402-114759-vggface2.pt")],
)
def test_failed_downloads_report_the_alternative(monkeypatch, network, name, url):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(EmotionError, match=rf"{url}.*no route to host.*weights=FILE"):
        network(3, name).load_pretrained()


@pytest.mark.slow
def test_files_without_the_expected_weights_are_refused(files, tmp_path):
    folder, _ = files
    with pytest.raises(EmotionError, match="neither a file nor one of: none, imagenet"):
        FaceVgg16(3, "imagnet").load_pretrained()
    with pytest.raises(EmotionError, match="weights of another network"):
        FaceVgg16(3, str(folder / "facenet.pt")).load_pretrained()

    class Executable:
        def __reduce__(self):
            return print, ("executed",)

    (tmp_path / "executable.pt").write_bytes(pickle.dumps(Executable()))
    torch.save({"layers": "none"}, tmp_path / "words.pt")
    for name, message in (("executable.pt", "read safely"), ("words.pt", "dictionary of tensors")):
        with pytest.raises(EmotionError, match=message):
            FaceFacenet(3, str(tmp_path / name)).load_pretrained()


def test_pretrained_networks_need_colour_images(compose):
    with pytest.raises(EmotionError, match="needs colour images"):
        build_classifier(compose("model=face_vgg16", "model.images.color=grey"), 8)


@pytest.mark.slow
def test_initial_run_replaces_the_download(monkeypatch, compose, tmp_path):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    config = compose("model=face_vgg16", "model.backbone.weights=imagenet")
    classifier, initial = build_classifier(config, 8), build_classifier(config, 8)
    with pytest.raises(EmotionError, match="no route to host"):
        warm_start.load_initial_weights(classifier, typed_config(config), {})
    runs.write_config(tmp_path, config)
    AtomicCheckpoints().save_checkpoint(
        {"state_dict": {f"classifier.{name}": value for name, value in initial.state_dict().items()}},
        tmp_path / "checkpoints" / "best.ckpt",
    )
    warm_start.load_initial_weights(classifier, typed_config(config), {"model": tmp_path})
    for name, value in initial.encoder.state_dict().items():
        torch.testing.assert_close(classifier.encoder.state_dict()[name], value)


def test_saved_configuration_omits_the_folder_of_weights(compose, tmp_path):
    runs.write_config(tmp_path, compose("model=face_vgg16", "model.backbone.weights=/home/ann/vgg.pt"))
    assert runs.load_config(tmp_path).model.branch.backbone.arguments["weights"] == "vgg.pt"

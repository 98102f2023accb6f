"""Tests of the preprocessing of face images."""

import pytest
import torch

from conftest import make_batch
from emotion.augment.images import ColorJitter, RandomAffine, RandomErasing, RandomHorizontalFlip
from emotion.errors import EmotionError
from emotion.features.images import ImageFrontEnd
from emotion.models.base import FrameEncoder
from emotion.models.face_cnn import FaceCnn


def denormalise(images):
    """Return images with values from 0 to 1."""
    return images * 0.25 + 0.5


def test_every_face_is_kept_once_at_its_size():
    batch = make_batch()
    images, item = ImageFrontEnd(72).eval()(batch)
    assert item.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3]
    expected = batch["faces"][batch["face_mask"]].float() / 255
    torch.testing.assert_close(denormalise(images), expected, atol=1e-5, rtol=0)


def test_images_have_the_requested_size_and_color():
    batch = make_batch()
    images, _ = ImageFrontEnd(36, "grey").eval()(batch)
    assert images.shape == (9, 1, 36, 36)
    grey = batch["faces"][0, 0].float() / 255
    luma = 0.299 * grey[0] + 0.587 * grey[1] + 0.114 * grey[2]
    assert denormalise(images[0]).mean() == pytest.approx(float(luma.mean()), abs=1e-3)
    single = batch | {"faces": batch["faces"][:, :, :1]}
    in_color, _ = ImageFrontEnd(72, "rgb").eval()(single)
    assert in_color.shape == (9, 3, 72, 72)
    assert (in_color[:, 0] == in_color[:, 2]).all()


@pytest.mark.parametrize("reference", ["mean", "first"])
def test_mean_or_first_frame_is_subtracted(reference):
    batch = make_batch()
    images, item = ImageFrontEnd(72, relative_to=reference).eval()(batch)
    for row in range(4):  # no clip has more than three images, so both are the mean of all
        torch.testing.assert_close(images[item == row].mean(dim=0), torch.zeros(3, 72, 72), atol=1e-4, rtol=0)
    assert not images[item == 0].any()


def test_mirrored_faces_have_the_same_embedding():
    batch = make_batch()
    mirrored = batch | {"faces": batch["faces"].flip(4)}
    with_mirror, without = (
        FrameEncoder(ImageFrontEnd(72, mirror=mirror), FaceCnn(3, (8, 16))).eval() for mirror in (True, False)
    )
    without.load_state_dict(with_mirror.state_dict())
    torch.testing.assert_close(with_mirror(batch), with_mirror(mirrored))
    means = [
        encoder(inputs)[:, :16] for encoder, inputs in ((with_mirror, batch), (without, batch), (without, mirrored))
    ]
    torch.testing.assert_close(means[0], (means[1] + means[2]) / 2)
    assert len(with_mirror.train()(batch)) == len(batch["label"])


def test_frame_dropout_keeps_at_least_one_frame_of_each_clip():
    front_end, batch = ImageFrontEnd(72, frame_dropout=0.7), make_batch()
    kept = [front_end.train()(batch)[1].bincount(minlength=4) for _ in range(200)]
    assert min(counts.min() for counts in kept) == 1
    assert (torch.stack(kept).float().mean(dim=0) <= batch["face_mask"].sum(dim=1)).all()
    assert torch.stack(kept)[:, 3].float().mean() < 2
    assert len(front_end.eval()(batch)[1]) == 9


@pytest.mark.parametrize(
    "augmentation", [RandomHorizontalFlip(0.5), RandomAffine(), ColorJitter(), RandomErasing(0.8, 1.0)]
)
def test_augmentation_is_equal_within_a_clip_and_differs_between_clips(augmentation):
    torch.manual_seed(0)
    one = torch.rand(1, 3, 32, 32)
    images, item = one.expand(40, -1, -1, -1), torch.arange(8).repeat_interleave(5)
    changed = augmentation(images, item)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed.view(8, 5, -1) == changed.view(8, 5, -1)[:, :1]).all()
    assert len({tuple(clip[0].flatten().tolist()) for clip in changed.view(8, 5, 3, 32, 32)}) > 1


def test_augmentation_is_for_training_only():
    batch, front_end = (
        make_batch(),
        ImageFrontEnd(72, augment=[RandomHorizontalFlip(0.5), RandomAffine(), ColorJitter(), RandomErasing()]),
    )
    plain, _ = ImageFrontEnd(72).eval()(batch)
    assert torch.equal(front_end.eval()(batch)[0], plain)
    assert not torch.equal(front_end.train()(batch)[0], plain)


def test_augmentation_of_zero_strength_changes_nothing():
    images = torch.rand(4, 3, 32, 32)
    item = torch.arange(4)
    torch.testing.assert_close(RandomAffine(0, 0, 0)(images, item), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(ColorJitter(0, 0)(images, item), images)
    assert torch.equal(RandomHorizontalFlip(1.0)(RandomHorizontalFlip(1.0)(images, item), item), images)


def test_order_of_frames_and_padding_do_not_matter():
    torch.manual_seed(0)
    encoder = FrameEncoder(ImageFrontEnd(72), FaceCnn(3), "attention").eval()
    batch = make_batch()
    reversed_frames = batch | {"faces": batch["faces"].flip(1), "face_mask": batch["face_mask"].flip(1)}
    torch.testing.assert_close(encoder(batch), encoder(reversed_frames), atol=1e-5, rtol=1e-5)


def test_unknown_options_are_refused():
    with pytest.raises(EmotionError, match="rgb, grey"):
        ImageFrontEnd(64, "blue")
    with pytest.raises(EmotionError, match="nothing, mean, first"):
        ImageFrontEnd(64, relative_to="last")

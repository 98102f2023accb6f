"""Tests of the components of the baselines: gradient histograms, spline variants, Tucker cores, whole frames."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import build_classifier, build_datamodule, typed_config
from emotion import runs
from emotion.composition import load_classifier
from emotion.errors import EmotionError
from emotion.features.base import Signal
from emotion.features.hog3d import Hog3dFrontEnd, hog3d
from emotion.features.splines import Splines
from emotion.features.variants import SplineVariants
from emotion.media.video import read_frames
from emotion.models.estimator import EstimatorHead
from emotion.models.partial_tucker import PartialTucker
from emotion.prepare.faces import FaceOptions

SMALL = (
    "faces.size=[40,60]",
    "faces.frames=12",
    "model.branches.face.hog3d.frames=10",
    "model.branches.face.backbone.frame_shape=[2,8,10]",
    "model.branches.face.backbone.ranks=[1,null,2,3,3]",
    "features.sets.spline_variants.semitones=[]",
    "features.sets.spline_variants.speed_factors=[1.5]",
    "model.branches.audio.backbone.feature_shape=[68]",
    "model.branches.audio.backbone.ranks=[20,10]",
    "model.estimator.max_iter=20",
    "model.grid={alpha:[0.07]}",
)


def reference_hog3d(video, cell=(5, 5, 6), bins=9):
    """Compute the histograms of `hog3d` cell by cell with NumPy."""
    time, down, across = np.gradient(video.double().numpy())
    length = np.sqrt(across**2 + down**2 + time**2)
    azimuth, polar = np.arctan2(down, across), np.arctan2(np.sqrt(across**2 + down**2), time)
    counts = [size // side for size, side in zip(video.shape, cell, strict=True)]
    histograms = np.zeros((2, bins, *counts))
    for place in np.ndindex(*counts):
        part = tuple(slice(at * side, (at + 1) * side) for at, side in zip(place, cell, strict=True))
        for kind, (angle, span) in enumerate(((azimuth, (-np.pi, np.pi)), (polar, (0, np.pi)))):
            histogram, _ = np.histogram(angle[part], bins, span, weights=length[part])
            norm = np.linalg.norm(histogram)
            histograms[kind, :, *place] = histogram / norm if norm > 1e-6 else 0
    return histograms


@pytest.mark.slow
def test_gradient_histograms_equal_the_reference_on_a_real_face(real_data):
    path = sorted((real_data / "ravdess_faces").rglob("*.mp4"))[0]
    frames = [frame.pixels(120) for frame, _ in zip(read_frames(path), range(23), strict=False)]
    video = torch.from_numpy(np.stack(frames)).float().mean(dim=3) / 255
    histograms = hog3d(video)
    assert histograms.shape == (2, 9, 4, video.shape[1] // 5, video.shape[2] // 6)
    np.testing.assert_allclose(histograms, reference_hog3d(video), atol=1e-5)


def test_polar_angle_does_not_depend_on_the_direction_of_motion():
    """Vertical and horizontal gradients have the same polar angle."""
    rows = torch.arange(40.0)
    down, across = rows[None, :, None].expand(10, 40, 40), rows[None, None].expand(10, 40, 40)
    later = rows[:10, None, None].expand(10, 40, 40)
    polar = [hog3d(video, (5, 5, 5))[1] for video in (down, across, later, down + later)]
    torch.testing.assert_close(polar[0], polar[1])
    middle, straight_on, half_way = 4, 0, 9 * 45 // 180
    assert polar[0][middle].eq(1).all()
    assert polar[2][straight_on].eq(1).all()
    assert polar[3][half_way].eq(1).all()
    assert hog3d(torch.ones(10, 40, 40)).eq(0).all()


def test_clips_may_have_any_number_of_frames():
    front_end = Hog3dFrontEnd(frames=10, cell=(5, 5, 5))
    shade = torch.linspace(0, 250, 6)[None, :, None, None, None].expand(2, 6, 1, 20, 20)
    batch = {"faces": shade.byte(), "face_mask": torch.tensor([[True] * 6, [True] * 2 + [False] * 4])}
    features, cells = front_end(batch)
    assert features.shape == (2, 18, 2 * 4 * 4)
    assert cells.tolist() == [32, 32]
    nothing = batch | {"face_mask": torch.zeros(2, 6, dtype=torch.bool)}
    assert not front_end.present(nothing).any()
    with pytest.raises(EmotionError, match="is less than a cell"):
        Hog3dFrontEnd(frames=4)


def test_clips_are_interpolated_to_a_number_of_frames():
    random = np.random.default_rng(0)
    short = random.integers(0, 255, (7, 20, 24)).astype(np.uint8)
    positions = np.linspace(0, 6, 15)
    long = np.stack([[np.interp(positions, range(7), pixel) for pixel in row] for row in short.transpose(1, 2, 0)])
    expected = reference_hog3d(torch.from_numpy(long.transpose(2, 0, 1)))
    np.testing.assert_allclose(hog3d(torch.from_numpy(short), length=15), expected, atol=1e-5)


def test_colours_are_converted_to_luma():
    random = torch.Generator().manual_seed(0)
    colour = torch.randint(255, (1, 10, 3, 20, 24), generator=random).byte()
    grey = (colour[0].double() * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(dim=1)
    features, _ = Hog3dFrontEnd(frames=10)({"faces": colour, "face_mask": torch.ones(1, 10, dtype=torch.bool)})
    torch.testing.assert_close(features[0], hog3d(grey).reshape(18, -1), atol=1e-4, rtol=0)


def test_whole_frames_may_be_rectangular():
    assert FaceOptions(size=(240, 426), detect="none", color="grey").shape == (240, 426, 1)
    assert FaceOptions(size=48).shape == (48, 48, 3)
    with pytest.raises(EmotionError, match="only whole frames"):
        FaceOptions(size=(240, 426))
    with pytest.raises(EmotionError, match="neither a number of pixels nor"):
        FaceOptions(size=(0, 10), detect="none")


def test_variants_are_splines_of_augmented_audio():
    torch.manual_seed(0)
    waveform, length = 0.1 * torch.randn(2, 30_000), torch.tensor([30_000, 20_000])
    waveform[1, 20_000:] = 0
    variants = SplineVariants(22_050, 2048, include_original=True)
    features, frames = variants(waveform, length)
    assert features.shape == (2, 9 * 34, 14)
    assert frames.tolist() == [14, 14]
    plain, signal = features[:, :34], Signal(waveform[1:, :20_000], length[1:], 2048, 512)
    curves = torch.cat([feature_set(signal) for feature_set in variants.curves.sets.values()], dim=1)
    torch.testing.assert_close(plain[1], Splines(14, 4)(curves, signal.frames)[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(variants(waveform, length)[0], features, atol=0, rtol=0)  # its noise is deterministic
    alone, _ = variants(waveform[1:, :20_000], length[1:])
    torch.testing.assert_close(alone[0], features[1], atol=0, rtol=0)
    augmented = [features[1, 34 * number : 34 * (number + 1)] for number in range(1, 9)]
    assert all((variant - plain[1]).abs().mean() > 0.05 for variant in augmented)
    with pytest.raises(EmotionError, match="has no variant"):
        SplineVariants(22_050, 2048, noise_std=0, semitones=(), speed_factors=())


def test_tucker_core_equals_that_of_tensorly():
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import partial_tucker

    generator = torch.Generator().manual_seed(0)
    factors = [torch.randn(size, rank, generator=generator) for size, rank in ((12, 3), (8, 2))]
    core = torch.randn(40, 3, 5, 2, generator=generator)
    tensors = torch.einsum("nacb,ia,jb->nicj", core, *factors) + 0.01 * torch.randn(40, 12, 5, 8, generator=generator)
    network = PartialTucker(60, feature_shape=[12, 5], frame_shape=[8], ranks=[3, None, 2])
    features, frames = tensors.flatten(1, 2), torch.full((40,), 8)
    network.fit([(features[:25], frames[:25]), (features[25:], frames[25:])])
    vectors = network(features, frames)
    assert vectors.shape == (40, 3 * 5 * 2)
    (expected_core, expected_factors), _ = partial_tucker(tensors.numpy(), rank=[3, 2], modes=[1, 3], tol=1e-5)
    rebuilt = tensorly.tenalg.multi_mode_dot(expected_core, expected_factors, modes=[1, 3])
    reconstructed = torch.einsum("nacb,ia,jb->nicj", vectors.view(40, 3, 5, 2), network.factor_0, network.factor_2)
    np.testing.assert_allclose(reconstructed, rebuilt, atol=1e-3)
    assert float((reconstructed - tensors).norm() / tensors.norm()) < 0.02
    for factor in (network.factor_0, network.factor_2):
        torch.testing.assert_close(factor.T @ factor, torch.eye(factor.shape[1]), atol=1e-4, rtol=0)
    limited = PartialTucker(60, feature_shape=[12, 5], frame_shape=[8], ranks=[3, None, 2], max_values=10 * 480)
    limited.fit([(features, frames)])
    torch.testing.assert_close(limited.factor_0, network.factor_0, atol=0.1, rtol=0)


def test_mismatched_tensor_shapes_are_refused():
    with pytest.raises(EmotionError, match="has 60 features; the input has 61"):
        PartialTucker(61, feature_shape=[12, 5], frame_shape=[8], ranks=[3, None, 2])
    with pytest.raises(EmotionError, match="ranks="):
        PartialTucker(60, feature_shape=[12, 5], frame_shape=[8], ranks=[13, None, 2])
    network = PartialTucker(2, feature_shape=[2], frame_shape=[3], ranks=[1, None])
    with pytest.raises(EmotionError, match="frame_shape has 3 frames"):
        network(torch.zeros(1, 2, 4), torch.tensor([4]))


def test_each_of_several_vectors_has_the_same_variance(compose):
    config = typed_config(compose("model=logistic_regression"))
    head = EstimatorHead(config.model.estimator, 2, 0, sizes=[100, 4], n_augmented_copies=[1, 1])
    random = np.random.default_rng(0)
    vectors, labels = 7 * random.standard_normal((50, 104)) + 3, np.arange(50) % 2
    head.fit(vectors, labels, None)
    scaled = head.pipeline[0].transform(vectors)
    assert scaled[:, :100].var(axis=0).sum() == pytest.approx(52)
    assert scaled[:, 100:].var(axis=0).sum() == pytest.approx(52)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)


def test_variants_may_be_separate_training_examples(compose):
    """The prediction of a recording is the mean over its variants."""
    config = typed_config(compose("model=logistic_regression"))
    random = np.random.default_rng(0)
    audio, face, labels = random.standard_normal((40, 3, 5)), random.standard_normal((40, 2)), np.arange(40) % 2
    audio[:, :, 0] += 2 * labels[:, None]
    head = EstimatorHead(config.model.estimator, 2, 0, sizes=[15, 2], n_augmented_copies=[3, 1])
    vectors = np.concatenate([audio.reshape(40, 15), face], axis=1)
    head.fit(vectors, labels, np.ones(40))
    alone = EstimatorHead(config.model.estimator, 2, 0, sizes=[5, 2], n_augmented_copies=[1, 1])
    repeated = np.concatenate([audio.reshape(120, 5), face.repeat(3, axis=0)], axis=1)
    alone.fit(repeated, labels.repeat(3), np.ones(120))
    expected = alone(torch.from_numpy(repeated)).unflatten(0, (40, 3)).mean(dim=1)
    torch.testing.assert_close(head(torch.from_numpy(vectors)), expected)
    for copies in ([2, 1], [3, 2]):
        with pytest.raises(EmotionError, match="cannot be divided so"):
            EstimatorHead(config.model.estimator, 2, 0, sizes=[15, 2], n_augmented_copies=copies)


def test_functionals_follow_the_coefficients_of_each_contour():
    audio, length = 0.1 * torch.randn(2, 22_050), torch.tensor([22_050, 16_000])
    options = {"noise_std": 0, "semitones": (), "speed_factors": (), "include_original": True, "n_delta_orders": 1}
    options["functionals"] = ["std", "median"]
    both, frames = SplineVariants(22_050, 2048, n_coefficients=6, **options)(audio, length)
    del options["functionals"]
    assert both.shape == (2, 68, 8) and frames.tolist() == [8, 8]
    splines, _ = SplineVariants(22_050, 2048, n_coefficients=6, **options)(audio, length)
    torch.testing.assert_close(both[..., :6], splines)
    functionals = SplineVariants(22_050, 2048, n_coefficients=0, functionals=["std", "median"], **options)
    torch.testing.assert_close(both[..., 6:], functionals(audio, length)[0])
    contours, count = functionals.curves(audio[1:, :16_000], length[1:])
    contour = contours[0, :, : int(count)].numpy()
    np.testing.assert_allclose(both[1, :, 6], contour.std(axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(both[1, :, 7], np.median(contour, axis=1), rtol=1e-3, atol=1e-5)


def test_tucker_cores_have_the_published_size():
    # The published sizes are 1,728 values for video and 1,500 for audio.
    video = PartialTucker(18, feature_shape=[2, 9], frame_shape=[10, 48, 71], ranks=[1, None, 3, 8, 8])
    audio = PartialTucker(272, feature_shape=[272], frame_shape=[14], ranks=[150, 10])
    assert (video.embed_dim, audio.embed_dim) == (1728, 1500)


@pytest.mark.slow
def test_audio_and_video_baseline_trains_and_predicts(train_in_process, video_overrides, own_videos, compose):
    run_dir = train_in_process(
        "experiment=baselines/s3_splines_hog3d_mlp", *video_overrides, *SMALL, "data.on_error=skip"
    )
    table = pd.read_csv(run_dir / "predictions.csv")
    row = table[table["split"] == "test"].iloc[0]
    file = own_videos / f"{row['recording'].split('/', 1)[1]}.mp4"

    from emotion.inference import Predictor

    (prediction,) = Predictor.from_run(run_dir).predict([file])
    assert prediction.probabilities["happy"] == pytest.approx(row["happy"], abs=1e-4)
    # The factors are those of the training split.
    config = runs.load_config(run_dir)
    datamodule, classifier = build_datamodule(config), build_classifier(config, 8)
    datamodule.setup()
    kept = load_classifier(run_dir, config)
    encoder = classifier.encoder.encoders["face"]
    encoder.fit(lambda: datamodule.batches("train"))
    for key, value in encoder.backbone.state_dict().items():
        torch.testing.assert_close(kept.encoder.encoders["face"].backbone.state_dict()[key], value)


def test_tucker_factors_are_fitted_without_augmentation(compose):
    """Recordings without audio are left out."""
    config = compose("model=mlp", "model.vector=tucker", "features=spline_variants", "augment=[noise,spec_augment]")
    encoder, inputs_of_fit = build_classifier(config, 8).encoder.train(), []
    encoder.backbone.fit = lambda inputs: inputs_of_fit.extend(inputs)
    torch.manual_seed(0)
    batch = {"waveform": 0.1 * torch.randn(3, 20_000), "waveform_length": torch.tensor([20_000, 0, 9_000])}
    encoder.fit(lambda: [batch])
    ((features, frames),) = inputs_of_fit
    expected, _ = encoder.eval().front_end(batch)
    torch.testing.assert_close(features, expected[[0, 2]])
    assert len(frames) == 2
    assert not features.requires_grad


@pytest.mark.parametrize("estimator", ["svm", "random_forest", "s3_mlp"])
@pytest.mark.parametrize("system", ["s3_splines_hog3d_mlp", "s3_splines_mlp", "s3_splines_action_units_mlp"])
def test_estimators_of_baselines_are_selectable(compose, system, estimator):
    config = compose(f"experiment=baselines/{system}", f"model/estimator@model={estimator}")
    assert isinstance(build_classifier(config, 8).head, EstimatorHead)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "vgg16"])
def test_networks_train_on_whole_frames(train_in_process, video_overrides, kind):
    options = ["faces.frames=2", "model.images.size=64", "trainer.max_epochs=1", "data.on_error=skip"]
    options += ["model.backbone.weights=none"] if kind == "vgg16" else []
    run_dir = train_in_process(f"experiment=baselines/s1_frames_{kind}", *video_overrides, *options)
    config = runs.load_config(run_dir)
    assert (config.faces.size, config.faces.frame_step, config.faces.color) == (256, 20, "grey")
    assert math.isfinite(runs.load_metrics(run_dir)["test/loss"])

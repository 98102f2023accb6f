"""Tests of corruptions and of the evaluation of finished runs on corrupted recordings."""

import shutil
from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from emotion.batch import Batch
from emotion.errors import EmotionError
from emotion.plots.figure import save_figure
from emotion.plots.robustness import plot_robustness
from emotion.reports.robustness import format_robustness, robustness_table
from emotion.reports.runs import find_runs
from emotion.robustness import corruptions
from emotion.robustness.evaluate import FILE, evaluate_robustness, read_counts

RATE = 16000


@pytest.fixture
def speech():
    """Return a tone of four seconds with silence at both ends."""
    time = np.arange(4 * RATE) / RATE
    signal = 0.2 * np.sin(2 * np.pi * 440 * time)
    signal[: RATE // 4] = signal[-RATE // 4 :] = 0
    return signal.astype(np.float32)


def generator():
    return np.random.default_rng(0)


def decibels(signal):
    return 10 * np.log10(np.mean(np.square(signal)))


def power_between(signal, low, high):
    spectrum, frequencies = np.abs(np.fft.rfft(signal)) ** 2, np.fft.rfftfreq(len(signal), 1 / RATE)
    return spectrum[(frequencies >= low) & (frequencies < high)].sum() / spectrum.sum()


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_noise_has_the_requested_snr(speech, snr_db):
    middle = slice(RATE // 4, -RATE // 4)
    noises = [
        corruptions.white_noise,
        partial(corruptions.babble, voices=lambda random: random.standard_normal(3000)),
        partial(corruptions.recorded_noise, recording=generator().standard_normal(5000)),
    ]
    for add in noises:
        corrupted = add(speech, snr_db, generator())
        assert decibels(speech[middle]) - decibels(corrupted - speech) == pytest.approx(snr_db, abs=0.3)


def test_reverberation_has_the_requested_decay_time():
    click = np.zeros(2 * RATE, np.float32)
    click[100] = 1.0
    degraded = corruptions.reverberation(click, 1.0, generator(), RATE)
    energy = np.square(degraded[101 : 101 + RATE]).reshape(20, -1).mean(axis=1)
    slope = np.polyfit(np.arange(20) / 20, 10 * np.log10(energy), 1)[0]
    assert slope == pytest.approx(-60, abs=3)
    assert decibels(degraded) == pytest.approx(decibels(click), abs=0.1)


def test_low_pass_and_telephone_remove_frequencies():
    noise = generator().standard_normal(RATE) * np.hanning(RATE) * 0.1
    assert power_between(corruptions.low_pass(noise, 2000.0, generator(), RATE), 2100, 8000) < 1e-6
    degraded = corruptions.telephone(noise, 1.0, generator(), RATE)
    assert power_between(degraded, 300, 3400) > 0.99
    # The SNR of µ-law quantisation with eight bits is about 38 dB.
    narrow = corruptions.low_pass(noise, 3400.0, generator(), RATE)
    narrow -= corruptions.low_pass(noise, 299.0, generator(), RATE)
    assert 30 < decibels(narrow) - decibels(degraded - narrow) < 45


def test_gain_and_clipping_change_the_level(speech):
    assert decibels(corruptions.gain(speech, -20.0, generator())) == pytest.approx(decibels(speech) - 20)
    assert np.abs(corruptions.gain(speech, 20.0, generator())).max() == 1
    assert np.abs(corruptions.clipping(speech, 0.25, generator())).max() == pytest.approx(0.05, rel=1e-3)


@pytest.fixture
def faces():
    return np.random.default_rng(1).integers(100, 200, (8, 3, 32, 32), np.uint8)


def test_face_crops_are_corrupted(faces):
    assert corruptions.image_noise(faces, 0.1, generator()).std() > faces.std()
    assert corruptions.blur(faces, 0.04, generator()).std() < faces.std() / 2
    assert corruptions.darkness(faces, 0.5, generator()).mean() == pytest.approx(faces.mean() / 2, abs=1)
    hidden = corruptions.occlusion(faces, 0.5, generator())
    assert (hidden == 0).mean() == pytest.approx(0.25)
    assert ((hidden == 0) == (hidden == 0)[:1]).all()
    delayed = corruptions.audio_visual_offset(faces, 0.25, generator())
    np.testing.assert_array_equal(delayed[2:], faces[:-2])
    np.testing.assert_array_equal(delayed[:2], faces[[0, 0]])


@pytest.mark.parametrize(("level", "n_kept"), [(0.25, 6), (0.9, 1), (1.0, 1)])
def test_dropped_frames_keep_the_order(faces, level, n_kept):
    kept = corruptions.dropped_frames(faces, level, generator())
    assert len(kept) == n_kept
    positions = [next(n for n, face in enumerate(faces) if (face == frame).all()) for frame in kept]
    assert positions == sorted(positions)


def make_batch(rows) -> Batch:
    random = np.random.default_rng(2)
    waveform = torch.from_numpy(random.standard_normal((3, 4000)).astype(np.float32) * 0.1)
    length = torch.tensor([4000, 2000, 0])
    waveform[1, 2000:] = waveform[2] = 0
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    images = torch.from_numpy(random.integers(50, 200, (3, 4, 3, 16, 16), np.uint8))
    units = torch.from_numpy(random.standard_normal((3, 5)).astype(np.float32))
    batch = {"waveform": waveform, "waveform_length": length, "faces": images, "face_mask": mask}
    batch |= {"action_units": units, "action_unit_frames": torch.tensor([1, 1, 0])}
    return {key: value[rows] for key, value in batch.items()} | {"recording": [f"x/{row}" for row in rows]}


CORRUPTIONS = [
    *corruptions.audio_corruptions(
        RATE, lambda random: random.standard_normal(3000), ("noise", generator().standard_normal(3000))
    ),
    *corruptions.FACE_CORRUPTIONS,
    *corruptions.action_unit_corruptions(np.ones(5)),
]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_corruption_is_deterministic_per_recording_and_skips_padding(corruption):
    whole, before = make_batch([0, 1, 2]), make_batch([0, 1, 2])
    level = corruption.levels[-1]
    corrupted = corruption(whole, level)
    alone = corruption(make_batch([1]), level)
    key = {"audio": "waveform", "face": "faces", "action_units": "action_units"}[corruption.modality]
    torch.testing.assert_close(corrupted[key][1], alone[key][0])
    assert all(
        torch.equal(whole[name], before[name]) for name in before if name != "recording"
    )  # the input is unchanged
    assert not torch.equal(corrupted[key][0], whole[key][0]) or not torch.equal(
        corrupted["face_mask"], whole["face_mask"]
    )
    torch.testing.assert_close(corrupted[key][2], whole[key][2])  # every modality is missing
    assert not corrupted["waveform"][1, 2000:].any()


@pytest.mark.slow
@pytest.mark.parametrize("model", [["model=mfcc_cnn"], ["model=late_fusion", "model.branches.face=face_cnn"]])
def test_runs_are_evaluated_on_corrupted_recordings(model, video_overrides, train_in_process, tmp_path):
    sizes = []
    if len(model) > 1:
        sizes = [
            "faces.frames=2",
            "faces.size=24",
            "model.branches.face.images.size=24",
            "model.branches.face.backbone.widths=[4]",
        ]
        sizes += [*video_overrides, "data.on_error=allow_missing_modality"]
    run_dir = train_in_process(*model, *sizes, "trainer.max_epochs=1", name=model[0].split("=")[1])
    evaluate_robustness([run_dir])
    counts = pd.read_csv(run_dir / FILE)
    names = list(dict.fromkeys(counts["corruption"]))
    assert names[:4] == ["recordings", "none", "white noise", "babble"]
    assert ("blur" in names) == ("no face" in names) == ("no audio" in names) == (len(model) > 1)
    found_runs = find_runs([run_dir])
    for run in found_runs:
        run.metrics["data"] = "ravdess"  # reports omit runs on the demo corpus
    table = robustness_table(found_runs)
    predictions = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'")
    recalls = (predictions["emotion"] == predictions["predicted"]).groupby(predictions["emotion"]).mean()
    clean = table[table["corruption"] == "none"].iloc[0]
    assert clean["uar"] == pytest.approx(recalls.mean())
    several = predictions["speaker"].nunique() > 1  # a single speaker has no interval
    assert (clean["uar_low"] <= clean["uar"] <= clean["uar_high"]) == several
    save_figure(plot_robustness(table), tmp_path / "robustness.png")
    assert cv2.imread(str(tmp_path / "robustness.png")).shape[1] > 800
    assert list(format_robustness(table)["corruption"][:2]) == ["none", "white noise 20 dB SNR"]


@pytest.mark.slow
def test_runs_evaluated_together_equal_runs_evaluated_alone(trained, train_in_process, tmp_path):
    other = train_in_process("trainer.max_epochs=1", "seed=1", "model.backbone.dropout=0", name="seed1")
    pairs = [[shutil.copytree(run, tmp_path / when / run.name) for run in (trained, other)] for when in "ab"]
    evaluate_robustness(pairs[0][:1])
    evaluate_robustness(pairs[0])  # the first run is already evaluated
    evaluate_robustness(pairs[1])
    for alone, grouped in zip(*pairs, strict=True):
        assert (alone / FILE).read_bytes() == (grouped / FILE).read_bytes()


def test_runs_without_robustness_are_refused(tmp_path):
    with pytest.raises(EmotionError, match="emotion robustness RUN"):
        robustness_table([])


def test_counts_of_older_versions_are_refused(tmp_path):
    (tmp_path / FILE).write_text("name,unit,level,speaker,sad\nnone,,0.0,1,3\n")
    with pytest.raises(EmotionError, match=r"lacks the column corruption.*run emotion robustness again"):
        read_counts(tmp_path / FILE)

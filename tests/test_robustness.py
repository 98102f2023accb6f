"""Disturbances do what they say, and a run is measured under them."""

import shutil
from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from emotion.data.dataset import Batch
from emotion.errors import EmotionError
from emotion.plots import figures
from emotion.reports import systems
from emotion.robustness import corruptions as disturbances
from emotion.robustness import evaluate as robustness

RATE = 16000


@pytest.fixture
def speech():
    """Four seconds of tone with pauses at both ends."""
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
def test_noise_lies_as_far_below_the_speech_as_it_says(speech, snr_db):
    middle = slice(RATE // 4, -RATE // 4)
    kinds = [
        disturbances.white_noise,
        partial(disturbances.babble, voices=lambda random: random.standard_normal(3000)),
        partial(disturbances.recorded_noise, recording=generator().standard_normal(5000)),
    ]
    for add in kinds:
        spoilt = add(speech, snr_db, generator())
        assert decibels(speech[middle]) - decibels(spoilt - speech) == pytest.approx(snr_db, abs=0.3)


def test_a_room_rings_as_long_as_it_says():
    click = np.zeros(2 * RATE, np.float32)
    click[100] = 1.0
    heard = disturbances.reverberation(click, 1.0, generator(), RATE)
    energy = np.square(heard[101 : 101 + RATE]).reshape(20, -1).mean(axis=1)
    slope = np.polyfit(np.arange(20) / 20, 10 * np.log10(energy), 1)[0]
    assert slope == pytest.approx(-60, abs=3)
    assert decibels(heard) == pytest.approx(decibels(click), abs=0.1)


def test_bands_are_cut_off():
    noise = generator().standard_normal(RATE) * np.hanning(RATE) * 0.1
    assert power_between(disturbances.low_pass(noise, 2000.0, generator(), RATE), 2100, 8000) < 1e-6
    heard = disturbances.telephone(noise, 1.0, generator(), RATE)
    assert power_between(heard, 300, 3400) > 0.99
    # Eight bits on a logarithmic scale: about 38 dB above what they cost.
    narrow = disturbances.low_pass(noise, 3400.0, generator(), RATE)
    narrow -= disturbances.low_pass(noise, 299.0, generator(), RATE)
    assert 30 < decibels(narrow) - decibels(heard - narrow) < 45


def test_level_and_clipping(speech):
    assert decibels(disturbances.gain(speech, -20.0, generator())) == pytest.approx(decibels(speech) - 20)
    assert np.abs(disturbances.gain(speech, 20.0, generator())).max() == 1
    assert np.abs(disturbances.clipping(speech, 0.25, generator())).max() == pytest.approx(0.05, rel=1e-3)


@pytest.fixture
def faces():
    return np.random.default_rng(1).integers(100, 200, (8, 3, 32, 32), np.uint8)


def test_pictures_are_spoilt(faces):
    assert disturbances.picture_noise(faces, 0.1, generator()).std() > faces.std()
    assert disturbances.blur(faces, 0.04, generator()).std() < faces.std() / 2
    assert disturbances.darkness(faces, 0.5, generator()).mean() == pytest.approx(faces.mean() / 2, abs=1)
    hidden = disturbances.occlusion(faces, 0.5, generator())
    assert (hidden == 0).mean() == pytest.approx(0.25)
    assert ((hidden == 0) == (hidden == 0)[:1]).all()
    late = disturbances.out_of_step(faces, 0.25, generator())
    np.testing.assert_array_equal(late[2:], faces[:-2])
    np.testing.assert_array_equal(late[:2], faces[[0, 0]])


@pytest.mark.parametrize(("level", "stay"), [(0.25, 6), (0.9, 1), (1.0, 1)])
def test_frames_are_lost_in_their_order(faces, level, stay):
    kept = disturbances.dropped_frames(faces, level, generator())
    assert len(kept) == stay
    places = [next(n for n, face in enumerate(faces) if (face == one).all()) for one in kept]
    assert places == sorted(places)


def make_batch(rows) -> Batch:
    random = np.random.default_rng(2)
    waveform = torch.from_numpy(random.standard_normal((3, 4000)).astype(np.float32) * 0.1)
    length = torch.tensor([4000, 2000, 0])
    waveform[1, 2000:] = waveform[2] = 0
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    pictures = torch.from_numpy(random.integers(50, 200, (3, 4, 3, 16, 16), np.uint8))
    units = torch.from_numpy(random.standard_normal((3, 5)).astype(np.float32))
    batch = {"waveform": waveform, "waveform_length": length, "faces": pictures, "face_mask": mask}
    batch |= {"action_units": units, "action_unit_frames": torch.tensor([1, 1, 0])}
    return {key: value[rows] for key, value in batch.items()} | {"recording": [f"x/{row}" for row in rows]}


KNOWN = [
    *disturbances.of_sound(
        RATE, lambda random: random.standard_normal(3000), ("noise", generator().standard_normal(3000))
    ),
    *disturbances.OF_FACES,
    *disturbances.of_action_units(np.ones(5)),
]


@pytest.mark.parametrize("disturbance", KNOWN, ids=lambda disturbance: disturbance.name)
def test_a_recording_is_always_spoilt_alike_and_padding_never(disturbance):
    whole, before = make_batch([0, 1, 2]), make_batch([0, 1, 2])
    level = disturbance.levels[-1]
    spoilt = disturbance(whole, level)
    one = disturbance(make_batch([1]), level)
    key = {"sound": "waveform", "faces": "faces", "action_units": "action_units"}[disturbance.modality]
    torch.testing.assert_close(spoilt[key][1], one[key][0])
    assert all(torch.equal(whole[name], before[name]) for name in before if name != "recording")  # left as it was
    assert not torch.equal(spoilt[key][0], whole[key][0]) or not torch.equal(spoilt["face_mask"], whole["face_mask"])
    torch.testing.assert_close(spoilt[key][2], whole[key][2])  # it lacks all three
    assert not spoilt["waveform"][1, 2000:].any()


@pytest.mark.slow
@pytest.mark.parametrize("model", [["model=mfcc_cnn"], ["model=late_fusion", "model/visual=face_cnn"]])
def test_a_run_is_measured(model, typed, train_in_process, tmp_path):
    sizes = []
    if len(model) > 1:
        sizes = ["faces.frames=2", "faces.size=24", "model.visual.pictures.size=24", "model.visual.network.widths=[4]"]
        sizes += [*typed, "data.on_problem=partial"]
    run_dir = train_in_process(*model, *sizes, "trainer.max_epochs=1", name=model[0].split("=")[1])
    robustness.measure([run_dir])
    counts = pd.read_csv(run_dir / robustness.FILE)
    names = list(dict.fromkeys(counts["disturbance"]))
    assert names[:4] == ["recordings", "none", "white noise", "babble"]
    assert ("blur" in names) == ("no faces" in names) == ("no sound" in names) == (len(model) > 1)
    found = systems.find([run_dir])
    for run in found:
        run.metrics["data"] = "ravdess"  # figures of the demo corpus are shown nowhere
    table = robustness.table(found)
    predictions = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'")
    recalls = (predictions["emotion"] == predictions["predicted"]).groupby(predictions["emotion"]).mean()
    clean = table[table["disturbance"] == "none"].iloc[0]
    assert clean["uar"] == pytest.approx(recalls.mean())
    several = predictions["speaker"].nunique() > 1  # of one there is no interval
    assert (clean["uar_low"] <= clean["uar"] <= clean["uar_high"]) == several
    figures.save(figures.robustness_figure(table), tmp_path / "robustness.png")
    assert cv2.imread(str(tmp_path / "robustness.png")).shape[1] > 800
    assert list(robustness.in_words(table)["disturbance"][:2]) == ["none", "white noise 20 dB SNR"]


@pytest.mark.slow
def test_runs_measured_together_are_measured_as_if_alone(trained, train_in_process, tmp_path):
    other = train_in_process("trainer.max_epochs=1", "seed=1", "model.network.dropout=0", name="seed1")
    pairs = [[shutil.copytree(run, tmp_path / when / run.name) for run in (trained, other)] for when in "ab"]
    robustness.measure(pairs[0][:1])
    robustness.measure(pairs[0])  # the first is known
    robustness.measure(pairs[1])
    for alone, together in zip(*pairs, strict=True):
        assert (alone / robustness.FILE).read_bytes() == (together / robustness.FILE).read_bytes()


def test_runs_that_were_not_measured_say_so(tmp_path):
    with pytest.raises(EmotionError, match="emotion robustness RUN"):
        robustness.table([])

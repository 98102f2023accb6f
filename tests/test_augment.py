"""Tests of the augmentation of audio, spectra, features and batches."""

import math

import pytest
import torch
import torchaudio
from scipy.io import wavfile

from conftest import build_classifier, make_batch, typed_config
from emotion.augment.channel import Babble, BandLimit, ColoredNoise, Equalizer, Reverberation
from emotion.augment.codec import Codec
from emotion.augment.mixup import Mixup, mix_features
from emotion.augment.spectrum import SpecAugment, Vtlp
from emotion.augment.waveform import Clipping, Gain, Noise, PitchShift, Speed, TimeShift
from emotion.batch import frame_mask
from emotion.config.compose import DIRECTORY
from emotion.errors import EmotionError
from emotion.features.base import Signal
from emotion.media.codec import CODECS
from emotion.models.build import build_front_end

RATE = 16_000
AUDIO_AUGMENTATIONS = {
    "noise": Noise((0.0, 20.0), probability=1.0),
    "clipping": Clipping((0.2, 0.6), probability=1.0),
    "codec": Codec(RATE, probability=1.0),
    "gain": Gain((-6.0, 6.0), probability=1.0),
    "time_shift": TimeShift(RATE, 0.2, probability=1.0),
    "speed": Speed((0.9, 1.1), probability=1.0),
    "pitch_shift": PitchShift((-2.0, 2.0), probability=1.0),
}
LENGTHS = torch.tensor([16_000, 9_000, 12_345, 400])


def tones(hertz=400.0, lengths=LENGTHS):
    time = torch.arange(int(lengths.max())) / RATE
    return 0.1 * torch.sin(2 * math.pi * hertz * time) * frame_mask(lengths, len(time))


def peak_frequency(waveform):
    """Return the frequency of the largest spectral bin in Hz."""
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform)), 1 << 17).abs()
    return spectrum.argmax().item() * RATE / (1 << 17)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", AUDIO_AUGMENTATIONS)
def test_augmented_audio_is_finite_and_within_its_length(name):
    changed, length = AUDIO_AUGMENTATIONS[name](tones(), LENGTHS)
    assert changed.isfinite().all()
    assert changed.shape == (4, int(length.max()))
    assert not changed[~frame_mask(length, changed.shape[1])].any()
    assert (length >= 1).all()
    assert not torch.equal(changed[0, :9000], tones()[0, :9000])


@pytest.mark.parametrize("name", AUDIO_AUGMENTATIONS)
def test_seeds_are_reproducible_and_probability_zero_changes_nothing(name):
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(AUDIO_AUGMENTATIONS[name](tones(), LENGTHS)[0])
    assert torch.equal(*results)
    disabled = AUDIO_AUGMENTATIONS[name]
    probability, disabled.probability = disabled.probability, 0.0
    try:
        unchanged, length = disabled(tones(), LENGTHS)
    finally:
        disabled.probability = probability
    assert torch.equal(unchanged, tones())
    assert torch.equal(length, LENGTHS)


def test_noise_has_the_requested_snr():
    lengths = torch.full((64,), 16_000)
    clean = tones(lengths=lengths)
    noise = Noise((10.0, 20.0), probability=1.0)(clean, lengths)[0] - clean
    ratio = 10 * (clean.square().mean(dim=1) / noise.square().mean(dim=1)).log10()
    assert ratio.min() > 9.7
    assert ratio.max() < 20.3
    assert ratio.max() - ratio.min() > 5


@pytest.mark.parametrize("name", CODECS)
def test_codecs_change_a_voice_but_not_its_time(demo_root, name):
    rate, samples = wavfile.read(sorted(demo_root.glob("Actor_01/03-*.wav"))[0])
    voice = torchaudio.functional.resample(torch.from_numpy(samples / 32768).float(), rate, RATE)
    changed = Codec(RATE, (name,), probability=1.0)(voice[None], torch.tensor([len(voice)]))[0][0]
    assert changed.shape == voice.shape
    levels = [one.unfold(0, 160, 160).square().mean(dim=1).sqrt() for one in (voice, changed)]  # of 10 ms each
    assert torch.corrcoef(torch.stack(levels))[0, 1] > 0.9
    assert 0.001 < (changed - voice).norm() / voice.norm() < 1.2


CONDITIONS = {
    "equalizer": Equalizer(RATE, probability=1.0),
    "band_limit": BandLimit(RATE, probability=1.0),
    "reverberation": Reverberation(RATE, probability=1.0),
    "colored_noise": ColoredNoise(RATE, probability=1.0),
    "babble": Babble(probability=1.0),
}


def spectra(items=4, frames=60):
    """Return power spectra, shape (items, 257, frames); the last item has half of the frames."""
    power = torch.rand(items, 257, frames) ** 4
    power[-1, :, frames // 2 :] = 0
    return power


@pytest.mark.parametrize("name", CONDITIONS)
def test_recording_conditions_change_the_drawn_items_only(name):
    power, change = spectra(), CONDITIONS[name]
    changed = change(power)
    assert changed.shape == power.shape
    assert changed.isfinite().all() and (changed >= 0).all()
    assert all(not torch.equal(own, before) for own, before in zip(changed, power, strict=True))
    change.probability = 0.0
    assert torch.equal(change(power), power)
    change.probability = 0.5
    same = [torch.equal(own, before) for own, before in zip(change(spectra(64)), spectra(64), strict=True)]
    assert len(same) == 64
    change.probability = 1.0


def test_the_equalizer_stays_within_its_gain():
    power = spectra()
    gain = 10 * (Equalizer(RATE, gain_db=6.0, probability=1.0)(power) / power)[:3].log10()
    assert gain.abs().max() < 6.001
    assert gain.std(dim=2).max() < 1e-3  # the same in all frames
    assert gain[:, 1:].diff(dim=1).abs().max() < 12
    assert gain.std(dim=1).min() > 0.3


def test_band_limits_are_the_response_of_butterworth_filters():
    change = BandLimit(RATE, (300.0, 300.0), (3400.0, 3400.0), (24.0, 24.0), probability=1.0)
    power = torch.ones(1, 8001, 2)  # a bin each hertz
    response = 10 * change(power)[0, :, 0].log10()
    assert response[300] == pytest.approx(-3.01, abs=0.05) and response[3400] == pytest.approx(-3.01, abs=0.05)
    assert response[1000] == pytest.approx(0, abs=0.01)
    assert response[150] == pytest.approx(-24.1, abs=0.1) and response[6800] == pytest.approx(-24.1, abs=0.1)


def test_reverberation_is_the_sum_of_decaying_frames():
    hop = 160
    change = Reverberation(RATE, hop, (0.4, 0.4), (0.0, 0.0), probability=1.0)
    power = torch.zeros(1, 3, 200)
    power[0, :, 0] = 1.0
    changed = change(power)[0]
    assert changed[:, 0].tolist() == [1.0, 1.0, 1.0]
    tail = changed[:, 1:120]
    assert tail[0].sum() == pytest.approx(1.0, abs=0.02)  # as much power as the direct sound
    fall = 10 * (tail[:, 40] / tail[:, 0]).log10()
    expected = -60 * 40 * hop / RATE / torch.tensor([0.4, 0.3, 0.2])
    torch.testing.assert_close(fall, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("make", [lambda snr: ColoredNoise(RATE, (snr, snr)), lambda snr: Babble((snr, snr))])
@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_added_power_has_the_requested_ratio(make, snr):
    power, change = spectra(), make(snr)
    change.probability = 1.0
    added = change(power) - power
    assert not added[-1, :, 30:].any()  # beyond the end
    ratio = 10 * (power.sum(dim=(1, 2)) / added.sum(dim=(1, 2))).log10()
    torch.testing.assert_close(ratio, torch.full((4,), snr), atol=0.01, rtol=0)


@pytest.mark.parametrize("slope", [0.0, -6.0])
def test_colored_noise_has_the_requested_slope(slope):
    power = torch.ones(2, 1025, 400)
    noise = ColoredNoise(RATE, (0.0, 0.0), (slope, slope), probability=1.0)(power) - power
    spectrum = 10 * noise.mean(dim=(0, 2)).log10()
    low, high = spectrum[64:80].mean(), spectrum[512:640].mean()  # three octaves apart
    assert (high - low) / 3 == pytest.approx(slope, abs=0.3)


def test_babble_of_a_single_item_is_nothing():
    power = spectra(1)
    assert torch.equal(Babble(probability=1.0)(power), power)


def test_clipping_limits_the_peak():
    clipped, _ = Clipping((0.5, 0.5), probability=1.0)(tones(), LENGTHS)
    torch.testing.assert_close(clipped.abs().amax(dim=1), 0.5 * tones().abs().amax(dim=1))


def test_gain_is_in_decibels():
    changed, _ = Gain((-6.0, -6.0), probability=1.0)(tones(), LENGTHS)
    torch.testing.assert_close(changed, tones() * 10 ** (-6 / 20))


def test_augmentation_has_the_requested_probability():
    lengths = torch.full((400,), 100)
    clean = torch.ones(400, 100)
    changed, _ = Gain((3.0, 6.0), probability=0.25)(clean, lengths)
    assert 60 < (changed[:, 0] != 1).sum() < 140


def test_time_shift_keeps_the_remaining_samples():
    lengths = torch.full((50,), 1000)
    ramp = torch.arange(1, 1001.0).repeat(50, 1)
    changed, length = TimeShift(1000, 0.1, probability=1.0)(ramp, lengths)
    assert torch.equal(length, lengths)
    shifts = set()
    for row in changed:
        inside = row > 0
        shift = int((inside.nonzero()[0, 0] - row[inside][0] + 1).item())
        shifts.add(shift)
        assert abs(shift) <= 100
        assert inside.sum() == 1000 - abs(shift)
        assert (row[inside].diff() == 1).all()
    assert min(shifts) < -30
    assert max(shifts) > 30


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_speed_changes_pitch_and_length_by_the_same_factor(factor):
    changed, length = Speed((factor,), probability=1.0)(tones(), LENGTHS)
    assert length[0].item() == pytest.approx(16_000 / factor, abs=2)
    assert peak_frequency(changed[0, : length[0]]) == pytest.approx(400 * factor, rel=2e-3)


@pytest.mark.parametrize("semitones", [-4.0, -1.0, 2.0, 3.0])
def test_pitch_shift_keeps_length_and_level(semitones):
    changed, length = PitchShift((semitones,), probability=1.0)(tones(), LENGTHS)
    assert torch.equal(length, LENGTHS)
    assert peak_frequency(changed[0, 2000:14_000]) == pytest.approx(400 * 2 ** (semitones / 12), rel=5e-3)
    level = changed[0, 4000:12_000].square().mean() / tones()[0, 4000:12_000].square().mean()
    assert level.item() == pytest.approx(1, abs=0.25)  # a phase vocoder loses some coherence


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_vtlp_warps_frequencies_below_the_boundary_and_keeps_the_ends(factor):
    power = Signal(tones(1000.0), LENGTHS, 2048, 512).power
    warped = Vtlp(RATE, (factor, factor), probability=1.0)(power)
    assert warped[0, :, 10].argmax().item() * RATE / 2048 == pytest.approx(1000 * factor, abs=RATE / 2048)
    ramp = torch.arange(1025.0)[None, :, None]
    source = Vtlp(RATE, (factor, factor), probability=1.0)(ramp)[0, :, 0]
    assert source[0] == 0
    assert source[-1] == pytest.approx(1024)
    assert (source.diff() > 0).all()
    if factor == 1.0:
        torch.testing.assert_close(source, ramp[0, :, 0], atol=1e-2, rtol=0)


def test_mixup_mixes_features_with_partners():
    batch = {"label": torch.arange(64) % 8}
    frames = torch.arange(1, 65)
    features = torch.nn.functional.one_hot(batch["label"], 8).float()[:, :, None] * frame_mask(frames, 64)[:, None]
    changed = Mixup(0.5)(batch)
    assert "mix_weight" not in batch
    assert changed["mix_weight"].min() >= 0.5
    assert 0.01 < (1 - changed["mix_weight"]).mean() < 0.4
    result, length = mix_features(features, frames, changed)
    hot, weight = features[:, :, 0], changed["mix_weight"][:, None]
    torch.testing.assert_close(result[:, :, 0], weight * hot + (1 - weight) * hot[changed["mix_partner"]])
    assert torch.equal(length, torch.maximum(frames, frames[changed["mix_partner"]]))
    assert mix_features(features, frames, batch)[0] is features


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise((20.0, 10.0)), "lower bound above the upper one"),
        (lambda: Mixup(0.0), "greater than 0"),
        (lambda: Codec(RATE, ("opsu",)), "codec 'opsu': .*opus"),
        (lambda: Vtlp(RATE, boundary_hz=9000.0), "between 0 and 8000 Hz"),
    ],
)
def test_invalid_parameters_are_refused(make, message):
    with pytest.raises(EmotionError, match=message):
        make()


FACE_AUGMENTATIONS = ("color_jitter", "random_affine", "random_erasing", "random_horizontal_flip")
CHOICES = sorted(path.stem for path in (DIRECTORY / "augment").glob("*.yaml"))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_augmentation_changes_audio_in_training_only(compose, choice):
    config = compose(f"augment={choice}")
    for name in config.augment:
        if "probability" in config.augment[name]:
            config.augment[name].probability = 1.0
    front_end = _front_end(config)
    waveform = tones() + 0.01 * torch.randn(4, 16_000) * frame_mask(LENGTHS, 16_000)
    batch = {"waveform": waveform, "waveform_length": LENGTHS, "speaker": torch.zeros(4, dtype=torch.long)}
    plain = front_end.eval()(batch)[0]
    assert torch.equal(front_end(batch)[0], plain)
    trained = front_end.train()(batch)[0]
    # Mixup acts on the features of a batch with partners; faces have their own front end.
    changes = choice not in ("none", "mixup", *FACE_AUGMENTATIONS)
    assert torch.equal(trained, plain) is not changes


@pytest.mark.parametrize("choice", CHOICES)
def test_faces_are_changed_by_face_augmentations_only(compose, choice):
    config = compose("model=face_cnn", f"augment={choice}", "model.images.frame_dropout=0")
    for name in config.augment:
        if "probability" in config.augment[name]:
            config.augment[name].probability = 1.0
    front_end, batch = build_classifier(config, 8).encoder.front_end, make_batch()
    plain = front_end.eval()(batch)[0]
    assert torch.equal(front_end.train()(batch)[0], plain) is (choice not in FACE_AUGMENTATIONS)


def test_augmentations_are_applied_in_the_given_order(compose):
    config = compose("augment=[speed,noise,vtlp,spec_augment,gain]")
    front_end = _front_end(config)
    assert [type(augmentation).__name__ for augmentation in front_end.waveform_augmentations] == [
        "Speed",
        "Noise",
        "Gain",
    ]
    assert [type(augmentation).__name__ for augmentation in front_end.spectrum_augmentations] == ["Vtlp"]
    assert front_end.augments_audio
    assert not _front_end(compose()).augments_audio


def test_spec_augment_never_masks_a_whole_item():
    torch.manual_seed(0)
    features = SpecAugment(feature_fraction=1.0, time_fraction=1.0)(torch.ones(500, 1, 3), torch.full((500,), 1))
    assert features[:, :, 0].all()
    assert SpecAugment(time_masks=2)(torch.ones(500, 4, 1), torch.ones(500, dtype=torch.long)).any(dim=1).all()


def _front_end(composed):
    config = typed_config(composed)
    return build_front_end(config.features, config.augment, RATE)

"""Tests of audio features and their front end, mostly against librosa."""

import librosa
import numpy as np
import pytest
import soundfile
import torch

from emotion.augment.spectrum import SpecAugment
from emotion.errors import EmotionError
from emotion.features.base import Signal
from emotion.features.descriptors import (
    Chroma,
    Rms,
    SpectralBandwidth,
    SpectralCentroid,
    SpectralContrast,
    SpectralRolloff,
    ZeroCrossingRate,
)
from emotion.features.front_end import AudioFrontEnd
from emotion.features.pitch import Pitch
from emotion.features.silence import trim_silence
from emotion.features.spectral import LogMel, Mfcc
from emotion.features.stack import FeatureStack, delta

RATE, N_FFT = 16_000, 2048
SETTINGS = {"n_fft": N_FFT, "hop_length": 512}


def stack(kind, **settings):
    return FeatureStack({"only": kind(RATE, N_FFT)}, **SETTINGS, **settings)


def padded(waveforms):
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    batch = torch.zeros(len(waveforms), int(lengths.max()))
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.as_tensor(waveform)
    return batch, lengths


def clips(prepared, step=1):
    for row in list(prepared.index.itertuples())[::step]:
        yield np.asarray(prepared.columns["waveforms"][row.offset : row.offset + row.length], np.float32) / 32768


@pytest.fixture
def utterances():
    """Return synthetic waveforms of different level, pitch and length, with silence at both ends."""
    random = np.random.default_rng(0)
    waveforms = []
    for seconds, level in ((0.2, 0.001), (1.0, 0.9), (0.7, 0.05), (1.31, 0.3)):
        time = np.arange(round(seconds * RATE)) / RATE
        voice = np.sin(2 * np.pi * random.uniform(100, 900) * time) * np.sin(np.pi * time / seconds) ** 4
        waveforms.append((level * voice + 1e-6 * random.normal(size=len(time))).astype(np.float32))
    return waveforms


def batches(waveforms, size=32):
    batch = []
    for waveform in waveforms:
        batch.append(waveform)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def max_difference(module, reference, waveforms):
    largest, count = 0.0, 0
    for batch in batches(waveforms):
        features, frames = module(*padded(batch))
        for item, size, waveform in zip(features, frames, batch, strict=True):
            expected = reference(waveform)
            assert item[:, :size].shape == expected.shape
            assert not item[:, size:].any()
            largest = max(largest, float(np.abs(item[:, :size].numpy() - expected).max()))
            count += 1
    return largest, count


def librosa_mfcc(waveform):
    return librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=40, n_mels=128, **SETTINGS)


def librosa_log_mel(waveform):
    return librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=64, **SETTINGS))


@pytest.mark.slow
def test_mfcc_equals_librosa_on_all_real_clips(ravdess_speech):
    worst, count = max_difference(stack(Mfcc), librosa_mfcc, clips(ravdess_speech))
    assert count == 1440
    assert worst < 5e-3


@pytest.mark.slow
def test_log_mel_equals_librosa_on_all_real_clips(ravdess_speech):
    worst, count = max_difference(stack(LogMel), librosa_log_mel, clips(ravdess_speech))
    assert count == 1440
    assert worst < 5e-3


# Per descriptor: the module, librosa's function, and the largest allowed differences of 99.9 % of all values and of all
# values. Roll-off may differ by one bin (7.8 Hz), and YIN in unvoiced frames.
DESCRIPTORS = {
    "zero_crossing_rate": (
        ZeroCrossingRate(),
        lambda y: librosa.feature.zero_crossing_rate(y, frame_length=N_FFT, hop_length=512),
        (1e-7, 1e-7),
    ),
    "rms": (Rms(), lambda y: librosa.feature.rms(y=y, frame_length=N_FFT, hop_length=512), (1e-6, 1e-6)),
    "spectral_centroid": (
        SpectralCentroid(RATE, N_FFT),
        lambda y: librosa.feature.spectral_centroid(y=y, sr=RATE, **SETTINGS),
        (2e-3, 0.01),
    ),
    "spectral_bandwidth": (
        SpectralBandwidth(RATE, N_FFT),
        lambda y: librosa.feature.spectral_bandwidth(y=y, sr=RATE, **SETTINGS),
        (2e-3, 0.01),
    ),
    "spectral_rolloff": (
        SpectralRolloff(RATE, N_FFT),
        lambda y: librosa.feature.spectral_rolloff(y=y, sr=RATE, **SETTINGS),
        (1e-3, RATE / N_FFT + 1e-3),
    ),
    "chroma": (
        Chroma(RATE, N_FFT),
        lambda y: librosa.feature.chroma_stft(y=y, sr=RATE, tuning=0.0, **SETTINGS),
        (1e-5, 1e-4),
    ),
    "spectral_contrast": (
        SpectralContrast(RATE, N_FFT),
        lambda y: librosa.feature.spectral_contrast(y=y, sr=RATE, **SETTINGS),
        (0.05, 1.0),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors_equal_librosa_on_real_clips(real_data, name):
    module, reference, (quantile_limit, max_limit) = DESCRIPTORS[name]
    # Unfiltered recordings: in bands that the high-pass filter removes, contrast measures rounding errors.
    paths = sorted((real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob("*.flac"))[::30]
    recorded = (soundfile.read(path, dtype="float32")[0] for path in paths)
    differences = absolute_differences(module, reference, recorded)
    assert np.quantile(differences, 0.999) <= quantile_limit
    assert differences.max() <= max_limit


@pytest.mark.slow
def test_pitch_equals_librosa_on_real_clips(ravdess_speech):
    differences = absolute_differences(
        Pitch(RATE, N_FFT), lambda y: librosa.yin(y, fmin=65, fmax=600, sr=RATE)[None], clips(ravdess_speech, step=30)
    )
    assert (differences < 0.1).mean() > 0.99


@pytest.mark.parametrize("hertz", [80.0, 200.0, 555.0])
def test_pitch_of_a_tone_equals_its_frequency(hertz):
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    waveform, length = padded([tone])
    pitch = Pitch(RATE, N_FFT)(Signal(waveform, length, **SETTINGS))
    assert pitch[0, 0, 4:-4].sub(hertz).abs().max() < 0.01 * hertz


def test_frames_too_short_for_the_lowest_pitch_are_refused():
    with pytest.raises(EmotionError, match="n_fft"):
        Pitch(RATE, 256)


def absolute_differences(module, reference, waveforms):
    differences = []
    for batch in batches(waveforms, 16):
        signal = Signal(*padded(batch), **SETTINGS)
        features = module(signal)
        for item, frames, waveform in zip(features, signal.frames, batch, strict=True):
            expected = reference(waveform)
            assert item[:, :frames].shape == expected.shape
            differences.append(np.abs(item[:, :frames].numpy() - expected).ravel())
    return np.concatenate(differences)


def test_stacks_keep_the_order_of_sets_and_append_deltas_of_all(utterances):
    batch = padded(utterances)
    sets = {"mfcc": Mfcc(RATE, N_FFT), "rms": Rms(), "chroma": Chroma(RATE, N_FFT)}
    both = FeatureStack(sets, **SETTINGS, n_delta_orders=1)
    features, frames = both(*batch)
    assert both.num_features == features.shape[1] == 2 * (40 + 1 + 12)
    alone = [FeatureStack({"only": one}, **SETTINGS)(*batch)[0] for one in sets.values()]
    torch.testing.assert_close(features[:, :53], torch.cat(alone, dim=1))
    torch.testing.assert_close(features[:, 53:], delta(features[:, :53], frames, 1))


def test_empty_stacks_are_refused():
    with pytest.raises(EmotionError, match="features="):
        FeatureStack({})


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_deltas_equal_librosa(ravdess_speech, order):
    def reference(waveform):
        return librosa.feature.delta(librosa_mfcc(waveform), order=order)

    module = stack(Mfcc, n_delta_orders=order)
    worst = 0.0
    for batch in batches(clips(ravdess_speech, step=30), 16):
        features, frames = module(*padded(batch))
        for item, size, waveform in zip(features, frames, batch, strict=True):
            deltas = item[40 * order : 40 * (order + 1), :size].numpy()
            worst = max(worst, float(np.abs(deltas - reference(waveform)).max()))
    assert worst < 5e-3


def test_deltas_of_clips_shorter_than_the_window_are_finite():
    features = torch.tensor([[[1.0, 2.0, 3.0]]])
    result = delta(features, torch.tensor([3]), order=1)
    assert result.shape == (1, 1, 3)
    assert result.isfinite().all()
    assert (result > 0).all()


def test_mel_spectrogram_without_a_dynamic_range_is_not_clamped():
    waveform = np.random.default_rng(0).normal(size=RATE).astype(np.float32) * 0.1
    waveform[RATE // 2 :] *= 1e-6
    module = LogMel(RATE, N_FFT, top_db=None)
    levels = module(Signal(*padded([waveform]), n_fft=N_FFT, hop_length=512))[0].numpy()
    power = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=64, pad_mode="constant")
    np.testing.assert_allclose(levels, librosa.power_to_db(power, top_db=None), atol=0.01)
    assert np.ptp(levels) > 100


@pytest.mark.slow
@pytest.mark.parametrize("top_db", [20.0, 30.0, 60.0])
def test_trimming_equals_librosa(ravdess_speech, top_db):
    for batch in batches(clips(ravdess_speech, step=20), 24):
        trimmed, lengths = trim_silence(*padded(batch), top_db)
        for item, length, waveform in zip(trimmed, lengths, batch, strict=True):
            expected, _ = librosa.effects.trim(waveform, top_db=top_db)
            np.testing.assert_array_equal(item[:length].numpy(), expected)
            assert not item[length:].any()


def test_clips_of_silence_are_not_trimmed():
    _, lengths = trim_silence(torch.zeros(1, 5000), torch.tensor([5000]), 30.0)
    assert lengths.tolist() == [5000]


@pytest.mark.parametrize("deltas", [0, 2])
@pytest.mark.parametrize("kind", [Mfcc, LogMel])
@pytest.mark.parametrize(("trim_db", "seconds"), [(None, None), (30.0, None), (None, 0.5), (30.0, 0.5)])
def test_features_do_not_depend_on_the_batch(utterances, kind, deltas, trim_db, seconds):
    front_end = AudioFrontEnd(stack(kind, n_delta_orders=deltas), RATE, trim_db, seconds)
    batched, frames = front_end.extract(*padded(utterances))
    assert batched.isfinite().all()
    for row, waveform in enumerate(utterances):
        alone, own_frames = front_end.extract(*padded([waveform]))
        assert own_frames[0] == frames[row]
        torch.testing.assert_close(alone[0], batched[row, :, : frames[row]], atol=2e-3, rtol=0)


def test_fixed_duration_gives_the_same_number_of_frames(utterances):
    front_end = AudioFrontEnd(stack(Mfcc), RATE, duration_s=0.5)
    features, frames = front_end.extract(*padded(utterances))
    assert frames.tolist() == [1 + 8000 // 512] * 4
    long = utterances[1][: RATE // 2]
    torch.testing.assert_close(features[1], front_end.extract(*padded([long]))[0][0], atol=2e-3, rtol=0)


def batch_of(waveforms, speakers=None):
    waveform, length = padded(waveforms)
    speaker = torch.tensor(speakers or [0] * len(waveforms))
    return {"waveform": waveform, "waveform_length": length, "speaker": speaker}


def test_normalisation_uses_training_frames(utterances):
    front_end = AudioFrontEnd(stack(LogMel), RATE)
    front_end.fit([batch_of(utterances[:2]), batch_of(utterances[2:3])])
    frames = np.concatenate([librosa_log_mel(waveform) for waveform in utterances[:3]], axis=1)
    np.testing.assert_allclose(front_end.mean, frames.mean(axis=1), atol=1e-2)
    np.testing.assert_allclose(front_end.std, frames.std(axis=1), atol=1e-2)
    assert "mean" in front_end.state_dict()


def test_speaker_normalisation_uses_each_speakers_own_clips(utterances):
    front_end = AudioFrontEnd(stack(LogMel), RATE, normalize="speaker")
    batch = batch_of(utterances, [1, 0, 1, 0])
    front_end.fit([batch])
    front_end.fit_groups([batch], 2)
    features, frames = front_end(batch)
    for speaker in (0, 1):
        rows = [row for row in range(4) if batch["speaker"][row] == speaker]
        speaker_frames = torch.cat([features[row, :, : frames[row]] for row in rows], dim=1)
        torch.testing.assert_close(speaker_frames.mean(dim=1), torch.zeros(64), atol=1e-3, rtol=0)
        torch.testing.assert_close(speaker_frames.std(dim=1, correction=0), torch.ones(64), atol=1e-2, rtol=0)
    assert "group_mean" not in front_end.state_dict()


def test_clip_normalisation_uses_only_the_clip(utterances):
    front_end = AudioFrontEnd(stack(Mfcc), RATE, normalize="clip")
    features, frames = front_end(batch_of(utterances))
    for item, count in zip(features, frames, strict=True):
        torch.testing.assert_close(item[:, :count].mean(dim=1), torch.zeros(40), atol=1e-4, rtol=0)
        torch.testing.assert_close(item[:, :count].std(dim=1, correction=0), torch.ones(40), atol=1e-3, rtol=0)
        assert not item[:, count:].any()
    assert front_end.group is None


def test_cached_features_equal_computed_ones(utterances):
    front_end = AudioFrontEnd(stack(Mfcc), RATE, trim_db=30.0)
    batch = batch_of(utterances)
    front_end.fit([batch])
    extracted = front_end.extract(batch["waveform"], batch["waveform_length"])
    cached = {"features": {front_end.features_key: extracted}, "speaker": batch["speaker"]}
    torch.testing.assert_close(front_end(cached)[0], front_end(batch)[0])


def test_unknown_normalisations_are_refused():
    with pytest.raises(EmotionError, match="train, clip, speaker, corpus, none"):
        AudioFrontEnd(stack(Mfcc), RATE, normalize="batch")


def test_spec_augment_masks_are_within_their_bounds():
    torch.manual_seed(0)
    features, frames = torch.ones(200, 40, 100), torch.full((200,), 60)
    features[:, :, 60:] = 0
    changed = SpecAugment(feature_masks=1, feature_fraction=0.2, time_masks=1, time_fraction=0.3)(features, frames)
    bands = (changed[:, :, :60] == 0).all(dim=2).sum(dim=1)
    times = (changed[:, :, :60] == 0).all(dim=1).sum(dim=1)
    assert (bands.min(), bands.max()) == (0, 8)
    assert (times.min(), times.max()) == (0, 18)
    assert len(bands.unique()) > 4
    assert not changed[:, :, 60:].any()
    torch.testing.assert_close(SpecAugment(0, 0.2, 0, 0.2)(features, frames), features)


def test_augmentation_is_for_training_only(utterances):
    front_end = AudioFrontEnd(stack(Mfcc), RATE, augment=[SpecAugment(2, 0.5, 2, 0.5)])
    batch = batch_of(utterances)
    front_end.eval()
    torch.testing.assert_close(front_end(batch)[0], front_end(batch)[0])
    front_end.train()
    assert not torch.equal(front_end(batch)[0], front_end(batch)[0])

"""Tests of the preparation of waveforms."""

import multiprocessing

import numpy as np
import pytest
import soundfile

from emotion.corpora.ravdess import Ravdess
from emotion.errors import EmotionError
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.highpass import high_pass
from emotion.prepare import waveforms
from emotion.prepare.waveforms import prepare_waveforms

RATE = 16_000


def tone(seconds=0.3, rate=RATE, level=0.5):
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of twenty clips of different lengths with RAVDESS names."""
    root = tmp_path / "corpus"
    root.mkdir()
    for number in range(1, 21):
        soundfile.write(root / f"03-01-03-01-01-01-{number:02}.wav", tone(0.1 + number / 100), RATE, subtype="PCM_16")
    return root


def scan(folder):
    return Ravdess().scan(folder)


def prepared_items(prepared):
    return {
        row.Index: prepared.columns["waveforms"][row.offset : row.offset + row.length]
        for row in prepared.index.itertuples()
    }


def test_samples_equal_those_of_the_files(folder, tmp_path):
    table = scan(folder)
    items = prepared_items(prepare_waveforms(table, folder, RATE, tmp_path / "cache"))
    assert list(items) == list(table["recording"])
    for row in table.itertuples():
        expected, _ = soundfile.read(folder / row.audio, dtype="float32", always_2d=True)
        np.testing.assert_array_equal(items[row.recording], waveforms.to_int16(high_pass(expected, RATE)[:, 0]))


def test_prepared_corpora_are_not_decoded_again(folder, tmp_path, monkeypatch):
    first = prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache")
    monkeypatch.setattr(waveforms, "read_audio", lambda *_: pytest.fail("decoded again"))
    second = prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache")
    assert second.key == first.key
    np.testing.assert_array_equal(first.columns["waveforms"], second.columns["waveforms"])


def test_changed_files_are_prepared_again(folder, tmp_path):
    before = prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache")
    soundfile.write(folder / "03-01-03-01-01-01-05.wav", tone(0.9), RATE, subtype="PCM_16")
    after = prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache")
    assert after.key != before.key
    assert after.index.loc["ravdess/01-03-01-01-01-05", "length"] == round(0.9 * RATE)


@pytest.mark.parametrize("damage", ["none", "half a row", "samples lost", "samples too many"])
def test_interrupted_preparation_is_resumed(folder, tmp_path, monkeypatch, damage):
    complete = prepared_items(prepare_waveforms(scan(folder), folder, RATE, tmp_path / "complete"))
    calls = []

    def fail_at_the_twelfth(path, rate, report):
        calls.append(path.name)
        if len(calls) == 12:
            raise MemoryError
        return read_audio(path, rate, report)

    monkeypatch.setattr(waveforms.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(waveforms, "read_audio", fail_at_the_twelfth)
    with pytest.raises(MemoryError):
        prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache")
    (partial,) = (tmp_path / "cache").rglob("*.partial")
    index, samples = partial / "index.csv", partial / "waveforms.int16"
    if damage == "half a row":
        index.write_bytes(index.read_bytes()[:-7])
    elif damage == "samples lost":
        samples.write_bytes(samples.read_bytes()[:-1001])
    elif damage == "samples too many":
        samples.write_bytes(samples.read_bytes() + b"abc")
    calls.clear()
    calls += ["past the twelfth"] * 100
    resumed = prepared_items(prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache"))
    assert len(calls) - 100 in (9, 10)  # eleven were prepared, and the damage affects at most one of them
    assert list(resumed) == list(complete)
    for name, samples in complete.items():
        np.testing.assert_array_equal(resumed[name], samples)


def prepare_in_process(folder, cache, queue):
    prepared = prepare_waveforms(scan(folder), folder, RATE, cache)
    queue.put((prepared.key, int(prepared.columns["waveforms"].astype(np.int64).sum())))


def test_concurrent_processes_prepare_once(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=prepare_in_process, args=(folder, tmp_path / "cache", queue)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert results[0] == results[1]
    assert [path.suffix for path in (tmp_path / "cache" / "waveforms").iterdir() if path.is_dir()] == [""]


def test_unusable_files_are_reported(folder, tmp_path):
    (folder / "03-01-03-01-01-01-01.wav").write_bytes(b"")
    (folder / "03-01-03-01-01-01-02.wav").write_text("not audio, but long enough to be inspected")
    soundfile.write(folder / "03-01-03-01-01-01-03.wav", np.zeros(0), RATE)
    soundfile.write(folder / "03-01-03-01-01-01-04.wav", np.array([0.1, np.nan, 0.2]), RATE, subtype="FLOAT")
    (folder / "01-01-03-01-01-01-21.mp4").write_text("no video")
    problems = prepare_waveforms(scan(folder), folder, RATE, tmp_path / "cache").problems
    messages = {
        "ravdess/01-03-01-01-01-01": "zero bytes",
        "ravdess/01-03-01-01-01-02": "cannot be decoded",
        "ravdess/01-03-01-01-01-03": "no samples",
        "ravdess/01-03-01-01-01-04": "NaN",
        "ravdess/01-03-01-01-01-21": "cannot be decoded",
    }
    assert set(problems.index) == set(messages)
    for recording, message in messages.items():
        assert message in problems[recording]
        assert str(folder) not in problems[recording]


def test_missing_files_are_reported(folder, tmp_path):
    table = scan(folder)
    (folder / "03-01-03-01-01-01-01.wav").unlink()
    problems = prepare_waveforms(table, folder, RATE, tmp_path / "cache").problems
    assert "no such file" in problems["ravdess/01-03-01-01-01-01"]


def test_unwritable_caches_are_reported(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmotionError, match="EMOTION_CACHE"):
        prepare_waveforms(scan(folder), folder, RATE, tmp_path / "file")


def test_resampling_keeps_pitch_level_and_length(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tone(1.0, 48_000), tone(1.0, 48_000, 0.25)], axis=1), 48_000, subtype="PCM_24")
    waveform = read_audio(path, RATE)
    assert waveform.shape == (RATE,)
    assert waveform.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(waveform))
    assert spectrum.argmax() == 440
    inside = slice(1000, -1000)  # without the edges, which the filter affects
    np.testing.assert_allclose(waveform[inside], tone(1.0, RATE, 0.375)[inside], atol=2e-3)


def test_audio_of_a_video_equals_its_audio_file(demo_root, tmp_path):
    from emotion.corpora.demo import Demo

    take = "01-05-01-01-01-01"
    Demo().ensure_video(tmp_path, [f"demo/{take}"])
    from_video = read_audio(tmp_path / "Actor_01" / f"01-{take}.mp4", RATE)
    from_audio = read_audio(demo_root / "Actor_01" / f"03-{take}.wav", RATE)
    size = min(len(from_video), len(from_audio))
    assert size / len(from_audio) > 0.97
    correlation = np.correlate(from_video[:size], from_audio[:size], "full")
    assert correlation.max() / np.sqrt((from_video**2).sum() * (from_audio**2).sum()) > 0.97


def test_videos_without_audio_are_refused(tmp_path):
    import av

    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="has no audio"):
        read_audio(path, RATE)


@pytest.mark.slow
def test_stereo_originals_and_an_identical_pair_are_read(real_data):
    originals = real_data / "ravdess_originals"
    table = Ravdess().scan(originals)
    assert len(table) == 13
    stereo = [path for path in originals.rglob("*.wav") if soundfile.info(path).channels == 2]
    assert len(stereo) == 5
    first, second = (
        read_audio(next(originals.rglob(f"03-01-03-01-02-{repetition}-07.wav")), RATE) for repetition in ("01", "02")
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_originals_equal_the_16_khz_copies(real_data, ravdess_speech):
    originals = real_data / "ravdess_originals"
    items = prepared_items(ravdess_speech)
    for row in Ravdess().scan(originals).itertuples():
        resampled = read_audio(originals / row.audio, RATE)
        copy = items[row.recording] / 32768
        assert len(resampled) == pytest.approx(len(copy), abs=1)
        size = min(len(resampled), len(copy))
        error = np.abs(resampled[:size] - copy[:size])
        # Resamplers differ slightly near the Nyquist frequency.
        assert error.mean() < 0.01 * np.abs(copy).max()


@pytest.mark.slow
def test_all_real_speech_is_usable(ravdess_speech):
    assert len(ravdess_speech.index) == 1440
    assert ravdess_speech.problems.empty
    seconds = ravdess_speech.index["length"] / RATE
    assert seconds.between(2.9, 5.3).all()

"""Tests of recordings as microphones, cameras, phones and other programs write them."""

import shutil
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from recordings import CODECS, encode_audio, voice, write_audio, write_clip

from emotion.inference import Predictor
from emotion.media.audio import read_audio, stream_audio, to_waveform
from emotion.media.files import MediaError
from emotion.media.image import Image, is_image
from emotion.media.video import frame_times, read_frames, video_duration
from emotion.prepare.faces import FaceOptions, prepare_faces
from emotion.prepare.waveforms import prepare_waveforms
from scenes import write_video

RATE = 16_000
OFFSETS = (0.0005, 0.002, 0.01, 0.05)
HUMS = (50, 60)


def decibels(waveform):
    return 20 * np.log10(np.sqrt(np.mean(np.square(waveform))))


def onset(waveform):
    """Return the time at which the waveform becomes loud, in seconds."""
    return np.flatnonzero(abs(waveform) > 0.1)[0] / RATE


def flash(path):
    """Return the time at which the video becomes white, in seconds."""
    return next(frame.time for frame in read_frames(path) if frame.pixels().mean() > 128)


@pytest.fixture(scope="module")
def shipped():
    return Predictor.shipped()


# Offset and hum


@pytest.mark.parametrize("offset", [*OFFSETS, -0.3])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_constant_offsets_are_removed_from_every_source(tmp_path, offset, suffix):
    audio, path = voice(), tmp_path / f"clip.{suffix}"
    plain, report = to_waveform(audio, 48_000, RATE), []
    soundfile.write(path, audio + offset, 48_000, subtype="PCM_24")
    for waveform in (
        read_audio(path, RATE),
        np.concatenate(list(stream_audio(path, RATE))),
        to_waveform(audio + np.float32(offset), 48_000, RATE, report.append),
    ):
        np.testing.assert_allclose(waveform, plain, atol=1e-5)
    assert report == []


@pytest.mark.parametrize("hum", HUMS)
def test_mains_hum_is_attenuated_and_speech_is_not(hum):
    time = np.arange(3 * RATE) / RATE
    quiet = to_waveform(0.1 * np.sin(2 * np.pi * hum * time), RATE, RATE)
    assert decibels(quiet[RATE:-RATE]) < decibels(0.1 * np.ones(1) / 2**0.5) - 40
    low = 0.1 * np.sin(2 * np.pi * 85 * time)
    assert decibels(to_waveform(low, RATE, RATE)) == pytest.approx(decibels(low), abs=0.1)


@pytest.mark.slow
def test_inaudible_offsets_and_hum_hardly_change_predictions(shipped, real_data):
    clips = sorted((real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob("*.flac"))[::14][:100]
    plain = [soundfile.read(clip, dtype="float32") for clip in clips]
    time = np.arange(10 * RATE) / RATE

    def labels(change):
        recordings = [
            shipped.reader.from_waveform(to_waveform(clip + change(clip), rate, RATE)) for clip, rate in plain
        ]
        batches = [recordings[start : start + 20] for start in range(0, len(recordings), 20)]  # saves memory
        return [prediction.emotion for batch in batches for prediction in shipped.predict_recordings(batch)]

    reference = labels(np.zeros_like)
    for offset in OFFSETS:
        changed = sum(a != b for a, b in zip(reference, labels(lambda s, c=offset: np.full_like(s, c)), strict=True))
        assert changed <= 2, f"an offset of {offset} changes {changed} of 100 labels"
    for hum in HUMS:
        sine = (0.002 * np.sin(2 * np.pi * hum * time)).astype(np.float32)
        changed = sum(a != b for a, b in zip(reference, labels(lambda s, w=sine: w[: len(s)]), strict=True))
        assert changed <= 5, f"a hum of {hum} Hz changes {changed} of 100 labels"


# Level and mix


@pytest.mark.parametrize("suffix", CODECS)
def test_level_does_not_depend_on_container_or_channels(tmp_path, suffix):
    audio, report = voice(), []
    silence = np.zeros_like(audio)
    mixes = {"mono": [audio], "stereo": [audio, audio], "one channel": [silence, audio], "opposite": [audio, -audio]}
    if suffix != "mp3":  # at most two channels
        mixes |= {"centre": [0.1 * audio, 0.1 * audio, audio, silence, silence, silence], "all of 5.1": [audio] * 6}
    for name, channels in mixes.items():
        write_audio(tmp_path / f"{name}.{suffix}", np.stack(channels, axis=1))
        waveform = read_audio(tmp_path / f"{name}.{suffix}", RATE, report.append)
        assert decibels(waveform) == pytest.approx(decibels(audio), abs=0.2), name
    assert [line.removeprefix(f"{tmp_path}/") for line in report] == [
        f"one channel.{suffix}: channel 1 of 2 is silent and is left out",
        f"opposite.{suffix}: its channels cancel each other; channel {report[1].split()[-6]} of 2 is used alone",
    ]


def test_different_channels_are_averaged():
    one, other = voice(), voice(level=0.1)[::-1]
    mixed = to_waveform(np.stack([one, other], axis=1), 48_000, RATE)
    np.testing.assert_allclose(mixed, to_waveform((one + other) / 2, 48_000, RATE), atol=1e-5)


def test_unusual_channels_are_noted_in_predictions_and_preparation(shipped, tmp_path, caplog):
    audio = voice()
    soundfile.write(tmp_path / "opposite.wav", np.stack([audio, -audio], axis=1), 48_000)
    note = "its channels cancel each other; channel 1 of 2 is used alone"
    assert note in shipped.predict(tmp_path / "opposite.wav").notes
    assert note in shipped.predict(np.stack([audio, -audio], axis=1), 48_000).notes
    table = pd.DataFrame({"recording": ["x/opposite"], "audio": ["opposite.wav"]})
    prepare_waveforms(table, tmp_path, RATE, tmp_path / "cache")
    assert f"the audio of 1 recordings is unusual, such as opposite.wav: {note}" in caplog.text


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float64"])
def test_integer_arrays_are_scaled_by_their_type(dtype):
    audio = voice(RATE)
    scaled = {"int16": audio * 2**15, "int32": audio * 2.0**31, "uint8": audio * 128 + 128, "float64": audio}[dtype]
    waveform = to_waveform(np.rint(scaled).astype(dtype) if dtype != "float64" else scaled, RATE, RATE)
    assert decibels(waveform) == pytest.approx(decibels(audio), abs=0.1)


@pytest.mark.parametrize(("peak", "bits"), [(26_000, 16), (6e6, 24), (2.0**30, 32)])
def test_floats_of_an_integer_range_are_scaled_and_reported(tmp_path, peak, bits):
    audio, report = voice(RATE), []
    scale = peak / abs(audio).max()
    soundfile.write(tmp_path / "clip.wav", audio * scale, RATE, subtype="FLOAT")
    waveform = read_audio(tmp_path / "clip.wav", RATE, report.append)
    assert decibels(waveform) == pytest.approx(decibels(audio * scale / 2 ** (bits - 1)), abs=0.1)
    assert f"its floats reach {peak:,.0f} and are read as integers of {bits} bits" in report[0]


def test_floats_of_an_unknown_scale_are_refused(tmp_path):
    soundfile.write(tmp_path / "clip.wav", 50 * voice(RATE), RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"its samples reach 1\d\.\d; full scale is 1"):
        read_audio(tmp_path / "clip.wav", RATE)


# Timestamps


CLIPS = {
    "plain.mp4": {},
    "ten.mkv": {"start": 10},
    "camcorder.ts": {"start": 1.4, "form": "mpegts"},
    "recorder.mts": {"start": 90_000, "form": "mpegts", "codec": "ac3"},
    "phone.mov": {"start": 3},
    "stream.flv": {"start": 7},
    "late_audio.mp4": {"audio_delay": 0.8},
    "late_audio.mkv": {"start": 5, "audio_delay": 0.8},
    "late_video.mp4": {"video_delay": 0.6},
    "late_video.ts": {"start": 2, "video_delay": 0.6, "form": "mpegts"},
}


@pytest.mark.parametrize("name", CLIPS)
def test_timestamps_of_audio_and_video_begin_at_zero(tmp_path, name):
    path = tmp_path / name
    write_clip(path, **CLIPS[name])
    audio, video = onset(read_audio(path, RATE)), flash(path)
    assert audio == pytest.approx(video, abs=0.02)
    assert audio == pytest.approx(1.0, abs=0.06)  # codecs add a delay before the first sample
    assert video_duration(path) == pytest.approx(2.0, abs=0.15)
    np.testing.assert_allclose(frame_times(path), [frame.time for frame in read_frames(path)], atol=1e-3)
    streamed = np.concatenate(list(stream_audio(path, RATE)))
    np.testing.assert_allclose(streamed, read_audio(path, RATE), atol=1e-3)


def test_gaps_in_the_audio_of_a_video_are_filled_with_silence(tmp_path):
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("flac", rate=48_000, layout="mono")
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[:, None]
        encode_audio(container, audio, tone[:23_040], 0.0, last=False)  # whole frames of FLAC
        encode_audio(container, audio, tone[:24_000], 2.0)
    waveform = read_audio(path, RATE)
    assert onset(waveform[RATE:]) == pytest.approx(1.0, abs=0.02)
    assert abs(waveform[round(0.7 * RATE) : round(1.9 * RATE)]).max() < 1e-3


def test_faces_are_cropped_at_the_times_of_the_audio(face, tmp_path):
    """A start time other than zero must not shift the window beyond the video."""
    from scenes import scene

    write_video(tmp_path / "clip.mp4", [scene((face, 200, 100))] * 20)
    with av.open(str(tmp_path / "clip.mp4")) as source, av.open(str(tmp_path / "ten.mkv"), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                delay = round(10 / packet.time_base)
                packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    table = pd.DataFrame({"recording": ["x/a", "x/b"], "video": ["clip.mp4", "ten.mkv"]})
    windows = {"x/a": (0.5, 1.5), "x/b": (0.5, 1.5)}
    store = prepare_faces(table, tmp_path, FaceOptions(frames=4), windows, tmp_path / "cache")
    assert store.problems.empty
    times = store.columns["boxes"][:, 0].reshape(2, 4)
    np.testing.assert_allclose(times[0], times[1], atol=0.02)


# Orientation and aspect ratio


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("vflip", [False, True])
def test_display_matrix_rotates_and_flips(tmp_path, rotation, hflip, vflip):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_rotation(rotation, hflip=hflip, vflip=vflip)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    expected = np.rot90(stored, rotation // 90)
    expected = expected[:, ::-1] if hflip else expected
    expected = expected[::-1] if vflip else expected
    frame = next(read_frames(path))
    assert frame.size == (expected.shape[1], expected.shape[0])
    assert abs(frame.pixels().astype(int) - expected).mean() < 5


@pytest.mark.parametrize("aspect", [(2, 1), (1, 2), (4, 3), (10, 11)])
def test_non_square_pixels_are_stretched(tmp_path, aspect):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 120, 110, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((120, 110, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    frame = next(read_frames(path))
    assert frame.size == (round(110 * aspect[0] / aspect[1]), 120)
    assert frame.pixels().shape == (120, frame.size[0], 3)


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("suffix", ["heic", "jpg"])
def test_image_orientation_is_applied_whatever_the_suffix(tmp_path, form, suffix):
    import PIL.ImageOps
    from pillow_heif import register_heif_opener

    register_heif_opener()
    stored = np.zeros((96, 128, 3), np.uint8)
    stored[:48, :64], stored[:48, 64:], stored[48:, :64] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    for orientation in range(1, 9):
        image = PIL.Image.fromarray(stored)
        image.getexif()[0x0112] = orientation
        expected = np.array(PIL.ImageOps.exif_transpose(image))
        path = tmp_path / f"{orientation}.{suffix}"
        image.save(path, format=form, exif=image.getexif())
        pixels = Image(path).pixels()
        assert is_image(path)
        assert pixels.shape == expected.shape
        assert abs(pixels.astype(int) - expected).mean() < 5, orientation


# Files are read by their content


@pytest.mark.parametrize("form", ["aac", "flac", "m4a", "mp3", "ogg", "webm", "mka"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "bin"])
def test_wrong_suffixes_are_ignored(tmp_path, form, suffix):
    audio = voice(seconds=1.0)
    codec, container = {"aac": ("aac", "adts"), "m4a": ("aac", "mp4"), "mka": ("flac", "matroska")}.get(
        form, (CODECS.get(form), form)
    )
    write_audio(tmp_path / f"clip.{suffix}", audio[:, None], codec=codec, form=container)
    waveform = read_audio(tmp_path / f"clip.{suffix}", RATE)
    assert len(waveform) == pytest.approx(RATE, abs=1200)
    assert decibels(waveform) == pytest.approx(decibels(audio), abs=0.5)


def test_truncated_wav_files_are_used_with_a_note(tmp_path):
    soundfile.write(tmp_path / "whole.wav", voice(), 48_000)
    data, notes = (tmp_path / "whole.wav").read_bytes(), []
    (tmp_path / "part.wav").write_bytes(data[: len(data) // 2])
    assert len(read_audio(tmp_path / "part.wav", RATE, notes.append)) == pytest.approx(1.25 * RATE, abs=10)
    assert notes == [f"{tmp_path}/part.wav: is cut off; its header states 1.3 more seconds"]
    read_audio(tmp_path / "whole.wav", RATE, notes.append)
    streamed = data[:40] + b"\xff\xff\xff\xff" + data[44:]  # as written to a pipe
    (tmp_path / "streamed.wav").write_bytes(streamed)
    read_audio(tmp_path / "streamed.wav", RATE, notes.append)
    assert len(notes) == 1


def test_flac_files_of_unknown_length_are_read(tmp_path):
    soundfile.write(tmp_path / "clip.flac", voice(), 48_000)
    data = bytearray((tmp_path / "clip.flac").read_bytes())
    data[21] &= 0xF0  # clears the number of samples, which is in the last 36 bits
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)  # clears the checksum
    (tmp_path / "streamed.flac").write_bytes(data)
    assert len(read_audio(tmp_path / "streamed.flac", RATE)) == round(2.5 * RATE)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
def test_unclosed_wav_files_are_read(tmp_path, size, riff_size):
    soundfile.write(tmp_path / "clip.wav", voice(), 48_000)
    data = bytearray((tmp_path / "clip.wav").read_bytes())
    position = data.index(b"data") + 4
    data[position : position + 4] = size.to_bytes(4, "little")
    data[4:8] = riff_size.to_bytes(4, "little")
    (tmp_path / "clip.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "clip.wav", RATE)) == round(2.5 * RATE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html></html>", "is an HTML page"),
        (b"<html><body>404</body></html>", "is an HTML page"),
        (b'<?xml version="1.0"?><Error/>', "is an XML document"),
        (b'{"message": "not found"}', "is a JSON document"),
        (b"PK\x03\x04rest", "is a ZIP archive"),
    ],
)
@pytest.mark.parametrize("suffix", ["wav", "mp4", "jpg"])
def test_files_other_than_media_are_refused(shipped, tmp_path, content, message, suffix):
    (tmp_path / f"clip.{suffix}").write_bytes(content)
    with pytest.raises(MediaError, match=message):
        shipped.predict(tmp_path / f"clip.{suffix}")


# Tracks


@pytest.mark.parametrize("default", [0, 1])
def test_default_audio_track_is_read(tmp_path, default):
    from av.stream import Disposition

    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=48_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
        for number, stream in enumerate(streams):
            encode_audio(container, stream, voice(level=0.2 if number == default else 0.0)[:, None])
    assert decibels(read_audio(path, RATE)) == pytest.approx(decibels(voice()), abs=0.2)


def test_linked_files_are_read(tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice(RATE), RATE)
    (tmp_path / "link.wav").symlink_to(tmp_path / "clip.wav")
    shutil.copy(tmp_path / "clip.wav", tmp_path / "copy.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "link.wav", RATE), read_audio(tmp_path / "copy.wav", RATE))

"""Recordings as microphones, cameras, phones and other people's programs write them."""

import shutil
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from recordings import CODECS, encode_sound, voice, write_audio, write_clip

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
    """When it becomes loud, in seconds."""
    return np.flatnonzero(abs(waveform) > 0.1)[0] / RATE


def flash(path):
    """When the picture becomes white, in seconds."""
    return next(picture.time for picture in read_frames(path) if picture.pixels().mean() > 128)


@pytest.fixture(scope="module")
def shipped():
    return Predictor.shipped()


# Offset and hum


@pytest.mark.parametrize("offset", [*OFFSETS, -0.3])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_constant_vanishes_wherever_sound_comes_from(tmp_path, offset, suffix):
    sound, path = voice(), tmp_path / f"clip.{suffix}"
    plain, report = to_waveform(sound, 48_000, RATE), []
    soundfile.write(path, sound + offset, 48_000, subtype="PCM_24")
    for waveform in (
        read_audio(path, RATE),
        np.concatenate(list(stream_audio(path, RATE))),
        to_waveform(sound + np.float32(offset), 48_000, RATE, report.append),
    ):
        np.testing.assert_allclose(waveform, plain, atol=1e-5)
    assert report == []


@pytest.mark.parametrize("hum", HUMS)
def test_mains_hum_is_attenuated_and_the_voice_is_not(hum):
    time = np.arange(3 * RATE) / RATE
    quiet = to_waveform(0.1 * np.sin(2 * np.pi * hum * time), RATE, RATE)
    assert decibels(quiet[RATE:-RATE]) < decibels(0.1 * np.ones(1) / 2**0.5) - 40
    low = 0.1 * np.sin(2 * np.pi * 85 * time)
    assert decibels(to_waveform(low, RATE, RATE)) == pytest.approx(decibels(low), abs=0.1)


def test_an_inaudible_constant_or_hum_does_not_change_the_answer(shipped, real_data):
    clips = sorted((real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob("*.flac"))[::14][:100]
    plain = [soundfile.read(clip, dtype="float32") for clip in clips]
    time = np.arange(10 * RATE) / RATE

    def labels(change):
        read = [shipped.reader.from_waveform(to_waveform(clip + change(clip), rate, RATE)) for clip, rate in plain]
        batches = [read[start : start + 20] for start in range(0, len(read), 20)]  # for less memory
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
def test_level_depends_neither_on_container_nor_on_channels(tmp_path, suffix):
    sound, report = voice(), []
    silence = np.zeros_like(sound)
    mixes = {"mono": [sound], "stereo": [sound, sound], "one channel": [silence, sound], "opposite": [sound, -sound]}
    if suffix != "mp3":  # has two channels at most
        mixes |= {"centre": [0.1 * sound, 0.1 * sound, sound, silence, silence, silence], "all of 5.1": [sound] * 6}
    for name, channels in mixes.items():
        write_audio(tmp_path / f"{name}.{suffix}", np.stack(channels, axis=1))
        waveform = read_audio(tmp_path / f"{name}.{suffix}", RATE, report.append)
        assert decibels(waveform) == pytest.approx(decibels(sound), abs=0.2), name
    assert [line.removeprefix(f"{tmp_path}/") for line in report] == [
        f"one channel.{suffix}: channel 1 of 2 is silent and is left out",
        f"opposite.{suffix}: its channels cancel each other; channel {report[1].split()[-6]} of 2 is used alone",
    ]


def test_channels_of_different_sounds_are_averaged():
    one, other = voice(), voice(level=0.1)[::-1]
    mixed = to_waveform(np.stack([one, other], axis=1), 48_000, RATE)
    np.testing.assert_allclose(mixed, to_waveform((one + other) / 2, 48_000, RATE), atol=1e-5)


def test_what_is_odd_about_the_channels_is_in_the_answer_and_told_when_preparing(shipped, tmp_path, caplog):
    sound = voice()
    soundfile.write(tmp_path / "opposite.wav", np.stack([sound, -sound], axis=1), 48_000)
    note = "its channels cancel each other; channel 1 of 2 is used alone"
    assert note in shipped(tmp_path / "opposite.wav").notes
    assert note in shipped(np.stack([sound, -sound], axis=1), 48_000).notes
    table = pd.DataFrame({"recording": ["x/opposite"], "audio": ["opposite.wav"]})
    prepare_waveforms(table, tmp_path, RATE, tmp_path / "cache")
    assert f"the audio of 1 recordings is unusual, such as opposite.wav: {note}" in caplog.text


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float64"])
def test_arrays_of_integers_have_their_own_scale(dtype):
    sound = voice(RATE)
    scaled = {"int16": sound * 2**15, "int32": sound * 2.0**31, "uint8": sound * 128 + 128, "float64": sound}[dtype]
    waveform = to_waveform(np.rint(scaled).astype(dtype) if dtype != "float64" else scaled, RATE, RATE)
    assert decibels(waveform) == pytest.approx(decibels(sound), abs=0.1)


@pytest.mark.parametrize(("peak", "bits"), [(26_000, 16), (6e6, 24), (2.0**30, 32)])
def test_floats_of_an_integer_range_are_scaled_and_reported(tmp_path, peak, bits):
    sound, report = voice(RATE), []
    scale = peak / abs(sound).max()
    soundfile.write(tmp_path / "clip.wav", sound * scale, RATE, subtype="FLOAT")
    waveform = read_audio(tmp_path / "clip.wav", RATE, report.append)
    assert decibels(waveform) == pytest.approx(decibels(sound * scale / 2 ** (bits - 1)), abs=0.1)
    assert f"its floats reach {peak:,.0f} and are read as integers of {bits} bits" in report[0]


def test_floats_of_an_unknown_scale_are_refused(tmp_path):
    soundfile.write(tmp_path / "clip.wav", 50 * voice(RATE), RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"its samples reach 1\d\.\d; full scale is 1"):
        read_audio(tmp_path / "clip.wav", RATE)


# The clock


CLIPS = {
    "plain.mp4": {},
    "ten.mkv": {"start": 10},
    "camcorder.ts": {"start": 1.4, "form": "mpegts"},
    "recorder.mts": {"start": 90_000, "form": "mpegts", "codec": "ac3"},
    "phone.mov": {"start": 3},
    "stream.flv": {"start": 7},
    "late_sound.mp4": {"sound_late": 0.8},
    "late_sound.mkv": {"start": 5, "sound_late": 0.8},
    "late_picture.mp4": {"picture_late": 0.6},
    "late_picture.ts": {"start": 2, "picture_late": 0.6, "form": "mpegts"},
}


@pytest.mark.parametrize("name", CLIPS)
def test_sound_and_picture_share_a_clock_that_begins_at_0(tmp_path, name):
    path = tmp_path / name
    write_clip(path, **CLIPS[name])
    sound, picture = onset(read_audio(path, RATE)), flash(path)
    assert sound == pytest.approx(picture, abs=0.02)
    assert sound == pytest.approx(1.0, abs=0.06)  # of what codecs put before the first sample
    assert video_duration(path) == pytest.approx(2.0, abs=0.15)
    np.testing.assert_allclose(frame_times(path), [frame.time for frame in read_frames(path)], atol=1e-3)
    streamed = np.concatenate(list(stream_audio(path, RATE)))
    np.testing.assert_allclose(streamed, read_audio(path, RATE), atol=1e-3)


def test_silence_fills_a_gap_in_the_sound_of_a_video(tmp_path):
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("flac", rate=48_000, layout="mono")
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[:, None]
        encode_sound(container, sound, tone[:23_040], 0.0, last=False)  # whole frames of FLAC
        encode_sound(container, sound, tone[:24_000], 2.0)
    waveform = read_audio(path, RATE)
    assert onset(waveform[RATE:]) == pytest.approx(1.0, abs=0.02)
    assert abs(waveform[round(0.7 * RATE) : round(1.9 * RATE)]).max() < 1e-3


def test_faces_are_cut_at_the_times_of_the_sound(face, tmp_path):
    """A late clock must not take the window of the sound to where there is no picture."""
    from scenes import scene

    write_video(tmp_path / "clip.mp4", [scene((face, 200, 100))] * 20)
    with av.open(str(tmp_path / "clip.mp4")) as source, av.open(str(tmp_path / "ten.mkv"), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                late = round(10 / packet.time_base)
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    table = pd.DataFrame({"recording": ["x/a", "x/b"], "video": ["clip.mp4", "ten.mkv"]})
    windows = {"x/a": (0.5, 1.5), "x/b": (0.5, 1.5)}
    store = prepare_faces(table, tmp_path, FaceOptions(frames=4), windows, tmp_path / "cache")
    assert store.problems.empty
    times = store.columns["boxes"][:, 0].reshape(2, 4)
    np.testing.assert_allclose(times[0], times[1], atol=0.02)


# Pictures as cameras write them


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_a_display_matrix_turns_and_mirrors(tmp_path, turn, mirror, flip):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_rotation(turn, hflip=mirror, vflip=flip)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    shown = np.rot90(stored, turn // 90)
    shown = shown[:, ::-1] if mirror else shown
    shown = shown[::-1] if flip else shown
    picture = next(read_frames(path))
    assert picture.size == (shown.shape[1], shown.shape[0])
    assert abs(picture.pixels().astype(int) - shown).mean() < 5


@pytest.mark.parametrize("aspect", [(2, 1), (1, 2), (4, 3), (10, 11)])
def test_pixels_that_are_not_square_are_stretched(tmp_path, aspect):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 120, 110, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((120, 110, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    picture = next(read_frames(path))
    assert picture.size == (round(110 * aspect[0] / aspect[1]), 120)
    assert picture.pixels().shape == (120, picture.size[0], 3)


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("suffix", ["heic", "jpg"])
def test_a_still_is_shown_as_it_says_whatever_its_suffix(tmp_path, form, suffix):
    import PIL.ImageOps
    from pillow_heif import register_heif_opener

    register_heif_opener()
    stored = np.zeros((96, 128, 3), np.uint8)
    stored[:48, :64], stored[:48, 64:], stored[48:, :64] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    for orientation in range(1, 9):
        image = PIL.Image.fromarray(stored)
        image.getexif()[0x0112] = orientation
        shown = np.array(PIL.ImageOps.exif_transpose(image))
        path = tmp_path / f"{orientation}.{suffix}"
        image.save(path, format=form, exif=image.getexif())
        pixels = Image(path).pixels()
        assert is_image(path)
        assert pixels.shape == shown.shape
        assert abs(pixels.astype(int) - shown).mean() < 5, orientation


# The content decides what reads a file


@pytest.mark.parametrize("form", ["aac", "flac", "m4a", "mp3", "ogg", "webm", "mka"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "bin"])
def test_a_wrong_suffix_does_not_matter(tmp_path, form, suffix):
    sound = voice(seconds=1.0)
    codec, container = {"aac": ("aac", "adts"), "m4a": ("aac", "mp4"), "mka": ("flac", "matroska")}.get(
        form, (CODECS.get(form), form)
    )
    write_audio(tmp_path / f"clip.{suffix}", sound[:, None], codec=codec, form=container)
    waveform = read_audio(tmp_path / f"clip.{suffix}", RATE)
    assert len(waveform) == pytest.approx(RATE, abs=1200)
    assert decibels(waveform) == pytest.approx(decibels(sound), abs=0.5)


def test_a_flac_file_of_unknown_length_is_read(tmp_path):
    soundfile.write(tmp_path / "clip.flac", voice(), 48_000)
    data = bytearray((tmp_path / "clip.flac").read_bytes())
    data[21] &= 0xF0  # the number of samples is in the last 36 bits of these
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)  # and their checksum
    (tmp_path / "streamed.flac").write_bytes(data)
    assert len(read_audio(tmp_path / "streamed.flac", RATE)) == round(2.5 * RATE)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
@pytest.mark.parametrize("whole", [0, 36, 0xFFFFFFFF])
def test_a_wav_file_that_was_never_closed_is_read(tmp_path, size, whole):
    soundfile.write(tmp_path / "clip.wav", voice(), 48_000)
    data = bytearray((tmp_path / "clip.wav").read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = size.to_bytes(4, "little")
    data[4:8] = whole.to_bytes(4, "little")
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
def test_what_is_no_recording_is_named(shipped, tmp_path, content, message, suffix):
    (tmp_path / f"clip.{suffix}").write_bytes(content)
    with pytest.raises(MediaError, match=message):
        shipped(tmp_path / f"clip.{suffix}")


# Tracks


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_track_of_sound_is_read(tmp_path, default):
    from av.stream import Disposition

    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=48_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
        for number, stream in enumerate(streams):
            encode_sound(container, stream, voice(level=0.2 if number == default else 0.0)[:, None])
    assert decibels(read_audio(path, RATE)) == pytest.approx(decibels(voice()), abs=0.2)


def test_a_linked_file_is_read_like_any(tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice(RATE), RATE)
    (tmp_path / "link.wav").symlink_to(tmp_path / "clip.wav")
    shutil.copy(tmp_path / "clip.wav", tmp_path / "copy.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "link.wav", RATE), read_audio(tmp_path / "copy.wav", RATE))

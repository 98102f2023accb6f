"""Tests of the corpora: file names, metadata and the synthetic demo corpus."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from emotion.corpora import demo_face, demo_voice
from emotion.corpora.demo import Demo
from emotion.corpora.emodb import EmoDb
from emotion.corpora.folder import Folder
from emotion.corpora.ravdess import Ravdess
from emotion.corpora.several import Several
from emotion.corpora.tess import WORDS, Tess
from emotion.errors import EmotionError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_ravdess_names_are_parsed(tmp_path):
    touch(tmp_path / "03-02-06-02-01-02-24.WAV")
    (row,) = Ravdess().scan(tmp_path).to_dict("records")
    assert row == {
        "recording": "ravdess/02-06-02-01-02-24",
        "speaker": "ravdess/24",
        "emotion": "fearful",
        "audio": "03-02-06-02-01-02-24.WAV",
        "video": "",
        "channel": "song",
        "intensity": "strong",
        "statement": "01",
        "repetition": "02",
        "gender": "female",
        "start": "",
        "end": "",
    }


def test_modalities_of_a_take_form_one_recording(tmp_path):
    for modality, suffix in (("01", "mp4"), ("02", "mp4"), ("03", "wav")):
        touch(tmp_path / f"v{modality}" / f"{modality}-01-03-01-01-01-05.{suffix}")
    touch(tmp_path / "01-01-04-01-01-01-05.mp4")
    touch(tmp_path / "02-01-05-01-01-01-05.mp4")
    table = Ravdess().scan(tmp_path).set_index("recording")
    assert len(table) == 3
    all_three = table.loc["ravdess/01-03-01-01-01-05"]
    assert all_three["audio"] == "v03/03-01-03-01-01-01-05.wav"
    assert all_three["video"] == "v01/01-01-03-01-01-01-05.mp4"
    with_audio, mute = table.loc["ravdess/01-04-01-01-01-05"], table.loc["ravdess/01-05-01-01-01-05"]
    assert with_audio["audio"] == with_audio["video"] == "01-01-04-01-01-01-05.mp4"
    assert (mute["audio"], mute["video"]) == ("", "02-01-05-01-01-01-05.mp4")


def test_nested_copies_count_once_and_other_files_are_ignored(tmp_path):
    name = "03-01-03-01-01-01-05.wav"
    for folder in ("", "copy/copy/Actor_05"):
        touch(tmp_path / folder / name)
    for foreign in ("03-01-09-01-01-01-05.wav", "03-01-03-01-01-01-25.wav", "notes.txt", f"x{name}", f"{name}.zip"):
        touch(tmp_path / foreign)
    table = Ravdess().scan(tmp_path)
    assert list(table["audio"]) == [name]


def test_speech_and_song_are_distinguished(tmp_path):
    touch(tmp_path / "03-01-03-01-01-01-05.wav")
    touch(tmp_path / "03-02-03-01-01-01-05.wav")
    corpus = Ravdess()
    assert [len(corpus.scan(tmp_path, channel)) for channel in ("speech", "song", "both")] == [1, 1, 2]
    with pytest.raises(EmotionError, match="speech, song, both"):
        corpus.scan(tmp_path, "sing")


def test_the_corpus_folder_is_found_and_siblings_are_not_scanned(tmp_path):
    touch(tmp_path / "other" / "03-01-04-01-01-01-05.wav")
    corpus = Ravdess()
    assert corpus.locate(str(tmp_path)) == tmp_path
    touch(tmp_path / "ravdess" / "03-01-03-01-01-01-05.wav")
    assert corpus.locate(str(tmp_path)) == tmp_path / "ravdess"
    assert len(corpus.scan(corpus.locate(str(tmp_path)))) == 1


def test_missing_corpora_are_reported_with_their_path(tmp_path):
    with pytest.raises(EmotionError, match=r"nowhere.*neither exists.*data\.root=DIR.*emotion download ravdess"):
        Ravdess().locate(str(tmp_path / "nowhere"))
    with pytest.raises(EmotionError, match="no ravdess recording"):
        Ravdess().scan(tmp_path)


@pytest.mark.slow
def test_real_ravdess_is_described(real_data):
    corpus = Ravdess()
    table = corpus.scan(corpus.locate(str(real_data)))
    text = corpus.describe(table, "both")
    assert "1,440 speech recordings, complete" in text
    assert "1,009 of 1,012 song recordings (3 missing)" in text
    assert "ravdess/02-01-01-01-01-24" in text
    speech = table[table["channel"] == "speech"]
    assert (speech.groupby("speaker").size() == 60).all()
    assert speech["emotion"].value_counts().to_dict() == {"neutral": 96} | dict.fromkeys(
        ("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 192
    )


def test_undocumented_and_missing_recordings_are_counted_separately(tmp_path):
    touch(tmp_path / "03-02-03-01-01-01-18.wav")  # actor 18 did not sing
    touch(tmp_path / "03-02-03-01-01-01-17.wav")
    text = Ravdess().describe(Ravdess().scan(tmp_path), "both")
    assert "0 of 1,440 speech recordings (1,440 missing)" in text
    assert "1 of 1,012 song recordings (1,011 missing); 1 song recordings that are not documented" in text


def test_demo_has_24_actors_8_emotions_and_2_statements(demo_root):
    table = Demo().scan(demo_root)
    assert len(table) == 384
    assert (table.groupby(["speaker", "emotion"])["statement"].nunique() == 2).all()
    assert table["speaker"].nunique() == 24
    assert "complete" in Demo().describe(table, "speech")
    seconds = []
    for path in table["audio"]:
        info = soundfile.info(demo_root / path)
        assert (info.samplerate, info.channels, info.subtype) == (48_000, 1, "PCM_16")
        seconds.append(info.duration)
    assert 1.3 < np.mean(seconds) < 1.7
    assert min(seconds) > 1.0
    assert max(seconds) < 2.2


def test_demo_is_deterministic_and_completed(demo_root, tmp_path):
    takes = ["01-05-01-02-01-07", "01-01-01-01-01-24"]
    for take in takes:
        again = demo_voice.synthesise(take).waveform
        stored, _ = soundfile.read(demo_root / f"Actor_{take[-2:]}" / f"03-{take}.wav", dtype="float32")
        np.testing.assert_allclose(stored, again, atol=1 / 32768)
    # An incomplete folder is completed.
    folder = tmp_path / demo_root.name
    shutil.copytree(demo_root, folder)
    lost = folder / "Actor_07" / f"03-{takes[0]}.wav"
    lost.unlink()
    (folder / ".wav-complete").unlink()
    assert Demo().locate(str(tmp_path)) == folder
    original = demo_root / "Actor_07" / lost.name
    assert hashlib.sha256(lost.read_bytes()).digest() == hashlib.sha256(original.read_bytes()).digest()


def test_demo_levels_do_not_clip(demo_root):
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in demo_root.rglob("*.wav")]
    assert max(peaks) < 0.999
    assert np.median(peaks) > 0.02


@pytest.mark.slow
def test_faces_of_demo_videos_are_found_by_mtcnn(tmp_path):
    import av
    from facenet_pytorch import MTCNN

    corpus = Demo()
    # Every actor and every emotion, one video of each actor.
    takes = [f"01-{1 + actor % 8:02}-01-{1 + actor % 2:02}-01-{actor:02}" for actor in range(1, 25)]
    corpus.ensure_video(tmp_path, [f"demo/{take}" for take in takes])
    detector = MTCNN(keep_all=True, device="cpu", min_face_size=40)
    n_found, total = 0, 0
    for path in sorted(tmp_path.rglob("*.mp4")):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate) == (224, 224, 15)
            assert abs(video.frames / 15 - float(container.duration / av.time_base)) < 0.15
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        boxes, _ = detector.detect(frames[::3])
        total += len(boxes)
        for box in boxes:
            if box is not None and len(box) == 1:
                left, top, right, bottom = box[0]
                n_found += 90 < (left + right) / 2 < 134 and 80 < (top + bottom) / 2 < 144
    assert total > 150
    assert n_found / total >= 0.99
    assert len(corpus.scan(tmp_path)) == 24


def test_mouth_opening_follows_the_audio():
    take = "01-01-01-01-01-02"
    utterance = demo_voice.synthesise(take)
    frames = demo_face.draw_take(take, utterance).astype(float)
    mouth = frames[:, 135:165, 90:134].mean(axis=(1, 2, 3))
    steps = demo_voice.CONTROL_RATE / demo_face.FRAME_RATE
    opening = [utterance.opening[min(len(utterance.opening) - 1, round(n * steps))] for n in range(len(frames))]
    # The inside of an open mouth is dark.
    assert np.corrcoef(mouth, opening)[0, 1] < -0.5


def test_tess_names_are_parsed_and_copies_count_once(tmp_path):
    for path in ("OAF_Fear/OAF_back_fear.wav", "copy/OAF_Fear/OAF_back_fear.wav", "OA_bite_neutral.wav"):
        touch(tmp_path / path)
    for foreign in ("OAF_back_fears.wav", "XAF_back_fear.wav", "OAF_back_fear.txt"):
        touch(tmp_path / foreign)
    rows = Tess().scan(tmp_path).to_dict("records")
    assert [(row["recording"], row["speaker"], row["emotion"]) for row in rows] == [
        ("tess/OAF_back_fear", "tess/OAF", "fearful"),
        ("tess/OAF_bite_neutral", "tess/OAF", "neutral"),
    ]
    assert rows[0]["audio"] == "OAF_Fear/OAF_back_fear.wav"
    assert (rows[0]["statement"], rows[0]["gender"]) == ("back", "female")


@pytest.mark.slow
def test_real_tess_is_described(real_data):
    corpus = Tess()
    table = corpus.scan(corpus.locate(str(real_data)))
    assert corpus.describe(table, "speech") == "tess: 699 of 2,800 speech recordings (2,101 missing)"
    assert table.groupby(["speaker", "emotion"]).size().isin((49, 50)).all()
    assert set(table["statement"]) <= set(WORDS)
    assert len(set(WORDS)) == 200


def test_emodb_names_are_parsed(tmp_path):
    for name in ("03a01Fa", "16b10Lb", "08a07Wc"):
        touch(tmp_path / "wav" / f"{name}.wav")
    for foreign in ("04a01Fa.wav", "03a01Xa.wav", "03a01Fa.lab"):
        touch(tmp_path / "wav" / foreign)
    table = EmoDb().scan(tmp_path).set_index("recording")
    assert list(table["emotion"]) == ["happy", "angry", "bored"]
    assert list(table["speaker"]) == ["emodb/03", "emodb/08", "emodb/16"]
    assert list(table["gender"]) == ["male", "female", "female"]
    assert "3 of 535 speech recordings" in EmoDb().describe(table.reset_index(), "speech")


def test_combined_corpora_keep_their_keys_and_files(real_data, tmp_path):
    corpus = Several({name: {"_target_": f"emotion.corpora.{name}.{name.title()}"} for name in ("ravdess", "tess")})
    table = corpus.scan(corpus.locate(str(real_data)), "speech")
    assert table["recording"].str.split("/").str[0].value_counts().to_dict() == {"ravdess": 1440, "tess": 699}
    assert (real_data / table["audio"].iloc[0]).is_file()
    assert (real_data / table["audio"].iloc[-1]).is_file()
    (tmp_path / "ravdess").mkdir()
    with pytest.raises(
        EmotionError, match=r"tess is not in data\.root=.+; set its .+ data\.options\.tess\.root=DIR, or"
    ):
        corpus.locate(str(tmp_path))


def test_folder_names_are_emotions(tmp_path, caplog):
    for path in ("Happy/anna_1.wav", "happy/x/bo_1.mp3", "anger/anna_2.mp4", "anger/anna_2.wav", "misc/anna_3.wav"):
        touch(tmp_path / path)
    table = Folder().scan(Folder().locate(str(tmp_path)))
    assert dict(zip(table["recording"], table["emotion"], strict=True)) == {
        "folder/Happy/anna_1": "happy",
        "folder/anger/anna_2": "angry",
        "folder/happy/x/bo_1": "happy",
    }
    both = table.set_index("recording").loc["folder/anger/anna_2"]
    assert (both["audio"], both["video"]) == ("anger/anna_2.wav", "anger/anna_2.mp4")
    assert set(table["speaker"]) == {"unknown"}
    assert "misc/anna_3.wav" in caplog.text
    named = Folder(speaker=r"([a-z]+)_\d").scan(tmp_path)
    assert sorted(set(named["speaker"])) == ["anna", "bo"]
    assert set(Folder(speaker="(?:anna|bo)").scan(tmp_path)["speaker"]) == {"anna", "bo"}


def test_tables_list_files(tmp_path):
    touch(tmp_path / "a.wav")
    (tmp_path / "list.csv").write_text("path,emotion,speaker\na.wav,Joy,anna\nsub/b.wav,pleasant surprise,bo\n")
    table = Folder(table="list.csv").scan(tmp_path)
    assert list(table["emotion"]) == ["happy", "surprised"]
    assert list(table["speaker"]) == ["anna", "bo"]
    assert "2 recordings, 2 speakers" in Folder().describe(table, "speech")


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        ({"table": "list.csv"}, "path,emotion\na.wav,hapy\n", r"list\.csv line 2: 'hapy'.*did you mean happy"),
        ({"table": "list.csv"}, "name,emotion\na.wav,happy\n", "lacks the column path"),
        ({"table": "other.csv"}, "", r"cannot read.*other\.csv"),
        ({"speaker": "("}, "", "not a regular expression"),
        ({"speaker": r"(\d)"}, "", "matches no speaker in happy/a.wav"),
    ],
)
def test_invalid_tables_and_patterns_are_refused(tmp_path, settings, text, message):
    touch(tmp_path / "happy" / "a.wav")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(EmotionError, match=message):
        Folder(**settings).scan(tmp_path)


def test_missing_folders_are_refused(tmp_path):
    with pytest.raises(EmotionError, match=r"needs data\.root=DIR"):
        Folder().locate(None)
    with pytest.raises(EmotionError, match="nowhere is not a directory"):
        Folder().locate(str(tmp_path / "nowhere"))
    with pytest.raises(EmotionError, match="no folder recording"):
        Folder().scan(tmp_path)


LEAVE_A_CONTEXT = """
import gc, sys
from pathlib import Path
import av, numpy
from emotion.corpora.demo import Demo

gc.collect()
gc.disable()
reformatter = av.video.reformatter.VideoReformatter()
reformatter.reformat(av.VideoFrame.from_ndarray(numpy.zeros((720, 1280, 3), numpy.uint8), "rgb24"), 640, 360, "yuv420p")
cycle = [reformatter]
cycle.append(cycle)
del reformatter, cycle
gc.enable()
Demo().ensure_video(Path(sys.argv[1]), ["demo/" + take for take in Demo().takes()[:2]])
"""


def test_rendering_videos_does_not_wait_for_threads_of_the_parent(tmp_path):
    (tmp_path / "Actor_01").mkdir()
    subprocess.run([sys.executable, "-c", LEAVE_A_CONTEXT, tmp_path], check=True, timeout=120)
    assert len(list(tmp_path.rglob("*.mp4"))) == 2

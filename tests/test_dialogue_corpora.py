"""Tests of IEMOCAP and MELD on trees with their own names."""

import numpy as np
import pytest
import soundfile

from conftest import build_datamodule
from emotion.corpora.iemocap import Iemocap
from emotion.corpora.meld import Meld
from emotion.errors import EmotionError

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral;\t(curious)
"""


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def iemocap(tmp_path):
    """Ten turns of each session, of both actors, and their labels."""
    for session in range(1, 6):
        dialogue, lines = f"Ses0{session}F_impro01", [EVALUATION.splitlines()[0], ""]
        words = ("neu", "hap", "exc", "sad", "ang", "fru", "xxx", "fea", "dis", "sur")
        for number, word in enumerate(words):
            turn = f"{dialogue}_{'FM'[number % 2]}{number:03}"
            path = tmp_path / f"Session{session}" / "sentences" / "wav" / dialogue / f"{turn}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(4_000), 16_000)
            lines += [
                f"[{number}.0000 - {number}.9000]\t{turn}\t{word}\t[2.5000, 2.5000, 2.5000]",
                "C-E2:\tNeutral;\t()",
            ]
        evaluation = tmp_path / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        evaluation.parent.mkdir(parents=True, exist_ok=True)
        evaluation.write_text("\n".join(lines) + "\n")
    touch(tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Categorical" / "Ses01F_impro01_e1_cat.txt")
    touch(tmp_path / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav")
    return tmp_path


def test_turns_of_iemocap_have_the_labels_of_their_dialogue(iemocap):
    table = Iemocap().scan(iemocap)
    assert len(table) == 5 * 8
    counts = table["emotion"].value_counts().to_dict()
    assert counts["happy"] == 10  # excited too
    assert set(table["speaker"]) == {f"iemocap/{session}{gender}" for session in range(1, 6) for gender in "FM"}
    row = table.set_index("recording").loc["iemocap/Ses02F_impro01_M003"]
    assert (row["emotion"], row["speaker"], row["gender"]) == ("sad", "iemocap/2M", "male")
    assert row["audio"] == "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M003.wav"
    assert "40 of 5,680 labelled speech recordings (5,640 missing)" in Iemocap().describe(table, "speech")


def test_sessions_of_iemocap_are_tested_once(iemocap, compose):
    tested = []
    for fold in range(5):
        datamodule = build_datamodule(compose("data=iemocap", f"data.root={iemocap}", f"protocol.fold={fold}"))
        table = datamodule.protocol.table
        sessions = {split: set(own["speaker"].str[:-1]) for split, own in table.groupby("split")}
        assert {split: len(own) for split, own in sessions.items()} == {"train": 3, "dev": 1, "test": 1}
        tested += sessions["test"]
    assert len(set(tested)) == 5
    datamodule.setup()
    assert datamodule.dataset("train").label.numel() == 3 * 8


def test_turns_of_iemocap_have_ratings_whatever_their_label(iemocap):
    corpus = Iemocap(needs_emotions=False)
    table, ratings = corpus.scan(iemocap), corpus.ratings(iemocap, None)
    assert len(table) > 5 * 8
    assert "" in set(table["emotion"])
    assert list(ratings) == ["valence", "arousal", "dominance"]
    assert set(ratings.loc[table["recording"]].to_numpy().ravel()) == {2.5}
    with pytest.raises(EmotionError, match="has no column trust"):
        corpus.ratings(iemocap, ["trust"])


def test_turns_without_labels_are_refused(iemocap):
    for file in iemocap.rglob("EmoEvaluation/*.txt"):
        file.unlink()
    with pytest.raises(EmotionError, match=r"holds turns of IEMOCAP but not their labels"):
        Iemocap().scan(iemocap)
    with pytest.raises(EmotionError, match="no iemocap recording was found"):
        Iemocap().scan(iemocap / "Session1" / "dialog" / "EmoEvaluation")


@pytest.fixture
def meld(tmp_path):
    """Two dialogues of each split; the numbers are the same in each."""
    folders = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    for split, folder in folders.items():
        lines = [header]
        for number, emotion in enumerate(("neutral", "joy", "anger", "surprise")):
            dialogue, utterance = divmod(number, 2)
            cells = [number, '"Well, ""no"" – it\x92s me"', ("Joey", "Monica")[utterance], emotion, "neutral"]
            cells += [dialogue, utterance, 8, 21, '"00:16:16,059"', '"00:16:21,731"']
            lines.append(",".join(map(str, cells)))
            touch(tmp_path / "MELD.Raw" / folder / f"dia{dialogue}_utt{utterance}.mp4")
        (tmp_path / "MELD.Raw" / f"{split}_sent_emo.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    touch(tmp_path / "MELD.Raw" / "output_repeated_splits_test" / "final_videos_testdia0_utt0.mp4")
    return tmp_path


def test_utterances_of_meld_are_those_of_its_tables(meld):
    table = Meld().scan(meld)
    assert len(table) == 12
    row = table.set_index("recording").loc["meld/dev/dia1_utt0"]
    assert (row["emotion"], row["speaker"]) == ("angry", "meld/Joey")
    assert row["audio"] == row["video"] == "MELD.Raw/dev_splits_complete/dia1_utt0.mp4"
    assert "12 of 13,708" in Meld().describe(table, "speech")


def test_splits_of_meld_are_the_official_ones(meld, compose):
    protocol = build_datamodule(compose("data=meld", f"data.root={meld}")).protocol
    assert protocol.table["split"].value_counts().to_dict() == {"train": 4, "dev": 4, "test": 4}
    assert protocol.speaker_independent is False
    with pytest.raises(EmotionError, match="the official splits of MELD are fold 0"):
        build_datamodule(compose("data=meld", f"data.root={meld}", "protocol.fold=1"))


def test_missing_videos_of_meld_are_refused_or_skipped(meld, compose):
    (meld / "MELD.Raw" / "train_splits" / "dia0_utt1.mp4").unlink()
    with pytest.raises(
        EmotionError, match="1 videos that the tables of MELD list are missing, such as that of meld/train/dia0_utt1"
    ):
        Meld().scan(meld)
    assert len(Meld(on_error="skip").scan(meld)) == 11
    (meld / "MELD.Raw" / "dev_sent_emo.csv").write_text("Speaker,Emotion,Dialogue_ID,Utterance_ID\nRoss,bored,1,1\n")
    with pytest.raises(EmotionError, match=r"dev_sent_emo\.csv line 2: 'bored' is no emotion of MELD"):
        Meld(on_error="skip").scan(meld)

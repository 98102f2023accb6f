"""Tests of the corpora whose file names hold the labels."""

from itertools import product

import pytest

from emotion.corpora.named import CORPORA, NamedCorpus
from emotion.errors import EmotionError
from emotion.labels import OF_CORPUS

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
CREMA_D = [
    f"AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav"
    for actor, sentence, emotion in product(range(1001, 1005), SENTENCES, ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"))
    for level in (("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",))
]
EMOVO = [
    f"{speaker}/{emotion}-{speaker}-{sentence}.wav"
    for speaker, emotion, sentence in product(
        ("f1", "f2", "f3", "m1", "m2", "m3"),
        ("dis", "gio", "neu", "pau", "rab", "sor", "tri"),
        ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"),
    )
]
ESD = [
    f"{speaker:04}/{folder}/{speaker:04}_{350 * number + sentence:06}.wav"
    for speaker in (1, 11)
    for number, folder in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise"))
    for sentence in range(1, 351)
]
SAVEE = [
    f"AudioData/{speaker}/{emotion}{sentence:02}.wav"
    for speaker, emotion in product(("DC", "JE", "JK", "KL"), ("a", "d", "f", "h", "n", "sa", "su"))
    for sentence in range(1, 31 if emotion == "n" else 16)
]


def create(root, paths):
    for path in (*paths, "README.txt", "other/unrelated.wav"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@pytest.mark.parametrize(
    ("corpus", "paths", "n_speakers", "counts", "text"),
    [
        (
            NamedCorpus("crema_d"),
            CREMA_D,
            4,
            {"neutral": 48, "angry": 56},
            "328 of 7,442 speech recordings (7,114 missing)",
        ),
        (NamedCorpus("emovo"), EMOVO, 6, {"neutral": 84, "surprised": 84}, "588 speech recordings, complete"),
        (
            NamedCorpus("esd"),
            ESD,
            2,
            {"neutral": 700, "surprised": 700},
            "3,500 of 35,000 speech recordings (31,500 missing)",
        ),
        (
            NamedCorpus("savee"),
            SAVEE,
            4,
            {"neutral": 120, "sad": 60, "surprised": 60},
            "480 speech recordings, complete",
        ),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_recordings_of_a_corpus_by_their_official_names(tmp_path, corpus, paths, n_speakers, counts, text):
    create(tmp_path / corpus.name, paths)
    table = corpus.scan(corpus.locate(str(tmp_path)))
    assert len(table) == len(paths)
    assert table["recording"].is_unique
    assert set(table["audio"]) == set(paths)
    assert set(table["emotion"]) == set(OF_CORPUS[corpus.name])
    assert table["emotion"].value_counts().loc[list(counts)].to_dict() == counts
    assert table["speaker"].nunique() == n_speakers
    assert corpus.describe(table, "speech") == f"{corpus.name}: {text}"


def test_columns_of_single_recordings(tmp_path):
    create(tmp_path, [CREMA_D[0], EMOVO[0], ESD[351], SAVEE[0]])
    columns = ["recording", "speaker", "emotion", "intensity", "statement", "gender"]
    names = ("crema_d", "emovo", "esd", "savee")
    assert {name: tuple(NamedCorpus(name).scan(tmp_path).iloc[0][columns]) for name in names} == {
        "crema_d": ("crema_d/1001_IEO_ANG_LO", "crema_d/1001", "angry", "low", "IEO", ""),
        "emovo": ("emovo/dis-f1-b1", "emovo/f1", "disgust", "", "b1", "female"),
        "esd": ("esd/0001_000352", "esd/0001", "angry", "", "", ""),
        "savee": ("savee/DC_a01", "savee/DC", "angry", "", "01", "male"),
    }


def test_names_with_and_without_the_folder_of_the_speaker_are_one_recording(tmp_path):
    create(tmp_path, ["DC/a01.wav", "flat/DC_a01.wav", "copy/deeper/DC/a01.wav"])
    savee = NamedCorpus("savee")
    table = savee.scan(tmp_path)
    assert list(table["recording"]) == ["savee/DC_a01"]
    assert list(table["audio"]) == ["DC/a01.wav"]
    assert savee.scan(tmp_path / "DC")["recording"].tolist() == ["savee/DC_a01"]


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_without_the_corpus_is_refused(tmp_path, name):
    create(tmp_path, ["0021_000001.wav", "XX_a01.wav", "b6-01-01-01-01.wav", "1001_DFA_ANY_XX.wav", "dis-f4-b1.wav"])
    with pytest.raises(EmotionError, match=f"no {name} recording was found below .*set their directory"):
        NamedCorpus(name).scan(tmp_path)


def test_an_unknown_corpus_is_refused():
    with pytest.raises(EmotionError, match="did you mean savee"):
        NamedCorpus("save")


def test_ased_is_complete(real_data):
    ased = NamedCorpus("ased")
    table = ased.scan(ased.locate(str(real_data)))
    assert ased.describe(table, "speech") == "ased: 2,474 speech recordings, complete"
    assert table["emotion"].value_counts().to_dict() == {
        "neutral": 522,
        "fearful": 510,
        "angry": 486,
        "happy": 486,
        "sad": 470,
    }
    assert table["speaker"].nunique() == 65
    assert table.groupby("speaker")["gender"].nunique().max() == 1
    assert (ased.locate(str(real_data)) / table["audio"].iloc[0]).is_file()


def test_votes_on_crema_d_are_those_of_the_stimulus(tmp_path):
    create(tmp_path / "crema_d", ["AudioWAV/1001_IEO_NEU_XX.wav", "AudioWAV/1001_IEO_HAP_HI.wav"])
    lines = [
        '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp"',
        '"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11,0.909,"N",71.7',
        '"100004",2,0,0,6,2,0,"1001_IEO_HAP_HI",10,0.6,"H",57.6',
        '"200001",0,3,0,0,7,0,"1001_IEO_NEU_XX",10,0.7,"N",50.0',
    ]
    (tmp_path / "crema_d" / "tabulatedVotes.csv").write_text("\n".join(lines) + "\n")
    corpus = NamedCorpus("crema_d", votes="tabulatedVotes.csv")
    votes = corpus.votes(corpus.locate(str(tmp_path)))
    assert votes.loc["crema_d/1001_IEO_NEU_XX"].to_dict() == {
        "angry": 0.0,
        "disgust": 0.0,
        "fearful": 0.0,
        "happy": 1.0,
        "neutral": 10.0,
        "sad": 0.0,
    }
    seen = NamedCorpus("crema_d", votes="tabulatedVotes.csv", voted_on="face").votes(tmp_path / "crema_d")
    assert seen["disgust"].to_dict() == {"crema_d/1001_IEO_NEU_XX": 3.0}
    assert NamedCorpus("crema_d").votes(tmp_path) is None
    with pytest.raises(EmotionError, match="only crema_d has votes, not savee"):
        NamedCorpus("savee", votes="table.csv")

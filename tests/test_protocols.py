"""Tests of protocols and their splits."""

import filecmp
from itertools import chain

import pandas as pd
import pytest
from omegaconf import OmegaConf

from emotion import protocols
from emotion.config.compose import DIRECTORY as CONF
from emotion.config.schema import ProtocolConfig
from emotion.corpora.ravdess import Ravdess, documented_takes
from emotion.corpora.tess import Tess
from emotion.errors import EmotionError
from emotion.protocols.definitions import EMOBOX6, GENERATORS, LUNA5, OF_ANY_CORPUS, OF_ONE_CORPUS, OF_SEVERAL
from emotion.protocols.generate import generate, make
from emotion.protocols.protocol import DIRECTORY, count_folds
from emotion.protocols.splitting import IDENTICAL_PAIR

SETTINGS = {path.stem: OmegaConf.load(path) for path in (CONF / "protocol").glob("*.yaml")}
ALL = [(corpus, name) for corpus in GENERATORS for name in GENERATORS[corpus]]
FOLDS = {
    "actor6": 6,
    "luna5": 5,
    "emobox6": 6,
    "fixed": 1,
    "loso24": 24,
    "random": 1,
    "per_actor": 1,
    "happy_sad": 20,
    "happy_sad_kfold": 5,
    "happy_sad_actor": 20,
    "happy_sad_actor_kfold": 5,
    "oaf_yaf": 1,
    "yaf_oaf": 1,
    "cross": 1,
}


def load(corpus, name, fold):
    settings = SETTINGS[name]
    shares = settings.get("dev_shares_speakers", False)
    return protocols.load(corpus, name, fold, settings.speaker_independent, shares)


def actors(table, split):
    return {int(speaker.split("/")[1]) for speaker in speakers(table, split)}


def speakers(table, *splits):
    return set(table.loc[table["split"].isin(splits), "speaker"])


def tables(corpus, name):
    return [load(corpus, name, fold).table for fold in range(count_folds(corpus, name))]


def test_committed_csvs_equal_generated_ones(tmp_path):
    generate(tmp_path)
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.csv")}
    committed = {path.relative_to(DIRECTORY) for path in DIRECTORY.rglob("*.csv")}
    assert fresh == committed
    different = [path for path in fresh if not filecmp.cmp(tmp_path / path, DIRECTORY / path, shallow=False)]
    assert different == []


def test_every_protocol_has_its_settings_and_folds():
    assert {name for _, name in ALL} == set(FOLDS)
    computed = {"emobox", *OF_ANY_CORPUS, *OF_SEVERAL, *chain.from_iterable(OF_ONE_CORPUS.values())}
    assert set(SETTINGS) == set(FOLDS) | computed
    for corpus, name in ALL:
        assert count_folds(corpus, name) == FOLDS[name]


@pytest.mark.parametrize(("corpus", "name"), ALL)
def test_splits_share_no_recording_and_no_speaker_if_speaker_independent(corpus, name):
    for table in tables(corpus, name):
        assert not table["recording"].duplicated().any()
        if SETTINGS[name].speaker_independent:
            assert not speakers(table, "test") & speakers(table, "train", "dev")
            if "dev_shares_speakers" not in SETTINGS[name]:
                assert not speakers(table, "dev") & speakers(table, "train")


@pytest.mark.parametrize("name", ["actor6", "luna5", "emobox6", "loso24", "fixed", "random"])
def test_whole_corpus_protocols_contain_every_recording(name):
    documented = {f"ravdess/{take}" for take in documented_takes()}
    assert len(documented) == 1440 + 1012
    for table in tables("ravdess", name):
        assert set(table["recording"]) == documented


@pytest.mark.parametrize("name", ["actor6", "luna5", "emobox6", "loso24", "happy_sad_kfold", "happy_sad_actor_kfold"])
def test_folds_test_every_recording_once(name):
    tested = pd.concat([table[table["split"] == "test"] for table in tables("ravdess", name)])
    everything = tables("ravdess", name)[0]
    assert sorted(tested["recording"]) == sorted(everything["recording"])


def test_actor_folds_equal_published_ones():
    for fold, (test, dev) in enumerate(LUNA5):
        table = load("ravdess", "luna5", fold).table
        assert (actors(table, "test"), actors(table, "dev")) == (set(test), set(dev))
    for fold, test in enumerate(EMOBOX6):
        table = load("ravdess", "emobox6", fold).table
        assert (actors(table, "test"), actors(table, "dev")) == (set(test), set(EMOBOX6[(fold + 1) % 6]))
    for fold in range(6):
        table = load("ravdess", "actor6", fold).table
        first, following = 4 * fold + 1, 4 * ((fold + 1) % 6) + 1
        assert actors(table, "test") == set(range(first, first + 4))
        assert actors(table, "dev") == set(range(following, following + 4))
    table = load("ravdess", "fixed", 0).table
    assert (actors(table, "test"), actors(table, "dev")) == ({21, 22, 23, 24}, {16, 17, 19, 20})
    table = load("ravdess", "loso24", 23).table
    assert (actors(table, "test"), actors(table, "dev")) == ({24}, {1, 2})


def test_random_is_stratified_and_keeps_the_identical_pair_in_one_split():
    table = load("ravdess", "random", 0).table
    shares = table["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.6, abs=0.005)
    assert shares["test"] == pytest.approx(0.2, abs=0.005)
    channel = table["recording"].str.split("/").str[1].str[:2]
    strata = table.groupby([channel, "emotion"])["split"].value_counts(normalize=True)
    assert ((strata.xs("train", level="split") - 0.6).abs() < 0.01).all()
    pair = table[table["recording"].isin([f"ravdess/{take}" for take in IDENTICAL_PAIR])]
    assert len(pair) == 2
    assert pair["split"].nunique() == 1


def test_per_actor_has_forty_and_twenty_recordings_of_each_actor():
    counts = load("ravdess", "per_actor", 0).table.groupby(["speaker", "split"]).size().unstack()
    assert len(counts) == 24
    assert (counts["test"] == 20).all()
    assert (counts["dev"] == 8).all()
    assert (counts["train"] == 32).all()


@pytest.mark.parametrize("name", [name for name in FOLDS if name.startswith("happy_sad")])
def test_happy_sad_divides_384_clips_64_16_20(name):
    for table in tables("ravdess", name):
        assert len(table) == 384
        assert set(table["emotion"]) == {"happy", "sad"}
        shares = table["split"].value_counts(normalize=True)
        assert shares["test"] == pytest.approx(0.2, abs=0.05)
        assert shares["dev"] == pytest.approx(0.16, abs=0.05)


def test_the_twenty_repetitions_differ():
    tests = {tuple(table.loc[table["split"] == "test", "recording"]) for table in tables("ravdess", "happy_sad")}
    assert len(tests) == 20


def write_split(folder, **splits):
    for split in protocols.SPLITS:
        rows = splits.get(split, [])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.csv").write_text("\n".join(["recording,speaker,emotion", *rows]) + "\n")


def test_overlapping_splits_are_refused(tmp_path):
    write_split(tmp_path / "c/p/0", train=["a,s1,sad"], test=["a,s1,sad"])
    with pytest.raises(EmotionError, match="1 recording"):
        protocols.load("c", "p", 0, False, directory=tmp_path)
    write_split(tmp_path / "c/p/0", train=["a,s1,sad"], test=["b,s1,sad"])
    with pytest.raises(EmotionError, match="1 speaker"):
        protocols.load("c", "p", 0, True, directory=tmp_path)
    assert len(protocols.load("c", "p", 0, False, directory=tmp_path).table) == 2


def test_dev_may_share_speakers_with_train_but_not_with_test(tmp_path):
    write_split(tmp_path / "c/p/0", train=["a,s1,sad"], dev=["b,s1,sad"], test=["c,s2,sad"])
    with pytest.raises(EmotionError, match="1 speaker"):
        protocols.load("c", "p", 0, True, directory=tmp_path)
    assert len(protocols.load("c", "p", 0, True, dev_shares_speakers=True, directory=tmp_path).table) == 3
    write_split(tmp_path / "c/p/0", train=["a,s1,sad"], dev=["b,s2,sad"], test=["c,s2,sad"])
    with pytest.raises(EmotionError, match="1 speaker"):
        protocols.load("c", "p", 0, True, dev_shares_speakers=True, directory=tmp_path)


@pytest.mark.parametrize(("name", "trained", "tested"), [("oaf_yaf", "OAF", "YAF"), ("yaf_oaf", "YAF", "OAF")])
def test_tess_trains_on_one_speaker_and_tests_on_the_other(name, trained, tested):
    table = load("tess", name, 0).table
    assert len(table) == 2800
    assert speakers(table, "train", "dev") == {f"tess/{trained}"}
    assert speakers(table, "test") == {f"tess/{tested}"}
    word = table["recording"].str.split("_").str[1]
    words = [set(word[table["split"] == split]) for split in ("train", "dev")]
    assert (len(words[0]), len(words[1]), len(words[0] & words[1])) == (160, 40, 0)


def test_cross_trains_on_one_corpus_and_tests_on_the_other():
    table = load("ravdess_tess", "cross", 0).table
    corpus = table["recording"].str.split("/").str[0]
    assert set(corpus[table["split"] == "test"]) == {"tess"}
    assert set(corpus[table["split"] != "test"]) == {"ravdess"}
    assert len(table) == 2452 + 2800


def test_combined_corpora_use_the_splits_of_each_corpus():
    parts = [load(corpus, "random", 0).table for corpus in ("ravdess", "tess")]
    both = protocols.load("ravdess_tess", "random", 0, False, members=("ravdess", "tess"))
    pd.testing.assert_frame_equal(both.table, pd.concat(parts, ignore_index=True))
    with pytest.raises(EmotionError, match="known: cross, random"):
        protocols.load("ravdess_tess", "luna5", 0, True, members=("ravdess", "tess"))


def make_rows(n_speakers, each=6):
    return [
        {"recording": f"folder/{speaker}/{number}", "speaker": f"p{speaker}", "emotion": emotion, "channel": "speech"}
        for speaker in range(n_speakers)
        for number, emotion in zip(range(each), ("happy", "sad") * each, strict=False)
    ]


def settings(name, fold):
    return ProtocolConfig(name=name, fold=fold, speaker_independent=name != "random", labels="emotions")


def test_any_corpus_is_split_by_its_speakers():
    rows = make_rows(10)
    for name, folds in (("speakers5", 5), ("loso", 10)):
        generated = [make(settings(name, fold), "folder", rows) for fold in range(folds)]
        tested = pd.concat([protocol.table[protocol.table["split"] == "test"] for protocol in generated])
        assert sorted(tested["recording"]) == sorted(row["recording"] for row in rows)
        for protocol in generated:
            assert protocol.folds == folds
            assert set(protocol.table["split"]) == set(protocols.SPLITS)
    again = make(settings("speakers5", 2), "folder", rows[::-1]).table
    first = make(settings("speakers5", 2), "folder", rows).table
    assert speakers(again, "test") == speakers(first, "test")


def test_any_corpus_is_split_at_random_or_used_entirely_for_testing():
    rows = make_rows(2, each=50)
    sizes = make(settings("random", 0), "folder", rows).table["split"].value_counts().to_dict()
    assert sizes == {"train": 60, "dev": 20, "test": 20}
    assert set(make(settings("all_test", 0), "folder", rows).table["split"]) == {"test"}


def test_too_few_speakers_are_refused():
    with pytest.raises(EmotionError, match=r"needs 5 speakers and 2 are known.*data\.corpus\.speaker"):
        make(settings("speakers5", 0), "folder", make_rows(2))
    with pytest.raises(EmotionError, match="did you mean random"):
        make(settings("ramdom", 0), "folder", make_rows(2))
    with pytest.raises(EmotionError, match="from 0 to 4"):
        make(settings("speakers5", 5), "folder", make_rows(9))


def test_documented_recordings_equal_those_of_the_protocols():
    for corpus, name in ((Ravdess(), "random"), (Tess(), "random")):
        documented = {row["recording"] for row in corpus.documented()}
        assert set(load(corpus.name, name, 0).table["recording"]) == documented


def test_unknown_protocols_and_folds_are_refused():
    with pytest.raises(EmotionError, match="did you mean luna5"):
        protocols.load("ravdess", "lunna5", 0, True)
    with pytest.raises(EmotionError, match="from 0 to 4"):
        protocols.load("ravdess", "luna5", 5, True)


def test_malformed_csvs_are_refused(tmp_path):
    write_split(tmp_path / "c/p/0", train=["a,s1,joyful"])
    with pytest.raises(EmotionError, match="joyful"):
        protocols.load("c", "p", 0, True, directory=tmp_path)
    (tmp_path / "c/p/0/train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EmotionError, match="columns a, b"):
        protocols.load("c", "p", 0, True, directory=tmp_path)
    (tmp_path / "c/p/0/train.csv").unlink()
    with pytest.raises(EmotionError, match=r"train\.csv"):
        protocols.load("c", "p", 0, True, directory=tmp_path)

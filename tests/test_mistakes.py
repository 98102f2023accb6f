"""Tests of mistakes in daily use: changed corpora, foreign folders, empty names, paths that are files."""

import shutil
import sys

import pandas as pd
import pytest

from emotion import runs
from emotion.errors import EmotionError, shown_command
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train

SMALL = ("trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]", "scheduler=constant")


@pytest.fixture
def listed(demo_root, tmp_path):
    """A folder of ten people with three emotions each, listed in `list.csv`; returns the folder and the table."""
    rows = []
    (tmp_path / "own").mkdir()
    for person in range(1, 11):
        for number, emotion in ((3, "happy"), (4, "sad"), (5, "angry")):
            name = f"{emotion}{person:02}.wav"
            take = f"03-01-{number:02}-01-01-01-{person:02}.wav"
            shutil.copy(demo_root / f"Actor_{person:02}" / take, tmp_path / "own" / name)
            rows.append({"path": name, "emotion": emotion, "speaker": f"person{person:02}"})
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "own" / "list.csv", index=False)
    return tmp_path / "own", table


@pytest.fixture
def begun(listed, compose, tmp_path):
    """A run of one epoch on that folder; returns the run, the folder, and a function that resumes it."""
    folder, table = listed
    overrides = ("data=folder", f"data.root={folder}", "data.corpus.table=list.csv", "protocol=speakers5", *SMALL)
    run = tmp_path / "run"
    train(compose(*overrides), run, list(overrides))

    def resume(*more):
        given = ("trainer.max_epochs=2", *more)
        train(compose(f"resume={run}", *given), run, list(given))

    return run, folder, table, resume


def speakers(run, split):
    splits = runs.load_splits(run)
    return sorted(splits.loc[splits["split"] == split, "speaker"].unique())


@pytest.mark.slow
def test_recordings_that_are_removed_stay_those_of_training(begun, compose):
    run, folder, table, resume = begun
    person = speakers(run, "train")[0]
    table[table["speaker"] != person].to_csv(folder / "list.csv", index=False)
    resume("data.on_error=skip")
    assert person in speakers(run, "train")
    table[table["speaker"] == person].to_csv(folder / "one.csv", index=False)
    given = [f"run={run}", "data=folder", f"data.root={folder}", "data.corpus.table=one.csv", "protocol=all_test"]
    with pytest.raises(EmotionError, match="3 of the 3 recordings of this test split were used to train"):
        evaluate(compose(*given, config_name="evaluate"), given)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["speaker", "emotion"])
def test_changed_labels_are_refused_on_resume(begun, column):
    run, folder, table, resume = begun
    before = (run / "splits.csv").read_bytes()
    person, other = speakers(run, "train")[0], speakers(run, "test")[0]
    changed = table.copy()
    if column == "speaker":
        changed.loc[changed["speaker"] == person, "speaker"] = other
    else:
        changed.loc[(changed["speaker"] == person) & (changed["emotion"] == "sad"), "emotion"] = "angry"
    changed.to_csv(folder / "list.csv", index=False)
    with pytest.raises(EmotionError, match=rf"the {column} of \d recordings is not that of .*splits\.csv, such as"):
        resume()
    assert (run / "splits.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["config.yaml", "splits.csv", "notes.txt", "data"])
def test_folders_with_files_of_others_are_no_run_directories(compose, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine")
    with pytest.raises(EmotionError, match=rf"holds files that are not of a run, such as {name}"):
        train(compose(*SMALL), tmp_path / "mine", list(SMALL))
    assert (tmp_path / "mine" / name).read_text() == "mine"


@pytest.mark.slow
def test_empty_folders_are_used(compose, tmp_path, demo_root):
    (tmp_path / "new").mkdir()
    train(compose(*SMALL, "test=false"), tmp_path / "new", list(SMALL))
    assert (tmp_path / "new" / "metrics.json").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "run_dir="),
        ("train", "resume="),
        ("train", "data=folder", "data.root="),
        ("evaluate", "run="),
        ("report", ""),
        ("report", "a", "--csv", " "),
        ("trials", ""),
        ("robustness", ""),
        ("splits", "--write", ""),
        ("predict", "a.wav", "--run", ""),
        ("figures", "a.wav", "--output", ""),
    ],
    ids=" ".join,
)
def test_empty_names_are_refused(command, tmp_path, arguments):
    result = command(*arguments)
    assert result.returncode in (1, 2)
    assert "is empty; name a" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "run_dir=afile"),
        ("train", "run_dir=afile/run"),
        ("splits", "--write", "afile"),
        ("figures", "{clip}", "--output", "afile"),
    ],
    ids=" ".join,
)
def test_files_in_place_of_folders_are_refused(command, tmp_path, demo_root, arguments):
    (tmp_path / "afile").write_text("mine")
    clip = str(next((demo_root / "Actor_01").glob("*.wav")))
    result = command(*(argument.format(clip=clip) for argument in arguments))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert "afile" in result.stderr
    assert (tmp_path / "afile").read_text() == "mine"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone.channels=[]", "model.backbone.channels=[]: a list of at least 1 values, each an integer"),
        ("features.duration_s=1e9", "features.duration_s=1000000000.0: a number greater than 0 and at most 3600"),
        ("~optimizer.lr", "optimizer.lr is missing"),
        ("~model", "~model: a group cannot be left out; choose a file of it with model=NAME, such as action_units"),
        ("seed", "seed has no value: arguments are KEY=VALUE"),
        ("+trainer.max_time=foo", "trainer.max_time=foo: null (results would depend on the speed of the machine"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_written(command, tmp_path, override, message):
    result = command("train", override, "run_dir=run")
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(("group", "message"), [("optimizer", "AdamW takes no foo"), ("scheduler", "takes no foo")])
def test_unknown_arguments_are_refused_before_the_data_are_read(compose, tmp_path, group, message):
    given = ["data=ravdess", f"data.root={tmp_path / 'missing'}", f"+{group}.foo=1"]
    with pytest.raises(EmotionError, match=message):
        train(compose(*given), tmp_path / "run", given)


def test_an_empty_grid_is_refused(command):
    result = command("train", "model=svm", "model.grid.C=[]")
    assert result.returncode == 1
    assert "model.grid" in result.stderr and result.stderr.count("\n") == 1


def test_figures_go_on_after_a_bad_file(command, tmp_path, demo_root):
    clip = next((demo_root / "Actor_01").glob("*.wav"))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    result = command("figures", "bad.wav", str(clip), "--output", "out")
    assert result.returncode == 1
    assert "bad.wav" in result.stderr
    assert (tmp_path / "out" / f"{clip.stem}.png").is_file()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/somewhere/train.py", "python train.py 'resume=a b/1'"),
        ("/usr/bin/emotion", "emotion train 'resume=a b/1'"),
    ],
)
def test_shown_commands_can_be_pasted(monkeypatch, program, expected):
    monkeypatch.setattr(sys, "argv", [program])
    assert shown_command("train", "resume=a b/1") == expected


def test_tables_may_begin_with_comments_and_have_numbers_of_spreadsheets(tmp_path, caplog):
    from emotion.corpora.folder import Folder

    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(
        "# exported\npath,emotion,speaker\na.wav,sad,1\nb.wav,sad,1.0\nc.wav,happy,2.0\n"
    )
    table = Folder("list.csv").scan(tmp_path)
    assert table["speaker"].nunique() == 2
    (tmp_path / "list.csv").write_text("path,emotion,speaker\n")
    with pytest.raises(EmotionError, match=r"list\.csv lists no recordings"):
        Folder("list.csv").scan(tmp_path)


def test_figures_of_unfinished_runs_are_refused(begun):
    from emotion.plots.finished_run import plot_run

    (begun[0] / "predictions.csv").unlink()
    with pytest.raises(EmotionError, match=r"predictions\.csv does not exist: was the run finished"):
        plot_run(begun[0])

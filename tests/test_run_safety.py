"""Tests of the protection of run directories: locks, failed resumes and changed corpora."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from conftest import ROOT
from emotion import runs, sweeps
from emotion.errors import EmotionError
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train

RATE = 16_000
TINY = ("model.backbone.channels=[4,4,4,4]", "data.batch_size=16", "scheduler=constant")


def tone(path, hertz, seconds=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(RATE * seconds)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time) * np.sin(9 * time + hertz) ** 2, RATE)


def add_speakers(root, numbers):
    for emotion, offset in (("happy", 0), ("sad", 60), ("angry", 120)):
        for number in numbers:
            tone(root / emotion / f"person{number:02}_1.wav", 120 + 10 * number + offset)


def overrides_for(recordings):
    return (
        *TINY,
        "data=folder",
        f"data.root={recordings}",
        "data.corpus.speaker=person..",
        "protocol=speakers5",
        "trainer.max_epochs=1",
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return a folder with recordings of ten speakers and a finished run on them."""
    import hydra

    from emotion.config.compose import DIRECTORY

    folder = tmp_path_factory.mktemp("shared")
    add_speakers(folder / "recordings", range(1, 11))
    overrides = overrides_for(folder / "recordings")
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        train(hydra.compose("train", overrides=list(overrides)), folder / "finished", list(overrides))
    return folder


@pytest.fixture
def recordings(shared, tmp_path):
    return shutil.copytree(shared / "recordings", tmp_path / "recordings")


@pytest.fixture
def folder_overrides(recordings):
    return overrides_for(recordings)


@pytest.fixture
def finished(shared, recordings, tmp_path):
    run_dir = shutil.copytree(shared / "finished", tmp_path / "finished")
    environment = json.loads((run_dir / "environment.json").read_text()) | {"data_root": str(recordings)}
    (run_dir / "environment.json").write_text(json.dumps(environment))
    return run_dir


@pytest.fixture
def resume(compose):
    def resume_with(run_dir, *overrides):
        return train(compose(f"resume={run_dir}", *overrides), run_dir, list(overrides))

    return resume_with


def content(run_dir):
    names = ("config.yaml", "overrides.yaml", "environment.json", "splits.csv", "metrics.json", "predictions.csv")
    return {name: (run_dir / name).read_bytes() for name in names}


def test_new_directories_are_claimed_by_one_process(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: runs.claim_new(tmp_path / "runs" / "2026-01-01_00-00-00"), range(8)))
    assert {path.name for path in claimed} == {"2026-01-01_00-00-00"} | {
        f"2026-01-01_00-00-00_{n}" for n in range(1, 8)
    }


def test_claimed_directories_are_refused_until_released(tmp_path):
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with runs.claimed(tmp_path / "run"):
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(20)
    with pytest.raises(runs.DirectoryTakenError, match="is in use"), runs.claimed(tmp_path / "run"):
        pass
    leave.set()
    holder.join()
    with runs.claimed(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_runs_started_in_the_same_second_have_separate_directories(tmp_path, compose):
    """Hydra's callback selects the directory before any file is written."""
    import hydra

    from emotion.config.compose import DIRECTORY

    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        config = hydra.compose("train", return_hydra_config=True)
    chosen = []
    for key, start in (("hydra.run.dir", "on_run_start"), ("hydra.sweep.dir", "on_multirun_start")):
        for _ in range(2):
            config_copy = config.copy()
            OmegaConf.set_readonly(config_copy, False)
            OmegaConf.update(config_copy, key, str(tmp_path / key / "stamp"))
            getattr(sweeps.Sweep(), start)(config_copy)
            chosen.append(OmegaConf.select(config_copy, key))
            assert config_copy.hydra.overrides.hydra[-1] == f"{key}='{chosen[-1]}'"
    sweeps._started.clear()
    assert [path.rsplit("/", 1)[1] for path in chosen] == ["stamp", "stamp_1", "stamp", "stamp_1"]


@pytest.mark.slow
def test_concurrent_commands_with_the_same_run_dir_are_refused(tmp_path, folder_overrides):
    """One command is refused with one line; the other finishes."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *folder_overrides,
        "trainer.max_epochs=3",
        f"run_dir={tmp_path / 'same'}",
    ]
    both = [
        subprocess.Popen([*command, f"seed={seed}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for seed in (1, 2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    (refused,) = [error for process, error in zip(both, errors, strict=True) if process.returncode]
    assert refused.startswith("error: ") and refused.count("\n") == 1
    assert "is in use" in refused or "already holds a run" in refused
    config, metrics = runs.load_config(tmp_path / "same"), runs.load_metrics(tmp_path / "same")
    assert config.seed == metrics["seed"]


@pytest.mark.slow
def test_sweep_jobs_do_not_change_finished_runs(finished, compose, folder_overrides, monkeypatch):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    monkeypatch.setattr(sweeps, "_train_alone", lambda *_: None)
    with pytest.raises(EmotionError, match="already holds a run"):
        sweeps.train_job(compose(*folder_overrides), finished, ["seed=7"], 0)
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=abc"], "optimizer.lr=abc"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0"),
        (["trainer.max_epochs=2", "protocol.fold=1"], "protocol.fold=1 cannot be changed"),
        (["trainer.max_epochs=2", "data.channel=song"], "data.channel=song cannot be changed"),
    ],
)
def test_failed_resumes_change_no_file(finished, resume, overrides, message):
    before = content(finished)
    with pytest.raises(EmotionError, match=message):
        resume(finished, *overrides)
    assert content(finished) == before
    resume(finished)
    after = content(finished)
    assert after["config.yaml"] == before["config.yaml"] and after["predictions.csv"] == before["predictions.csv"]


def test_resumes_that_fail_in_their_first_epoch_change_no_file(finished, resume, monkeypatch):
    def diverge(*_):
        raise EmotionError("training diverged")

    before = content(finished)
    with monkeypatch.context() as patched:
        patched.setattr("emotion.training.module.EmotionModule.training_step", diverge)
        with pytest.raises(EmotionError, match="training diverged"):
            resume(finished, "trainer.max_epochs=2")
    assert content(finished) == before


@pytest.mark.slow
def test_resuming_with_fewer_epochs_than_trained_is_refused(folder_overrides, train_in_process, resume):
    run_dir = train_in_process(*folder_overrides, "trainer.max_epochs=2")
    before = content(run_dir)
    with pytest.raises(EmotionError, match=r"trainer\.max_epochs=1: 2 epochs of .* are trained already; at least 2"):
        resume(run_dir, "trainer.max_epochs=1")
    assert content(run_dir) == before
    resume(run_dir, "trainer.max_epochs=3")
    assert runs.load_metrics(run_dir)["epochs"] == 3 and runs.load_config(run_dir).trainer.max_epochs == 3


def splits_of(run_dir):
    table = runs.load_splits(run_dir)
    return dict(zip(table["recording"], table["split"], strict=True))


def test_added_recordings_do_not_change_the_splits(finished, recordings, resume, caplog):
    before = splits_of(finished)
    add_speakers(recordings, range(11, 21))
    resume(finished, "trainer.max_epochs=2")
    assert splits_of(finished) == before
    assert "30 recordings of the corpus are not in the splits of the run and are skipped, such as" in caplog.text


def test_added_recordings_are_not_evaluated(finished, recordings, compose, caplog):
    metrics = runs.load_metrics(finished)
    add_speakers(recordings, range(11, 21))
    again = evaluate(compose(f"run={finished}", config_name="evaluate"), [f"run={finished}"])
    assert again["test/uar"] == metrics["test/uar"] and again["speaker_independent"]


def test_missing_recordings_are_refused(finished, recordings, resume, compose, caplog):
    before = splits_of(finished)
    missing = next(key for key, split in before.items() if split == "test")
    (recordings / missing.removeprefix("folder/")).with_suffix(".wav").unlink()
    kept = content(finished)
    with pytest.raises(EmotionError, match=f"1 recordings of .* are missing or cannot be used, such as {missing}"):
        resume(finished, "trainer.max_epochs=2")
    with pytest.raises(EmotionError, match="are missing or cannot be used"):
        evaluate(compose(f"run={finished}", config_name="evaluate"), [f"run={finished}"])
    assert content(finished) == kept
    overrides = [f"run={finished}", "data.on_error=skip"]
    evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert "and are skipped" in caplog.text


def test_other_recordings_are_evaluated_with_another_protocol(finished, tmp_path, compose):
    add_speakers(tmp_path / "others", range(30, 32))
    overrides = [f"run={finished}", "data=folder", f"data.root={tmp_path / 'others'}", "protocol=all_test"]
    evaluate(compose(*overrides, config_name="evaluate"), overrides)
    (folder,) = (finished / "evaluations").iterdir()
    assert json.loads((folder / "metrics.json").read_text())["protocol"] == "all_test"


@pytest.mark.slow
def test_runs_killed_in_their_first_epoch_start_again(finished, folder_overrides, compose):
    """A killed run leaves its description and its lock file."""
    for name in ("metrics.json", "predictions.csv", "confusion_matrix.png"):
        (finished / name).unlink()
    shutil.rmtree(finished / "checkpoints")
    (finished / ".lock").touch()
    train(compose(*folder_overrides), finished, list(folder_overrides))
    assert runs.load_metrics(finished)["epochs"] == 1


def test_runs_of_an_older_layout_are_refused(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "old")
    path = tmp_path / "old" / "config.yaml"
    path.write_text(path.read_text().replace("  kind: neural\n", ""))
    for load in (runs.load_config, runs.load_composed):
        with pytest.raises(EmotionError, match=r"was written by an older version; read it with version 0\.2\.0"):
            load(tmp_path / "old")


def test_edited_configurations_of_runs_are_validated(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    text = path.read_text()
    for before, after, message in (
        ("batch_size: 32", "batch_size: 1", r"data\.batch_size=1: an integer of at least 2 is allowed"),
        ("dropout: 0.1", "dropout: 7", r"model\.backbone\.dropout=7: a number at least 0 and less than 1"),
        ("on_error: raise", "on_trouble: stop", r"unknown key data\.on_trouble"),
    ):
        assert before in text
        path.write_text(text.replace(before, after))
        with pytest.raises(EmotionError, match=message):
            runs.load_config(tmp_path / "run")

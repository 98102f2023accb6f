"""Fixtures: a cache of the session's own, the demo corpus, and the real corpora where they are at hand.

Whatever takes long to make is made once for all workers of a session, in a folder that they share.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # there is a worker for each core; processes that tests start inherit it

import filelock
import pytest

from emotion import malloc

malloc.use_one_arena()

ROOT = Path(__file__).parent.parent
CLASSES = 8
_SHARED = "EMOTION_TESTS_FOLDER"
_TAKE = "01-03-01-01-01-01"


def typed_config(composed):
    """A composed configuration, validated."""
    from emotion.config.schema import TrainConfig
    from emotion.config.validate import validate

    return composed if isinstance(composed, TrainConfig) else validate(composed)


def build_datamodule(composed, splits=None):
    """The data module of a composed configuration."""
    from emotion.composition import datamodule_of

    return datamodule_of(typed_config(composed), splits)


def build_classifier(composed, num_classes):
    """The classifier of a composed configuration, untrained."""
    from emotion.composition import kind_of

    return kind_of(typed_config(composed), num_classes).build()


def make_batch(lengths=(12_345, 30_000, 9_000, 48_000)):
    """What every model can take in: four recordings of unequal length."""
    import torch

    generator = torch.Generator().manual_seed(0)
    waveform = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(waveform, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=generator)
    return {
        "waveform": waveform,
        "waveform_length": torch.tensor(lengths),
        "faces": torch.randint(256, (len(lengths), 3, 3, 72, 72), generator=generator).byte(),
        "face_mask": torch.arange(3) <= torch.arange(len(lengths))[:, None],
        "action_units": torch.rand(len(lengths), 35, generator=generator),
        "action_unit_frames": torch.ones(len(lengths), dtype=torch.long),
        "label": torch.arange(len(lengths)) % CLASSES,
        "speaker": torch.zeros(len(lengths), dtype=torch.long),
        "recording": [f"made/{number}" for number in range(len(lengths))],
    }


def skip(reason):
    """Skip a test for what is not at hand, unless EMOTION_SKIP_NOTHING is set: then it fails."""
    (pytest.fail if os.environ.get("EMOTION_SKIP_NOTHING") else pytest.skip)(reason)


def pytest_configure(config):
    """Make the folder that all workers share; they inherit its name."""
    if _SHARED not in os.environ:
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="emotion-tests-")
        config.add_cleanup(_remove_shared)
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        import torch

        torch.set_num_threads(1)


def _remove_shared():
    shutil.rmtree(os.environ.pop(_SHARED), ignore_errors=True)


def once(name, make):
    """The folder `name`, which `make(folder)` fills once in a session, whichever worker comes first."""
    folder = Path(os.environ[_SHARED]) / name
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(autouse=True)
def small():
    """Memory that a test had is given back after it."""
    yield
    malloc.trim()


@pytest.fixture(scope="session", autouse=True)
def cache():
    """Nothing is read from or written to the user's own cache, by subprocesses neither."""
    path = Path(os.environ[_SHARED]) / "cache"
    path.mkdir(exist_ok=True)
    patch = pytest.MonkeyPatch()
    patch.setenv("EMOTION_CACHE", str(path))
    patch.delenv("EMOTION_TRACEBACK", raising=False)
    yield path
    patch.undo()


@pytest.fixture(scope="session")
def demo_root(cache):
    """The folder of the rendered demo corpus."""
    from emotion.corpora.demo import Demo

    return Demo().locate(None)


@pytest.fixture(scope="session")
def face(demo_root):
    """A drawn face on its shoulders, shape (224, 224, 3)."""
    from emotion.corpora.demo import Demo
    from emotion.media.video import read_middle_frame

    Demo().ensure_video(demo_root, [f"demo/{_TAKE}"])
    return read_middle_frame(demo_root / "Actor_01" / f"01-{_TAKE}.mp4")


@pytest.fixture(scope="session")
def own_videos(demo_root):
    """Five people in eight emotions, as `<emotion>/person<number>.mp4`, and one sound without a picture."""

    def link(root):
        from emotion.corpora.demo import Demo
        from emotion.labels import EMOTIONS

        takes = [f"01-{emotion:02}-01-01-01-{actor:02}" for emotion in range(1, 9) for actor in range(1, 6)]
        Demo().ensure_video(demo_root, [f"demo/{take}" for take in takes])
        for take in takes:
            folder, actor = root / EMOTIONS[int(take[3:5]) - 1], take[-2:]
            folder.mkdir(exist_ok=True)
            (folder / f"person{actor}.mp4").symlink_to(demo_root / f"Actor_{actor}" / f"01-{take}.mp4")
        (root / "happy" / "person01_again.wav").symlink_to(demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav")

    return once("videos", link)


@pytest.fixture
def typed(own_videos):
    """The overrides with which those videos are the corpus."""
    return ("data=folder", f"data.root={own_videos}", "data.corpus.speaker=person..", "protocol=speakers5")


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Run a command line in this process, in `tmp_path`: what it printed, and its exit status.

    Nothing is drawn for TensorBoard.

    The first argument is `train`, `evaluate`, or a subcommand of `emotion`.
    """
    from hydra.core.global_hydra import GlobalHydra

    from emotion import cli

    monkeypatch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)

    program = sys.modules["__main__"]
    monkeypatch.setattr(program, "__spec__", program.__spec__)  # which a command clears

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["emotion", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            GlobalHydra.instance().clear()
        printed, errors = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed, errors)

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of real corpora: `EMOTION_DATA`, else `../shared/data`.

    Tests skip where there is none, unless EMOTION_SKIP_NOTHING says that they must not.
    """
    path = Path(os.environ.get("EMOTION_DATA") or ROOT.parent / "shared" / "data")
    if not (path / "ravdess").is_dir():
        skip(f"no real data: neither EMOTION_DATA nor {path} holds a ravdess folder")
    return path


ROBUSTNESS = ROOT / "docs" / "robustness.md"
_ROBUSTNESS_ROWS: list[tuple[str, str, str]] = []


@pytest.fixture
def record_robustness():
    """Record the outcome of a hostile input or an accident, for docs/robustness.md.

    Each recorded row must be in that page. `EMOTION_WRITE_ROBUSTNESS=1 pytest -n 0 -m robust` writes it anew.
    """

    def record(group, what, happened, replaced=()):
        for found, name in dict(replaced).items():
            happened = happened.replace(found, name)
        row = (group, what, " ".join(happened.removeprefix("error: ").split()))
        _ROBUSTNESS_ROWS.append(row)
        if not os.environ.get("EMOTION_WRITE_ROBUSTNESS"):
            known = map(_in_our_words, ROBUSTNESS.read_text().splitlines())
            assert _in_our_words(_line(row)) in known, "EMOTION_WRITE_ROBUSTNESS=1 pytest -n 0 -m robust writes it anew"

    return record


def _line(row):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row[1:]) + " | nothing |"


def _in_our_words(line):
    """Return a line without text in brackets, which holds messages of libraries that may change."""
    return re.sub(r" \([^)]*\)", "", line)


def pytest_collection_modifyitems(items):
    for item in items:
        if "record_robustness" in item.fixturenames:
            item.add_marker("robust")


def pytest_sessionfinish():
    if os.environ.get("EMOTION_WRITE_ROBUSTNESS"):
        before, *old = ROBUSTNESS.read_text().split("\n## ")
        groups = {name: text for name, _, text in (part.partition("\n\n") for part in old)}
        head = "| input | what happened | what was lost |\n|---|---|---|\n"
        for row in _ROBUSTNESS_ROWS:  # in the place of what was there of the same input, or after the others
            lines = {line.split(" | ")[0]: line for line in groups.get(row[0], head).splitlines()}
            groups[row[0]] = "\n".join((lines | {_line(row).split(" | ")[0]: _line(row)}).values()) + "\n"
        ROBUSTNESS.write_text(before + "".join(f"\n## {name}\n\n{text}" for name, text in groups.items()))


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, as Playwright drives it."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        skip("no browser: install chromium")
    # A processor draws what TensorBoard's projector leaves to a graphics card.
    options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-sync"]
    options.append("--disable-background-networking")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def ravdess_speech(real_data, cache):
    """All RAVDESS speech, prepared at 16 kHz."""
    from emotion.corpora.ravdess import Ravdess
    from emotion.prepare.waveforms import prepare_waveforms

    corpus = Ravdess()
    directory = corpus.locate(str(real_data))
    return prepare_waveforms(corpus.scan(directory, "speech"), directory, 16_000)


@pytest.fixture
def compose():
    """Compose the configuration of `train.py` with overrides."""
    import hydra

    from emotion.config.compose import DIRECTORY
    from emotion.hydra_cli.overrides import choose_branches

    def compose_with(*overrides, config_name="train"):
        overrides = choose_branches(list(overrides), config_name)
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides))

    return compose_with


@pytest.fixture
def train_in_process(compose, tmp_path, monkeypatch):
    """Train with overrides, in this process, without pictures for TensorBoard; returns the run directory."""
    from emotion.pipelines.train import train

    monkeypatch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)

    def train_with(*overrides, name="run"):
        run_dir = tmp_path / name
        train(compose(*overrides), run_dir, [o for o in overrides if not o.startswith("resume")])
        return run_dir

    return train_with


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run on the demo corpus, long enough to have learnt something."""

    def run(folder):
        import hydra

        from emotion.config.compose import DIRECTORY
        from emotion.pipelines.train import train

        overrides = ["trainer.max_epochs=12", "optimizer.lr=0.005"]
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            config = hydra.compose("train", overrides=overrides)
        train(config, folder / "run", overrides)

    own = tmp_path_factory.mktemp("trained") / "run"  # since tests evaluate it, and others copy it
    shutil.copytree(once("trained", run) / "run", own)
    return own

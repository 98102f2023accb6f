"""Fixtures: a cache for the test session, the demo corpus, and the real corpora if they are available.

Expensive data are made once per session, in a folder that all workers share.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # one worker per core; subprocesses inherit it
# Numba does not lock its cache: workers that compile librosa at the same time damage it, and later processes crash.
os.environ["NUMBA_CACHE_DIR"] = str(
    Path(tempfile.gettempdir()) / f"emotion-numba-{os.getuid()}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
)

import filelock
import pytest

from emotion import malloc

malloc.use_one_arena()

ROOT = Path(__file__).parent.parent
TINY_ENCODER = ROOT / "tests" / "tiny_encoder"  # of transformers, without weights
TINY_VIDEO = ROOT / "tests" / "tiny_video"  # likewise, of video
CLASSES = 8
_SHARED = "EMOTION_TESTS_FOLDER"
_TAKE = "01-03-01-01-01-01"


def typed_config(composed):
    """Return a composed configuration after validation."""
    from emotion.config.schema import TrainConfig
    from emotion.config.validate import validate

    return composed if isinstance(composed, TrainConfig) else validate(composed)


def build_datamodule(composed, splits=None):
    """Return the data module of a composed configuration."""
    from emotion.composition import datamodule_of

    return datamodule_of(typed_config(composed), splits)


def build_classifier(composed, num_classes):
    """Return the untrained classifier of a composed configuration."""
    from emotion.composition import kind_of

    return kind_of(typed_config(composed), num_classes).build()


def make_batch(lengths=(12_345, 30_000, 9_000, 48_000)):
    """Return a batch that every model accepts: four recordings of unequal length."""
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
    """Skip a test whose data or tools are missing; fail it if EMOTION_SKIP_NOTHING is set."""
    (pytest.fail if os.environ.get("EMOTION_SKIP_NOTHING") else pytest.skip)(reason)


def pytest_configure(config):
    """Create the folder that all workers share; they inherit its path."""
    if _SHARED not in os.environ:
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="emotion-tests-")
        config.add_cleanup(_remove_shared)
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        import torch

        torch.set_num_threads(1)


def _remove_shared():
    shutil.rmtree(os.environ.pop(_SHARED), ignore_errors=True)


def make_once(name, make):
    """Return the shared folder `name`, which `make(folder)` fills in the first worker of a session that needs it."""
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
def release_memory():
    """Return freed memory to the operating system after each test."""
    yield
    malloc.trim()


@pytest.fixture(scope="session", autouse=True)
def cache():
    """Yield a cache for the session, so that tests and their subprocesses never use the user's cache."""
    path = Path(os.environ[_SHARED]) / "cache"
    path.mkdir(exist_ok=True)
    patch = pytest.MonkeyPatch()
    patch.setenv("EMOTION_CACHE", str(path))
    patch.delenv("EMOTION_TRACEBACK", raising=False)
    yield path
    patch.undo()


@pytest.fixture(scope="session")
def demo_root(cache):
    """Return the folder of the rendered demo corpus."""
    from emotion.corpora.demo import Demo

    return Demo().locate(None)


@pytest.fixture(scope="session")
def face(demo_root):
    """Return a drawn head and shoulders, shape (224, 224, 3)."""
    from emotion.corpora.demo import Demo
    from emotion.media.video import read_middle_frame

    Demo().ensure_video(demo_root, [f"demo/{_TAKE}"])
    return read_middle_frame(demo_root / "Actor_01" / f"01-{_TAKE}.mp4")


@pytest.fixture(scope="session")
def own_videos(demo_root):
    """Return a folder of five speakers × eight emotions, `<emotion>/person<number>.mp4`, and one audio-only file."""

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

    return make_once("videos", link)


@pytest.fixture
def video_overrides(own_videos):
    """Return the overrides that select those videos as the corpus."""
    return ("data=folder", f"data.root={own_videos}", "data.corpus.speaker=person..", "protocol=speakers5")


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Yield a function that runs a command line in this process and in `tmp_path`; it returns output and exit status.

    The first argument is `train`, `evaluate` or another subcommand of `emotion`. No TensorBoard figures are drawn.
    """
    from hydra.core.global_hydra import GlobalHydra

    from emotion import cli

    monkeypatch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)

    program = sys.modules["__main__"]
    monkeypatch.setattr(program, "__spec__", program.__spec__)  # commands clear it

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

    yield run
    for handler in [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]:
        logging.getLogger().removeHandler(handler)  # its file is removed with `tmp_path`
        handler.close()


@pytest.fixture(scope="session")
def real_data():
    """Return the folder of real corpora: `EMOTION_DATA`, else `../shared/data`.

    Tests are skipped if it does not exist; they fail if EMOTION_SKIP_NOTHING is set.
    """
    path = Path(os.environ.get("EMOTION_DATA") or ROOT.parent / "shared" / "data")
    if not (path / "ravdess").is_dir():
        skip(f"no real data: neither EMOTION_DATA nor {path} holds a ravdess folder")
    return path


ROBUSTNESS = ROOT / "docs" / "robustness.md"
_ROBUSTNESS_ROWS: list[tuple[str, str, str]] = []


@pytest.fixture
def record_robustness():
    """Return a function that records the outcome of a faulty input or an interruption, for docs/robustness.md.

    Each recorded row must be on that page. `EMOTION_WRITE_ROBUSTNESS=1 pytest -n 0 -m robust` regenerates it.
    """

    def record(group, faulty_input, outcome, replaced=()):
        for found, name in dict(replaced).items():
            outcome = outcome.replace(found, name)
        row = (group, faulty_input, " ".join(outcome.removeprefix("error: ").split()))
        _ROBUSTNESS_ROWS.append(row)
        if not os.environ.get("EMOTION_WRITE_ROBUSTNESS"):
            known = map(_without_library_messages, ROBUSTNESS.read_text().splitlines())
            hint = "EMOTION_WRITE_ROBUSTNESS=1 pytest -n 0 -m robust regenerates the page"
            assert _without_library_messages(_line(row)) in known, hint

    return record


def _line(row):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row[1:]) + " | nothing |"


def _without_library_messages(line):
    """Return a line without text in brackets, which holds messages of libraries and may change."""
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
        for row in _ROBUSTNESS_ROWS:  # replaces the row of the same input, or is appended
            lines = {line.split(" | ")[0]: line for line in groups.get(row[0], head).splitlines()}
            groups[row[0]] = "\n".join((lines | {_line(row).split(" | ")[0]: _line(row)}).values()) + "\n"
        ROBUSTNESS.write_text(before + "".join(f"\n## {name}\n\n{text}" for name, text in groups.items()))


@pytest.fixture(scope="session")
def browser():
    """Yield headless Chromium, driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        skip("no browser: install chromium")
    # TensorBoard's projector needs WebGL, which SwiftShader renders on the CPU.
    options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-sync"]
    options.append("--disable-background-networking")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def ravdess_speech(real_data, cache):
    """Return all RAVDESS speech, prepared at 16 kHz."""
    from emotion.corpora.ravdess import Ravdess
    from emotion.prepare.waveforms import prepare_waveforms

    corpus = Ravdess()
    directory = corpus.locate(str(real_data))
    return prepare_waveforms(corpus.scan(directory, "speech"), directory, 16_000)


@pytest.fixture
def compose():
    """Return a function that composes the configuration of `train.py` with overrides."""
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
    """Return a function that trains in this process without TensorBoard figures and returns the run directory."""
    from emotion.pipelines.train import train

    monkeypatch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)

    def train_with(*overrides, name="run"):
        run_dir = tmp_path / name
        train(compose(*overrides), run_dir, [o for o in overrides if not o.startswith("resume")])
        return run_dir

    return train_with


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a run on the demo corpus that was trained for long enough to exceed chance."""

    def run(folder):
        import hydra

        from emotion.config.compose import DIRECTORY
        from emotion.pipelines.train import train

        overrides = ["trainer.max_epochs=12", "optimizer.lr=0.005"]
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            config = hydra.compose("train", overrides=overrides)
        train(config, folder / "run", overrides)

    copy = tmp_path_factory.mktemp("trained") / "run"  # tests write to it
    shutil.copytree(make_once("trained", run) / "run", copy)
    return copy

"""Fixtures: a cache of the session's own, the demo corpus, and the real corpora where they are at hand."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
CLASSES = 8
_TAKE = "01-03-01-01-01-01"


def make_batch(lengths=(12_345, 30_000, 9_000, 48_000)):
    """What every model can take in: four recordings of unequal length."""
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


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Nothing is read from or written to the user's own cache, by subprocesses neither."""
    path = tmp_path_factory.mktemp("cache")
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
    from emotion.media.video import read_middle_picture

    Demo().provide_video(demo_root, [f"demo/{_TAKE}"])
    return read_middle_picture(demo_root / "Actor_01" / f"01-{_TAKE}.mp4")


@pytest.fixture(scope="session")
def own_videos(demo_root, tmp_path_factory):
    """Five people in eight emotions, as `<emotion>/person<number>.mp4`, and one sound without a picture."""
    from emotion.corpora.demo import Demo
    from emotion.labels import EMOTIONS

    takes = [f"01-{emotion:02}-01-01-01-{actor:02}" for emotion in range(1, 9) for actor in range(1, 6)]
    Demo().provide_video(demo_root, [f"demo/{take}" for take in takes])
    root = tmp_path_factory.mktemp("videos")
    for take in takes:
        folder, actor = root / EMOTIONS[int(take[3:5]) - 1], take[-2:]
        folder.mkdir(exist_ok=True)
        (folder / f"person{actor}.mp4").symlink_to(demo_root / f"Actor_{actor}" / f"01-{take}.mp4")
    (root / "happy" / "person01_again.wav").symlink_to(demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav")
    return root


@pytest.fixture
def typed(own_videos):
    """The overrides with which those videos are the corpus."""
    return ("data=folder", f"data.root={own_videos}", "data.corpus.speaker=person..", "protocol=speakers5")


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
_TOLD: list[tuple[str, str, str]] = []


@pytest.fixture
def told():
    """Tell what a hostile input or a mishap came to, for docs/robustness.md.

    The page is a record of the tests: each row that they tell must be in it.
    `EMOTION_WRITE_ROBUSTNESS=1 pytest -m robust` writes it anew.
    """

    def tell(group, what, happened, replaced=()):
        for found, name in dict(replaced).items():
            happened = happened.replace(found, name)
        row = (group, what, " ".join(happened.removeprefix("error: ").split()))
        _TOLD.append(row)
        if not os.environ.get("EMOTION_WRITE_ROBUSTNESS"):
            known = map(_in_our_words, ROBUSTNESS.read_text().splitlines())
            assert _in_our_words(_line(row)) in known, "EMOTION_WRITE_ROBUSTNESS=1 pytest -m robust writes it anew"

    return tell


def _line(row):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row[1:]) + " | nothing |"


def _in_our_words(line):
    """Without what libraries, whose words change, have to say in brackets."""
    return re.sub(r" \([^)]*\)", "", line)


def pytest_collection_modifyitems(items):
    for item in items:
        if "told" in item.fixturenames:
            item.add_marker("robust")


def pytest_sessionfinish():
    if os.environ.get("EMOTION_WRITE_ROBUSTNESS"):
        before, *old = ROBUSTNESS.read_text().split("\n## ")
        groups = {name: text for name, _, text in (part.partition("\n\n") for part in old)}
        head = "| input | what happened | what was lost |\n|---|---|---|\n"
        for row in _TOLD:  # in the place of what was there of the same input, or after the others
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

    from emotion.config import DIRECTORY

    def compose_with(*overrides, config_name="train"):
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides))

    return compose_with


@pytest.fixture
def train_in_process(compose, tmp_path):
    """Train with overrides, in this process; returns the run directory."""
    from emotion.tasks import train

    def train_with(*overrides, name="run"):
        run_dir = tmp_path / name
        train(compose(*overrides), run_dir, [o for o in overrides if not o.startswith("resume")])
        return run_dir

    return train_with


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run on the demo corpus, long enough to have learnt something."""
    import hydra

    from emotion.config import DIRECTORY
    from emotion.tasks import train

    run_dir = tmp_path_factory.mktemp("trained") / "run"
    overrides = ["trainer.max_epochs=12", "optimizer.lr=0.005"]
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        config = hydra.compose("train", overrides=overrides)
    train(config, run_dir, overrides)
    return run_dir

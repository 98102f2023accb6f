"""A synthetic corpus with the file names of RAVDESS and 24 artificial actors; nothing needs to be downloaded.

It tests the software only; results on it say nothing about models.
"""

import gc
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from emotion.corpora import demo_face, demo_voice
from emotion.corpora.ravdess import Ravdess, documented_takes
from emotion.files import atomic_path, cache_directory, locked
from emotion.media.audio import write_wav
from emotion.progress import track

VERSION = 2  # part of the path of the rendered files: increment it when they change

_NORMAL_FIRST_SPOKEN = re.compile(r"01-..-01-..-01-..")


class Demo(Ravdess):
    """24 actors × 8 emotions × 2 statements, rendered into the cache on first use.

    The emotions overlap in the voice (neutral with calm, happy with surprised, sad with fearful) and in the face
    (neutral with sad, calm with happy, fearful with surprised, angry with disgust), so that both modalities together
    are more accurate than either.
    """

    name = "demo"
    how_to_get = "omit data.root: the corpus is rendered"

    def takes(self) -> list[str]:
        """See `Ravdess.takes`: normal intensity, first repetition, speech."""
        return [take for take in documented_takes() if _NORMAL_FIRST_SPOKEN.fullmatch(take)]

    def locate(self, root: str | None) -> Path:
        """Render the audio if it does not exist, and return its directory, below `root` or the cache directory."""
        directory = (Path(root) if root else cache_directory()) / f"demo-{VERSION}"
        self._render(directory, self.takes(), "wav", _write_voice, ThreadPoolExecutor)
        return directory

    def ensure_video(self, directory: Path, recordings: Iterable[str]) -> None:
        """See `Corpus.ensure_video`."""
        takes = [recording.split("/")[1] for recording in recordings]
        # Drawing holds the interpreter's lock, so processes are faster than threads. A forked process must not
        # collect garbage of this one: freeing a context of FFmpeg would wait for threads that only this one has.
        self._render(directory, takes, "mp4", _write_video, partial(ProcessPoolExecutor, initializer=gc.freeze))

    def _render(
        self,
        directory: Path,
        takes: list[str],
        kind: str,
        write: Callable[[Path, str], None],
        pool: Callable[[int | None], Executor],
    ) -> None:
        complete = directory / f".{kind}-complete"
        if complete.exists():
            return
        with locked(directory / f".{kind}.lock", waiting_for=f"another process renders the demo corpus ({kind})"):
            missing = [take for take in takes if not _path(directory, take, kind).exists()]
            with pool(os.cpu_count()) as workers:
                done = workers.map(partial(write, directory), missing)
                for _ in track(done, f"rendering the demo corpus ({kind})", len(missing)):
                    pass
            if len(takes) == len(self.takes()):
                complete.touch()


def _path(directory: Path, take: str, kind: str) -> Path:
    modality = {"wav": "03", "mp4": "01"}[kind]
    return directory / f"Actor_{take[-2:]}" / f"{modality}-{take}.{kind}"


def _write_voice(directory: Path, take: str) -> None:
    write_wav(_path(directory, take, "wav"), demo_voice.synthesise(take).waveform, demo_voice.SAMPLE_RATE)


def _write_video(directory: Path, take: str) -> None:
    with atomic_path(_path(directory, take, "mp4")) as temporary:
        demo_face.write_video(temporary, take, demo_voice.synthesise(take))

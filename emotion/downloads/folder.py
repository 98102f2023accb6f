"""Bring parts of a corpus to a folder: each is fetched, verified, unpacked aside, and then put there at once."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rich.filesize import decimal

from emotion.corpora import Corpus
from emotion.downloads.sources import SOURCES, Part, at
from emotion.downloads.transfer import Remote, Session, is_whole
from emotion.downloads.unpack import ArchiveError, require_space, unpack
from emotion.errors import EmotionError
from emotion.files import locked, write_json

log = logging.getLogger(__name__)

ASIDE = ".downloads"
"""Where things are until they are whole, in the folder of the corpus; hidden, so that no corpus is read from it."""
_LIST = ".downloaded.json"
"""In the folder of a part: what it was made of, and the size of each of its files."""


@dataclass(frozen=True)
class Request:
    """What to download, and how.

    Attributes:
        corpus: A name in `SOURCES`.
        root: The folder in which the folder of the corpus is, or will be; or that folder, if recordings are in it.
        what: Some of `emotion.downloads.sources.WHAT`; empty for what is usual.
        actors: Numbers of actors; empty for all.
        mirror: A server that answers in place of the official home, under the same paths.
        jobs: How many files at the same time.
        keep_archives: Whether archives stay, in `.downloads`.
        session: Asks servers.
    """

    corpus: str
    root: Path
    what: tuple[str, ...] = ()
    actors: tuple[int, ...] = ()
    mirror: str | None = None
    jobs: int = 2
    keep_archives: bool = False
    session: Session = field(default_factory=Session)


def download(request: Request) -> list[Path]:
    """Download what is not there yet.

    Returns:
        The folders in which all that was asked for is, whole.

    Raises:
        EmotionError: it cannot be had, or not be written. What is whole stays, and what was begun is gone on with the
            next time, and not taken for the corpus.
    """
    source, folder = SOURCES[request.corpus], _folder(request)
    log.info("%s\nlicence: %s\ncite: %s\n", source.title, source.licence, source.citation)
    parts = source.parts(request.session, at(source, request.mirror), request.what, request.actors)
    lock = folder / ASIDE / "lock"
    with locked(lock, f"another process downloads to {folder}", "choose another folder with --to or data.root"):
        missing = []
        for part in parts:
            unpacked = _listed(folder / part.name, part)
            if unpacked is not None and (not unpacked or (part.actors and {*part.actors} <= unpacked)):
                log.info("%s is there already", folder / part.name)
            else:  # with whom is there already
                actors = tuple(sorted({*part.actors, *(unpacked or ())})) if part.actors else ()
                missing.append(replace(part, actors=actors))
        _require_space(folder, missing)
        with _progress(sum(part.size for part in missing)) as advance:
            counts = _in_parallel(request, folder, missing, advance)
        for part, count in zip(missing, counts, strict=True):
            log.info("%s: %s files", folder / part.name, f"{count:,}")
    return [folder / part.name for part in parts]


def _folder(request: Request) -> Path:
    """Of the corpus; where `Corpus.locate` will look for it, together with what is there."""
    below = request.root / request.corpus
    here_already = not below.exists() and request.root.is_dir() and SOURCES[request.corpus].corpus.read(request.root)
    return request.root if here_already else below


def _require_space(folder: Path, parts: list[Part]) -> None:
    if parts:
        size = sum(part.size for part in parts)
        amount = decimal(size) if size else "of unknown size"
        unpacked = sum(int(part.size * part.growth) for part in parts)
        log.info("to download: %s, %s, to %s", ", ".join(part.name for part in parts), amount, folder)
        require_space(folder, size + unpacked, f"download and unpack {amount}")


def provide(corpus: Corpus, root: str, channel: str, needs_video: bool) -> None:
    """Download what a run needs of a corpus and does not find: the recordings of `channel`, and their videos.

    Raises:
        EmotionError: see `download`; or nobody may download this corpus.
    """
    if corpus.name not in SOURCES:
        raise EmotionError(f"data.download=true: {corpus.name} cannot be downloaded; {corpus.how_to_get}")
    lacking = [
        f"video-{name}" if needs_video else name
        for name in (("speech", "song") if channel == "both" else (channel,))
        if not _has(corpus, root, name, "video" if needs_video else "audio")
    ]
    if lacking:
        download(Request(corpus.name, Path(root), tuple(lacking) if corpus.name == "ravdess" else ()))


def _has(corpus: Corpus, root: str, channel: str, column: str) -> bool:
    try:
        return bool((corpus.scan(corpus.locate(root), channel)[column] != "").any())
    except EmotionError:
        return False


def _in_parallel(request: Request, folder: Path, parts: list[Part], advance: Callable[[int], None]) -> list[int]:
    """Fetch parts and put them there; returns how many files each has."""
    with ThreadPoolExecutor(request.jobs) as threads:
        try:
            fetch = partial(threads.submit, _fetch, request.session, advance)
            begun = [[fetch(folder / ASIDE / part.name, remote) for remote in part.remotes] for part in parts]
            return [
                _install(folder, part, [future.result() for future in fetched], request.keep_archives)
                for part, fetched in zip(parts, begun, strict=True)
            ]
        except BaseException:  # of the person, too: the others stop at their next bytes
            request.session.stopped.set()
            threads.shutdown(cancel_futures=True)
            raise


def _fetch(session: Session, advance: Callable[[int], None], aside: Path, remote: Remote) -> Path:
    """Where the verified file is."""
    if Path(remote.name).name != remote.name or remote.name.startswith("."):
        raise EmotionError(f"{remote.address}: {remote.name!r} is no plain name of a file")
    path = aside / remote.name
    if is_whole(remote, path):
        advance(remote.size or 0)
    else:
        session.fetch(remote, path, advance)
    return path


def _install(corpus_folder: Path, part: Part, fetched: list[Path], keep_archives: bool) -> int:
    """Unpack, and rename the folder that holds all to what it is called; returns how many files there are."""
    folder, aside = corpus_folder / part.name, corpus_folder / ASIDE
    fresh, stale = aside / f"{part.name}.unpacked", aside / f"{part.name}.replaced"
    for remains in (fresh, stale):
        shutil.rmtree(remains, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path in fetched:
        if path.suffix.lower() == ".zip":
            try:
                unpack(path, fresh, part.wants)
            except ArchiveError:
                path.unlink()  # or it would be believed the next time
                raise
        else:
            shutil.copyfile(path, fresh / path.name)
    unpacked = [path for path in sorted(fresh.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(fresh).as_posix(): path.stat().st_size for path in unpacked}
    write_json(fresh / _LIST, {"of": _manifest(part), "actors": part.actors, "files": sizes})
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)
    if not keep_archives:
        shutil.rmtree(aside / part.name)
    return len(sizes)


def _listed(folder: Path, part: Part) -> set[str] | None:
    """Whose files were unpacked there, and are there still: empty for all of them; None where something is missing."""
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in listed["files"].items())
        return {*listed["actors"]} if whole and listed["of"] == _manifest(part) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _manifest(part: Part) -> list[list]:
    return [[remote.name, remote.size, list(remote.checksums)] for remote in part.remotes]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal; yields a function that takes the number of further bytes."""
    if not total or not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda more: progress.advance(task, more)

"""Download of a corpus: each part is fetched, verified, unpacked in a hidden folder, and renamed when complete."""

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.filesize import decimal

from emotion.corpora import Corpus
from emotion.downloads.sources import SOURCES, DownloadPart, server_address
from emotion.downloads.transfer import RemoteFile, Session, is_complete
from emotion.downloads.unpack import ArchiveError, require_space, unpack
from emotion.errors import EmotionError
from emotion.files import locked, write_json

log = logging.getLogger(__name__)

INCOMPLETE = ".downloads"
"""Folder of incomplete downloads in the directory of the corpus; hidden, so that it is not scanned."""
_MANIFEST = ".downloaded.json"
"""File in the folder of a part, with its sources and the sizes of its files."""


@dataclass(frozen=True)
class Request:
    """A requested download.

    Attributes:
        corpus: Name in `SOURCES`.
        root: Parent of the directory of the corpus; or that directory, if it holds recordings.
        what: Names in `emotion.downloads.sources.RAVDESS_PARTS`; empty for the default.
        actors: Numbers of actors; empty for all.
        mirror: Address of a server with the same paths as the official one.
        jobs: Number of parallel downloads (default: 2).
        keep_archives: Keep archives in `.downloads` (default: False).
        session: HTTP session.
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
    """Download the missing parts of a corpus.

    Returns:
        Folders of all requested parts.

    Raises:
        EmotionError: a part cannot be downloaded or written. Complete parts are kept, and the next call resumes
            incomplete ones.
    """
    source, folder = SOURCES[request.corpus], _folder(request)
    log.info("%s\nlicence: %s\ncite: %s\n", source.title, source.licence, source.citation)
    parts = source.parts(request.session, server_address(source, request.mirror), request.what, request.actors)
    lock = folder / INCOMPLETE / "lock"
    with locked(lock, f"another process downloads to {folder}", "choose another folder with --to or data.root"):
        missing = []
        for part in parts:
            unpacked = _unpacked_actors(folder / part.name, part)
            if unpacked is not None and (not unpacked or (part.actors and {*part.actors} <= unpacked)):
                log.info("%s exists already", folder / part.name)
            else:  # the actors that exist already are kept
                actors = tuple(sorted({*part.actors, *(unpacked or ())})) if part.actors else ()
                missing.append(replace(part, actors=actors))
        _require_space(folder, missing)
        with _progress(sum(part.size for part in missing)) as advance:
            counts = _in_parallel(request, folder, missing, advance)
        for part, count in zip(missing, counts, strict=True):
            log.info("%s: %s files", folder / part.name, f"{count:,}")
    return [folder / part.name for part in parts]


def _folder(request: Request) -> Path:
    """Return the directory of the corpus, in which `Corpus.locate` will find it."""
    below = request.root / request.corpus
    is_corpus = not below.exists() and request.root.is_dir() and SOURCES[request.corpus].corpus.read(request.root)
    return request.root if is_corpus else below


def _require_space(folder: Path, parts: list[DownloadPart]) -> None:
    if parts:
        size = sum(part.size for part in parts)
        amount = decimal(size) if size else "of unknown size"
        unpacked = sum(int(part.size * part.growth) for part in parts)
        log.info("to download: %s, %s, to %s", ", ".join(part.name for part in parts), amount, folder)
        require_space(folder, size + unpacked, f"download and unpack {amount}")


def ensure_downloaded(corpus: Corpus, root: str | None, channel: str, needs_video: bool) -> None:
    """Download the recordings of a corpus that a run needs and that are missing.

    Args:
        corpus: The corpus.
        root: Value of `data.root`.
        channel: `speech`, `song` or `both`.
        needs_video: True if videos are needed.

    Raises:
        EmotionError: see `download`; or the corpus cannot be downloaded.
    """
    if corpus.name not in SOURCES:
        raise EmotionError(f"data.download=true: {corpus.name} cannot be downloaded; {corpus.how_to_get}")
    missing = [
        f"video-{name}" if needs_video else name
        for name in (("speech", "song") if channel == "both" else (channel,))
        if not _is_present(corpus, root, name, "video" if needs_video else "audio")
    ]
    if missing:
        if not root:
            raise EmotionError(f"data.download=true: the {corpus.name} corpus needs a directory; set data.root=DIR")
        download(Request(corpus.name, Path(root), tuple(missing) if corpus.name == "ravdess" else ()))


def _is_present(corpus: Corpus, root: str | None, channel: str, column: str) -> bool:
    try:
        return bool((corpus.scan(corpus.locate(root), channel)[column] != "").any())
    except EmotionError:
        return False


def _in_parallel(
    request: Request, folder: Path, parts: list[DownloadPart], advance: Callable[[int], None]
) -> list[int]:
    """Fetch and install parts; return the number of files of each."""
    with ThreadPoolExecutor(request.jobs) as threads:
        try:
            begun = [
                [
                    threads.submit(_fetch, request.session, advance, folder / INCOMPLETE / part.name, remote)
                    for remote in part.remotes
                ]
                for part in parts
            ]
            return [
                _install(folder, part, [future.result() for future in fetched], request.keep_archives)
                for part, fetched in zip(parts, begun, strict=True)
            ]
        except BaseException:  # including Ctrl-C; the other downloads stop at their next bytes
            request.session.stopped.set()
            threads.shutdown(cancel_futures=True)
            raise


def _fetch(session: Session, advance: Callable[[int], None], folder: Path, remote: RemoteFile) -> Path:
    """Return the path of the verified file."""
    if Path(remote.name).name != remote.name or remote.name.startswith("."):
        raise EmotionError(f"{remote.address}: {remote.name!r} is not a plain file name")
    path = folder / remote.name
    if is_complete(remote, path):
        advance(remote.size or 0)
    else:
        session.fetch(remote, path, advance)
    return path


def _install(corpus_folder: Path, part: DownloadPart, fetched: list[Path], keep_archives: bool) -> int:
    """Unpack a part and rename its folder; return the number of files."""
    folder, incomplete = corpus_folder / part.name, corpus_folder / INCOMPLETE
    fresh, stale = incomplete / f"{part.name}.unpacked", incomplete / f"{part.name}.replaced"
    for remains in (fresh, stale):
        shutil.rmtree(remains, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path in fetched:
        if path.suffix.lower() == ".zip":
            try:
                unpack(path, fresh, part.includes)
            except ArchiveError:
                path.unlink()  # so that the next call downloads it again
                raise
        else:
            shutil.copyfile(path, fresh / path.name)
    unpacked = [path for path in sorted(fresh.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(fresh).as_posix(): path.stat().st_size for path in unpacked}
    write_json(fresh / _MANIFEST, {"of": _sources(part), "actors": part.actors, "files": sizes})
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)
    if not keep_archives:
        shutil.rmtree(incomplete / part.name)
    return len(sizes)


def _unpacked_actors(folder: Path, part: DownloadPart) -> set[str] | None:
    """Return the actors whose files are complete in a folder; an empty set for all, None if anything is missing."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        complete = all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
        return {*manifest["actors"]} if complete and manifest["of"] == _sources(part) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sources(part: DownloadPart) -> list[list]:
    return [[remote.name, remote.size, list(remote.checksums)] for remote in part.remotes]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that adds a number of bytes."""
    if not total or not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda more: progress.advance(task, more)

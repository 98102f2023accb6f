"""The official sources of corpora: address, licence, citation, and list of files."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from emotion.corpora import Corpus
from emotion.corpora.emodb import EmoDb
from emotion.corpora.ravdess import ACTORS, Ravdess
from emotion.corpora.tess import Tess
from emotion.downloads.transfer import RemoteFile, Session
from emotion.errors import EmotionError

RAVDESS_PARTS = ("speech", "song", "video-speech", "video-song")
"""The parts of RAVDESS: audio of each channel, and videos with audio."""
_ACTOR_WITHOUT_SONG = 18
_LARGEST = 1 << 40  # bytes, the maximum size of a file


@dataclass(frozen=True)
class DownloadPart:
    """A part of a corpus that is downloaded to one folder.

    Attributes:
        name: Name of the folder.
        remotes: Archives, which are unpacked, and other files.
        actors: Actors whose files are unpacked, as RAVDESS writes them (`01`); empty for all.
        growth: Approximate size after unpacking, relative to the download.
    """

    name: str
    remotes: tuple[RemoteFile, ...]
    actors: tuple[str, ...] = ()
    growth: float = 1.0

    @property
    def size(self) -> int:
        """The size of the download in bytes, without files of unknown size."""
        return sum(remote.size or 0 for remote in self.remotes)

    def includes(self, path: str) -> bool:
        """Return True if a file of an archive is unpacked: a file of a selected actor, or of none."""
        actor = path.rsplit(".", 1)[0][-2:]
        return not self.actors or not path.endswith((".wav", ".mp4")) or actor in self.actors


class Source(ABC):
    """Base class of the official sources of corpora.

    Attributes:
        corpus: The corpus.
        title: Title of the corpus.
        licence: Name and address of the licence.
        citation: Reference to cite.
        home: Address of the server, such as `https://zenodo.org`; a mirror has the same paths.
    """

    corpus: Corpus
    title: str
    licence: str
    citation: str
    home: str

    @abstractmethod
    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[DownloadPart]:
        """List the parts to download.

        Args:
            session: HTTP session.
            home: Address of the server.
            what: Names in `RAVDESS_PARTS`; empty for the default.
            actors: Numbers of actors; empty for all.

        Raises:
            EmotionError: the corpus has no such part, or the answer of the server is invalid.
        """


class ZenodoSource(Source):
    """RAVDESS."""

    corpus = Ravdess()
    title = "RAVDESS: 24 actors, eight emotions, speech and song"
    licence = "CC BY-NC-SA 4.0, https://creativecommons.org/licenses/by-nc-sa/4.0/"
    citation = (
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
        "PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    )
    home = "https://zenodo.org"
    record = 1188976

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[DownloadPart]:
        """See `Source.parts`; audio is one archive of all actors, from which the selected ones are unpacked."""
        known = self._list_files(session, home)
        numbers = sorted(actors or ACTORS)
        selected = tuple(f"{number:02}" for number in numbers) if len(numbers) < len(ACTORS) else ()
        result = []
        for kind in what or ("speech",):
            channel = kind.removeprefix("video-").capitalize()
            if kind in ("speech", "song"):
                keys = [(f"Audio_{channel}_Actors_01-24", selected)]
            else:
                recorded = [number for number in numbers if channel == "Speech" or number != _ACTOR_WITHOUT_SONG]
                keys = [(f"Video_{channel}_Actor_{number:02}", ()) for number in recorded]
            for name, own in keys:
                if (remote := known.get(f"{name}.zip")) is None:
                    raise EmotionError(f"{home} does not list {name}.zip in record {self.record}")
                growth = 3.0 if kind in ("speech", "song") else 1.1
                result.append(DownloadPart(name, (remote,), own, growth))
        return result

    def _list_files(self, session: Session, home: str) -> dict[str, RemoteFile]:
        address = f"{home}/api/records/{self.record}"
        result = {}
        for entry in _entries(session.json(address), ("files",), address):
            key, size, checksum = _fields(entry, {"key": str, "size": int, "checksum": str}, address)
            remote = RemoteFile(
                key, f"{address}/files/{quote(key, safe='')}/content", size, (checksum.replace(":", " "),)
            )
            result[key] = _with_checksum(remote, address)
        return result


class DataverseSource(Source):
    """TESS."""

    corpus = Tess()
    title = "TESS: two women, 200 words, seven emotions"
    licence = "CC BY-NC-ND 4.0, https://creativecommons.org/licenses/by-nc-nd/4.0/"
    citation = (
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    )
    home = "https://borealisdata.ca"
    dataset = "doi:10.5683/SP2/E8H2MF"

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[DownloadPart]:
        """See `Source.parts`."""
        _refuse_selection("TESS", what, actors)
        address = f"{home}/api/datasets/:persistentId/versions/:latest/files?persistentId={self.dataset}"
        remotes = []
        for entry in _entries(session.json(address), ("data",), address):
            (file,) = _fields(entry, {"dataFile": dict}, address)
            number, name, size, md5 = _fields(file, {"id": int, "filename": str, "filesize": int, "md5": str}, address)
            if name.lower().endswith((".zip", ".wav", ".flac")):
                remotes.append(RemoteFile(name, f"{home}/api/access/datafile/{number}", size, (f"md5 {md5}",)))
        if not remotes:
            raise EmotionError(f"{address} lists neither archives nor audio files")
        return [DownloadPart("Toronto_emotional_speech_set", tuple(remotes), growth=2.0)]


class EmoDbSource(Source):
    """EmoDB. Its source publishes neither size nor checksum, so only the checksums inside the archive are verified."""

    corpus = EmoDb()
    title = "EmoDB: ten actors, ten German sentences, seven emotions"
    licence = "free to use if it is cited, http://emodb.bilderbar.info"
    citation = (
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005). A database of German emotional speech. "
        "Interspeech, 1517–1520. https://doi.org/10.21437/Interspeech.2005-446"
    )
    home = "http://emodb.bilderbar.info"

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[DownloadPart]:
        """See `Source.parts`."""
        _refuse_selection("EmoDB", what, actors)
        return [
            DownloadPart("Berlin_database", (RemoteFile("download.zip", f"{home}/download/download.zip", None, ()),))
        ]


SOURCES: dict[str, Source] = {"ravdess": ZenodoSource(), "tess": DataverseSource(), "emodb": EmoDbSource()}


def server_address(source: Source, mirror: str | None) -> str:
    """Return the address of the server: the mirror, or the home of the source.

    Raises:
        EmotionError: `mirror` is not a valid address.
    """
    if mirror is None:
        return source.home
    scheme, place, path, _, _ = urlsplit(mirror)
    if scheme not in ("http", "https") or not place:
        raise EmotionError(f"--mirror {mirror} is not an address such as https://mirror.example.org")
    return urlunsplit((scheme, place, path.rstrip("/"), "", ""))


@cache
def _published() -> dict[str, tuple[int, list[str]]]:
    """Return the published sizes and checksums of the files of RAVDESS."""
    with (files("emotion.downloads") / "ravdess.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["size_bytes"]]
    checksums = {row["key"]: [f"{name} {row[name]}" for name in ("md5", "sha256") if row[name]] for row in rows}
    return {row["key"]: (int(row["size_bytes"]), checksums[row["key"]]) for row in rows}


def _with_checksum(remote: RemoteFile, address: str) -> RemoteFile:
    """Add the published checksums to a file.

    Raises:
        EmotionError: the server lists another size or checksum.
    """
    if remote.name not in _published():
        return remote
    size, checksums = _published()[remote.name]
    if remote.size != size or remote.checksums[0] != checksums[0]:
        raise EmotionError(
            f"{address} lists {remote.name} with {remote.size} bytes and {remote.checksums[0]}, but {size} and "
            f"{checksums[0]} were published; try again without --mirror, or later"
        )
    return RemoteFile(remote.name, remote.address, size, tuple(checksums))


def _refuse_selection(title: str, what: Sequence[str], actors: Sequence[int]) -> None:
    if what or actors:
        raise EmotionError(f"{title} is downloaded as a whole; leave out --what and --actors")


def _entries(answer: object, path: Sequence[str], address: str) -> list[dict]:
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise EmotionError(f"{address} did not answer with a list of files; try again later")
    return answer


def _fields(entry: dict, kinds: dict[str, type], address: str) -> list:
    found: list[Any] = [entry.get(name) for name in kinds]
    for value, (name, kind) in zip(found, kinds.items(), strict=True):
        if type(value) is not kind or (kind is int and not 0 <= value < _LARGEST):
            raise EmotionError(f"{address} lists a file without a usable {name}; try again later")
    return found

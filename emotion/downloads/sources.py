"""Where corpora lie, under which licence, and what their homes say of their files."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import quote, urlsplit, urlunsplit

from emotion.corpora import Corpus
from emotion.corpora.emodb import EmoDb
from emotion.corpora.ravdess import ACTORS, Ravdess
from emotion.corpora.tess import Tess
from emotion.downloads.transfer import Remote, Session
from emotion.errors import EmotionError

WHAT = ("speech", "song", "video-speech", "video-song")
"""What RAVDESS has: sound of either channel, and videos, which have sound too."""
_ACTOR_WITHOUT_SONG = 18
_LARGEST = 1 << 40  # bytes, the maximum size of a file


@dataclass(frozen=True)
class Part:
    """What becomes one folder of a corpus, at once.

    Attributes:
        name: Of the folder.
        remotes: Archives, which are unpacked, and files, which are not.
        actors: Of whom files are unpacked, as RAVDESS writes them (`01`); of everybody where it is empty.
        growth: About how many times as large as what is downloaded it is when unpacked.
    """

    name: str
    remotes: tuple[Remote, ...]
    actors: tuple[str, ...] = ()
    growth: float = 1.0

    @property
    def size(self) -> int:
        """Bytes to be downloaded, as far as they are known."""
        return sum(remote.size or 0 for remote in self.remotes)

    def wants(self, path: str) -> bool:
        """Whether a file of an archive belongs to it; what belongs to no actor does."""
        actor = path.rsplit(".", 1)[0][-2:]
        return not self.actors or not path.endswith((".wav", ".mp4")) or actor in self.actors


class Source(ABC):
    """The official home of a corpus.

    Attributes:
        corpus: What is read from what is downloaded.
        title: Of the corpus.
        licence: Its name, and where it can be read.
        citation: What a paper cites.
        home: The server, such as `https://zenodo.org`; a mirror answers in its place, under the same paths.
    """

    corpus: Corpus
    title: str
    licence: str
    citation: str
    home: str

    @abstractmethod
    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[Part]:
        """What to download.

        Args:
            session: Asks servers.
            home: The server to ask.
            what: Some of `WHAT`; empty for all there is.
            actors: Numbers of actors; empty for all.

        Raises:
            EmotionError: the corpus has no such thing, or its home does not say what it should.
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

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[Part]:
        """See `Source.parts`. Sound comes in an archive of all actors, of which those asked for are unpacked."""
        known = self._listed(session, home)
        numbers = sorted(actors or ACTORS)
        some = tuple(f"{number:02}" for number in numbers) if len(numbers) < len(ACTORS) else ()
        result = []
        for kind in what or ("speech",):
            channel = kind.removeprefix("video-").capitalize()
            if kind in ("speech", "song"):
                keys = [(f"Audio_{channel}_Actors_01-24", some)]
            else:
                sang = [number for number in numbers if channel == "Speech" or number != _ACTOR_WITHOUT_SONG]
                keys = [(f"Video_{channel}_Actor_{number:02}", ()) for number in sang]
            for name, of in keys:
                if (remote := known.get(f"{name}.zip")) is None:
                    raise EmotionError(f"{home} does not list {name}.zip in record {self.record}")
                result.append(Part(name, (remote,), of, growth=3.0 if kind in ("speech", "song") else 1.1))
        return result

    def _listed(self, session: Session, home: str) -> dict[str, Remote]:
        address = f"{home}/api/records/{self.record}"
        result = {}
        for entry in _entries(session.json(address), ("files",), address):
            key, size, checksum = _fields(entry, {"key": str, "size": int, "checksum": str}, address)
            remote = Remote(key, f"{address}/files/{quote(key, safe='')}/content", size, (checksum.replace(":", " "),))
            result[key] = _with_checksum(remote, address)
        return result


class DataverseSource(Source):
    """TESS."""

    corpus = Tess()
    title = "TESS: two women say 200 words in seven emotions"
    licence = "CC BY-NC-ND 4.0, https://creativecommons.org/licenses/by-nc-nd/4.0/"
    citation = (
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    )
    home = "https://borealisdata.ca"
    dataset = "doi:10.5683/SP2/E8H2MF"

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[Part]:
        """See `Source.parts`."""
        _refuse_selection("TESS", what, actors)
        address = f"{home}/api/datasets/:persistentId/versions/:latest/files?persistentId={self.dataset}"
        remotes = []
        for entry in _entries(session.json(address), ("data",), address):
            (file,) = _fields(entry, {"dataFile": dict}, address)
            number, name, size, md5 = _fields(file, {"id": int, "filename": str, "filesize": int, "md5": str}, address)
            if name.lower().endswith((".zip", ".wav", ".flac")):
                remotes.append(Remote(name, f"{home}/api/access/datafile/{number}", size, (f"md5 {md5}",)))
        if not remotes:
            raise EmotionError(f"{address} lists neither archives nor sound")
        return [Part("Toronto_emotional_speech_set", tuple(remotes), growth=2.0)]


class EmoDbSource(Source):
    """EmoDB, whose home publishes neither size nor checksum: the archive's own checksums of its files are relied on."""

    corpus = EmoDb()
    title = "EmoDB: ten actors say ten German sentences in seven emotions"
    licence = "free to use if it is cited, http://emodb.bilderbar.info"
    citation = (
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005). A database of German emotional speech. "
        "Interspeech, 1517–1520. https://doi.org/10.21437/Interspeech.2005-446"
    )
    home = "http://emodb.bilderbar.info"

    def parts(self, session: Session, home: str, what: Sequence[str], actors: Sequence[int]) -> list[Part]:
        """See `Source.parts`."""
        _refuse_selection("EmoDB", what, actors)
        return [Part("Berlin_database", (Remote("download.zip", f"{home}/download/download.zip", None, ()),))]


SOURCES: dict[str, Source] = {"ravdess": ZenodoSource(), "tess": DataverseSource(), "emodb": EmoDbSource()}


def at(source: Source, mirror: str | None) -> str:
    """The server that is asked.

    Raises:
        EmotionError: `mirror` is no address.
    """
    if mirror is None:
        return source.home
    scheme, place, path, _, _ = urlsplit(mirror)
    if scheme not in ("http", "https") or not place:
        raise EmotionError(f"--mirror {mirror} is no address such as https://mirror.example.org")
    return urlunsplit((scheme, place, path.rstrip("/"), "", ""))


@cache
def _published() -> dict[str, tuple[int, list[str]]]:
    """Size and checksums of RAVDESS' files, where they are known ahead."""
    with (files("emotion.downloads") / "ravdess.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["size_bytes"]]
    checksums = {row["key"]: [f"{name} {row[name]}" for name in ("md5", "sha256") if row[name]] for row in rows}
    return {row["key"]: (int(row["size_bytes"]), checksums[row["key"]]) for row in rows}


def _with_checksum(remote: Remote, address: str) -> Remote:
    """With all checksums that are known ahead; a server with other checksums has other files."""
    if remote.name not in _published():
        return remote
    size, checksums = _published()[remote.name]
    if remote.size != size or remote.checksums[0] != checksums[0]:
        raise EmotionError(
            f"{address} lists {remote.name} with {remote.size} bytes and {remote.checksums[0]}; published were "
            f"{size} and {checksums[0]}: try again without --mirror, or later"
        )
    return Remote(remote.name, remote.address, size, tuple(checksums))


def _refuse_selection(title: str, what: Sequence[str], actors: Sequence[int]) -> None:
    if what or actors:
        raise EmotionError(f"{title} comes as a whole: leave --what and --actors out")


def _entries(answer: object, path: Sequence[str], address: str) -> list[dict]:
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise EmotionError(f"{address} did not answer with a list of files; try again later")
    return answer


def _fields(entry: dict, kinds: dict[str, type], address: str) -> list:
    found = [entry.get(name) for name in kinds]
    for value, (name, kind) in zip(found, kinds.items(), strict=True):
        if type(value) is not kind or (kind is int and not 0 <= value < _LARGEST):
            raise EmotionError(f"{address} lists a file without a usable {name}; try again later")
    return found

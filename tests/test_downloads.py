import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from corpus_server import CorpusServer, archive

from conftest import build_datamodule
from emotion import runs
from emotion.corpora.ravdess import Ravdess
from emotion.downloads import Request, download, sources
from emotion.downloads.folder import INCOMPLETE
from emotion.downloads.transfer import Session
from emotion.downloads.unpack import ArchiveError, unpack
from emotion.errors import EmotionError

SONG = "Video_Song_Actor_01.zip"
SUNG = [f"01-02-0{emotion}-01-0{statement}-01-01.mp4" for emotion in (1, 3) for statement in (1, 2)]


def noise(name, size=30_000):
    """What no archive makes smaller."""
    return b"".join(hashlib.sha256(f"{name} {part}".encode()).digest() for part in range(size // 32))


@pytest.fixture
def server():
    with CorpusServer().running() as running:
        running.files = {
            SONG: archive({f"Actor_01/{name}": noise(name) for name in SUNG}),
            "Video_Song_Actor_02.zip": archive({"Actor_02/01-02-01-01-01-01-02.mp4": noise("2")}),
        }
        yield running


@pytest.fixture
def published(server, monkeypatch):
    """Sound of three actors, as if that were what is published."""
    takes = [f"Actor_{actor:02}/03-01-0{emotion}-01-01-01-{actor:02}.wav" for actor in (1, 2, 3) for emotion in (1, 2)]
    content = archive({take: noise(take, 3000) for take in takes})
    server.files["Audio_Speech_Actors_01-24.zip"] = content
    checksums = [f"md5 {hashlib.md5(content).hexdigest()}", f"sha256 {hashlib.sha256(content).hexdigest()}"]
    monkeypatch.setattr(sources, "_published", lambda: {"Audio_Speech_Actors_01-24.zip": (len(content), checksums)})
    return server


def request(server, root, *what, **more):
    more = {"actors": (1,)} | more
    return Request("ravdess", root, what, mirror=server.address, session=Session(2, timeout=1, pause=0.01), **more)


def typed(server, root, *more, corpus="ravdess"):
    """The command in a process of its own."""
    options = ["--what", "video-song", "--actors", "1"] if corpus == "ravdess" else []
    command = ["download", corpus, *options, "--to", root, "--mirror", server.address, "--retries", "2"]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "emotion.cli", *map(str, command), "--timeout", "1", *more],
        capture_output=True,
        text=True,
        env=environment,
    )


def unpacked(root, part="Video_Song_Actor_01"):
    return {path.name: path.read_bytes() for path in (root / "ravdess" / part).rglob("*.mp4")}


@pytest.mark.slow
def test_a_corpus_is_downloaded_verified_and_ready(server, tmp_path):
    done = typed(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC-SA 4.0" in done.stdout and "Livingstone" in done.stdout
    assert (
        "4 of 1,012 song recordings" in done.stdout
        and f"python train.py data=ravdess data.root={tmp_path}" in done.stdout
    )
    assert unpacked(tmp_path) == {name: noise(name) for name in SUNG}
    assert not list((tmp_path / "ravdess" / INCOMPLETE).rglob("*.zip*"))  # nothing but the lock
    table = Ravdess().scan(Ravdess().locate(str(tmp_path)), "song")
    assert len(table) == len(SUNG) and (table["video"] != "").all()


def test_what_is_there_already_is_not_asked_for_again(server, tmp_path):
    download(request(server, tmp_path, "video-song"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ravdess").rglob("*.mp4")}
    server.asked.clear()
    download(request(server, tmp_path, "video-song"))
    assert server.contents_asked() == []
    assert {path: path.stat().st_mtime_ns for path in before} == before

    next(iter(before)).unlink()
    download(request(server, tmp_path, "video-song"))
    assert len(server.contents_asked()) == 1 and set(unpacked(tmp_path)) == set(SUNG)


# By fault: what happens, of a whole corpus or a line on stderr; the same command without the fault then ends well.
FAULTS = {
    "slow": (SONG, ["always:slow"], "whole"),
    "cut off in the middle, twice": (SONG, ["cut off", "cut off"], "whole"),
    "cut off in the middle, every time": (SONG, ["always:cut off"], "whole"),  # each time there is more
    "stalls in the middle": (SONG, ["stalls"], "whole"),
    "wrong checksum once": (SONG, ["wrong checksum"], "whole"),
    "wrong checksum every time": (SONG, ["always:wrong checksum"], "instead of"),
    "longer than listed": (SONG, ["always:too long"], "sends more than"),
    "shorter than listed": (SONG, ["always:too short"], "could not be downloaded"),
    "429 twice": (SONG, ["429", "429"], "whole"),
    "500 every time": (SONG, ["always:500"], "answers 500"),
    "503 once, for the list": ("list", ["503"], "whole"),
    "500 every time, for the list": ("list", ["always:500"], "answers 500"),
    "404": (SONG, ["always:404"], "answers 404"),
    "a page instead of the list": ("list", ["always:html"], "did not answer with a list of files"),
    "redirects once": (SONG, ["redirect"], "whole"),
    "redirects for ever": (SONG, ["always:redirect"], "Exceeded 5 redirects"),
    "redirects to ftp": (SONG, ["always:elsewhere"], "could not be reached"),
    "no ranges after it was cut off": (SONG, ["cut off", "no ranges"], "whole"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_in_a_verified_corpus_or_in_one_line(fault, server, tmp_path, record_robustness):
    asked_for, faults, expected = FAULTS[fault]
    server.faults = {asked_for: list(faults)}
    done = typed(server, tmp_path)
    if expected == "whole":
        assert done.returncode == 0, done.stderr
        record_robustness("Downloads", fault, "a verified corpus")
    else:
        assert done.returncode == 1 and expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "ravdess" / "Video_Song_Actor_01").exists()
        record_robustness("Downloads", fault, done.stderr, {server.address: "SERVER", str(tmp_path): "DIR"})
        server.faults = {}
        assert typed(server, tmp_path).returncode == 0
    assert unpacked(tmp_path) == {name: noise(name) for name in SUNG}


def test_an_interrupted_download_goes_on_where_it_ended(server, tmp_path):
    server.faults = {SONG: ["cut off", "always:404"]}
    with pytest.raises(EmotionError, match="404"):
        download(request(server, tmp_path, "video-song"))
    (partial,) = (tmp_path / "ravdess" / INCOMPLETE).rglob("*.partial")
    have = partial.stat().st_size
    assert have == len(server.files[SONG]) // 2

    server.faults, server.asked = {}, []
    download(request(server, tmp_path, "video-song"))
    assert server.contents_asked() == [f"bytes={have}-"] and set(unpacked(tmp_path)) == set(SUNG)


@pytest.mark.slow
def test_killed_at_any_moment_it_is_never_taken_for_whole(server, tmp_path, record_robustness):
    server.files[SONG] = archive({f"Actor_01/{name}": noise(name, 3_000_000) for name in SUNG})
    server.faults = {SONG: ["slow"]}
    command = ["download", "ravdess", "--what", "video-song", "--actors", "1", "--mirror", server.address]
    running = subprocess.Popen(
        [sys.executable, "-m", "emotion.cli", *command, "--to", tmp_path], stdout=subprocess.DEVNULL
    )
    aside = tmp_path / "ravdess" / INCOMPLETE
    while not any(path.stat().st_size for path in aside.rglob("*.partial")):
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert not (tmp_path / "ravdess" / "Video_Song_Actor_01").exists()
    with pytest.raises(EmotionError, match="no ravdess recording"):
        Ravdess().scan(Ravdess().locate(str(tmp_path)))
    assert typed(server, tmp_path).returncode == 0
    assert unpacked(tmp_path) == {name: noise(name, 3_000_000) for name in SUNG}
    record_robustness(
        "Downloads",
        "killed (`kill -9`) in the middle",
        "the same command goes on; what there was is not read as a corpus",
    )


def test_a_killed_unpacking_is_done_again(server, tmp_path, monkeypatch):
    from emotion.downloads import folder as module

    def killed(*arguments):
        (tmp_path / "ravdess" / INCOMPLETE / "Video_Song_Actor_01.unpacked" / SUNG[0]).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "unpack", killed)
        download(request(server, tmp_path, "video-song"))
    with pytest.raises(EmotionError, match="no ravdess recording"):
        Ravdess().scan(tmp_path / "ravdess")
    server.asked.clear()
    download(request(server, tmp_path, "video-song"))
    assert server.contents_asked() == []  # the archive was whole
    assert unpacked(tmp_path) == {name: noise(name) for name in SUNG}


def test_sound_of_some_actors_is_added_to_that_of_others(published, tmp_path):
    for actors, expected in (((1,), {"01"}), ((3,), {"01", "03"}), ((1,), {"01", "03"}), ((), {"01", "02", "03"})):
        download(request(published, tmp_path, "speech", actors=actors))
        table = Ravdess().scan(tmp_path / "ravdess", "speech")
        assert {speaker[-2:] for speaker in table["speaker"]} == expected
    published.asked.clear()
    download(request(published, tmp_path, "speech", actors=(2,)))
    assert published.contents_asked() == []


def test_several_at_once_and_archives_kept(server, tmp_path):
    folders = download(request(server, tmp_path, "video-song", actors=(1, 2), jobs=2, keep_archives=True))
    assert [folder.name for folder in folders] == ["Video_Song_Actor_01", "Video_Song_Actor_02"]
    kept = {path.name: path.read_bytes() for path in (tmp_path / "ravdess" / INCOMPLETE).rglob("*.zip")}
    assert kept == server.files
    shutil.rmtree(folders[0])
    server.asked.clear()
    download(request(server, tmp_path, "video-song", actors=(1, 2)))
    assert server.contents_asked() == [] and set(unpacked(tmp_path)) == set(SUNG)


def test_actor_18_never_sang(server, tmp_path):
    with pytest.raises(EmotionError, match="does not list Video_Song_Actor_19"):
        download(request(server, tmp_path, "video-song", actors=(18, 19)))
    assert download(request(server, tmp_path, "video-song", actors=(18,))) == []


def test_other_content_than_what_was_published_is_refused(server, tmp_path):
    server.files["Audio_Speech_Actors_01-24.zip"] = archive({"Actor_01/03-01-01-01-01-01-01.wav": b"forged"})
    with pytest.raises(EmotionError, match="but 208468073 and md5 bc696df654c87fed845eb13823edef8a"):
        download(request(server, tmp_path, "speech"))


def test_recordings_that_lie_in_the_folder_itself_keep_company(server, tmp_path):
    (tmp_path / "03-01-01-01-01-01-01.wav").write_bytes(b"there before")
    download(request(server, tmp_path, "video-song"))
    assert len(Ravdess().scan(Ravdess().locate(str(tmp_path)))) == 1 + len(SUNG)


@pytest.mark.slow
def test_two_processes_do_not_collide(server, tmp_path):
    server.faults = {SONG: ["slow"]}
    results = []
    threads = [threading.Thread(target=lambda: results.append(typed(server, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0, 0]
    assert len(server.contents_asked()) == 1 and set(unpacked(tmp_path)) == set(SUNG)


def test_proxies_of_the_environment_are_used(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    session = Session(0, timeout=1)
    with pytest.raises(EmotionError):  # the proxy knows no such path, but it was it that was asked
        session.json("http://corpora.example.org/listed")
    assert server.asked[0][0] == "/listed"


@pytest.mark.slow
def test_no_network_is_one_line(tmp_path):
    silent = CorpusServer()
    silent._server.server_close()
    done = typed(silent, tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "could not be reached" in done.stderr and "HTTPS_PROXY" in done.stderr


def test_too_little_space_is_reported_before_anything_is_downloaded(server, tmp_path, monkeypatch, record_robustness):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(EmotionError, match="free space or choose another folder with --to") as error:
        download(request(server, tmp_path, "video-song"))
    assert server.contents_asked() == []
    record_robustness("Downloads", "a disk without room", str(error.value), {str(tmp_path): "DIR"})


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_line(server, tmp_path, record_robustness):
    (tmp_path / "ravdess").write_text("a file")
    done = typed(server, tmp_path)
    assert done.returncode == 1 and "cannot write" in done.stderr and done.stderr.count("\n") == 1
    record_robustness("Downloads", "a folder that cannot be written", done.stderr, {str(tmp_path): "DIR"})


@pytest.mark.slow
def test_tess_of_single_files_and_of_an_archive(server, tmp_path):
    server.files = {
        "OAF_back_angry.wav": noise("1"),
        "readme.txt": b"not sound",
        "YAF.zip": archive({"YAF_happy/YAF_bean_happy.wav": noise("2")}),
    }
    done = typed(server, tmp_path, corpus="tess")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "tess" / "Toronto_emotional_speech_set"
    assert (folder / "OAF_back_angry.wav").read_bytes() == noise("1")
    assert (folder / "YAF_happy" / "YAF_bean_happy.wav").read_bytes() == noise("2")
    assert "2 of 2,800 speech recordings" in done.stdout and "Pichora-Fuller" in done.stdout


@pytest.mark.slow
def test_a_dataverse_cannot_write_elsewhere(server, tmp_path):
    server.files = {"../../OAF_back_angry.wav": noise("1")}
    done = typed(server, tmp_path / "below" / "it", corpus="tess")
    assert done.returncode == 1 and "is no plain name of a file" in done.stderr
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.slow
def test_emodb_and_a_damaged_archive_of_it(server, tmp_path):
    good = archive({"wav/03a01Fa.wav": noise("1"), "erkennung.txt": b"labels"})
    at = good.index(noise("1")[:16]) if noise("1")[:16] in good else 200
    server.files = {"download.zip": good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]}
    done = typed(server, tmp_path, corpus="emodb")
    assert done.returncode == 1 and "cannot be unpacked" in done.stderr
    assert not list(tmp_path.rglob("*.wav")) or not (tmp_path / "emodb" / "Berlin_database").exists()

    server.files = {"download.zip": good}
    done = typed(server, tmp_path, corpus="emodb")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "emodb" / "Berlin_database" / "wav" / "03a01Fa.wav").read_bytes() == noise("1")
    assert "1 of 535" in done.stdout


def member(name, mode=0, size=None):
    described = zipfile.ZipInfo(name)
    described.external_attr = mode << 16
    described.compress_type = zipfile.ZIP_DEFLATED
    return described, size or 10


HOSTILE = {
    "a path out of it": [member("../evil.wav")],
    "a path out of it, later": [member("fine.wav"), member("a/../../evil.wav")],
    "an absolute path": [member("/evil.wav")],
    "a drive of Windows": [member("C:/evil.wav")],
    "backslashes": [member("..\\evil.wav")],
    "a line break": [member("a\n.wav")],
    "a symbolic link": [member("link", stat.S_IFLNK | 0o777)],
    "a device": [member("device", stat.S_IFCHR | 0o666)],
    "a name twice": [member("a.wav"), member("A.wav")],
    "a file that is a folder, too": [member("a"), member("a/b.wav")],
    "a file without a name": [member("")],
    "a bomb": [member("bomb.wav", size=200 << 20)],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", HOSTILE)
def test_untrusted_archives_are_refused_as_a_whole(trick, tmp_path, record_robustness):
    path, folder = tmp_path / "archive.zip", tmp_path / "below" / "folder"
    with zipfile.ZipFile(path, "w") as opened:
        for described, size in HOSTILE[trick]:
            with opened.open(described, "w") as file:
                for start in range(0, size, 1 << 20):
                    file.write(b"x" * min(1 << 20, size - start))
    with pytest.raises(ArchiveError, match="is refused") as error:
        unpack(path, folder)
    assert not folder.exists() and sorted(tmp_path.rglob("*")) == [path]
    happened = re.sub(r"more than [\d.]+ MB", "more than its size allows", str(error.value))  # which depends on zlib
    record_robustness("Archives", trick, happened, {str(tmp_path): "DIR"})


def test_more_files_than_any_corpus_are_refused(tmp_path, monkeypatch):
    from emotion.downloads import unpack as module

    monkeypatch.setattr(module, "_MAX_FILES", 3)
    path = tmp_path / "archive.zip"
    path.write_bytes(archive({f"{number}.wav": b"x" for number in range(4)}))
    with pytest.raises(ArchiveError, match="it holds 4 files"):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no archive at all" * 100])
def test_what_is_no_archive_is_one_line(content, tmp_path):
    path = tmp_path / "archive.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack(path, tmp_path / "folder")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["ravdess", "--what", "video"], "'video' is none of speech, song, video-speech, video-song"),
        (["ravdess", "--actors", "0-3"], "there are actors 1 to 24"),
        (["ravdess", "--actors", "1-999999999"], "there are actors 1 to 24"),
        (["ravdess", "--actors", "x"], "does not name actors, such as 1-4,7"),
        (["tess", "--actors", "1"], "TESS comes as a whole"),
        (["ravdess", "--mirror", "zenodo"], "is no address such as"),
        (["ravdess", "--jobs", "0"], "no number from 1 to 64"),
        (["iemocap"], "invalid choice"),
    ],
)
def test_wrong_options_are_explained(options, expected, tmp_path):
    command = [sys.executable, "-m", "emotion.cli", "download", *options, "--to", str(tmp_path / "corpora")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and expected in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "corpora").exists()


@pytest.mark.slow
def test_training_downloads_on_first_use(published, demo_root, tmp_path, monkeypatch):
    """Real takes of the demo corpus under names of RAVDESS, as if they were published."""
    from hydra import compose, initialize_config_dir

    from emotion.config.compose import DIRECTORY

    content = archive({f"{path.parent.name}/{path.name}": path.read_bytes() for path in demo_root.rglob("*.wav")})
    published.files["Audio_Speech_Actors_01-24.zip"] = content
    md5 = f"md5 {hashlib.md5(content).hexdigest()}"
    monkeypatch.setattr(sources, "_published", lambda: {"Audio_Speech_Actors_01-24.zip": (len(content), [md5])})
    monkeypatch.setattr(sources.Zenodo, "home", published.address)
    overrides = ["data=ravdess", f"data.root={tmp_path}", "data.download=true"]
    for times in (1, 1):
        with initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            datamodule = build_datamodule(compose("train", overrides))
        datamodule.setup()
        assert len(datamodule.table) == len(list(demo_root.rglob("*.wav")))
        assert len(published.contents_asked()) == times
    with (
        pytest.raises(EmotionError, match="demo cannot be downloaded"),
        initialize_config_dir(str(DIRECTORY), version_base="1.3"),
    ):
        build_datamodule(compose("train", ["data=demo", "+data.download=true"]))


@pytest.mark.slow
def test_a_run_of_somebody_else_downloads_nothing(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("\ndata:\n", "\ndata:\n  download: true\n"))
    assert "download: true" in path.read_text()
    assert runs.load_config(tmp_path / "run").data.download is False


def test_listed_files_are_the_ones_that_were_unpacked(server, tmp_path):
    download(request(server, tmp_path, "video-song"))
    listed = json.loads((tmp_path / "ravdess" / "Video_Song_Actor_01" / ".downloaded.json").read_text())
    assert listed["files"] == {f"Actor_01/{name}": len(noise(name)) for name in SUNG}
    assert Path(listed["of"][0][0]).suffix == ".zip"

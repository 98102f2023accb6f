"""Tests of the download of corpora, with a local server."""

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
SONG_FILES = [f"01-02-0{emotion}-01-0{statement}-01-01.mp4" for emotion in (1, 3) for statement in (1, 2)]


def noise(name, size=30_000):
    """Return incompressible bytes."""
    return b"".join(hashlib.sha256(f"{name} {part}".encode()).digest() for part in range(size // 32))


@pytest.fixture
def server():
    """Yield a running server of two archives of RAVDESS song."""
    with CorpusServer().running() as running:
        running.files = {
            SONG: archive({f"Actor_01/{name}": noise(name) for name in SONG_FILES}),
            "Video_Song_Actor_02.zip": archive({"Actor_02/01-02-01-01-01-01-02.mp4": noise("2")}),
        }
        yield running


@pytest.fixture
def published(server, monkeypatch):
    """Return the server with an archive of three actors in place of RAVDESS speech."""
    takes = [f"Actor_{actor:02}/03-01-0{emotion}-01-01-01-{actor:02}.wav" for actor in (1, 2, 3) for emotion in (1, 2)]
    content = archive({take: noise(take, 3000) for take in takes})
    server.files["Audio_Speech_Actors_01-24.zip"] = content
    checksums = [f"md5 {hashlib.md5(content).hexdigest()}", f"sha256 {hashlib.sha256(content).hexdigest()}"]
    monkeypatch.setattr(sources, "_published", lambda: {"Audio_Speech_Actors_01-24.zip": (len(content), checksums)})
    return server


def request(server, root, *parts, **more):
    """Return a request of one actor from the server."""
    more = {"actors": (1,)} | more
    return Request("ravdess", root, parts, mirror=server.address, session=Session(2, timeout=1, pause=0.01), **more)


def run_download(server, root, *more, corpus="ravdess"):
    """Run `emotion download` in a subprocess."""
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
def test_downloaded_corpora_are_verified_and_usable(server, tmp_path):
    done = run_download(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC-SA 4.0" in done.stdout and "Livingstone" in done.stdout
    assert (
        "4 of 1,012 song recordings" in done.stdout
        and f"emotion train data=ravdess data.root={tmp_path}" in done.stdout
    )
    assert unpacked(tmp_path) == {name: noise(name) for name in SONG_FILES}
    assert not list((tmp_path / "ravdess" / INCOMPLETE).rglob("*.zip*"))  # only the lock file
    table = Ravdess().scan(Ravdess().locate(str(tmp_path)), "song")
    assert len(table) == len(SONG_FILES) and (table["video"] != "").all()


def test_existing_files_are_not_downloaded_again(server, tmp_path):
    download(request(server, tmp_path, "video-song"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ravdess").rglob("*.mp4")}
    server.requests.clear()
    download(request(server, tmp_path, "video-song"))
    assert server.content_ranges() == []
    assert {path: path.stat().st_mtime_ns for path in before} == before

    next(iter(before)).unlink()
    download(request(server, tmp_path, "video-song"))
    assert len(server.content_ranges()) == 1 and set(unpacked(tmp_path)) == set(SONG_FILES)


# By fault: the requested name, the faults, and the outcome, which is "complete" or part of the line on stderr. In the
# latter case the same command without the fault succeeds.
FAULTS = {
    "slow": (SONG, ["always:slow"], "complete"),
    "cut off in the middle, twice": (SONG, ["cut off", "cut off"], "complete"),
    "cut off in the middle, every time": (SONG, ["always:cut off"], "complete"),  # each attempt gets more
    "stalls in the middle": (SONG, ["stalls"], "complete"),
    "wrong checksum once": (SONG, ["wrong checksum"], "complete"),
    "wrong checksum every time": (SONG, ["always:wrong checksum"], "instead of"),
    "longer than listed": (SONG, ["always:too long"], "sends more than"),
    "shorter than listed": (SONG, ["always:too short"], "could not be downloaded"),
    "429 twice": (SONG, ["429", "429"], "complete"),
    "500 every time": (SONG, ["always:500"], "answers 500"),
    "503 once, for the list": ("list", ["503"], "complete"),
    "500 every time, for the list": ("list", ["always:500"], "answers 500"),
    "404": (SONG, ["always:404"], "answers 404"),
    "an HTML page instead of the list": ("list", ["always:html"], "did not answer with a list of files"),
    "redirects once": (SONG, ["redirect"], "complete"),
    "endless redirects": (SONG, ["always:redirect"], "Exceeded 5 redirects"),
    "redirects to ftp": (SONG, ["always:elsewhere"], "could not be reached"),
    "no support for ranges after it was cut off": (SONG, ["cut off", "no ranges"], "complete"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_end_in_a_verified_corpus_or_one_line_of_error(fault, server, tmp_path, record_robustness):
    requested, faults, expected = FAULTS[fault]
    server.faults = {requested: list(faults)}
    done = run_download(server, tmp_path)
    if expected == "complete":
        assert done.returncode == 0, done.stderr
        record_robustness("Downloads", fault, "a verified corpus")
    else:
        assert done.returncode == 1 and expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "ravdess" / "Video_Song_Actor_01").exists()
        record_robustness("Downloads", fault, done.stderr, {server.address: "SERVER", str(tmp_path): "DIR"})
        server.faults = {}
        assert run_download(server, tmp_path).returncode == 0
    assert unpacked(tmp_path) == {name: noise(name) for name in SONG_FILES}


def test_interrupted_downloads_are_continued(server, tmp_path):
    server.faults = {SONG: ["cut off", "always:404"]}
    with pytest.raises(EmotionError, match="404"):
        download(request(server, tmp_path, "video-song"))
    (partial,) = (tmp_path / "ravdess" / INCOMPLETE).rglob("*.partial")
    size = partial.stat().st_size
    assert size == len(server.files[SONG]) // 2

    server.faults, server.requests = {}, []
    download(request(server, tmp_path, "video-song"))
    assert server.content_ranges() == [f"bytes={size}-"] and set(unpacked(tmp_path)) == set(SONG_FILES)


@pytest.mark.slow
def test_killed_downloads_are_not_read_as_a_corpus(server, tmp_path, record_robustness):
    server.files[SONG] = archive({f"Actor_01/{name}": noise(name, 3_000_000) for name in SONG_FILES})
    server.faults = {SONG: ["slow"]}
    command = ["download", "ravdess", "--what", "video-song", "--actors", "1", "--mirror", server.address]
    running = subprocess.Popen(
        [sys.executable, "-m", "emotion.cli", *command, "--to", tmp_path], stdout=subprocess.DEVNULL
    )
    incomplete = tmp_path / "ravdess" / INCOMPLETE
    while not any(path.stat().st_size for path in incomplete.rglob("*.partial")):
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert not (tmp_path / "ravdess" / "Video_Song_Actor_01").exists()
    with pytest.raises(EmotionError, match="no ravdess recording"):
        Ravdess().scan(Ravdess().locate(str(tmp_path)))
    assert run_download(server, tmp_path).returncode == 0
    assert unpacked(tmp_path) == {name: noise(name, 3_000_000) for name in SONG_FILES}
    record_robustness(
        "Downloads",
        "killed (`kill -9`) in the middle",
        "the same command continues; the partial download is not read as a corpus",
    )


def test_killed_unpacking_is_repeated(server, tmp_path, monkeypatch):
    from emotion.downloads import folder as module

    def fail(*arguments):
        (tmp_path / "ravdess" / INCOMPLETE / "Video_Song_Actor_01.unpacked" / SONG_FILES[0]).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "unpack", fail)
        download(request(server, tmp_path, "video-song"))
    with pytest.raises(EmotionError, match="no ravdess recording"):
        Ravdess().scan(tmp_path / "ravdess")
    server.requests.clear()
    download(request(server, tmp_path, "video-song"))
    assert server.content_ranges() == []  # the archive was complete
    assert unpacked(tmp_path) == {name: noise(name) for name in SONG_FILES}


def test_actors_are_added_to_an_existing_download(published, tmp_path):
    for actors, expected in (((1,), {"01"}), ((3,), {"01", "03"}), ((1,), {"01", "03"}), ((), {"01", "02", "03"})):
        download(request(published, tmp_path, "speech", actors=actors))
        table = Ravdess().scan(tmp_path / "ravdess", "speech")
        assert {speaker[-2:] for speaker in table["speaker"]} == expected
    published.requests.clear()
    download(request(published, tmp_path, "speech", actors=(2,)))
    assert published.content_ranges() == []


def test_parallel_downloads_and_kept_archives(server, tmp_path):
    folders = download(request(server, tmp_path, "video-song", actors=(1, 2), jobs=2, keep_archives=True))
    assert [folder.name for folder in folders] == ["Video_Song_Actor_01", "Video_Song_Actor_02"]
    kept = {path.name: path.read_bytes() for path in (tmp_path / "ravdess" / INCOMPLETE).rglob("*.zip")}
    assert kept == server.files
    shutil.rmtree(folders[0])
    server.requests.clear()
    download(request(server, tmp_path, "video-song", actors=(1, 2)))
    assert server.content_ranges() == [] and set(unpacked(tmp_path)) == set(SONG_FILES)


def test_actor_18_has_no_song(server, tmp_path):
    with pytest.raises(EmotionError, match="does not list Video_Song_Actor_19"):
        download(request(server, tmp_path, "video-song", actors=(18, 19)))
    assert download(request(server, tmp_path, "video-song", actors=(18,))) == []


def test_archives_with_other_checksums_than_published_are_refused(server, tmp_path):
    server.files["Audio_Speech_Actors_01-24.zip"] = archive({"Actor_01/03-01-01-01-01-01-01.wav": b"forged"})
    with pytest.raises(EmotionError, match="but 208468073 and md5 bc696df654c87fed845eb13823edef8a"):
        download(request(server, tmp_path, "speech"))


def test_existing_recordings_in_the_folder_are_kept(server, tmp_path):
    (tmp_path / "03-01-01-01-01-01-01.wav").write_bytes(b"existing")
    download(request(server, tmp_path, "video-song"))
    assert len(Ravdess().scan(Ravdess().locate(str(tmp_path)))) == 1 + len(SONG_FILES)


@pytest.mark.slow
def test_concurrent_downloads_do_not_conflict(server, tmp_path):
    server.faults = {SONG: ["slow"]}
    results = []
    threads = [threading.Thread(target=lambda: results.append(run_download(server, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0, 0]
    assert len(server.content_ranges()) == 1 and set(unpacked(tmp_path)) == set(SONG_FILES)


def test_proxies_of_the_environment_are_used(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    session = Session(0, timeout=1)
    with pytest.raises(EmotionError):  # the proxy has no such path, but receives the request
        session.json("http://corpora.example.org/listed")
    assert server.requests[0][0] == "/listed"


@pytest.mark.slow
def test_missing_network_is_reported_in_one_line(tmp_path):
    stopped = CorpusServer()
    stopped._server.server_close()
    done = run_download(stopped, tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "could not be reached" in done.stderr and "HTTPS_PROXY" in done.stderr


def test_insufficient_disk_space_is_reported_before_the_download(server, tmp_path, monkeypatch, record_robustness):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(EmotionError, match="free space or choose another folder with --to") as error:
        download(request(server, tmp_path, "video-song"))
    assert server.content_ranges() == []
    record_robustness("Downloads", "a disk without free space", str(error.value), {str(tmp_path): "DIR"})


@pytest.mark.slow
def test_unwritable_folders_are_reported_in_one_line(server, tmp_path, record_robustness):
    (tmp_path / "ravdess").write_text("a file")
    done = run_download(server, tmp_path)
    assert done.returncode == 1 and "cannot write" in done.stderr and done.stderr.count("\n") == 1
    record_robustness("Downloads", "a folder that cannot be written", done.stderr, {str(tmp_path): "DIR"})


@pytest.mark.slow
def test_tess_is_downloaded_from_files_and_archives(server, tmp_path):
    server.files = {
        "OAF_back_angry.wav": noise("1"),
        "readme.txt": b"not audio",
        "YAF.zip": archive({"YAF_happy/YAF_bean_happy.wav": noise("2")}),
    }
    done = run_download(server, tmp_path, corpus="tess")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "tess" / "Toronto_emotional_speech_set"
    assert (folder / "OAF_back_angry.wav").read_bytes() == noise("1")
    assert (folder / "YAF_happy" / "YAF_bean_happy.wav").read_bytes() == noise("2")
    assert "2 of 2,800 speech recordings" in done.stdout and "Pichora-Fuller" in done.stdout


@pytest.mark.slow
def test_file_names_of_the_server_cannot_leave_the_folder(server, tmp_path):
    server.files = {"../../OAF_back_angry.wav": noise("1")}
    done = run_download(server, tmp_path / "below" / "it", corpus="tess")
    assert done.returncode == 1 and "is not a plain file name" in done.stderr
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.slow
def test_emodb_is_downloaded_and_damaged_archives_are_refused(server, tmp_path):
    valid = archive({"wav/03a01Fa.wav": noise("1"), "erkennung.txt": b"labels"})
    position = valid.index(noise("1")[:16]) if noise("1")[:16] in valid else 200
    server.files = {"download.zip": valid[:position] + bytes([valid[position] ^ 1]) + valid[position + 1 :]}
    done = run_download(server, tmp_path, corpus="emodb")
    assert done.returncode == 1 and "cannot be unpacked" in done.stderr
    assert not list(tmp_path.rglob("*.wav")) or not (tmp_path / "emodb" / "Berlin_database").exists()

    server.files = {"download.zip": valid}
    done = run_download(server, tmp_path, corpus="emodb")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "emodb" / "Berlin_database" / "wav" / "03a01Fa.wav").read_bytes() == noise("1")
    assert "1 of 535" in done.stdout


def member(name, mode=0, size=None):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info, size or 10


UNTRUSTED = {
    "a path out of the folder": [member("../evil.wav")],
    "a path out of the folder, later": [member("fine.wav"), member("a/../../evil.wav")],
    "an absolute path": [member("/evil.wav")],
    "a Windows drive": [member("C:/evil.wav")],
    "backslashes": [member("..\\evil.wav")],
    "a line break": [member("a\n.wav")],
    "a symbolic link": [member("link", stat.S_IFLNK | 0o777)],
    "a device": [member("device", stat.S_IFCHR | 0o666)],
    "a duplicate name": [member("a.wav"), member("A.wav")],
    "a name of a file and of a folder": [member("a"), member("a/b.wav")],
    "a file without a name": [member("")],
    "a zip bomb": [member("bomb.wav", size=200 << 20)],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", UNTRUSTED)
def test_untrusted_archives_are_refused_completely(case, tmp_path, record_robustness):
    path, folder = tmp_path / "archive.zip", tmp_path / "below" / "folder"
    with zipfile.ZipFile(path, "w") as opened:
        for info, size in UNTRUSTED[case]:
            with opened.open(info, "w") as file:
                for start in range(0, size, 1 << 20):
                    file.write(b"x" * min(1 << 20, size - start))
    with pytest.raises(ArchiveError, match="is refused") as error:
        unpack(path, folder)
    assert not folder.exists() and sorted(tmp_path.rglob("*")) == [path]
    outcome = re.sub(r"more than [\d.]+ MB", "more than its size allows", str(error.value))  # the size depends on zlib
    record_robustness("Archives", case, outcome, {str(tmp_path): "DIR"})


def test_archives_with_too_many_files_are_refused(tmp_path, monkeypatch):
    from emotion.downloads import unpack as module

    monkeypatch.setattr(module, "_MAX_FILES", 3)
    path = tmp_path / "archive.zip"
    path.write_bytes(archive({f"{number}.wav": b"x" for number in range(4)}))
    with pytest.raises(ArchiveError, match="it holds 4 files"):
        unpack(path, tmp_path / "folder")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"not an archive" * 100])
def test_files_that_are_not_archives_are_refused(content, tmp_path):
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
        (["tess", "--actors", "1"], "TESS is downloaded as a whole"),
        (["ravdess", "--mirror", "zenodo"], "is not an address such as"),
        (["ravdess", "--jobs", "0"], "not a number from 1 to 64"),
        (["iemocap"], "invalid choice"),
    ],
)
def test_invalid_options_are_refused(options, expected, tmp_path):
    command = [sys.executable, "-m", "emotion.cli", "download", *options, "--to", str(tmp_path / "corpora")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and expected in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "corpora").exists()


@pytest.mark.slow
def test_training_downloads_on_first_use(published, demo_root, tmp_path, monkeypatch):
    """The server publishes the demo corpus under the name of RAVDESS."""
    from hydra import compose, initialize_config_dir

    from emotion.config.compose import DIRECTORY

    clips = list(demo_root.glob("Actor_??/03-*.wav"))
    content = archive({f"{path.parent.name}/{path.name}": path.read_bytes() for path in clips})
    published.files["Audio_Speech_Actors_01-24.zip"] = content
    md5 = f"md5 {hashlib.md5(content).hexdigest()}"
    monkeypatch.setattr(sources, "_published", lambda: {"Audio_Speech_Actors_01-24.zip": (len(content), [md5])})
    monkeypatch.setattr(sources.ZenodoSource, "home", published.address)
    overrides = ["data=ravdess", f"data.root={tmp_path}", "data.download=true"]
    for n_downloads in (1, 1):
        with initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            datamodule = build_datamodule(compose("train", overrides))
        datamodule.setup()
        assert len(datamodule.table) == len(clips)
        assert len(published.content_ranges()) == n_downloads
    with (
        pytest.raises(EmotionError, match="demo cannot be downloaded"),
        initialize_config_dir(str(DIRECTORY), version_base="1.3"),
    ):
        build_datamodule(compose("train", ["data=demo", "+data.download=true"]))


@pytest.mark.slow
def test_saved_configurations_never_download(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("\ndata:\n", "\ndata:\n  download: true\n"))
    assert "download: true" in path.read_text()
    assert runs.load_config(tmp_path / "run").data.download is False


def test_downloaded_files_are_listed(server, tmp_path):
    download(request(server, tmp_path, "video-song"))
    record = json.loads((tmp_path / "ravdess" / "Video_Song_Actor_01" / ".downloaded.json").read_text())
    assert record["files"] == {f"Actor_01/{name}": len(noise(name)) for name in SONG_FILES}
    assert Path(record["of"][0][0]).suffix == ".zip"

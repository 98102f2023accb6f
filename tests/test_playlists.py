"""Tests of files that refer to other files or to addresses: nothing but the given file is opened."""

import http.server
import os
import threading
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.video import frame_times, video_duration

TEXTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
    "hls_key.m3u8": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{0}\n',
    "list.ffconcat": "ffconcat version 1.0\nfile {}\n",
    "unsafe.ffconcat": "ffconcat version 1.0\nfile 'file:{}'\n",
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash.mpd": '<?xml version="1.0"?><MPD type="static" mediaPresentationDuration="PT3S"><Period><AdaptationSet '
    'mimeType="audio/flac"><Representation id="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period>',
}
HIDDEN = b"ID3\x04\0\0\0\0\0\0"  # an empty tag, which FFmpeg skips before it looks at the content


@pytest.fixture
def target(tmp_path):
    """Return a recording to which playlists refer; FFmpeg reads playlists of FLAC, but not of WAV."""
    path = tmp_path / "target.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    return path


@pytest.fixture
def requests():
    """Yield the address of an HTTP server, and the list of the requests that it received."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            received.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/clip.flac", received
    server.shutdown()
    server.server_close()


@pytest.fixture
def fifo(tmp_path):
    """Return a pipe in which a program that opens it for reading waits."""
    os.mkfifo(tmp_path / "pipe.flac")
    return tmp_path / "pipe.flac"


READERS = (lambda path: read_audio(path, 16_000), frame_times, video_duration)


@pytest.mark.parametrize("prefix", [b"", HIDDEN], ids=["plain", "behind a tag"])
@pytest.mark.parametrize("name", TEXTS)
def test_files_and_addresses_of_playlists_are_not_opened(name, prefix, target, fifo, requests, tmp_path):
    address, received = requests
    for reference in (target.name, str(target), str(fifo), address):
        path = tmp_path / name
        path.write_bytes(prefix + TEXTS[name].format(reference).encode())
        for read in READERS:
            if prefix:  # the text may be taken for damaged audio
                with suppress(MediaError):
                    read(path)
            else:
                with pytest.raises(MediaError, match="not a recording"):
                    read(path)
    assert not received


@pytest.mark.parametrize("name", ["hls.m3u8", "list.ffconcat"])
def test_ffmpeg_is_given_no_protocol(name, target, requests, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.media.files._NOT_MEDIA", ())  # these formats are not known by their first bytes
    address, received = requests
    for reference in (target.name, str(target), address):
        path = tmp_path / name
        path.write_text(TEXTS[name].format(reference))
        with pytest.raises(MediaError):
            read_audio(path, 16_000)
    assert not received

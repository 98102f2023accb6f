"""A local server that responds like the web sites of the corpora, with configurable faults."""

import hashlib
import io
import json
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RECORD = "/api/records/1188976"
DATASET = "/api/datasets/:persistentId/versions/:latest/files"


def archive(files):
    """Return a reproducible zip archive of `{path: bytes}`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as opened:
        for path, content in files.items():
            opened.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()


class CorpusServer:
    """A server of `files`, by name, with the addresses of Zenodo, Dataverse and EmoDB.

    Attributes:
        files: The content of each file, by its name.
        faults: The faults of the next responses, in order, by the requested file name (or `list`); later responses are
            correct. The prefix `always:` makes a fault permanent.
        requests: The path and the Range header of every request.
    """

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()

    def content_ranges(self):
        """Return the Range headers of requests for files, without those for lists."""
        return [byte_range for path, byte_range in self.requests if path.endswith("/content")]

    def _next_fault(self, name):
        pending = self.faults.get(name, [])
        if not pending:
            return ""
        return pending[0].removeprefix("always:") if pending[0].startswith("always:") else pending.pop(0)

    def _list_files(self, path):
        if path == RECORD:
            return {"files": [self._zenodo(name, content) for name, content in self.files.items()]}
        if path == DATASET:
            return {"data": [self._dataverse(*item) for item in enumerate(self.files.items())]}
        return None

    def _zenodo(self, name, content):
        address = f"https://zenodo.org{RECORD}/files/{name}/content"
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        return {"key": name, "size": len(content), "checksum": checksum, "links": {"self": address}}

    def _dataverse(self, number, item):
        name, content = item
        md5 = hashlib.md5(content).hexdigest()
        return {"dataFile": {"id": number, "filename": name, "filesize": len(content), "md5": md5}}

    def _file_name(self, path):
        """Return the name of the file at a path."""
        if path.startswith(f"{RECORD}/files/"):
            return unquote(path.split("/")[-2])
        if path.startswith("/api/access/datafile/"):
            return list(self.files)[int(path.rsplit("/", 1)[1])]
        return path.rsplit("/", 1)[1]

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                path = unquote(urlsplit(self.path).path)
                server.requests.append((path, self.headers.get("Range")))
                listed = server._list_files(path)
                name = "list" if listed is not None else server._file_name(path)
                fault = server._next_fault(name)
                if fault.isdecimal():
                    return self._send_error(int(fault))
                if fault == "redirect":
                    return self._redirect(self.path)
                if fault == "elsewhere":
                    return self._redirect("ftp://127.0.0.1/other")
                if listed is not None:
                    return self._send(b"<html>down</html>" if fault == "html" else json.dumps(listed).encode(), fault)
                if name not in server.files:
                    return self._send_error(404)
                return self._send(server.files[name], fault)

            def _send_error(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()

            def _redirect(self, where):
                self.send_response(302)
                self.send_header("Location", where)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _send(self, content, fault):
                byte_range, start = self.headers.get("Range"), 0
                if fault == "wrong checksum":
                    content = bytes(byte ^ 1 for byte in content[:9]) + content[9:]
                if fault == "too long":
                    content += b"more"
                if fault == "too short":
                    content = content[:-7]
                if byte_range and fault != "no ranges":
                    start = int(byte_range.removeprefix("bytes=").rstrip("-"))
                    self.send_response(206 if start < len(content) else 416)
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                else:
                    self.send_response(200)
                body = content[start:]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if fault == "cut off":
                    body = body[: max(1, len(body) // 2)]
                if fault == "stalls":
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    time.sleep(3)
                    body = b""
                for at in range(0, len(body), max(1, len(body) // 20) if fault == "slow" else 1 << 20):
                    self.wfile.write(body[at : at + (max(1, len(body) // 20) if fault == "slow" else 1 << 20)])
                    time.sleep(0.02 if fault == "slow" else 0)
                if fault in ("cut off", "stalls"):
                    self.close_connection = True

        return Handler

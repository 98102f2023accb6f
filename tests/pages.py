"""The static page in a browser, for tests and benchmarks."""

import functools
import http.server
import re
import subprocess
import threading
from contextlib import contextmanager

from emotion.inference.browser import SOURCE

WAIT = 120_000  # milliseconds
VERSION = re.search(r"onnxruntime-web@([\d.]+)", (SOURCE / "index.html").read_text())[1]


def download_runtime(folder):
    """Download the package onnxruntime-web to a folder; return the end of the error of npm, empty if there is none."""
    command = ["npm", "pack", f"onnxruntime-web@{VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """Serve a folder on this machine; yields the address."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_page(tab, address):
    """Open the page, and wait until the model is loaded."""
    tab.goto(address)
    tab.wait_for_selector("#file:enabled", timeout=WAIT)


def predict(tab, file):
    """Choose a file; return its emotion, None after an error; probabilities by label; and the text of the answer."""
    tab.locator("#file").set_input_files(str(file))
    return answer_of(tab)


def answer_of(tab):
    """Wait for the answer; see `predict`."""
    tab.wait_for_selector("#answer .emotion, #error:not([hidden])", timeout=WAIT)
    tab.wait_for_selector("#input[aria-busy=false]", timeout=WAIT)
    rows = tab.locator("#probabilities:not([hidden]) tr")
    found = rows.evaluate_all("rows => rows.map(row => [row.cells[0].innerText, Number(row.dataset.probability)])")
    text = tab.inner_text("#answer")
    emotion = re.sub(r" \d+ %$", "", text.splitlines()[0]) if text else None
    return emotion, dict(found), text or tab.inner_text("#error")

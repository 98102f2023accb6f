"""A static web page that predicts recordings in the browser, without a server that computes."""

import base64
import hashlib
import re
import shutil
import tarfile
from pathlib import Path

from emotion.errors import EmotionError
from emotion.files import write_bytes, write_json, write_text
from emotion.inference.onnx_model import OnnxModel
from emotion.inference.shipped import DIRECTORY, EXPORTED
from emotion.plots.figure import label_colors
from emotion.prepare.modalities import audio_of
from emotion.prepare.speech import RATE, detector_path

_INSTALLED = Path(__file__).parents[1] / "demo_page"
SOURCE = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "docs" / "demo"
"""The files of the page: in the package once it is built, in `docs/demo` of a checkout."""
MODEL, SPEECH, DESCRIPTION, RUNTIME = "model.onnx", "speech.onnx", "model.json", "onnxruntime-web/"
"""Files that are added to them: a model, the detector of speech, their description, and the folder of ONNX Runtime."""
_CDN = re.compile(r"https://cdn\.jsdelivr\.net/npm/onnxruntime-web@([\d.]+)/dist/")
_PINNED = re.compile(r'="https://[^"]*/dist/([\w.-]+)"\s+(?:data-wasm-)?integrity="(sha384-[^"]+)"')


def write_page(directory: Path, model: Path | None = None, runtime: Path | None = None) -> None:
    """Write a folder that any web server can serve: the page, a model, and the detector of speech.

    The weights are those of the model; products of matrices are computed in 32 bits, since in 8 bits answers differ
    between Python and a browser (`emotion.inference.quantize.computed_in_float`).

    Args:
        directory: New or empty folder.
        model: ONNX file of an audio model at 16 kHz (default: the shipped one).
        runtime: Package onnxruntime-web, a folder or the `.tgz` of `npm pack`, which is copied to the folder (default:
            the page loads it from the CDN jsDelivr).

    Raises:
        EmotionError: the folder is not empty, the model has other inputs, or the package has another version.
    """
    try:
        import onnx
    except ImportError as error:
        raise EmotionError("onnx is not installed: pip install 'emotion[onnx]'") from error
    from emotion.inference.quantize import computed_in_float

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise EmotionError(f"{directory} is not an empty folder; choose another one")
    model = model or DIRECTORY / "audio" / EXPORTED
    exported = OnnxModel(model)
    if set(exported.modalities) != {"audio"} or exported.sample_rate != RATE or not exported.labels:
        raise EmotionError(f"{model} is not a model of emotions from audio at {RATE} Hz, which alone runs in the page")
    page = (SOURCE / "index.html").read_text(encoding="utf-8")
    copied = _runtime_files(runtime, page) if runtime else {}

    for file in SOURCE.iterdir():
        write_bytes(directory / file.name, file.read_bytes())
    if copied:
        page = _CDN.sub(RUNTIME, re.sub(rf" {_CDN.pattern}(?=;)", "", page))
        write_text(directory / "index.html", page)
    for name, content in copied.items():
        write_bytes(directory / RUNTIME / name, content)
    write_bytes(directory / MODEL, computed_in_float(onnx.load(model)).SerializeToString())
    files = [MODEL]
    if speech_only := audio_of(exported.modalities).speech_only:
        shutil.copyfile(detector_path(), directory / SPEECH)
        files.append(SPEECH)
    description = {
        "labels": exported.labels,
        "colors": label_colors(exported.labels),
        "sample_rate": exported.sample_rate,
        "speech_only": speech_only,
        "min_confidence": exported.min_confidence,
        "name": exported.description.get("name", model.stem),
        "data": exported.description.get("data", "unknown data"),
        "files": {name: (directory / name).stat().st_size for name in files},
    }
    write_json(directory / DESCRIPTION, description)


def _runtime_files(runtime: Path, page: str) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that the page loads, by name.

    Raises:
        EmotionError: a file is missing, or its hash is not that in the page.
    """
    version = _CDN.findall(page)[0]
    found = {}
    for name, pinned in _PINNED.findall(page):
        content = _read(runtime, name)
        digest = hashlib.sha384(content or b"").digest()
        if f"sha384-{base64.b64encode(digest).decode()}" != pinned:
            raise EmotionError(
                f"{runtime} does not hold onnxruntime-web {version} with {name}; get it with: "
                f"npm pack onnxruntime-web@{version}"
            )
        found[name] = content or b""
    return found


def _read(runtime: Path, name: str) -> bytes | None:
    """Return a file below `dist` of the package; None if it is not there."""
    try:
        if runtime.is_dir():
            return next(file.read_bytes() for file in (runtime / "dist" / name, runtime / name) if file.is_file())
        with tarfile.open(runtime) as package:
            member = package.extractfile(f"package/dist/{name}")
            return member.read() if member else None
    except (OSError, KeyError, StopIteration, tarfile.TarError):
        return None

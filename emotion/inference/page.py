"""A local web page that predicts uploaded recordings."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emotion.errors import EmotionError
from emotion.inference.predictor import Predictor
from emotion.inference.timeline_figure import timeline_figure
from emotion.media.files import MediaError
from emotion.media.video import video_duration
from emotion.plots.recording import plot_recording

if TYPE_CHECKING:
    import gradio
    from matplotlib.figure import Figure

MAX_UPLOAD = "100mb"
"""Maximum size of an uploaded file."""
MAX_DURATION_S = 600.0
"""Maximum duration of a recording, in seconds."""
_WINDOW, _HOP = 3.0, 1.0  # seconds; of the timeline
_DELETE_AFTER_S = 3600  # seconds after which uploaded files are deleted
_ABOUT = """# Which emotion does it show?
Upload or record a clip of one person. The model was trained on **acted** emotions and is often wrong about real life.
It is not for decisions about people; see `emotion card`. Nothing leaves this machine."""


class PageOutput(NamedTuple):
    """The outputs of the page for one recording, in the order of its components."""

    probabilities: dict[str, float] | None = None
    note: str = ""
    timeline: "Figure | None" = None
    faces: list[np.ndarray] | None = None
    audio: "Figure | None" = None


def show(predictor: Predictor, path: str | None) -> PageOutput:
    """Predict a recording for the page; an error becomes its note."""
    if path is None:
        return PageOutput()
    file = Path(path)
    try:
        seconds = video_duration(file)
        if seconds > MAX_DURATION_S:
            raise MediaError(
                f"{path}: is {seconds / 60:.0f} minutes long; at most {MAX_DURATION_S / 60:.0f} are allowed here"
            )
        recording = predictor.reader.read(file)
        prediction = predictor.predict_recordings([recording])[0]
        segments = list(predictor.timeline(file, _WINDOW, _HOP)) if seconds > _WINDOW + _HOP else []
    except EmotionError as error:
        return PageOutput(note=f"**This cannot be predicted:** {str(error).removeprefix(f'{path}: ')}")
    faces, basis = recording.arrays.get("face"), f"based on {' and '.join(prediction.modalities)}"
    return PageOutput(
        prediction.probabilities or None,
        (basis if prediction.probabilities else f"**{prediction.emotion}**")
        + "".join(f" ({note})" for note in prediction.notes),
        timeline_figure(segments, predictor.labels, width=9) if segments else None,
        None if faces is None else [np.repeat(face, 3, axis=2) if face.shape[2] == 1 else face for face in faces],
        plot_recording(file) if "audio" in prediction.modalities else None,
    )


def build(predictor: Predictor) -> "gradio.Blocks":
    """Return the page.

    Raises:
        EmotionError: Gradio is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise EmotionError("gradio is not installed: pip install 'emotion[demo]'") from error

    def update(path: str | None) -> PageOutput:
        return show(predictor, path)

    with gradio.Blocks(
        title="emotion", analytics_enabled=False, delete_cache=(_DELETE_AFTER_S, _DELETE_AFTER_S)
    ) as page:
        gradio.Markdown(_ABOUT)
        with gradio.Row():
            with gradio.Column():
                inputs = _inputs(set(predictor.reader.modalities))
            with gradio.Column():
                label = gradio.Label(label="prediction", elem_id="answer")
                note = gradio.Markdown(elem_id="note")
        timeline = gradio.Plot(label="timeline", elem_id="timeline")
        faces = gradio.Gallery(label="face crops", elem_id="faces", columns=8, height=150)
        audio = gradio.Plot(label="audio and some frames", elem_id="audio-plot")
        for component in inputs:
            component.change(update, component, [label, note, timeline, faces, audio], api_visibility="private")
    return page.queue(max_size=16, default_concurrency_limit=1)


def _inputs(modalities: set[str]) -> "list[gradio.Video | gradio.Audio | gradio.Image]":
    """Return the input components for the modalities of the model."""
    import gradio

    kinds: dict[str, Callable[[], gradio.Video | gradio.Audio | gradio.Image]] = {
        "Video": lambda: gradio.Video(label="video", sources=["upload", "webcam"], elem_id="video"),
    }
    if "audio" in modalities:
        kinds["Audio"] = lambda: gradio.Audio(
            label="audio", sources=["upload", "microphone"], type="filepath", elem_id="audio"
        )
    if "face" in modalities:
        kinds["Image"] = lambda: gradio.Image(
            label="image", sources=["upload", "webcam"], type="filepath", elem_id="image"
        )
    components = []
    for name, make in kinds.items():
        with gradio.Tab(name):
            components.append(make())
    return components


def serve(predictor: Predictor, host: str, port: int) -> None:
    """Show the page until interrupted.

    Args:
        predictor: Predict.
        host: Address on which it is reached; `127.0.0.1` from this machine alone.
        port: Likewise.

    Raises:
        EmotionError: Gradio is not installed, or the port is taken.
    """
    page = build(predictor)
    from gradio.themes import Default

    logging.getLogger("httpx").setLevel(logging.WARNING)  # with which Gradio asks itself whether it is there
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=MAX_UPLOAD,
            footer_links=[],
            # Gradio's own fonts come from the internet.
            theme=Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )
    except OSError as error:
        raise EmotionError(f"the page cannot be shown at {host}:{port}: {error}; choose another --port") from error
    print(f"the page is at {address} until you press Ctrl+C", flush=True)
    page.block_thread()

"""Videos and images with predictions: a box and a label at each face, and a timeline below a video."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from emotion.errors import EmotionError
from emotion.files import atomic_path
from emotion.inference.subtitles import Subtitle, subtitles
from emotion.inference.timeline import Segment
from emotion.inference.timeline_figure import timeline_figure
from emotion.media.files import MediaError, open_media, start_time
from emotion.media.image import Image
from emotion.media.video import VideoFrame, read_presentation, video_stream
from emotion.plots.figure import label_colors
from emotion.prepare.tracking import MAX_GAP_S

if TYPE_CHECKING:
    import av.audio.stream
    import av.container
    import av.video.stream

_GREY = (128, 128, 128)
_MAX_SIZE = 1280  # longer side of a frame, in pixels
_DOTS_PER_INCH = 100
_MILLISECONDS = Fraction(1, 1000)
_SUBTITLE_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""Style of the subtitles, which FFmpeg's encoder of MP4 subtitles reads."""


def write_overlay(
    path: Path, segments: Sequence[Segment], labels: tuple[str, ...], output: Path, subtitle_track: bool = False
) -> None:
    """Write a video with predictions as H.264 and AAC, with the original audio and times.

    Args:
        path: Video.
        segments: Timeline of the video.
        labels: The emotions.
        output: File to write, with the suffix `.mp4`.
        subtitle_track: Add the timeline as a subtitle track, see `emotion.inference.subtitles` (default: False).

    Raises:
        EmotionError: `path` has no video, `output` has another suffix, or PyAV cannot write subtitles.
    """
    import av
    from av.error import FFmpegError

    if output.suffix.lower() != ".mp4":
        raise EmotionError(f"{output}: the suffix of an overlay must be .mp4")
    output.parent.mkdir(parents=True, exist_ok=True)
    with open_media(path) as source, atomic_path(output) as temporary:
        video = video_stream(source, path)
        audio = cast("av.audio.stream.AudioStream | None", source.streams.best("audio"))
        with av.open(str(temporary), "w", format="mp4") as target:
            writer = _Writer(target, video, audio, start_time(source) or 0.0)
            if subtitle_track:
                writer.add_subtitles(subtitles(segments))
            artist = presentation = None
            try:
                for frame in source.decode(*([video, audio] if audio else [video])):
                    if isinstance(frame, av.AudioFrame):
                        writer.write_audio(frame)
                    elif frame.time is not None:
                        presentation = presentation or read_presentation(video, frame)
                        shown = VideoFrame(frame, frame.time - writer.start, presentation)
                        artist = artist or _Artist(shown.size, segments, labels)
                        writer.write_frame(artist.draw(shown), frame)
            except FFmpegError as error:
                if artist is None:  # otherwise the part before the damage is kept
                    raise MediaError(f"{path}: cannot be decoded ({error})") from error
            writer.close()
        if artist is None:
            raise MediaError(f"{path}: holds no frames")


def write_image_overlay(path: Path, segments: Sequence[Segment], labels: tuple[str, ...], output: Path) -> None:
    """Write an image with a box and a label at each face.

    Args:
        path: Image.
        segments: Timeline of the image, of one window.
        labels: The emotions.
        output: File to write, with the suffix `.jpg` or `.png`.

    Raises:
        EmotionError: `path` is not an image.
    """
    image = Image(path)
    pixels = _Artist(image.size, segments, labels).draw_faces(image)
    suffix = output.suffix.lower()
    with atomic_path(output) as temporary:
        temporary.write_bytes(cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())


class _Writer:
    """Encode frames and audio, with times from 0 on.

    Args:
        target: Container to write.
        video: Video stream of the source.
        audio: Audio stream of the source, or None.
        start: Start of the clock of the source, in seconds.
    """

    def __init__(
        self,
        target: "av.container.OutputContainer",
        video: "av.video.stream.VideoStream",
        audio: "av.audio.stream.AudioStream | None",
        start: float,
    ) -> None:
        self.target, self.start = target, start
        self.video = target.add_stream("libx264", rate=video.average_rate or 25, options={"preset": "veryfast"})
        self.video.pix_fmt = "yuv420p"
        if video.time_base is not None:
            self.video.codec_context.time_base = video.time_base
        self.audio, self.subtitles = None, None
        self._waiting: list[av.Packet] = []
        if audio:
            layout = "mono" if audio.channels == 1 else "stereo"
            self.audio = target.add_stream("aac", rate=min(audio.rate, 48_000), layout=layout)
            self.audio.bit_rate = 128_000

    def add_subtitles(self, shown: Sequence[Subtitle]) -> None:
        """Add a subtitle track, whose packets are written with the first frame."""
        import av

        stream = self.target.add_stream("mov_text")
        stream.time_base = _MILLISECONDS
        stream.codec_context.subtitle_header = _SUBTITLE_HEADER
        stream.metadata.update({"handler_name": "emotion", "title": "emotion"})
        for subtitle in shown:
            text = "\n".join(subtitle.lines).encode("utf-8", "backslashreplace")
            packet = av.Packet(len(text).to_bytes(2, "big") + text)  # a sample of 3GPP timed text
            packet.stream, packet.time_base = stream, _MILLISECONDS
            packet.pts = packet.dts = round(1000 * subtitle.start)
            packet.duration = round(1000 * subtitle.end) - packet.pts
            self._waiting.append(packet)

    def write_frame(self, pixels: np.ndarray, original: "av.VideoFrame") -> None:
        """Encode RGB pixels, shape (H, W, 3), at the time of a frame of the source."""
        import av

        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        if original.pts is not None and original.time_base is not None:
            frame.pts = original.pts - round(self.start / original.time_base)
        frame.time_base = original.time_base
        if not self.video.codec_context.is_open:
            self.video.height, self.video.width = pixels.shape[:2]
        self.target.mux(self.video.encode(frame))
        self.target.mux(self._waiting)  # the muxer sorts packets by time
        self._waiting = []

    def write_audio(self, frame: "av.AudioFrame") -> None:
        """Encode an audio frame of the source."""
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(self.start / frame.time_base)
        if self.audio:
            self.target.mux(self.audio.encode(frame))

    def close(self) -> None:
        """Flush the encoders."""
        for stream in (self.video, self.audio):
            if stream:
                self.target.mux(stream.encode(None))


@dataclass(frozen=True)
class _Face:
    """One face over the whole recording: its boxes, see `Segment.boxes`, and its segments."""

    boxes: np.ndarray
    segments: list[Segment]


class _Artist:
    """Draw predictions on frames of one size.

    Args:
        size: Width and height of a frame, in pixels.
        segments: Timeline of the recording.
        labels: The emotions.
    """

    def __init__(self, size: tuple[int, int], segments: Sequence[Segment], labels: tuple[str, ...]) -> None:
        self.scale = min(1.0, _MAX_SIZE / max(size))
        self.longest = round(max(size) * self.scale)
        width = round(size[0] * self.scale)
        self.colours = {
            label: tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
            for label, colour in zip(labels, label_colors(labels), strict=True)
        }
        self.strip, self.first, self.last = _strip(segments, labels, width)
        self.end = max(segment.end for segment in segments)
        self.faces = [
            _Face(np.unique(np.concatenate([segment.boxes for segment in own]), axis=0), own)
            for number in sorted({segment.face or 0 for segment in segments})
            if (own := [segment for segment in segments if (segment.face or 0) == number])
        ]

    def draw_faces(self, frame: VideoFrame | Image) -> np.ndarray:
        """Return a frame with boxes and labels, shape (H, W, 3), uint8."""
        pixels = frame.pixels(self.longest).copy()
        for face in self.faces:
            self._draw_face(pixels, face, frame.time)
        return pixels

    def draw(self, frame: VideoFrame) -> np.ndarray:
        """Return a frame with boxes and labels above the timeline, shape (H, W, 3), uint8; H and W are even."""
        pixels = self.draw_faces(frame)
        strip = self.strip.copy()
        place = round(self.first + (self.last - self.first) * min(1.0, frame.time / self.end))
        cv2.line(strip, (place, 0), (place, len(strip)), (0, 0, 0), 2)
        whole = np.vstack([pixels, strip])
        return np.ascontiguousarray(whole[: len(whole) // 2 * 2, : whole.shape[1] // 2 * 2])

    def _draw_face(self, pixels: np.ndarray, face: _Face, time: float) -> None:
        nearest = min(face.segments, key=lambda segment: abs((segment.start + segment.end) / 2 - time))
        prediction = nearest.prediction
        text, colour = prediction.emotion, self.colours.get(prediction.emotion, _GREY)
        if prediction.confidence is not None:
            text += f" {prediction.confidence:.2f}"
        size = max(0.5, self.longest / 1000)
        if nearest.face is None:
            if not nearest.start <= time <= nearest.end:  # the other segments have faces
                return
            left, top = 10, round(32 * size)
        elif len(face.boxes) and abs(face.boxes[:, 0] - time).min() <= MAX_GAP_S:
            box = [np.interp(time, face.boxes[:, 0], face.boxes[:, side]) * self.scale for side in (1, 2, 3, 4)]
            left, top, right, bottom = map(round, box)
            cv2.rectangle(pixels, (left, top), (right, bottom), colour, max(2, round(3 * size)), cv2.LINE_AA)
            text = f"{nearest.face}: {text}"
        else:
            return
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)
        top = max(top, height + 12)
        cv2.rectangle(pixels, (left, top - height - 12), (left + width + 8, top), colour, -1)
        dark = sum(colour) < 3 * 128
        ink = (255, 255, 255) if dark else (0, 0, 0)
        cv2.putText(pixels, text, (left + 4, top - 6), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 2, cv2.LINE_AA)


def _strip(segments: Sequence[Segment], labels: tuple[str, ...], width: int) -> tuple[np.ndarray, float, float]:
    """Return the timeline as an image of a given width, and the positions of its start and end, in pixels."""
    figure = timeline_figure(segments, labels, width / _DOTS_PER_INCH)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    drawn = cast(np.ndarray, cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR))
    first, last = (figure.axes[0].transData.transform((time, 0))[0] for time in figure.axes[0].get_xlim())
    strip = cv2.copyMakeBorder(
        drawn, 0, 0, 0, max(0, width - drawn.shape[1]), cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    return cv2.cvtColor(strip[:, :width], cv2.COLOR_BGR2RGB), first, last

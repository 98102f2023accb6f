"""The faces of the demo corpus: drawn with OpenCV at twice the size and scaled down, so that edges are smooth and a
face detector trained on photographs detects them.

The moving parts of a face are drawn on each frame, the rest once; then the image is moved with the head.
"""

from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import numpy as np

from emotion.corpora.canvas import SCALE, SIZE, Canvas, curve
from emotion.corpora.demo_voice import CONTROL_RATE, SAMPLE_RATE, Utterance, generator

FRAME_RATE = 15


@dataclass(frozen=True)
class Expression:
    """A facial expression; all values are 0 for a neutral face.

    Attributes:
        brow_raise: Raised brows.
        brow_tilt: Inner ends of the brows raised (sad) or, if negative, lowered (angry).
        eye_open: Eyes opened wider or, if negative, narrower.
        smile: Corners of the mouth raised or, if negative, lowered.
        mouth_width: Wider or, if negative, narrower mouth.
        mouth_open: Opening of the mouth in silence.
        sneer: Wrinkled nose and raised upper lip.
    """

    brow_raise: float
    brow_tilt: float
    eye_open: float
    smile: float
    mouth_width: float
    mouth_open: float
    sneer: float


EXPRESSIONS = {
    "01": Expression(0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.0),  # neutral
    "02": Expression(0.10, 0.05, -0.12, 0.45, 0.10, 0.00, 0.0),  # calm
    "03": Expression(0.25, 0.05, -0.05, 0.85, 0.30, 0.10, 0.0),  # happy
    "04": Expression(0.10, 0.38, -0.18, -0.28, -0.05, 0.00, 0.0),  # sad
    "05": Expression(-0.60, -0.75, 0.05, -0.45, 0.00, 0.10, 0.3),  # angry
    "06": Expression(0.80, 0.65, 0.50, -0.30, 0.10, 0.20, 0.0),  # fearful
    "07": Expression(-0.45, -0.45, -0.28, -0.60, 0.05, 0.05, 0.7),  # disgust
    "08": Expression(1.00, 0.30, 0.65, -0.02, -0.20, 0.35, 0.0),  # surprised
}
VARIATION = Expression(0.205, 0.205, 0.15, 0.24, 0.11, 0.09, 0.235)
"""Standard deviation between takes, by which the emotions overlap."""


@dataclass(frozen=True)
class FaceAppearance:
    """The appearance of an actor: colours (blue, green, red) and proportions around 1."""

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    shirt: np.ndarray
    wall: np.ndarray
    width: float
    height: float
    eye_distance: float
    eye_size: float
    nose: float
    lips: float
    brow_weight: float
    long_hair: bool


def appearance_of(actor: str) -> FaceAppearance:
    """Return the appearance of an actor, `01` to `24`."""
    random = generator(f"face of {actor}")
    light, dark = np.array([180, 205, 238.0]), np.array([62, 92, 142.0])
    tone = random.uniform()
    hairs = np.array([[22, 26, 34], [30, 52, 88], [70, 120, 170], [28, 40, 60], [90, 96, 104]], float)
    irises = np.array([[60, 90, 110], [150, 120, 70], [70, 110, 70], [30, 50, 80]], float)
    return FaceAppearance(
        skin=light + tone * (dark - light),
        hair=hairs[random.integers(len(hairs))] * random.uniform(0.8, 1.2),
        iris=irises[random.integers(len(irises))],
        shirt=random.uniform(30, 200, 3),
        wall=random.uniform(190, 235, 3),
        width=random.uniform(0.92, 1.08),
        height=random.uniform(0.94, 1.06),
        eye_distance=random.uniform(0.93, 1.07),
        eye_size=random.uniform(0.9, 1.12),
        nose=random.uniform(0.88, 1.14),
        lips=random.uniform(0.8, 1.2) * (1.0 if int(actor) % 2 else 1.2),
        brow_weight=random.uniform(0.8, 1.2) * (1.15 if int(actor) % 2 else 0.8),
        long_hair=int(actor) % 2 == 0,
    )


def draw_take(take: str, utterance: Utterance) -> np.ndarray:
    """Draw the frames of a take.

    Args:
        take: Name of the take, such as `01-05-01-02-01-07`.
        utterance: Its audio, which opens the mouth.

    Returns:
        BGR frames, shape (F, 224, 224, 3), uint8.
    """
    _, emotion, *_, actor = take.split("-")
    who, random = appearance_of(actor), generator(f"face in {take}")
    target = EXPRESSIONS[emotion]
    values = [random.normal(getattr(target, f.name), getattr(VARIATION, f.name)) for f in fields(Expression)]
    count = max(1, round(len(utterance.opening) / CONTROL_RATE * FRAME_RATE))
    blink_at, phase = random.uniform(0, count), random.uniform(0, 2 * np.pi, 3)
    shift = random.normal(0, 2.5, 2)
    at_rest = _draw_at_rest(who)
    frames = []
    for number in range(count):
        onset = min(1.0, 0.55 + number / 8)  # the expression develops over the first half second
        shown = Expression(*(onset * value for value in values))
        opening = utterance.opening[min(len(utterance.opening) - 1, round(number / FRAME_RATE * CONTROL_RATE))]
        sway = shift + 1.6 * np.sin(2 * np.pi * 0.5 * number / FRAME_RATE + phase[:2])
        turn = 1.8 * np.sin(2 * np.pi * 0.4 * number / FRAME_RATE + phase[2])
        blink = max(0.0, 1 - abs(number - blink_at) / 1.5)
        frames.append(_draw_frame(at_rest, who, shown, float(opening), blink, sway, turn))
    return np.stack(frames)


def _draw_at_rest(who: FaceAppearance) -> np.ndarray:
    """Draw the parts that do not move, on the scale of the canvas."""
    shade = np.linspace(1.04, 0.86, SIZE * SCALE)[:, None, None]
    wall = np.clip(np.tile(who.wall, (SIZE * SCALE, SIZE * SCALE, 1)) * shade, 0, 255)
    canvas = Canvas(wall.astype(np.uint8))
    _draw_body(canvas, who)
    _draw_head(canvas, who)
    return canvas.image


def _draw_frame(
    at_rest: np.ndarray,
    who: FaceAppearance,
    shown: Expression,
    opening: float,
    blink: float,
    sway: np.ndarray,
    turn: float,
) -> np.ndarray:
    """Draw a frame.

    Args:
        at_rest: Result of `_draw_at_rest`.
        who: Appearance of the actor.
        shown: Expression.
        opening: Opening of the mouth by speech, in [0, 1].
        blink: Closing of the eyes, in [0, 1].
        sway: Translation of the head, in pixels.
        turn: Rotation of the head in its plane, in degrees.

    Returns:
        BGR frame, shape (224, 224, 3), uint8.
    """
    import cv2

    canvas = Canvas(at_rest.copy())
    _draw_nose(canvas, who, shown)
    for side in (-1, 1):
        _draw_eye(canvas, who, shown, blink, side)
        _draw_brow(canvas, who, shown, side)
    _draw_mouth(canvas, who, shown, opening)
    _draw_fringe(canvas, who)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    transform = _head_transform(sway, np.deg2rad(turn))
    small = cv2.warpAffine(canvas.image, transform, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(small, (3, 3), 0.6)


def _head_transform(sway: np.ndarray, turn: float) -> np.ndarray:
    """Return the affine transform from pixels of the frame to pixels of the canvas, shape (2, 3)."""
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle = np.full(2, SIZE / 2)
    offset = SCALE * (back @ (0.5 - middle - sway) + middle) - 0.5  # 0.5 is the centre of a pixel
    return np.column_stack([SCALE * back, offset])


def _draw_body(canvas: Canvas, who: FaceAppearance) -> None:
    if who.long_hair:
        canvas.ellipse(0, 12, 56 * who.width, 78 * who.height, who.hair)
    canvas.fill([(-105, 125), (-88, 92), (-24, 74), (24, 74), (88, 92), (105, 125)], who.shirt)
    canvas.fill([(-20, 45), (20, 45), (25, 84), (0, 94), (-25, 84)], who.skin * 0.78)


def _draw_head(canvas: Canvas, who: FaceAppearance) -> None:
    width, height = 46 * who.width, 60 * who.height
    canvas.ellipse(0, -18, width + 5, height - 4, who.hair)
    for side in (-1, 1):
        canvas.ellipse(side * width, -2, 6, 11, who.skin * 0.86)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    jaw = 1 - 0.13 * np.clip(np.sin(angle), 0, 1) ** 2  # narrower towards the chin
    canvas.fill(np.stack([width * jaw * np.cos(angle), height * np.sin(angle)], axis=1), who.skin)
    canvas.shade(-10, -24, 40, 34, 0.12)
    for side in (-1, 1):
        canvas.shade(side * 29 * who.width, 10, 17, 44, -0.20)
        canvas.shade(side * 22, 14, 16, 14, 0.06)
        canvas.shade(side * 19 * who.eye_distance, -14, 17, 12, -0.20)
    canvas.shade(0, 54 * who.height, 26, 12, -0.12)


def _draw_nose(canvas: Canvas, who: FaceAppearance, shown: Expression) -> None:
    wide, tip = 8.5 * who.nose, 14 * who.nose - 2.0 * max(0.0, shown.sneer)
    canvas.shade(0, 0, 6, 22, 0.10)
    for side in (-1, 1):
        canvas.shade(side * 8, 4, 6, 18, -0.14)
        canvas.line(curve((side * 4, tip + 3.5), (side * wide, tip + 3), (side * wide, tip - 4)), who.skin * 0.66, 1.2)
        canvas.ellipse(side * 4.2, tip + 3, 2.4, 1.4, who.skin * 0.38)
        if shown.sneer > 0:
            depth = np.clip(1 - 0.45 * shown.sneer, 0.5, 1)
            canvas.line(curve((side * 10, 14), (side * 17, 22), (side * 20, 32)), who.skin * depth, 1.3)
            canvas.line(curve((side * 2, -16), (side * 4, -12), (side * 3, -8)), who.skin * depth, 1.2)
    canvas.shade(0, tip - 1, 6, 5, 0.12)


def _draw_eye(canvas: Canvas, who: FaceAppearance, shown: Expression, blink: float, side: int) -> None:
    x, y = side * 19 * who.eye_distance, -13
    half_width = 9.5 * who.eye_size
    opening = np.clip(1 + 0.75 * shown.eye_open, 0.35, 1.8) * (1 - 0.9 * blink)
    above, below = 5.2 * who.eye_size * opening, 3.8 * who.eye_size * min(opening, 1.25)
    upper = curve((x - half_width, y + 0.5), (x, y - above), (x + half_width, y + 0.5))
    lower = curve((x + half_width, y + 0.5), (x, y + below), (x - half_width, y + 0.5))
    outline = np.concatenate([upper, lower])
    canvas.fill(outline, np.array([232, 236, 240.0]))
    if opening > 0.2:
        radius = min(4.8 * who.eye_size, (above + below) / 2 + 0.6)
        canvas.ellipse(x, y - 0.4, radius, radius, who.iris)
        canvas.ellipse(x, y - 0.4, radius * 0.5, radius * 0.5, np.array([12, 12, 12.0]))
        canvas.ellipse(x - 1.4, y - 1.9, 1.0, 1.0, np.array([250, 250, 250.0]))
    canvas.line(upper, np.array([25, 25, 30.0]), 1.9)
    canvas.line(lower, who.skin * 0.62, 0.9)
    canvas.line(upper - np.array([0, 3.6]), who.skin * 0.72, 1.0)


def _draw_brow(canvas: Canvas, who: FaceAppearance, shown: Expression, side: int) -> None:
    y = -25 - 5.0 * shown.brow_raise
    inner = (side * 8.5, y + 1 - 5.0 * shown.brow_tilt)
    middle = (side * 20, y - 2.5 - 1.0 * shown.brow_raise)
    outer = (side * 31, y + 2.0 + 2.0 * shown.brow_tilt)
    canvas.line(curve(inner, middle, outer), who.hair * 0.75, 3.4 * who.brow_weight)
    if shown.brow_tilt < -0.25:
        canvas.line([(side * 3, y), (side * 3.5, y + 8)], who.skin * 0.72, 1.1)


def _draw_mouth(canvas: Canvas, who: FaceAppearance, shown: Expression, opening: float) -> None:
    y, half_width = 33, 17 * (1 + 0.3 * shown.mouth_width) * (1 - 0.10 * opening)
    corner = y - 5.5 * shown.smile
    gap = max(0.0, 7.0 * opening + 8.0 * max(0.0, shown.mouth_open) - 0.6)
    top = y + 1.5 * shown.smile - 0.35 * gap - 2.0 * max(0.0, shown.sneer)
    bottom = y + 2.5 * shown.smile + 0.75 * gap
    left, right = (-half_width, corner), (half_width, corner)
    lip = who.skin * np.array([0.62, 0.58, 0.84])
    thick = 3.4 * who.lips
    canvas.fill(
        np.concatenate([curve(left, (0, top - thick), right), curve(right, (0, bottom + thick * 1.3), left)]), lip
    )
    inside = np.concatenate([curve(left, (0, top), right), curve(right, (0, bottom), left)])
    if gap > 1.0:
        canvas.fill(inside, np.array([32, 24, 58.0]))
        teeth = min(2.6, gap * 0.4)
        canvas.fill(
            [
                (-half_width * 0.5, top + 0.6),
                (half_width * 0.5, top + 0.6),
                (half_width * 0.42, top + teeth),
                (-half_width * 0.42, top + teeth),
            ],
            np.array([225, 232, 236.0]),
        )
    else:
        canvas.line(curve(left, (0, (top + bottom) / 2), right), who.skin * 0.42, 1.4)
    canvas.shade(0, bottom + thick + 6, 14, 5, -0.14)
    if shown.smile > 0.3:
        for side in (-1, 1):
            canvas.line(
                curve((side * 12, 16), (side * 22, 23), (side * (half_width + 5), corner)), who.skin * 0.84, 1.2
            )


def _draw_fringe(canvas: Canvas, who: FaceAppearance) -> None:
    width, height = 47 * who.width, 60 * who.height
    parting = -6 if who.long_hair else 12
    upper = curve((-width, -26), (0, -height - 14), (width, -26), steps=24)
    lower = np.concatenate(
        [
            curve((width, -26), (width * 0.72, -44), (parting, -height + 9)),
            curve((parting, -height + 9), (-width * 0.72, -44), (-width, -26)),
        ]
    )
    canvas.fill(np.concatenate([upper, lower]), who.hair)


def write_video(path: Path, take: str, utterance: Utterance) -> None:
    """Write a take as H.264 and AAC, 224 × 224 pixels at 15 frames per second."""
    import av

    frames = draw_take(take, utterance)
    samples = np.clip(np.rint(utterance.waveform * 32767), -32768, 32767).astype(np.int16)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=FRAME_RATE, options={"crf": "23", "preset": "superfast", "threads": "1"}
        )
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"aac_coder": "fast"})
        for number, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, format="bgr24")
            image.pts, image.time_base = number, Fraction(1, FRAME_RATE)
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        speech = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        speech.sample_rate, speech.pts, speech.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(speech))
        container.mux(audio.encode(None))

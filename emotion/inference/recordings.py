"""People's own files: found, and read as the files of a corpus are."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emotion.corpora.base import SkippedFiles, media_files
from emotion.errors import EmotionError
from emotion.media.audio import Report, read_audio
from emotion.media.files import MediaError
from emotion.media.image import Image, is_image
from emotion.media.suffixes import MEDIA_SUFFIXES
from emotion.media.video import NO_FRAME, UNDECODABLE, require_frame, video_duration
from emotion.prepare.faces import FaceCropper
from emotion.prepare.modalities import Prepared
from emotion.prepare.waveforms import to_int16

_CROP = 2
"""To a model of face crops, an image up to so many times their size is one too."""

LONGEST = 35 * 60
"""Maximum duration of a video that is predicted as one, in seconds, since all of it has to be decoded."""

_MIN_PEAK = 4  # of 32,768: 78 dB below full scale


@dataclass(frozen=True)
class Recording:
    """What a model can take in of one recording.

    Attributes:
        name: Its path, or another name.
        arrays: By modality: `audio`, int16 samples, shape (T,); `face`, uint8, shape (N, H, W, 1 or 3).
        notes: What is wrong with the other modalities, each in words.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Files to be predicted.

    Attributes:
        files: In the order in which they were asked for, each once.
        missing: What was asked for and is not there, each in words.
        notes: What folders hold besides, in words.
    """

    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find(wanted: Iterable[str]) -> Found:
    """The files that are meant by paths of files, of folders (all media files in them) and by patterns such as `*.mp4`.

    A file that is named itself is taken whatever its suffix.
    """
    files: dict[Path, None] = {}
    missing, notes = [], []
    for text in wanted:
        if not text.strip():
            raise EmotionError("an empty name is no file; name files, folders or patterns, such as . for this folder")
        path = Path(text) if Path(text).exists() else Path(text).expanduser()
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))
        found = [file for match in matches for file in (_media_below(match, notes) if match.is_dir() else [match])]
        files |= dict.fromkeys(found)
        if not matches:
            missing.append(f"{text}: no such file")
        elif not found:
            missing.append(f"{text}: no sound, video or image is in this folder")
    return Found(tuple(files), tuple(missing), tuple(notes))


def _media_below(folder: Path, notes: list[str]) -> list[Path]:
    left_out = SkippedFiles()
    found = [folder / path for path in media_files(folder, MEDIA_SUFFIXES, left_out)]
    notes += [f"{folder}: {message}" for message in left_out.messages()]
    return found


def is_audible(samples: np.ndarray) -> bool:
    """Whether there is more in some int16 samples, shape (T,), than the noise of rounding."""
    return bool(len(samples)) and int(abs(samples.astype(np.int32)).max()) >= _MIN_PEAK


class Reader:
    """Reads recordings as a run read those of its corpus.

    Args:
        modalities: What the model takes in, and how it is prepared.
        sample_rate: Of the sound, in Hz.
    """

    def __init__(self, modalities: Prepared, sample_rate: int) -> None:
        self.modalities, self.sample_rate = modalities, sample_rate
        self.cropper = self._whole = None
        if "face" in modalities:
            options = modalities["face"].options
            if options.detect == "cropped":
                self._whole, options = FaceCropper(options), replace(options, detect="mtcnn")
            self.cropper = FaceCropper(options)
        self._follows = "face" in modalities and modalities["face"].follow_audio
        self._listens = "audio" in modalities or self._follows

    def read(self, path: Path) -> Recording:
        """What the model can take in of a file; several threads may read at a time.

        Raises:
            MediaError: there is nothing.
        """
        arrays, notes, oddities = {}, {}, []
        try:
            samples = self._samples(path, oddities.append) if self._listens else None
        except MediaError as error:
            samples, notes["audio"] = None, str(error)
        if samples is not None:
            arrays["audio"] = samples
        if self.cropper:
            try:
                arrays["face"] = self._faces(path, samples)
            except MediaError as error:
                notes["face"] = str(error)
        arrays, notes = ({key: part[key] for key in self.modalities if key in part} for part in (arrays, notes))
        reasons = {modality: note.removeprefix(f"{path}: ") for modality, note in notes.items()}
        if not arrays:
            sound, faces = (reasons.get(modality, "") for modality in ("audio", "face"))
            # Nobody expects a picture in a recording of sound, and what is damaged is named once.
            if sound and (faces == NO_FRAME or (faces.startswith(UNDECODABLE) and sound.startswith(UNDECODABLE))):
                del reasons["face"]
            raise MediaError(f"{path}: {'; '.join(dict.fromkeys(reasons.values()))}")
        if "audio" in arrays:
            reasons |= {note: note.removeprefix(f"{path}: ") for note in oddities}
        return Recording(str(path), arrays, tuple(reasons.values()))

    def from_waveform(self, waveform: np.ndarray, name: str = "waveform", notes: Sequence[str] = ()) -> Recording:
        """What the model can take in of a mono waveform at `sample_rate`, shape (T,), full scale [-1, 1].

        Args:
            waveform: As `emotion.media.audio.read_audio` or `to_waveform` return it.
            name: Name of the recording.
            notes: What was odd about it.

        Raises:
            MediaError: it is silent.
        """
        samples = to_int16(waveform)
        if not is_audible(samples):
            raise MediaError(f"{name}: is silent")
        return Recording(name, {"audio": samples}, tuple(notes))

    def _samples(self, path: Path, report: Report) -> np.ndarray:
        if is_image(path):
            raise MediaError(f"{path}: an image has no audio")
        return self.from_waveform(read_audio(path, self.sample_rate, report), str(path)).arrays["audio"]

    def _faces(self, path: Path, samples: np.ndarray | None) -> np.ndarray:
        require_frame(path)
        if (seconds := video_duration(path)) > LONGEST:
            raise MediaError(
                f"{path}: is {seconds / 60:.0f} minutes long; cut it, or follow it with emotion predict --timeline"
            )
        window = None
        if samples is not None and self._follows:
            from emotion.data.sources import audible_window  # which needs torch

            window = audible_window(samples, self.sample_rate, self.modalities["face"])
        if self._whole and is_image(path) and max(Image(path).size) <= _CROP * self._whole.options.size:
            return self._whole(path, None)[0]
        return self.cropper(path, window)[0]

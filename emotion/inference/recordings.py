"""Files of the user: collected from paths, and read as in training."""

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
from emotion.media.int16 import is_audible, to_int16
from emotion.media.suffixes import MEDIA_SUFFIXES
from emotion.media.video import NO_FRAME, UNDECODABLE, require_frame, video_duration
from emotion.prepare.faces import FaceCropper
from emotion.prepare.modalities import Prepared, audio_of, faces_of
from emotion.prepare.speech import speech_only

_MAX_CROP_RATIO = 2
"""A model of face crops takes an image up to this multiple of their size as a crop."""

MAX_DURATION_S = 35 * 60
"""Maximum duration of a video that is predicted as a whole, in seconds, since all of it is decoded."""


@dataclass(frozen=True)
class Recording:
    """The inputs of a model for one recording.

    Attributes:
        name: Path, or another name.
        arrays: Arrays by modality: `audio`, shape (T,), int16; `face`, shape (N, H, W, 1 or 3), uint8. Empty if the
            model uses speech only and there is none.
        notes: Why other modalities are missing.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MediaFiles:
    """Files to predict.

    Attributes:
        files: Paths in the order of the request, without duplicates.
        missing: Messages about requested files that do not exist.
        notes: Messages about skipped files in folders.
    """

    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_media(names: Iterable[str]) -> MediaFiles:
    """Return the files for given paths of files, folders (all media files in them) and patterns such as `*.mp4`.

    A named file is included whatever its suffix.

    Raises:
        EmotionError: a name is empty.
    """
    files: dict[Path, None] = {}
    missing, notes = [], []
    for text in names:
        if not text.strip():
            raise EmotionError("a name is empty; name files, folders or patterns, such as . for this folder")
        path = Path(text) if Path(text).exists() else Path(text).expanduser()
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))
        found = [file for match in matches for file in (_media_below(match, notes) if match.is_dir() else [match])]
        files |= dict.fromkeys(found)
        if not matches:
            missing.append(f"{text}: no such file")
        elif not found:
            missing.append(f"{text}: no audio, video or image is in this folder")
    return MediaFiles(tuple(files), tuple(missing), tuple(notes))


def _media_below(folder: Path, notes: list[str]) -> list[Path]:
    skipped = SkippedFiles()
    paths = [folder / path for path in media_files(folder, MEDIA_SUFFIXES, skipped)]
    notes += [f"{folder}: {message}" for message in skipped.messages()]
    return paths


class NoSpeechError(MediaError):
    """There is no speech in the audio of a model that uses speech only."""


class Reader:
    """Read recordings as they were prepared in training.

    Args:
        modalities: Modalities of the model, and how they are prepared.
        sample_rate: Sampling rate of the audio, in Hz.

    Attributes:
        max_duration_s: Maximum duration of a recording that is read as a whole, in seconds; None for the largest
            that memory allows, which is `MAX_DURATION_S` for videos.
        speech_only: True if the model uses only the parts of the audio that are speech.
    """

    def __init__(self, modalities: Prepared, sample_rate: int) -> None:
        self.modalities, self.sample_rate = modalities, sample_rate
        self.max_duration_s: float | None = None
        self.cropper: FaceCropper | None = None
        self._whole: FaceCropper | None = None
        if "face" in modalities:
            options = faces_of(modalities).options
            if options.detect == "cropped":
                self._whole, options = FaceCropper(options), replace(options, detect="mtcnn")
            self.cropper = FaceCropper(options)
        self._follows_audio = "face" in modalities and faces_of(modalities).follow_audio
        self._needs_audio = "audio" in modalities or self._follows_audio
        self.speech_only = "audio" in modalities and audio_of(modalities).speech_only

    def read(self, path: Path) -> Recording:
        """Read a file; several threads may call this at a time.

        Raises:
            MediaError: the file has no modality that the model uses.
        """
        arrays, notes, oddities = {}, {}, []
        samples, has_no_speech = None, False
        try:
            if self._needs_audio:
                samples = self._samples(path, oddities.append)
                arrays["audio"] = self.usable_samples(samples, str(path))
        except MediaError as error:
            notes["audio"], has_no_speech = str(error), isinstance(error, NoSpeechError)
        if self.cropper:
            try:
                arrays["face"] = self._faces(self.cropper, path, samples)
            except MediaError as error:
                notes["face"] = str(error)
            except ModuleNotFoundError as error:  # the environment of a server may lack them
                notes["face"] = f"faces need {error.name}, which is not installed"
        arrays, notes = ({key: part[key] for key in self.modalities if key in part} for part in (arrays, notes))
        reasons = {modality: note.removeprefix(f"{path}: ") for modality, note in notes.items()}
        if not arrays:
            audio, faces = (reasons.get(modality, "") for modality in ("audio", "face"))
            # Missing video is no news for an audio file, and damage is reported once.
            if audio and (faces == NO_FRAME or (faces.startswith(UNDECODABLE) and audio.startswith(UNDECODABLE))):
                del reasons["face"]
            if not has_no_speech:
                raise MediaError(f"{path}: {'; '.join(dict.fromkeys(reasons.values()))}")
        if "audio" in arrays or has_no_speech:
            reasons |= {note: note.removeprefix(f"{path}: ") for note in oddities}
        return Recording(str(path), arrays, tuple(reasons.values()))

    def from_waveform(self, waveform: np.ndarray, name: str = "waveform", notes: Sequence[str] = ()) -> Recording:
        """Return the recording of a mono waveform.

        Args:
            waveform: Waveform at `sample_rate`, shape (T,), full scale [-1, 1], as `read_audio` and `to_waveform` of
                `emotion.media.audio` return it.
            name: Name of the recording (default: `waveform`).
            notes: Messages about it (default: none).

        Raises:
            MediaError: the waveform is silent, and the model does not use speech only.
        """
        try:
            return Recording(name, {"audio": self.usable_samples(to_int16(waveform), name)}, tuple(notes))
        except NoSpeechError as error:
            return Recording(name, {}, (str(error).removeprefix(f"{name}: "), *notes))

    def usable_samples(self, samples: np.ndarray, name: str) -> np.ndarray:
        """Return the samples that the model uses: all, or those that are speech.

        Args:
            samples: Mono audio at `sample_rate`, shape (T,), int16.
            name: Name of the recording, for the error.

        Raises:
            NoSpeechError: there is no speech, and the model uses speech only.
            MediaError: the audio is silent.
        """
        if not is_audible(samples):
            raise (NoSpeechError if self.speech_only else MediaError)(f"{name}: is silent")
        if not self.speech_only:
            return samples
        speech = speech_only(samples, self.sample_rate)
        if not len(speech):
            raise NoSpeechError(f"{name}: no speech was detected")
        return speech

    def _samples(self, path: Path, report: Report) -> np.ndarray:
        if is_image(path):
            raise MediaError(f"{path}: an image has no audio")
        return to_int16(read_audio(path, self.sample_rate, report, self.max_duration_s))

    def _faces(self, cropper: FaceCropper, path: Path, samples: np.ndarray | None) -> np.ndarray:
        require_frame(path)
        if (seconds := video_duration(path)) > (self.max_duration_s or MAX_DURATION_S):
            raise MediaError(f"{path}: is {seconds / 60:.0f} minutes long; cut it, or use emotion predict --timeline")
        window = None
        if samples is not None and is_audible(samples) and self._follows_audio:
            from emotion.data.sources import audible_window  # imports torch

            window = audible_window(samples, self.sample_rate, faces_of(self.modalities))
        if self._whole and is_image(path) and max(Image(path).size) <= _MAX_CROP_RATIO * self._whole.options.shape[0]:
            return self._whole(path, None)[0]
        return cropper(path, window)[0]

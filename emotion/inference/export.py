"""Export of a finished run to one file that runs without this package: ONNX, or PyTorch's exported program."""

import importlib.util
import json
import logging
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

import emotion
from emotion import runs
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.errors import EmotionError, counted
from emotion.features.front_end import AudioFrontEnd
from emotion.features.stack import FeatureStack
from emotion.files import atomic_path
from emotion.inference.formats import ExportFormat, ExportReport, load_format
from emotion.inference.networks import Network, mean_squares, network_of
from emotion.inference.onnx_model import FORMAT, INPUTS, KEY, OUTPUTS, OnnxModel, arrays_of, inputs_of
from emotion.inference.quantize import quantized
from emotion.inference.recordings import Reader, Recording, find_media
from emotion.models.base import Classifier
from emotion.models.estimator import EstimatorHead
from emotion.models.late_fusion import Fusion
from emotion.prepare.modalities import Audio, Faces, faces_of

_N_CHECKED = 8  # recordings
_FRAME_MULTIPLE = 64  # the number of frames is a multiple of this: divisible by five poolings, enough for deltas
_MAX_DURATION_S = 24 * 3600
_MAX_SIZE = 4096  # recordings in a batch, and frames of a recording

Predict = Callable[[Sequence[Recording]], np.ndarray]


class ProgramFormat(ExportFormat):
    """Base class of formats that hold a model with its front end, from waveforms and images to probabilities.

    A file is written only if it gives the probabilities of the run.
    """

    packages: tuple[str, ...] = ()
    tolerance = 1e-4
    """Maximum difference between probabilities of the exported and the original model."""

    @abstractmethod
    def write(self, network: Network, path: Path, description: str) -> Predict:
        """Write a file; return a function that computes probabilities with it.

        Args:
            network: Network of the run.
            path: Path of the file.
            description: Labels, inputs and preparation, as JSON.
        """

    def export(self, run_dir: Path, path: Path, files: Sequence[str] = ()) -> ExportReport:
        """See `ExportFormat.export`.

        Raises:
            EmotionError: the model cannot be exported, there are no recordings to check it on, or probabilities differ.
        """
        _require(*self.packages)
        network = network_of(run_dir)
        reader = Reader(network.modalities, network.sample_rate)
        recordings = [reader.read(file) for file in _files_to_check(run_dir, files)]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, _without_warnings():
            predict = self.write(network, temporary, describe(network, run_dir))
            try:
                difference = _difference(network, predict, recordings)
            except RuntimeError as error:
                raise EmotionError(f"{path} was not written: exported, the model fails ({_shorten(error)})") from error
            if not difference <= self.tolerance:
                raise EmotionError(
                    f"{path} was not written: on {counted(len(recordings), 'recording')} the exported model gives "
                    f"probabilities that differ from those of {run_dir} by up to {difference:.1g}"
                )
        return ExportReport(difference, len(recordings))


class Onnx(ProgramFormat):
    """ONNX.

    Args:
        quantize: Store the weights of products of matrices in 8 bits, and compute these products in 8 bits; store
            other weights in 16 bits (default: False). Probabilities may then differ by 0.05.
    """

    output = "model.onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def __init__(self, quantize: bool = False) -> None:
        self.quantize = quantize
        if quantize:
            self.tolerance = 0.05

    def write(self, network: Network, path: Path, description: str) -> Predict:
        """See `ProgramFormat.write`."""
        import onnx

        names, outputs = inputs_of(network.modalities), list(OUTPUTS)
        program = torch.onnx.export(
            _export_program(network), dynamo=True, verbose=False, input_names=names, output_names=outputs
        )
        written = cast(torch.onnx.ONNXProgram, program).model_proto
        for node in written.graph.node:
            del node.metadata_props[:]  # lines of source code, with the paths of this machine
        if self.quantize:
            written = quantized(written)
        onnx.helper.set_model_props(written, {KEY: description})
        onnx.save(written, path)
        model = OnnxModel(path)
        return lambda recordings: model(recordings)[0]


class Pt2(ProgramFormat):
    """PyTorch's exported program."""

    output = "model.pt2"

    def write(self, network: Network, path: Path, description: str) -> Predict:
        """See `ProgramFormat.write`."""
        with path.open("wb") as file:
            torch.export.save(_export_program(network), file, extra_files={f"{KEY}.json": description})
        with path.open("rb") as file:
            program = torch.export.load(file).module()

        @torch.no_grad()
        def predict(recordings: Sequence[Recording]) -> np.ndarray:
            arrays = arrays_of(network.modalities, recordings)
            return program(*(torch.from_numpy(arrays[name]) for name in inputs_of(network.modalities)))[0].numpy()

        return predict


def export(run_dir: Path, path: Path, form: str, files: Sequence[str] = ()) -> ExportReport | None:
    """Write the best model of a finished run, see `ExportFormat.export`; `form` is the name of a format."""
    return load_format(form).export(run_dir, path, files)


def _require(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise EmotionError(f"{package} is not installed: pip install 'emotion[onnx]'")


def describe(network: Network, run_dir: Path) -> str:
    """Return the description that an exported model needs, as JSON: labels, inputs, preparation."""
    config = runs.load_config(run_dir)
    description = {
        "format": FORMAT,
        "labels": network.labels,
        "ratings": network.ratings,
        "modalities": {
            name: way.to_dict() for name, way in network.modalities.items() if isinstance(way, Audio | Faces)
        },
        "sample_rate": network.sample_rate,
        "min_confidence": network.min_confidence,
        "inputs": {name: INPUTS[name] for name in inputs_of(network.modalities)},
        "name": config.name,
        "data": config.data.name,
        "protocol": f"{config.protocol.name}, fold {config.protocol.fold}",
        "made_by": f"emotion {emotion.__version__}",
    }
    return json.dumps(description)


class ExportedModel(nn.Module):
    """A classifier as a function of the tensors of `inputs_of`, in their order.

    Args:
        classifier: Classifier in evaluation mode.
        names: Names of the inputs.
    """

    def __init__(self, classifier: Classifier, names: Sequence[str]) -> None:
        super().__init__()
        self.classifier, self.names = classifier, tuple(names)
        if any(isinstance(module, EstimatorHead) for module in classifier.modules()):
            raise EmotionError("a scikit-learn estimator cannot be exported to this format; use --format bundle")
        groups = sorted(end.group for end in classifier.front_ends if end.group)
        if groups:
            raise EmotionError(
                f"the model normalises by {groups[0]}, which is unknown to an exported file; use --format bundle"
            )
        stacks = [end.features for end in classifier.front_ends if isinstance(end, AudioFrontEnd)]
        hops = sorted({features.hop_length for features in stacks if features.hop_length})
        if any(features.hop_length is None for features in stacks):
            raise EmotionError("speech encoders, VGGish and openSMILE cannot be exported; use --format hub or bundle")
        if len(hops) > 1:
            raise EmotionError(
                f"branches with features.hop_length={hops[0]} and {hops[1]} cannot be exported together; train one "
                "with the same for all branches, or use --format bundle"
            )
        self.hop_length = hops[0] if hops else None
        is_fusion = isinstance(classifier.encoder, Fusion)
        ends = [end for end in classifier.front_ends if isinstance(end, AudioFrontEnd) and end.normalize == "train"]
        self.measured = [] if is_fusion else ends  # a fusion passes on some of the recordings
        is_pooled = any(isinstance(features, FeatureStack) for features in stacks)
        self.frame_multiple = _FRAME_MULTIPLE if is_pooled else 1

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities, or ratings, shape (B, C), and `Prediction.distance`, shape (B,), if it is known."""
        batch = dict(zip(self.names, inputs, strict=True))
        if "waveform" in batch and self.hop_length:
            # Padding does not change outputs; torch.export needs a number of frames that every pooling divides.
            samples, block = batch["waveform"].shape[1], self.frame_multiple * self.hop_length
            frames = ((samples + block - 1) // block + 1) * self.frame_multiple
            batch["waveform"] = nn.functional.pad(batch["waveform"], (0, (frames - 1) * self.hop_length - samples))
        if "faces" in batch:
            place = torch.arange(batch["faces"].shape[1], device=batch["faces"].device)
            batch["face_mask"] = place < batch["face_count"][:, None]
        with mean_squares(self.measured) as found:
            predicted = self.classifier.activate(self.classifier(batch).float())
        return predicted, *found.values()


def _export_program(network: Network) -> torch.export.ExportedProgram:
    names = inputs_of(network.modalities)
    model = ExportedModel(network.classifier, names).eval().requires_grad_(False)
    batch = torch.export.Dim("batch", min=1, max=_MAX_SIZE)
    samples = torch.export.Dim("samples", min=1, max=_MAX_DURATION_S * network.sample_rate)
    images = torch.export.Dim("images", min=1, max=_MAX_SIZE)
    sizes = {"waveform": {0: batch, 1: samples}, "faces": {0: batch, 1: images}}
    example = arrays_of(network.modalities, [_example(network)] * 3)
    try:
        with torch.no_grad():
            return torch.export.export(
                model,
                tuple(torch.from_numpy(example[name]) for name in names),
                dynamic_shapes=(tuple(sizes.get(name, {0: batch}) for name in names),),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # torch.export raises many types
        raise EmotionError(f"this model cannot be exported: {_shorten(error)}") from error


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _example(network: Network) -> Recording:
    """Return an example input whose sizes are no special case of any model."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "audio": random.integers(-3000, 3000, 2 * network.sample_rate + 77).astype(np.int16)
    }
    if "face" in network.modalities:
        options = faces_of(network.modalities).options
        shape = (5, *options.shape)
        arrays["face"] = random.integers(0, 255, shape).astype(np.uint8)
    return Recording("example", arrays)


def _difference(network: Network, model: Predict, recordings: list[Recording]) -> float:
    """Return the maximum difference between probabilities of two models, over single recordings and one batch."""
    batches = [[recording] for recording in recordings] + [recordings]
    return max(float(abs(network(batch)[0] - model(batch)).max()) for batch in batches)


def _files_to_check(run_dir: Path, files: Sequence[str]) -> list[Path]:
    """Return the files on which an exported model is checked."""
    if files:
        found = find_media(files)
        if found.missing:
            raise EmotionError(found.missing[0])
        return list(found.files)
    config = runs.load_config(run_dir)
    corpus = instantiate(config.data.corpus, Corpus, needs_emotions=not config.task.is_regression)
    try:
        directory = corpus.locate(config.data.root)
    except EmotionError as error:
        raise EmotionError(f"{error}; or check the exported model on other recordings: --check FILE") from error
    splits = runs.load_splits(run_dir)
    table = corpus.scan(directory).set_index("recording")
    known = splits.loc[splits["split"].eq("dev") & splits["recording"].isin(table.index), "recording"]
    rows = table.loc[known.sort_values().iloc[np.linspace(0, len(known) - 1, min(len(known), _N_CHECKED)).astype(int)]]
    media = "video" if "face" in config.model.modalities else "audio"
    return [directory / path for path in rows[media]]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence warnings and log messages of the exporters in this context."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

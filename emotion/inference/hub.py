"""Models as folders of the Hugging Face Hub: safetensors, JSON, and a model card. Nothing in them is executed.

model.safetensors         weights of the classifier
NAME.skops                estimators, if there are any
config.json               labels, and the configuration of the run
preprocessor_config.json  what the model takes in, for other programs
metrics.json              metrics of the run
README.md                 model card with metadata
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

import emotion
from emotion import runs
from emotion.config.compose import to_plain
from emotion.config.validate import validate
from emotion.errors import EmotionError, error_message
from emotion.files import atomic_path, write_json, write_text
from emotion.inference.formats import ExportFormat
from emotion.prepare.modalities import Audio, Faces

if TYPE_CHECKING:
    from emotion.config.schema import TrainConfig
    from emotion.inference.networks import Network

WEIGHTS, CONFIG, PREPROCESSOR, CARD, METRICS = (
    "model.safetensors",
    "config.json",
    "preprocessor_config.json",
    "README.md",
    "metrics.json",
)
_MODEL_TYPE = "emotion"
_LARGEST_JSON = 1 << 20  # bytes
_PATTERNS = [WEIGHTS, CONFIG, PREPROCESSOR, METRICS, "*.skops"]
"""The files that a model is loaded from."""
_METRICS = {"UAR": ("recall", "uar"), "accuracy": ("accuracy", "war"), "macro F1": ("f1", "macro_f1")}
"""The Hub's name of each metric, and its key after `test/` in `metrics.json`."""
_UNREACHABLE = "it is not in the cache, and the Hub cannot be reached; give a folder or a file"
_REASONS = {
    "LocalEntryNotFoundError": _UNREACHABLE,
    "OfflineModeIsEnabled": _UNREACHABLE,
    "RepositoryNotFoundError": "there is no such repository, or it is private",
    "RevisionNotFoundError": "there is no such revision",
}
"""Reasons in words, by the names of exceptions of huggingface_hub."""
_TASKS = {"audio": "audio-classification", "face": "image-classification"}


def save_pretrained(run_dir: Path, folder: Path, source: str | None = None) -> None:
    """Write the best model of a finished run as a folder of the Hugging Face Hub.

    `from_pretrained` of the package loads it. Paths of this machine are left out.

    Args:
        run_dir: Directory of the run.
        folder: New or empty folder.
        source: Name by which the model card loads the model (default: the name of the folder).

    Raises:
        EmotionError: the run is not finished, its model needs more than a file, the folder is not empty, or safetensors
            or huggingface_hub is not installed.
    """
    from emotion.inference.networks import network_of

    safetensors, hub = _import("safetensors.torch"), _import("huggingface_hub")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EmotionError(f"{folder} is not an empty folder; choose another one")
    network, config = network_of(run_dir), _plain_config(run_dir)
    if "action_units" in network.modalities:
        raise EmotionError(
            f"{run_dir} needs action units too, which cannot be computed from a recording; name another run"
        )
    metrics = runs.load_metrics(run_dir)
    weights = {name: value.contiguous() for name, value in runs.load_weights(run_dir).items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(safetensors.save(weights, {"format": "pt"}))
    for estimator in (run_dir / "checkpoints").glob("*.skops"):
        shutil.copyfile(estimator, folder / estimator.name)
    labels = dict(enumerate(network.ratings or network.labels))
    described = {
        "model_type": _MODEL_TYPE,
        "emotion_version": emotion.__version__,
        "id2label": labels,
        "label2id": {label: index for index, label in labels.items()},
        "run": config,
    }
    write_json(folder / CONFIG, described)
    ways = {name: way.to_dict() for name, way in network.modalities.items() if isinstance(way, Audio | Faces)}
    write_json(folder / PREPROCESSOR, {"sampling_rate": network.sample_rate, "modalities": ways})
    if metrics:
        write_json(folder / METRICS, metrics)
    write_text(folder / CARD, _card(hub, network, metrics, source or folder.name))


def push_to_hub(run_dir: Path, repo_id: str, private: bool = False) -> str:
    """Upload the best model of a finished run to the Hugging Face Hub, and return its address.

    `huggingface-cli login` or the environment variable `HF_TOKEN` gives access.

    Args:
        run_dir: Directory of the run.
        repo_id: Repository, such as `name/model`, which is made if it does not exist.
        private: True to make a private repository (default: False).

    Raises:
        EmotionError: see `save_pretrained`; or the Hub cannot be reached or refuses.
    """
    hub = _import("huggingface_hub")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_pretrained(run_dir, folder, repo_id)
        try:
            address = hub.create_repo(repo_id, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=f"emotion {emotion.__version__}")
        except Exception as error:  # of the network, of the Hub, and of names of repositories
            raise EmotionError(f"{repo_id} cannot be uploaded: {error_message(error)}") from error
    return str(address)


def download(repo_id: str, revision: str | None = None) -> Path:
    """Download a model from the Hugging Face Hub into its cache, or find it there, and return the folder.

    Args:
        repo_id: Repository, such as `name/model`.
        revision: Branch, tag or commit (default: the main branch).

    Raises:
        EmotionError: the repository is not in the cache, and the Hub cannot be reached or does not have it.
    """
    hub = _import("huggingface_hub")
    try:
        return Path(hub.snapshot_download(repo_id, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:  # of the network, of the Hub, and of names of repositories
        at = f" at revision {revision}" if revision else ""
        raise EmotionError(
            f"{repo_id} is no file or folder here, and cannot be downloaded from the Hugging Face Hub{at}: "
            f"{_REASONS.get(type(error).__name__) or error_message(error)}"
        ) from error


def load_pretrained(folder: Path, device: str = "cpu") -> "Network":
    """Load a folder that `save_pretrained` wrote.

    Args:
        folder: The folder.
        device: `cpu` or `cuda` (default: `cpu`).

    Raises:
        EmotionError: the folder holds no model, or a damaged one.
    """
    from emotion.composition import modalities_of, outputs_of, restore_classifier
    from emotion.inference.networks import min_confidence_of, network_from

    safetensors = _import("safetensors.torch")
    content = _load_json(folder / CONFIG)
    config = _read_config(content, folder / CONFIG)
    try:
        weights = safetensors.load_file(folder / WEIGHTS)
    except Exception as error:  # the library has no base class of its errors
        raise EmotionError(f"{folder / WEIGHTS} cannot be read: {error_message(error)}") from error
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise EmotionError(f"{folder / WEIGHTS}: {name} has values that are not finite; export the model again")
    classifier = restore_classifier(config, weights, folder, folder / WEIGHTS, folder / CONFIG)
    outputs = outputs_of(config)
    if content.get("id2label") != {str(index): label for index, label in enumerate(outputs)}:
        raise EmotionError(
            f"{folder / CONFIG}: id2label is not the outputs of the model ({', '.join(outputs)}); restore it"
        )
    return network_from(config, classifier, modalities_of(config), device, min_confidence_of(folder))


def _read_config(content: Mapping[str, Any], path: Path) -> "TrainConfig":
    if content.get("model_type") != _MODEL_TYPE or not isinstance(content.get("run"), dict):
        raise EmotionError(f"{path} is of another library; a model of this package has model_type={_MODEL_TYPE}")
    if "${" in json.dumps(content["run"]):
        raise EmotionError(f"{path} is refused: it refers to values outside of the file by ${{…}}")
    try:
        return validate(DictConfig(content["run"]))
    except EmotionError as error:
        raise EmotionError(f"{path}: {error}") from error


def _load_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise EmotionError(f"{path} is refused: it has more than {_LARGEST_JSON:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EmotionError(f"{path} cannot be read: {error_message(error)}") from error
    if not isinstance(content, dict):
        raise EmotionError(f"{path} holds no JSON object")
    return content


def _plain_config(run_dir: Path) -> dict[str, Any]:
    """Return the configuration of a run with all values resolved; of absolute paths the last part is left."""
    composed = runs.load_composed(run_dir)
    composed.data.root = None

    def without_paths(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: without_paths(value) for key, value in node.items()}
        if isinstance(node, list):
            return [without_paths(value) for value in node]
        return Path(node).name if isinstance(node, str) and Path(node).is_absolute() else node

    return without_paths(to_plain(composed, resolve=True))


def _card(hub: Any, network: "Network", metrics: Mapping[str, Any], source: str) -> str:
    """Return a model card: metadata for the Hub, and what the model is, in words."""
    task = next(_TASKS[name] for name in network.modalities if name in _TASKS)
    results = [
        hub.EvalResult(
            task_type=task,
            dataset_type=metrics["data"],
            dataset_name=f"{metrics['data']}, {metrics['protocol']} fold {metrics['fold']}",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(metrics[f"test/{key}"], 4),
        )
        for name, (kind, key) in _METRICS.items()
        if f"test/{key}" in metrics
    ]
    data = hub.ModelCardData(
        library_name="emotion",
        pipeline_tag=task,
        tags=["emotion-recognition", *network.modalities],
        datasets=[metrics["data"]] if metrics else None,
        metrics=[kind for kind, _ in _METRICS.values()] if results else None,
        model_name=metrics.get("name", "emotion") if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_words(network, metrics, source)}"


def _words(network: "Network", metrics: Mapping[str, Any], source: str) -> str:
    lines = [
        f"# {metrics.get('name', 'Emotion recognition')}",
        f"{'Rates' if network.ratings else 'Recognises'} {', '.join(network.ratings or network.labels)} in "
        f"{' and '.join(network.modalities)}.",
    ]
    if "test/uar" in metrics:
        kind = "unseen speakers" if metrics["speaker_independent"] else "people who may be in its training data too"
        lines.append(
            f"Trained and tested on {metrics['data']} (protocol {metrics['protocol']}, fold {metrics['fold']}): UAR "
            f"{metrics['test/uar']:.3f} on {kind}. Expect less on other recordings, languages and rooms. Do not use it "
            "for decisions about people: it recognises how an emotion is acted, not what a person experiences."
        )
    if "test/ccc" in metrics:
        lines.append(
            f"Trained and tested on {metrics['data']} (protocol {metrics['protocol']}, fold {metrics['fold']}): "
            f"concordance correlation coefficient {metrics['test/ccc']:.3f}."
        )
    file = "clip.wav" if "audio" in network.modalities else "face.jpg"
    example = f'import emotion\n\nmodel = emotion.from_pretrained("{source}")\nmodel.predict("{file}")'
    return "\n\n".join([*lines, f"```python\n{example}\n```"]) + "\n"


def _import(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise EmotionError(f"{package} is not installed: pip install 'emotion[hub]'") from error


class Hub(ExportFormat):
    """A folder of the Hugging Face Hub, see `save_pretrained`."""

    output = "model"
    is_file = False

    def export(self, run_dir: Path, path: Path, files: Sequence[str] = ()) -> None:
        """See `ExportFormat.export`."""
        save_pretrained(run_dir, path)

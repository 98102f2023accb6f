"""Tests of models as folders of the Hugging Face Hub."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import yaml

import emotion
from emotion.errors import EmotionError
from emotion.inference import Predictor, hub
from emotion.labels import EMOTIONS


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Return the folder of a trained CNN."""
    path = tmp_path_factory.mktemp("hub") / "model"
    hub.save_pretrained(trained, path)
    return path


def altered(folder, tmp_path, **changes):
    """Return a copy of a folder whose config.json has other values."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    described = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(described | changes))
    return copy


def test_a_folder_answers_as_its_run(folder, trained, demo_root, command):
    clip = next(demo_root.rglob("03-*.wav"))
    expected = Predictor.from_run(trained).predict(clip)
    model = emotion.from_pretrained(folder)
    assert model.predict(clip).probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    waveform = np.sin(np.arange(32_000) / 8)
    assert sum(model.predict(waveform, sample_rate=16_000).probabilities.values()) == pytest.approx(1)
    (answer,) = json.loads(command("predict", clip, "--model", folder, "--format", "json").stdout)
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert emotion.from_pretrained(trained).predict(clip) == expected


def test_a_folder_has_what_the_hub_expects_and_no_paths(folder, trained, demo_root):
    files = {path.name for path in folder.iterdir()}
    assert files == {"model.safetensors", "config.json", "preprocessor_config.json", "metrics.json", "README.md"}
    described = json.loads((folder / "config.json").read_text())
    assert described["id2label"] == {str(index): label for index, label in enumerate(EMOTIONS)}
    assert json.loads((folder / "preprocessor_config.json").read_text())["sampling_rate"] == 16_000
    text = "".join(path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors")
    assert str(demo_root) not in text and str(trained) not in text and str(Path.home()) not in text
    card = (folder / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "emotion" and metadata["pipeline_tag"] == "audio-classification"
    (result,) = metadata["model-index"][0]["results"]
    uar = json.loads((trained / "metrics.json").read_text())["test/uar"]
    assert result["metrics"][0] == {"type": "recall", "name": "UAR", "value": round(uar, 4)}


def test_an_estimator_travels_too(train_in_process, command, demo_root, tmp_path):
    run_dir = train_in_process("model=logistic_regression", "features=mfcc")
    assert command("export", run_dir, "--format", "hub").returncode == 0
    clip = next(demo_root.rglob("03-*.wav"))
    expected = Predictor.from_run(run_dir).predict(clip)
    found = emotion.from_pretrained(tmp_path / "model").predict(clip)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


def test_existing_files_are_kept(folder, trained, command, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    for place in ("own", "own/notes.txt"):
        done = command("export", trained, "--format", "hub", "--output", place)
        assert done.returncode == 1 and "is not an empty folder" in done.stderr
    assert (tmp_path / "own" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "wav2vec2"}, "of another library"),
        ({"run": {"name": "${oc.env:HOME}"}}, "refers to values outside"),
        ({"run": {"name": "x"}}, r"config\.json"),
        ({"run": []}, "of another library"),
        ({"id2label": {"0": "happy"}}, "id2label is not the outputs of the model"),
    ],
)
def test_a_wrong_configuration_is_refused(folder, tmp_path, changes, message):
    with pytest.raises(EmotionError, match=message):
        emotion.from_pretrained(altered(folder, tmp_path, **changes))


def test_nothing_of_a_configuration_is_executed(folder, tmp_path):
    run = json.loads((folder / "config.json").read_text())["run"]
    run["model"]["backbone"] = {"_target_": "os.system", "command": f"touch {tmp_path}/executed"}
    with pytest.raises(EmotionError):
        emotion.from_pretrained(altered(folder, tmp_path, run=run))
    assert not (tmp_path / "executed").exists()


def test_damaged_files_are_named(folder, tmp_path):
    copy = altered(folder, tmp_path)
    whole = (copy / "model.safetensors").read_bytes()
    weights = safetensors.torch.load(whole)
    name = next(name for name, value in weights.items() if value.is_floating_point())
    weights[name][...] = float("nan")
    (copy / "model.safetensors").write_bytes(safetensors.torch.save(weights))
    with pytest.raises(EmotionError, match=f"{name} has values that are not finite"):
        emotion.from_pretrained(copy)
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EmotionError, match=r"model\.safetensors cannot be read"):
        emotion.from_pretrained(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(EmotionError, match=r"model\.safetensors cannot be read"):
        emotion.from_pretrained(copy)
    (copy / "config.json").write_text("{" * 100_000)
    with pytest.raises(EmotionError, match=r"config\.json cannot be read"):
        emotion.from_pretrained(copy)


def test_weights_of_another_model_are_refused(folder, tmp_path):
    run = json.loads((folder / "config.json").read_text())["run"]
    run["model"]["head"]["hidden"] = [7]
    with pytest.raises(EmotionError, match="is of another model than"):
        emotion.from_pretrained(altered(folder, tmp_path, run=run))


def test_a_repository_is_found_by_its_name_and_revision(folder, monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.append((name, options)) or str(folder)
    )
    assert emotion.from_pretrained("someone/model", revision="v1").labels == EMOTIONS
    ((name, options),) = asked
    assert name == "someone/model" and options["revision"] == "v1"
    assert "*.py" not in options["allow_patterns"]


def test_what_is_missing_has_one_line(folder, command, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = command("predict", "clip.wav", "--model", "someone/model")
    assert done.returncode == 1
    with pytest.raises(EmotionError, match="cannot be downloaded from the Hugging Face Hub at revision v1"):
        emotion.from_pretrained("someone/model", revision="v1")
    with pytest.raises(EmotionError, match="the Hub cannot be reached"):
        emotion.from_pretrained("someone/model")
    with pytest.raises(EmotionError, match="which has no revision v1"):
        emotion.from_pretrained(folder, revision="v1")
    for source in ("model.onnx", "folder/model.onnx", "/nowhere/model", "nowhere"):
        with pytest.raises(EmotionError, match="no such file or folder"):
            emotion.from_pretrained(source)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EmotionError, match=r"huggingface_hub is not installed: pip install 'emotion\[hub\]'"):
        emotion.from_pretrained("someone/model")


def test_push_uploads_the_folder(trained, monkeypatch):
    import huggingface_hub

    uploaded = {}
    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **options: f"https://hub/{name}")

    def upload(repo_id, folder_path, **_):
        uploaded[repo_id] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}

    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    assert hub.push_to_hub(trained, "someone/model") == "https://hub/someone/model"
    assert 'from_pretrained("someone/model")' in uploaded["someone/model"]["README.md"].decode()

    def refuse(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with pytest.raises(EmotionError, match="someone/model cannot be uploaded: no connection"):
        hub.push_to_hub(trained, "someone/model")


def test_the_shipped_model_has_a_name():
    assert emotion.from_pretrained("shipped").labels == Predictor.shipped().labels

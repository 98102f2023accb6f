"""The recordings of a corpus with the splits of a protocol, as a data set for other programs."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from emotion.config.schema import TrainConfig
from emotion.data.build import build_datamodule
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError
from emotion.files import atomic_path, write_text
from emotion.progress import track
from emotion.protocols import SPLITS

_SPLIT_NAMES = {"train": "train", "dev": "validation", "test": "test"}
_DESCRIBED = ("recording", "speaker", "emotion", "channel", "intensity", "statement", "repetition", "gender", "start")
_DESCRIBED += ("end",)
_SHARD = 500_000_000  # bytes


def export_dataset(config: TrainConfig, output: Path, form: str, without: str | None = None) -> pd.DataFrame:
    """Write the recordings in the splits of a protocol, with their labels.

    Args:
        config: Configuration of a training, of which the corpus, the protocol and the labels are used.
        output: New or empty folder.
        form: `parquet` for Parquet files with the recordings in them, which `datasets.load_dataset` loads; `webdataset`
            for shards.
        without: `audio` or `video`, to leave it out; recordings without another file are left out too.

    Returns:
        The recordings, with `split` and `label`.

    Raises:
        EmotionError: the corpus or the protocol cannot be used, the folder is not empty, or datasets is not installed.
    """
    if config.task.name != "classification":
        raise EmotionError(
            f"task={config.task.name}: emotion export-dataset writes one emotion for each recording; use "
            "task=classification"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise EmotionError(f"{output} is not an empty folder; choose another one")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmotionError(f"cannot write {output}: {error.strerror or error}; choose another folder") from error
    datamodule = build_datamodule(config.data, config.protocol, config.labels, {}, seed=0)
    datamodule.setup()
    table = datamodule.table
    if without:
        table = table.assign(**{without: ""})
        table = table[(table["audio"] != "") | (table["video"] != "")]
    directory = datamodule.corpus.locate(datamodule.root)
    write = _write_parquet if form == "parquet" else _write_shards
    for split in SPLITS:
        rows = table[table["split"] == split]
        if len(rows):
            write(rows, datamodule, directory, output, _SPLIT_NAMES[split])
    if table.empty:
        raise EmotionError(f"without {without} no recording is left")
    write_text(output / "README.md", _card(datamodule, table))
    return table


def _items(rows: pd.DataFrame, datamodule: EmotionDataModule, directory: Path) -> Iterator[dict[str, Any]]:
    """Yield each recording: what is known of it, and its files as names and bytes."""
    for row in track(rows.to_dict("records"), "writing recordings", len(rows)):
        described = {key: str(row[key]) for key in _DESCRIBED} | {"emotion": datamodule.classes[int(row["label"])]}
        files = {kind: row[kind] for kind in ("audio", "video") if row[kind]}
        if files.get("audio") == files.get("video"):
            files.pop("audio", None)  # the video has the audio
        contents = {
            kind: {"path": Path(path).name, "bytes": (directory / path).read_bytes()} for kind, path in files.items()
        }
        yield described | {"audio": None, "video": None} | contents


def _write_parquet(
    rows: pd.DataFrame, datamodule: EmotionDataModule, directory: Path, output: Path, split: str
) -> None:
    """Write Parquet files, whose schema names the types of the library datasets."""
    schema = _features(rows, datamodule.classes).arrow_schema
    number, pending, size = 0, [], 0
    for item in _items(rows, datamodule, directory):
        pending.append(item | {"emotion": datamodule.classes.index(item["emotion"])})
        size += sum(len(item[kind]["bytes"]) for kind in ("audio", "video") if item[kind])
        if size >= _SHARD:
            _write_part(pending, schema, output / "data" / f"{split}-{number:05d}.parquet")
            number, pending, size = number + 1, [], 0
    if pending:
        _write_part(pending, schema, output / "data" / f"{split}-{number:05d}.parquet")


def _features(rows: pd.DataFrame, classes: Sequence[str]) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise EmotionError("datasets is not installed: pip install 'emotion[datasets]'") from error
    features: dict[str, Any] = {key: datasets.Value("string") for key in _DESCRIBED}
    features["emotion"] = datasets.ClassLabel(names=list(classes))
    if ((rows["audio"] != "") & (rows["audio"] != rows["video"])).any():
        features["audio"] = datasets.Audio()
    if (rows["video"] != "").any():
        features["video"] = datasets.Video()
    return datasets.Features(features)


def _write_part(items: list[dict[str, Any]], schema: Any, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(items, schema=schema), temporary, row_group_size=100)


def _write_shards(rows: pd.DataFrame, datamodule: EmotionDataModule, directory: Path, output: Path, split: str) -> None:
    shard, size, number = None, 0, 0
    try:
        for index, item in enumerate(_items(rows, datamodule, directory)):
            if shard is None or size >= _SHARD:
                if shard:
                    shard.close()
                shard, size, number = tarfile.open(output / f"{split}-{number:06d}.tar", "w"), 0, number + 1  # noqa: SIM115
            media = {kind: item.pop(kind) for kind in ("audio", "video")}
            contents = {Path(m["path"]).suffix.lower(): m["bytes"] for m in media.values() if m}
            contents[".json"] = json.dumps(item).encode()
            for suffix, content in contents.items():
                entry = tarfile.TarInfo(f"{index:06d}{suffix}")  # a key has no slash or point
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
                size += len(content)
    finally:
        if shard:
            shard.close()


def _card(datamodule: EmotionDataModule, table: pd.DataFrame) -> str:
    """Return the README of the data set: metadata for the Hub, and what it is, in words."""
    protocol = datamodule.protocol
    metadata = {"task_categories": ["audio-classification"], "tags": ["emotion-recognition"]}
    kind = "speaker-independent" if protocol.is_speaker_independent else "speaker-dependent"
    counts = "\n".join(
        f"| {label} | "
        + " | ".join(str(int(((table["label"] == index) & (table["split"] == split)).sum())) for split in SPLITS)
        + " |"
        for index, label in enumerate(datamodule.classes)
    )
    return f"""---
{yaml.safe_dump(metadata, sort_keys=False).strip()}
---

# {datamodule.corpus.name}, protocol {protocol.name}, fold {protocol.fold}

{len(table):,} recordings of {table["speaker"].nunique():,} speakers; the splits are {kind}.

| emotion | train | validation | test |
|---|---|---|---|
{counts}

The recordings keep the licence of their corpus, which must be cited. Check it before you share this folder.
"""

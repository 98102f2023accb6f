"""The check of a corpus and of a protocol's splits of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pandas as pd

from emotion.checks.copies import same_audio, similar_audio
from emotion.checks.findings import (
    LEVELS,
    Finding,
    agreement_findings,
    audio_findings,
    class_counts,
    copy_findings,
    examples,
    noise_findings,
    problem_findings,
    rating_findings,
    speaker_findings,
    split_findings,
)
from emotion.checks.measures import Measures, measure_all
from emotion.config.schema import DataConfig, ProtocolConfig, TaskConfig
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.corpora.base import UNKNOWN_SPEAKER
from emotion.corpora.copies import find_copies
from emotion.data.build import build_datamodule
from emotion.data.datamodule import EmotionDataModule
from emotion.data.table import join_splits
from emotion.errors import EmotionError, counted
from emotion.media.video import require_frame
from emotion.prepare.waveforms import parts_of
from emotion.progress import track
from emotion.protocols import SPLITS

RATED = "rated_"
"""Start of the names of columns of ratings."""
_FIELDS = [name for name in Measures.__dataclass_fields__ if name not in ("digest", "fingerprint")]


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        title: What was checked, in one line.
        directory: Directory of the corpus, to which the paths of `table` are relative.
        table: The recordings: the columns of the corpus, `split` (empty outside of the protocol) and the numbers of
            `Measures` (NaN for a file without audio, or one that cannot be read), `problem`, what is wrong with it, and
            with `task=regression` its ratings, such as `rated_valence`.
        counts: Number of recordings of each emotion, or with each rating (rows), in each split (columns); None if there
            are no splits.
        speakers: Number of speakers of each split in words; None likewise.
        findings: The findings, the most serious first.
    """

    title: str
    directory: Path
    table: pd.DataFrame
    counts: pd.DataFrame | None
    speakers: dict[str, str] | None
    findings: Sequence[Finding]

    @property
    def is_sound(self) -> bool:
        """True if there is no error."""
        return all(finding.level != "error" for finding in self.findings)


def check_corpus(
    data: DataConfig, protocol: ProtocolConfig, labels: str | list[str], task: TaskConfig | None = None
) -> Check:
    """Check the recordings of a corpus, and what a protocol does with them.

    Args:
        data: The corpus.
        protocol: Its splits.
        labels: Label scheme, list of emotions, or `from_data`.
        task: What is predicted (default: labels).

    Raises:
        EmotionError: there is no such corpus, or it has no recordings.
    """
    task = task or TaskConfig()
    corpus = instantiate(data.corpus, Corpus, on_error=data.on_error, needs_emotions=not task.is_regression)
    directory = corpus.locate(data.root)
    scanned = corpus.scan(directory, data.channel if data.train_channel in (None, data.channel) else "both")
    title = f"{corpus.name}: {counted(len(scanned), 'recording')} in {directory}"
    used, counts, speakers, annotations = scanned.assign(split=""), None, None, None
    try:
        module = build_datamodule(replace(data, download=False), protocol, labels, {}, seed=0, task=task)
        if module.ratings:
            annotations = corpus.annotations(directory, module.ratings)
            used, counts, findings = _rated(scanned, module, annotations)
        else:
            used, findings = _in_splits(scanned, module)
            classes = [label for label in module.classes if label in set(used["emotion"])]
            counts = class_counts(used).reindex(classes)
        findings += agreement_findings(corpus.votes(directory), annotations)
        speakers = {split: _count_speakers(used.loc[used["split"] == split, "speaker"]) for split in SPLITS}
        kind = "speaker-independent" if module.protocol.is_speaker_independent else "SPEAKER-DEPENDENT"
        title += f"; protocol {module.protocol.name}, fold {module.protocol.fold} of {module.protocol.folds} ({kind})"
    except EmotionError as error:
        findings = [Finding("error", str(error))]
    measures, problems = _measured(scanned, directory)
    findings += [*problem_findings(problems, data.on_error), *_copies(scanned, used, measures, directory)]
    if len(measures):
        findings += [*audio_findings(measures), *noise_findings(measures, used)]
    table = scanned.assign(split=scanned["recording"].map(used.set_index("recording")["split"]).fillna(""))
    table["problem"] = [problems.get(key, "") for key in table["recording"]]
    table = table.join(measures.reindex(columns=_FIELDS), on="recording")
    if annotations is not None:
        table = table.join(annotations.groupby(level=0).mean().add_prefix(RATED), on="recording")
    return Check(title, directory, table, counts, speakers, sorted(findings, key=lambda one: LEVELS.index(one.level)))


def _in_splits(scanned: pd.DataFrame, module: EmotionDataModule) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the recordings in the splits of a protocol with their labels, and findings on the splits."""
    loaded = module.protocol
    used, findings = _labelled(join_splits(scanned, loaded.table, module.channel, module.train_channel), module.labels)
    findings += [*split_findings(used), *speaker_findings(used, loaded.is_speaker_independent)]
    outside = scanned.loc[~scanned["recording"].isin(loaded.table["recording"]), "recording"].tolist()
    if outside:
        text = f"{counted(len(outside), 'recording')} outside of the splits, such as {examples(outside)}"
        findings.append(Finding("note", text, outside))
    return used, findings


def _rated(
    scanned: pd.DataFrame, module: EmotionDataModule, annotations: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
    """Return the recordings in the splits of a protocol, the number of ratings of each split, and findings on them."""
    loaded = module.protocol
    table = join_splits(scanned, loaded.table, module.channel, module.train_channel)
    ratings = annotations.groupby(level=0).mean().reindex(table["recording"]).set_axis(table.index)
    is_rated = ratings.notna().any(axis=1)
    findings = [*rating_findings(ratings, table["split"]), *speaker_findings(table, loaded.is_speaker_independent)]
    if not is_rated.all():
        without = table.loc[~is_rated, "recording"].tolist()
        text = f"{counted(len(without), 'recording')} without a rating, such as {examples(without)}: left out"
        findings.append(Finding("note", text, without))
    counts = ratings.notna().groupby(table["split"]).sum().T.reindex(columns=list(SPLITS), fill_value=0)
    return table[is_rated], counts, findings


def _copies(scanned: pd.DataFrame, used: pd.DataFrame, measures: pd.DataFrame, directory: Path) -> Iterator[Finding]:
    """Yield findings on copies, of images by their files and of others by their audio."""
    images = cast(list[dict[str, str]], scanned[scanned["audio"] == ""].to_dict("records"))
    yield from copy_findings(find_copies(directory, images), used, "the same file")
    if len(measures):
        paths = scanned.set_index("recording")["audio"]
        yield from copy_findings(same_audio(measures), used, "the same audio")
        similar = similar_audio(measures, paths, parts_of(scanned), directory)
        yield from copy_findings(similar, used, "nearly the same audio", exact=False)


def _labelled(table: pd.DataFrame, labels: Mapping[str, str]) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the recordings that have a label, as their `emotion`, and a finding on the others."""
    others = table[~table["emotion"].isin(labels)]
    findings = []
    if len(others):
        names = ", ".join(sorted(set(others["emotion"])))
        text = f"{counted(len(others), 'recording')} are left out, since no label stands for their emotions ({names})"
        findings = [Finding("note", f"{text}: labels=from_data takes all", others["recording"].tolist())]
    kept = table[table["emotion"].isin(labels)]
    return kept.assign(emotion=kept["emotion"].map(labels)), findings


def _count_speakers(speakers: pd.Series) -> str:
    """Return the number of speakers, in words if some are unknown."""
    known = speakers[~speakers.isin([UNKNOWN_SPEAKER, ""])]
    if len(known) == len(speakers):
        return f"{known.nunique():,}"
    return f"{known.nunique():,} + unknown" if len(known) else "unknown"


def _measured(table: pd.DataFrame, directory: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure recordings.

    Returns:
        The measures of recordings with audio, with their keys as the index; and what is wrong with unreadable files, by
        key of the recording.
    """
    parts = parts_of(table)
    table = table.set_index("recording")
    with_audio = table.loc[table["audio"] != "", "audio"]
    found = track(measure_all(with_audio, parts, directory), "measuring", len(with_audio))
    results = dict(zip(with_audio.index, found, strict=True))
    problems = {key: f"{with_audio[key]}: {one}" for key, one in results.items() if isinstance(one, str)}
    rows = {key: vars(one) for key, one in results.items() if isinstance(one, Measures)}
    for key, path in table.loc[table["audio"] == "", "video"].items():
        try:
            if (directory / path).is_file():  # not one that is made when it is needed, or in an archive
                require_frame(directory / path)
        except EmotionError as error:
            problems[str(key)] = str(error).removeprefix(f"{directory}/")
    return pd.DataFrame.from_dict(rows, orient="index"), problems

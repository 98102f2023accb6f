"""The check of a corpus and of a protocol's splits of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from emotion.checks.copies import same_audio, similar_audio
from emotion.checks.findings import (
    LEVELS,
    Finding,
    audio_findings,
    class_counts,
    copy_findings,
    level_finding,
    speaker_findings,
    split_findings,
)
from emotion.checks.measures import Measures, measure_all
from emotion.config.schema import DataConfig, ProtocolConfig
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.data.build import build_datamodule
from emotion.data.table import join_splits
from emotion.errors import EmotionError, counted
from emotion.prepare.waveforms import parts_of
from emotion.progress import track
from emotion.protocols import SPLITS

_FIELDS = [name for name in Measures.__dataclass_fields__ if name not in ("digest", "fingerprint")]


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        title: What was checked, in one line.
        directory: Directory of the corpus, to which the paths of `table` are relative.
        table: The recordings: the columns of the corpus, `split` (empty outside of the protocol) and the numbers of
            `Measures` (NaN for a file without audio, or one that cannot be read).
        counts: Number of recordings of each emotion (rows) in each split (columns); None if there are no splits.
        speakers: Number of speakers of each split; None likewise.
        findings: The findings, the most serious first.
    """

    title: str
    directory: Path
    table: pd.DataFrame
    counts: pd.DataFrame | None
    speakers: dict[str, int] | None
    findings: Sequence[Finding]

    @property
    def is_sound(self) -> bool:
        """True if there is no error."""
        return all(finding.level != "error" for finding in self.findings)


def check_corpus(data: DataConfig, protocol: ProtocolConfig, labels: str | list[str], seed: int) -> Check:
    """Check the recordings of a corpus, and what a protocol does with them.

    Args:
        data: The corpus.
        protocol: Its splits.
        labels: Label scheme, list of emotions, or `from_data`.
        seed: Seed of the run.

    Raises:
        EmotionError: there is no such corpus, or it has no recordings.
    """
    corpus = instantiate(data.corpus, Corpus, on_error=data.on_error)
    directory = corpus.locate(data.root)
    scanned = corpus.scan(directory, data.channel if data.train_channel in (None, data.channel) else "both")
    title = f"{corpus.name}: {counted(len(scanned), 'recording')} in {directory}"
    used, counts, speakers = scanned.assign(split=""), None, None
    try:
        module = build_datamodule(replace(data, download=False), protocol, labels, {}, seed)
        loaded = module.protocol
        used, unlabelled = _labelled(
            join_splits(scanned, loaded.table, data.channel, module.train_channel), module.labels
        )
        kind = "speaker-independent" if loaded.speaker_independent else "SPEAKER-DEPENDENT"
        title += f"; protocol {loaded.name}, fold {loaded.fold} of {loaded.folds} ({kind})"
        findings = [*unlabelled, *split_findings(used), *speaker_findings(used, loaded.speaker_independent)]
        found = set(used["emotion"])
        counts = class_counts(used).reindex([label for label in module.classes if label in found])
        speakers = {split: int((used[used["split"] == split])["speaker"].nunique()) for split in SPLITS}
    except EmotionError as error:
        findings = [Finding("error", str(error))]
    measures, unreadable = _measured(scanned, directory)
    findings += unreadable
    if len(measures):
        findings += [*audio_findings(measures), *level_finding(measures, used)]
        similar = similar_audio(measures, scanned.set_index("recording")["audio"], directory)
        findings += [*copy_findings(same_audio(measures), used, exact=True)]
        findings += [*copy_findings(similar, used, exact=False)]
    numbers = measures[_FIELDS] if len(measures) else pd.DataFrame(columns=_FIELDS)
    table = scanned.assign(split=scanned["recording"].map(used.set_index("recording")["split"]).fillna(""))
    ordered = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    return Check(title, directory, table.join(numbers, on="recording"), counts, speakers, ordered)


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


def _measured(table: pd.DataFrame, directory: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the measures of recordings with audio, with their keys as the index, and a finding on unreadable files."""
    parts = parts_of(table)
    table = table[table["audio"] != ""].set_index("recording")
    found = track(measure_all(table["audio"], parts, directory), "measuring", len(table))
    results = dict(zip(table.index, found, strict=True))
    problems = {key: one for key, one in results.items() if isinstance(one, str)}
    rows = {key: vars(one) for key, one in results.items() if isinstance(one, Measures)}
    findings = []
    if problems:
        first = next(iter(problems))
        text = (
            f"{counted(len(problems), 'file')} cannot be read, such as {table.loc[first, 'audio']} ({problems[first]})"
        )
        findings = [Finding("error", f"{text}: repair or remove them, or set data.on_error=skip", list(problems))]
    return pd.DataFrame.from_dict(rows, orient="index"), findings

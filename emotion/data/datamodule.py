"""The LightningDataModule: the splits of a corpus as batches."""

import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from emotion.batch import Batch
from emotion.corpora import Corpus
from emotion.data.dataset import Ragged, RecordingDataset
from emotion.data.feature_cache import cached_features, copy_key
from emotion.data.sampler import EpochSampler
from emotion.data.sources import Source, load_action_units, load_audio, load_faces, report_problems, usable
from emotion.data.table import add_labels, add_ratings, join_splits, known_classes, sampling_weights, soft_targets
from emotion.errors import EmotionError, suggest
from emotion.features.front_end import AudioFrontEnd
from emotion.labels import classes, label_names, scheme
from emotion.prepare.modalities import MODALITIES, Audio, Prepared
from emotion.protocols import SPLITS, Protocol

log = logging.getLogger(__name__)

ERROR_HANDLING = ("raise", "skip", "allow_missing_modality")

T = TypeVar("T")


class EmotionDataModule(pl.LightningDataModule):
    """A LightningDataModule that scans a corpus, prepares it on first use, and serves the splits of a protocol.

    Args:
        corpus: The corpus.
        protocol: Its train, dev and test splits.
        labels: Name of the label scheme, or a list of emotions; see `emotion.labels.scheme`.
        root: Directory in which the corpus is looked for; see `Corpus.locate`.
        channel: `speech`, `song` or `both`.
        sample_rate: Sampling rate of the prepared audio, in Hz.
        batch_size: Number of recordings in a batch.
        seed: Seed of the order in which the train split is visited.
        on_error: What happens if a file cannot be used: `raise`, `skip` the recording, or `allow_missing_modality`,
            which uses the other modalities of the recording.
        train_channel: Channel of the train split, if it differs from that of dev and test.
        modalities: Modalities of the model, in `MODALITIES`, and how they are prepared (default: audio only).
        train_label: Label to which the train split is restricted, or None.
        sampling_temperature: Balance of the training batches, see `emotion.data.table.sampling_weights` (default: 1).
        soft_labels: True to serve the votes of annotators, if the corpus has any (default: False).
        ratings: Names of the ratings that are predicted in place of labels (default: none).

    Attributes:
        table: After `setup`, the recordings of all splits: the columns of the corpus, `split`, `label` (class index),
            `speaker_index` and `corpus_index`.
        classes: The labels in the order of a model's outputs; empty if it predicts ratings.
        ratings: The ratings in the order of a model's outputs; empty if it predicts labels.
        sources: After `setup`, the arrays from which batches are gathered, by their names in a batch.
    """

    def __init__(
        self,
        corpus: Corpus,
        protocol: Protocol,
        labels: str | Sequence[str],
        root: str | None,
        channel: str,
        sample_rate: int,
        batch_size: int,
        seed: int = 0,
        on_error: str = "raise",
        train_channel: str | None = None,
        modalities: Prepared | None = None,
        train_label: str | None = None,
        sampling_temperature: float = 1.0,
        soft_labels: bool = False,
        ratings: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if on_error not in ERROR_HANDLING:
            raise EmotionError(f"data.on_error={on_error} is none of {', '.join(ERROR_HANDLING)}")
        if batch_size < 1:
            raise EmotionError(f"data.batch_size={batch_size} must be at least 1")
        self.corpus, self.protocol, self.root, self.channel = corpus, protocol, root, channel
        self.train_channel = train_channel or channel
        self.label_scheme = label_names(labels)
        self.labels, self.classes = scheme(labels), () if ratings else classes(labels)
        self.soft_labels, self.ratings = soft_labels, tuple(ratings)
        self.sample_rate, self.batch_size, self.seed, self.on_error = sample_rate, batch_size, seed, on_error
        self.modalities = dict(modalities or {"audio": Audio()})
        if train_label and train_label not in self.classes:
            raise EmotionError(f"model.train_emotion={train_label}: {suggest(train_label, self.classes)}")
        self.train_label, self.sampling_temperature = train_label, sampling_temperature
        self._table: pd.DataFrame | None = None
        self.sources: dict[str, Ragged] = {}
        self.keys: dict[str, str] = {}
        self.features: dict[str, Ragged] = {}
        self.copies: dict[str, tuple[int, Ragged]] = {}
        self.targets: torch.Tensor | None = None
        self._trains_on: set[str] = set()
        self._needs_waveform = False

    @property
    def table(self) -> pd.DataFrame:
        """The recordings of all splits; known after `setup`."""
        if self._table is None:
            raise RuntimeError("the table of recordings is known after setup()")
        return self._table

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of a model's outputs."""
        return self.ratings or self.classes

    def prepare_data(self) -> None:
        """Scan, decode and cache; Lightning calls this in one process only."""
        if self._table is None:
            self._sources(*self._recordings())

    def setup(self, stage: str | None = None) -> None:
        """Join the recordings with the protocol and open what was prepared.

        Raises:
            EmotionError: the corpus is missing, a file cannot be used and `on_error` is `raise`, or a split is empty.
        """
        if self._table is not None:
            return
        directory, recordings = self._recordings()
        log.info("%s", self.corpus.describe(recordings, self._scanned_channel))
        sources = self._sources(directory, recordings)
        report_problems(sources, self.corpus.name, self.on_error)
        is_usable = usable(sources, recordings["recording"], self.on_error)
        self.sources = {MODALITIES[modality]: source.items for modality, source in sources.items()}
        self.keys = {MODALITIES[modality]: source.key for modality, source in sources.items()}
        table = join_splits(recordings[is_usable], self.protocol.table, self.channel, self.train_channel)
        if self.ratings:
            ratings = self.corpus.ratings(directory, self.ratings)
            self._table, self.targets = add_ratings(table, ratings, self.ratings)
            return
        table = add_labels(table, self.labels, self.classes, self.label_scheme, self.train_label)
        if self.soft_labels:
            votes = self.corpus.label_distributions(directory)
            if votes is not None:
                table, self.targets = soft_targets(table, votes, self.labels, self.classes)
        self._table = table

    def cache_features(
        self,
        front_ends: Sequence[AudioFrontEnd],
        needs_waveform: bool = False,
        device: torch.device | str = "cpu",
        training: bool = False,
    ) -> None:
        """Serve cached features from now on; the train split has waveforms, or copies, where features are augmented.

        Args:
            front_ends: Front ends that extract the features, on the CPU.
            needs_waveform: Serve waveforms as well, which another front end needs.
            device: See `cached_features`.
            training: True to compute augmented copies too (default: False).
        """
        self.features = {
            end.features_key: cached_features(end, self.sources["waveform"], self.keys["waveform"], device=device)
            for end in front_ends
        }
        self.copies = {
            end.features_key: (
                end.n_augmented_copies,
                cached_features(end, self.sources["waveform"], self.keys["waveform"], device=device, augmented=True),
            )
            for end in front_ends
            if training and end.n_augmented_copies
        }
        self._trains_on = {end.features_key for end in front_ends if end.n_augmented_copies or not end.augments_audio}
        self._needs_waveform = needs_waveform

    def dataset(self, split: str, augmented: bool = False) -> RecordingDataset:
        """Return a split, sorted by key.

        Args:
            split: `train`, `dev` or `test`.
            augmented: True for batches that are augmented, which need waveforms in place of some features.
        """
        rows = self.table[self.table["split"] == split]
        if rows.empty:
            raise EmotionError(
                f"the {split} split of protocol {self.protocol.name} fold {self.protocol.fold} is empty: none of its "
                f"recordings exists in the {self.corpus.name} corpus (channel {self.channel})"
            )
        copies = max((count for count, _ in self.copies.values()), default=1) if augmented else 1
        numbers = np.repeat(np.arange(copies), len(rows))
        rows = pd.concat([rows] * copies)
        features = {
            key: self._cached(key, rows["recording"], numbers, augmented)
            for key in (self._trains_on if augmented else self.features)
        }
        sources = dict(self.sources)
        if self.features and not self._needs_waveform and len(features) == len(self.features):
            del sources["waveform"]
        return RecordingDataset(
            rows,
            sources,
            None if self.targets is None else self.targets[rows.index.tolist()],
            features,
            known_classes(self.table, len(self.classes)) if augmented and self.classes else None,
        )

    def _cached(self, key: str, recordings: pd.Series, numbers: np.ndarray, augmented: bool) -> Ragged:
        """Return cached features of recordings; in training, of the copies of these numbers, if there are any."""
        if not augmented or key not in self.copies:
            return self.features[key].select(recordings.tolist())
        count, copies = self.copies[key]
        return copies.select([copy_key(name, number % count) for name, number in zip(recordings, numbers, strict=True)])

    def true_ratings(self, split: str) -> np.ndarray:
        """Return the ratings of a split, shape (n_recordings, len(ratings)), NaN where unknown."""
        if self.targets is None:
            raise RuntimeError("ratings are known after setup(), of task=regression")
        return self.targets.numpy()[(self.table["split"] == split).to_numpy()]

    def with_dev_in_train(self) -> "EmotionDataModule":
        """Return a data module with the same arrays whose train split holds the dev split too."""
        joined = copy.copy(self)
        joined._table = self.table.assign(split=self.table["split"].replace("dev", "train"))
        return joined

    def batches(self, *splits: str) -> Iterator[Batch]:
        """Yield the batches of splits in order, for statistics and evaluation."""
        for split in splits:
            dataset = self.dataset(split)
            for start in range(0, len(dataset), self.batch_size):
                yield dataset.__getitems__(range(start, min(start + self.batch_size, len(dataset))))

    def all_batches(self) -> Iterator[Batch]:
        """Yield the batches of all splits that are not empty."""
        return self.batches(*(split for split in SPLITS if (self.table["split"] == split).any()))

    def train_dataloader(self) -> DataLoader:
        """Return batches of the train split in a new order every epoch; each of several processes gets its share.

        The last, smaller batch is left out unless it is the only one: batch normalisation fails on a batch of one.
        """
        dataset = self.dataset("train", augmented=True)
        weights = sampling_weights(self.table, self.sampling_temperature)
        if weights is not None:
            weights = np.tile(weights, len(dataset) // len(weights))
        sampler = EpochSampler(len(dataset), self.seed, *self._process, weights)
        if self.trainer is not None:
            # A resumed fit fetches its first batch before Lightning sets the epoch of the sampler.
            progress = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(progress.processed)  # pyright: ignore[reportAttributeAccessIssue] (Lightning names a base class)
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=sampler,
            drop_last=len(sampler) > self.batch_size,
            collate_fn=_identity,
            # Otherwise the loader would draw from the global generator, at another time if a fit is resumed.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def val_dataloader(self) -> DataLoader:
        """Return batches of the dev split; each of several processes gets its share, without repeats."""
        return self._evaluation_dataloader("dev")

    def test_dataloader(self) -> DataLoader:
        """Return batches of the test split, as `val_dataloader` does of dev."""
        return self._evaluation_dataloader("test")

    def predict_dataloader(self) -> DataLoader:
        """Return batches of the test split in the order of `table`."""
        return self._evaluation_dataloader("test")

    def _evaluation_dataloader(self, split: str) -> DataLoader:
        dataset, (process, processes) = self.dataset(split), self._process
        share = range(process, len(dataset), processes)
        if not share:
            raise EmotionError(f"{processes} processes cannot share the {len(dataset)} recordings of the {split} split")
        return DataLoader(dataset, batch_size=self.batch_size, sampler=share, collate_fn=_identity)

    @property
    def _process(self) -> tuple[int, int]:
        """The rank of this process and the number of processes of a distributed fit."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    @property
    def _scanned_channel(self) -> str:
        return self.channel if self.train_channel == self.channel else "both"

    def _recordings(self) -> tuple[Path, pd.DataFrame]:
        """Return the directory of the corpus and the table of its recordings."""
        directory = self.corpus.locate(self.root)
        table = self.corpus.scan(directory, self._scanned_channel)
        if table.empty:
            raise EmotionError(
                f"the {self.corpus.name} corpus in {directory} has no {self._scanned_channel} recordings"
            )
        if "face" in self.modalities and (table["video"] == "").any():
            self.corpus.ensure_video(directory, table["recording"])
            table = self.corpus.scan(directory, self._scanned_channel)
        return directory, table

    def _sources(self, directory: Path, recordings: pd.DataFrame) -> dict[str, Source]:
        prepare = {
            "audio": lambda audio: load_audio(recordings, directory, self.sample_rate, audio.speech_only),
            "face": lambda faces: load_faces(recordings, directory, faces, self.sample_rate),
            "action_units": lambda units: load_action_units(recordings, self.corpus, units),
        }
        return {modality: prepare[modality](how) for modality, how in self.modalities.items()}


def _identity(batch: T) -> T:
    """Return the batch, since the dataset gathers whole batches."""
    return batch

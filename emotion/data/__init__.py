"""Prepared arrays and split CSVs to batches."""

from emotion.data.datamodule import EmotionDataModule

__all__ = ["EmotionDataModule"]

"""What a corpus is on disk, read into one table of recordings."""

from emotion.corpora.base import COLUMNS, Corpus

__all__ = ["COLUMNS", "Corpus"]

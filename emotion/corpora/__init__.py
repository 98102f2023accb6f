"""Corpora: files on disk, scanned into a table of recordings."""

from emotion.corpora.base import COLUMNS, Corpus

__all__ = ["COLUMNS", "Corpus"]

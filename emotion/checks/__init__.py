"""Checks of a corpus before training: what its recordings are like, and what a protocol will do with them."""

from emotion.checks.check import Check, check_corpus
from emotion.checks.findings import Finding

__all__ = ["Check", "Finding", "check_corpus"]

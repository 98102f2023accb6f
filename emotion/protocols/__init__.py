"""Who is train, dev and test: the committed CSVs, how they are read, and what they promise."""

from emotion.protocols.protocol import SPLITS, Protocol, available, load

__all__ = ["SPLITS", "Protocol", "available", "load"]

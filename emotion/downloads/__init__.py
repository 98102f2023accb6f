"""Get corpora from their official homes: verified, resumed where it was cut off, and either whole or absent."""

from emotion.downloads.folder import Request, download, provide
from emotion.downloads.sources import SOURCES

__all__ = ["SOURCES", "Request", "download", "provide"]

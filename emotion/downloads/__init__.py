"""Downloads of corpora from their official sources: resumed, verified, and complete or absent."""

from emotion.downloads.folder import Request, download, ensure_downloaded
from emotion.downloads.sources import SOURCES

__all__ = ["SOURCES", "Request", "download", "ensure_downloaded"]

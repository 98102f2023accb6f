"""Headers of WAV files."""

import os
from pathlib import Path

_UNKNOWN = 2**31 - 2**16
"""Programs that write to a pipe state sizes from here on, since they do not know the size."""


def missing_seconds(path: Path) -> float:
    """Return the duration that the header of a WAV file states beyond the end of the file, in seconds.

    Args:
        path: Existing file.

    Returns:
        The duration; 0 for complete files, other formats, and headers without a duration.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return 0.0
        available, bytes_per_second = os.fstat(file.fileno()).st_size, 0
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
            if name == b"data":
                missing = size - (available - file.tell())
                return missing / bytes_per_second if missing > 0 and bytes_per_second and size < _UNKNOWN else 0.0
            content = file.read(min(size, 16))
            if name == b"fmt ":
                bytes_per_second = int.from_bytes(content[8:12], "little")
            file.seek(size - len(content) + size % 2, os.SEEK_CUR)
    return 0.0

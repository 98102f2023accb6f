"""A progress bar for long work, shown only where a person looks."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    """Iterate over `items` with a bar on stderr, if stderr is a terminal and there is anything to do.

    Args:
        items: What is worked on.
        description: What is done.
        total: How many there are; None where nobody knows.
    """
    if total == 0 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=description)

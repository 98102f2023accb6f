"""Measure the size of an installation: `python benchmarks/install_size.py results/install_size.csv`.

The sizes are those of the installed files of each package and of all that it requires, in the environment that runs
this. Extras that are not installed have no row.
"""

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

GROUPS = {
    "CUDA": ("nvidia-", "cuda-", "triton"),
    "torch, torchvision, torchaudio": ("torch",),
    "librosa with numba": ("librosa", "llvmlite", "numba"),
    "OpenCV and PyAV": ("opencv-", "av"),
    "scipy, scikit-learn, pandas, numpy": ("scipy", "scikit-learn", "pandas", "numpy"),
    "onnxruntime": ("onnxruntime",),
}
"""Beginnings of the names of packages by the rows in which they are added up."""


def installed_sizes(requirements: Iterable[Requirement]) -> dict[str, int]:
    """Return the size in bytes of each installed package that is required, directly or not."""
    sizes: dict[str, int] = {}
    pending = [(one.name, frozenset(one.extras)) for one in requirements]
    while pending:
        name, extras = pending.pop()
        key = canonicalize_name(name)
        if key in sizes:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        sizes[key] = sum(file.size or 0 for file in found.files or [])
        for text in found.requires or []:
            own = Requirement(text)
            if own.marker is None or any(own.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                pending.append((own.name, frozenset(own.extras)))
    return sizes


def main(output: Path) -> None:
    """Write the table."""
    of_package = [Requirement(text) for text in importlib.metadata.requires("emotion") or []]
    core = installed_sizes(one for one in of_package if one.marker is None)
    rows = [{"installed": "emotion", "megabytes": sum(core.values())}]
    rest = dict(core)
    for group, starts in GROUPS.items():
        names = [name for name in rest if name.startswith(starts)]
        rows.append({"installed": f"emotion: {group}", "megabytes": sum(rest.pop(name) for name in names)})
    rows.append({"installed": "emotion: all other packages", "megabytes": sum(rest.values())})
    for extra in sorted(importlib.metadata.metadata("emotion").get_all("Provides-Extra") or []):
        needed = [one for one in of_package if one.marker and one.marker.evaluate({"extra": extra})]
        missing = [one for one in needed if canonicalize_name(one.name) not in installed_sizes([one])]
        if extra != "dev" and not missing:
            added = {name: size for name, size in installed_sizes(needed).items() if name not in core}
            rows.append({"installed": f"further with [{extra}]", "megabytes": sum(added.values())})
    table = pd.DataFrame(rows).assign(megabytes=lambda rows: (rows["megabytes"] / 1e6).round(1))
    table.to_csv(output, index=False, lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

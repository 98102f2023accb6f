"""Where the configuration lies, and how overrides are written."""

import re
from pathlib import Path

from omegaconf import OmegaConf

_INSTALLED = Path(__file__).parents[1] / "conf"
DIRECTORY = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"
"""The directory of the YAML files: in the package once it is built, beside it in a checkout."""


def key_of(override: str) -> str:
    """Return the key of an override, without the `+` or `~` before it.

    Example:
        >>> key_of("+data.root=corpus")
        'data.root'
    """
    return override.split("=")[0].lstrip("+~")


def quoted(value: str) -> str:
    r"""Return a value quoted for Hydra's grammar.

    Example:
        >>> quoted("it's=here, (or there)")
        "'it\\'s=here, (or there)'"
    """
    # Before a quote Hydra takes two backslashes for one; elsewhere a backslash is itself.
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{escaped}'"


OmegaConf.register_new_resolver("run_directory", lambda resume, run_dir: resume or run_dir, replace=True)

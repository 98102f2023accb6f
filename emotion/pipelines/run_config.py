"""The configuration of a finished run, changed by overrides."""

from omegaconf import DictConfig, OmegaConf

from emotion import warm_start
from emotion.config.compose import key_of, to_plain
from emotion.errors import EmotionError

DECIDE_SPLITS = ("data.name", "data.channel", "data.train_channel", "protocol.name", "protocol.fold", "labels")
"""The keys that determine the splits of a run, apart from the recordings themselves."""


def merge_run_config(saved: DictConfig, composed: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the configuration of a run, with the keys of `overrides` taken from a composed one.

    Another corpus brings its own preparation of faces, and its own protocol unless one is named too.

    Args:
        saved: Configuration of the run.
        composed: Composed configuration.
        overrides: Overrides of the command line.

    Raises:
        EmotionError: an override replaces the configuration instead of changing single keys.
    """
    config = OmegaConf.create(to_plain(saved))
    keys = [key_of(override) for override in overrides]
    recipes = [key for key in keys if key in ("experiment", "debug")]
    if recipes:
        raise EmotionError(f"{recipes[0]}= replaces the configuration; override single keys of this run instead")
    if "data" in keys and "protocol" not in keys:
        keys.insert(0, "protocol")
    if "data" in keys:
        config.faces = warm_start.adapt_faces(saved.faces, composed.faces)
    # Whole groups first, so that single values override them.
    for key in sorted(keys, key=lambda key: "." in key):
        if key not in ("resume", "run_dir"):
            OmegaConf.update(config, key, OmegaConf.select(composed, key), merge=False)
    return config

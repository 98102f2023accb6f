"""The values that configuration keys may have: one table, checked before anything is read or written."""

import math
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emotion.errors import EmotionError, told


class Rule(NamedTuple):
    """The values of a key.

    Attributes:
        allowed: The values in words.
        accepts: Returns True for one of them.
    """

    allowed: str
    accepts: Callable[[Any], bool]

    def or_null(self) -> "Rule":
        """Return the rule that allows null too."""
        return Rule(f"{self.allowed}, or null", lambda value: value is None or self.accepts(value))


def _integer(low: int, high: int | None = None) -> Rule:
    words = f"an integer from {low:,} to {high:,}" if high is not None else f"an integer of at least {low:,}"
    return Rule(words, lambda value: type(value) is int and low <= value and (high is None or value <= high))


def _number(low: float = -math.inf, high: float = math.inf, ends: str = "[]") -> Rule:
    """A finite number; `ends` are brackets, round where a limit itself is not allowed."""
    above = {"[": f"at least {low:g}", "(": f"greater than {low:g}"}[ends[0]] if low > -math.inf else ""
    below = {"]": f"at most {high:g}", ")": f"less than {high:g}"}[ends[1]] if high < math.inf else ""
    words = " ".join(["a number", " and ".join(filter(None, (above, below)))]).strip()

    def accepts(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        return (value > low or (ends[0] == "[" and value == low)) and (
            value < high or (ends[1] == "]" and value == high)
        )

    return Rule(words, accepts)


def _choice(*values: str | int) -> Rule:
    *others, last = map(str, values)
    words = f"{', '.join(others)} or {last}" if others else last
    return Rule(words, lambda value: value in values and type(value) is not bool)


def _either(*rules: Rule) -> Rule:
    return Rule(", or ".join(rule.allowed for rule in rules), lambda value: any(rule.accepts(value) for rule in rules))


def _list(rule: Rule, low: int = 0, high: int | None = None) -> Rule:
    length = f"{low} values" if low == high else f"at least {low} values" if low else "values"

    def accepts(value: Any) -> bool:
        sizes = isinstance(value, list) and low <= len(value) <= (high or len(value))
        return sizes and all(rule.accepts(item) for item in value)

    return Rule(f"a list of {length}, each {rule.allowed}", accepts)


_BOOLEAN = Rule("true or false", lambda value: type(value) is bool)
_COUNT = _integer(1)
_POSITIVE = _number(0, ends="(]")
_NOT_NEGATIVE = _number(0)
_FRACTION = _number(0, 1)
_DROPOUT = _number(0, 1, "[)")
_PART = _number(0, 1, "(]")
_BATCHES = _either(_COUNT, _PART)
_FROZEN = _either(_BOOLEAN, _COUNT)
_NEVER = "no value (train.py sets it)"

RULES: Mapping[str, Rule] = {
    "seed": _integer(0, 2**32 - 1),
    "test": _BOOLEAN,
    "data.sample_rate": _integer(1_000, 192_000),
    "data.batch_size": _integer(2),  # batch normalisation has nothing to normalise in a batch of one
    "data.channel": _choice("speech", "song", "both"),
    "data.train_channel": _choice("speech", "song", "both").or_null(),
    "data.on_problem": _choice("stop", "skip", "partial"),
    "data.download": _BOOLEAN,
    "protocol.fold": _integer(0),
    "protocol.speaker_independent": _BOOLEAN,
    "protocol.dev_shares_speakers": _BOOLEAN,
    "features.n_fft": _integer(16, 1 << 16),
    "features.hop_length": _integer(1, 1 << 16),
    "features.deltas": _integer(0, 2),
    "features.trim_db": _POSITIVE.or_null(),
    "features.seconds": _POSITIVE.or_null(),
    "features.normalize": _choice("train", "clip", "speaker", "none"),
    "features.cache": _BOOLEAN,
    "features.sets.*.n_mfcc": _integer(1, 512),
    "features.sets.*.n_mels": _integer(1, 512),
    "features.sets.*.f_min": _NOT_NEGATIVE,
    "features.sets.*.f_max": _POSITIVE.or_null(),
    "features.sets.*.top_db": _POSITIVE.or_null(),
    "features.sets.*.lowest": _POSITIVE,
    "features.sets.*.highest": _POSITIVE,
    "features.sets.*.threshold": _number(0, 1, "()"),
    "features.sets.*.bands": _integer(1, 16),
    "features.sets.*.part": _number(0, 1, "()"),
    "features.sets.*.coefficients": _COUNT,
    "features.sets.*.order": _COUNT,
    "features.sets.*.deltas": _integer(0, 2),
    "features.sets.*.factors": _list(_POSITIVE),
    "features.sets.*.semitones": _list(_number()),
    "features.sets.*.noise": _NOT_NEGATIVE,
    "features.sets.*.frozen": _BOOLEAN,
    "features.sets.*.postprocess": _BOOLEAN,
    "features.sets.*.learning_rate_factor": _POSITIVE,
    "features.sets.*.layers": _either(_choice("all", "middle", "last"), _integer(0)),
    "faces.detect": _choice("mtcnn", "cropped", "none"),
    "faces.frames": _COUNT,
    "faces.every": _COUNT,
    "faces.size": _either(_integer(8, 1024), _list(_integer(8, 2048), 2, 2)),
    "faces.color": _choice("rgb", "grey"),
    "faces.margin": _number(-0.5, 10, "()"),
    "faces.interval": _POSITIVE,
    "faces.detection_size": _integer(32, 4096),
    "faces.smallest": _number(0, 1, "()"),
    "faces.trim_db": _POSITIVE.or_null(),
    "faces.seconds": _POSITIVE.or_null(),
    "action_units.kinds": _list(_choice("intensity", "presence"), 1),
    "action_units.over_time": _choice("mean", "frames"),
    "action_units.normalize": _choice("train", "speaker", "none"),
    "augment.*.probability": _FRACTION,
    "augment.erase.side": _PART,
    "augment.gain.db": _list(_number(), 2, 2),
    "augment.light.*": _NOT_NEGATIVE,
    "augment.mixup.alpha": _POSITIVE,
    "augment.move.*": _NOT_NEGATIVE,
    "augment.noise.snr_db": _list(_number(), 2, 2),
    "augment.pitch_shift.semitones": _list(_number(), 1),
    "augment.spec_augment.*_masks": _integer(0),
    "augment.spec_augment.*_fraction": _FRACTION,
    "augment.speed.factors": _list(_POSITIVE, 1),
    "augment.time_shift.seconds": _NOT_NEGATIVE,
    "augment.vtlp.factor": _list(_POSITIVE, 2, 2),
    "augment.vtlp.boundary": _POSITIVE,
    "model*.network.dropout": _DROPOUT,
    "model*.head.dropout": _DROPOUT,
    "model*.head.hidden": _list(_COUNT),
    "model*.network.hidden": _list(_COUNT),
    "model*.network.channels": _list(_COUNT, 1),
    "model*.network.widths": _list(_COUNT, 1),
    "model*.network.width": _COUNT,
    "model*.network.layers": _COUNT,
    "model*.network.frames": _COUNT,
    "model*.network.kernel": _COUNT,
    "model*.network.latent": _COUNT,
    "model*.network.stride": _COUNT,
    "model*.network.blocks": _integer(0),
    "model*.network.variational": _BOOLEAN,
    "model*.network.divergence_weight": _NOT_NEGATIVE,
    "model*.network.coefficients": _COUNT,
    "model*.network.order": _COUNT,
    "model*.network.most_values": _COUNT,
    "model*.network.pooling": _choice("mean", "attention"),
    "model*.pictures.frame_dropout": _DROPOUT,
    "model*.pictures.mirror": _BOOLEAN,
    "model*.pictures.color": _choice("rgb", "grey"),
    "model*.pictures.size": _integer(8, 1024),
    "model*.learning_rate_factor": _POSITIVE,
    "model*.frozen": _FROZEN,
    "model*.fusion.modality_dropout": _DROPOUT,
    "model*.fusion.width": _COUNT,
    "model*.fusion.attention_heads": _COUNT,
    "model.refit": _BOOLEAN,
    "model.grid.C": _list(_POSITIVE, 1),
    "model.grid.alpha": _list(_NOT_NEGATIVE, 1),
    "model.grid.max_depth": _list(_COUNT.or_null(), 1),
    "model.estimator.max_iter": _COUNT,
    "model.estimator.n_estimators": _COUNT,
    "model.estimator.learning_rate": _either(_POSITIVE, _choice("constant", "invscaling", "adaptive")),
    "model.estimator.subsample": _PART,
    "model.estimator.colsample_bytree": _PART,
    "model.estimator.batch_size": _either(_COUNT, _choice("auto")),
    "optimizer.lr": _POSITIVE,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "optimizer.momentum": _DROPOUT,
    "optimizer.eps": _POSITIVE,
    "optimizer.betas": _list(_DROPOUT, 2, 2),
    "scheduler.pct_start": _number(0, 1, "()"),
    "scheduler.eta_min": _NOT_NEGATIVE,
    "scheduler.factor": _PART,
    "training.monitor": _choice("dev/uar", "dev/war", "dev/macro_f1", "dev/loss"),
    "training.patience": _COUNT.or_null(),
    "training.class_weights": _BOOLEAN,
    "training.label_smoothing": _DROPOUT,
    "training.ema_decay": _number(0, 1, "()").or_null(),
    "training.compile": _BOOLEAN,
    "trainer.accelerator": _choice("cpu", "gpu", "cuda", "auto"),
    "trainer.devices": _either(_COUNT, _choice(-1, "auto"), _list(_integer(0), 1)),
    "trainer.num_nodes": _COUNT,
    "trainer.precision": _choice("32-true", "bf16-mixed", "16-mixed", "64-true", 32, 64),
    "trainer.max_epochs": _COUNT,
    "trainer.min_epochs": _COUNT.or_null(),
    "trainer.max_steps": Rule("-1 (use trainer.max_epochs)", lambda value: value == -1),
    "trainer.strategy": _choice("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"),
    "trainer.gradient_clip_val": _NOT_NEGATIVE.or_null(),
    "trainer.gradient_clip_algorithm": _choice("norm", "value").or_null(),
    "trainer.accumulate_grad_batches": _COUNT,
    "trainer.deterministic": _either(_BOOLEAN, _choice("warn")),
    "trainer.benchmark": _BOOLEAN.or_null(),
    "trainer.limit_train_batches": _BATCHES,
    "trainer.limit_val_batches": _BATCHES,
    "trainer.overfit_batches": _either(_integer(0), _FRACTION),
    "trainer.check_val_every_n_epoch": Rule("1 (every epoch is evaluated on dev)", lambda value: value == 1),
    "trainer.val_check_interval": Rule("1.0 (every epoch is evaluated on dev)", lambda value: value == 1),
    "trainer.fast_dev_run": Rule("false (use debug=fast)", lambda value: value is False),
    "trainer.barebones": Rule("false", lambda value: value is False),
    "trainer.enable_checkpointing": Rule("true (the best epoch is kept)", lambda value: value is True),
    **{
        f"trainer.{name}": Rule(_NEVER, lambda value: False)
        for name in (
            "logger",
            "callbacks",
            "plugins",
            "default_root_dir",
            "num_sanity_val_steps",
            "log_every_n_steps",
            "enable_progress_bar",
            "enable_model_summary",
            "use_distributed_sampler",
        )
    },
}
"""From a key, or a pattern of keys, to its values; the first that fits counts. Other keys have any value."""


def check_value(key: str, value: Any) -> None:
    """Refuse a value that a key cannot have.

    Raises:
        EmotionError: names the key, the value, and what is allowed.
    """
    rule = next((rule for pattern, rule in RULES.items() if fnmatchcase(key, pattern)), None)
    if rule and not rule.accepts(value):
        raise EmotionError(f"{key}={_written(value)}: {_with_hint(rule.allowed, value)}")


def check_config(config: DictConfig) -> None:
    """Refuse a composed configuration in which a key has a value that it cannot have.

    Raises:
        EmotionError: names the key, the value, and what is allowed.
    """
    for key in _leaves(config, ""):
        if key.rpartition(".")[2].startswith("_"):
            continue  # such as _target_, which has a check of its own
        try:
            value = OmegaConf.select(config, key)
        except OmegaConfBaseException as error:
            raise EmotionError(f"{key}: {told(error)}") from error
        check_value(key, OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value)
    _check_together(config)


def _check_together(config: DictConfig) -> None:
    """Refuse values that do not go together."""
    trainer, rate = config.get("trainer") or {}, config.data.sample_rate
    if trainer.get("accelerator") == "cpu" and not isinstance(trainer.get("devices"), int | str | None):
        raise EmotionError(f"trainer.devices={_written(trainer.devices)}: on a CPU the number of processes is allowed")
    if trainer.get("accelerator") == "cpu" and trainer.get("devices") == -1:
        raise EmotionError("trainer.devices=-1: on a CPU the number of processes, an integer of at least 1, is allowed")
    for name, own in (config.features.get("sets") or {}).items():
        key = f"features.sets.{name}"
        if "n_mfcc" in own and "n_mels" in own and own.n_mfcc > own.n_mels:
            raise EmotionError(f"{key}.n_mfcc={own.n_mfcc}: at most n_mels, which is {own.n_mels}, is allowed")
        for low in ("f_min", "lowest"):
            if low in own and own[low] >= rate / 2:
                raise EmotionError(
                    f"{key}.{low}={own[low]:g}: less than half of data.sample_rate={rate}, {rate / 2:g}, is allowed"
                )
        if "lowest" in own and "highest" in own and own.lowest >= own.highest:
            raise EmotionError(f"{key}.lowest={own.lowest:g}: less than highest, which is {own.highest:g}, is allowed")


def _leaves(node: DictConfig, prefix: str) -> Iterator[str]:
    """Yield the keys of all values, of nested groups too; a list is one value."""
    for name, value in node.items_ex(resolve=False):
        key = f"{prefix}{name}"
        if isinstance(value, DictConfig) and not OmegaConf.is_missing(node, name) and node[name] is not None:
            yield from _leaves(value, f"{key}.")
        elif not OmegaConf.is_missing(node, name):
            yield key


def _written(value: Any) -> str:
    """Return a value as it is written in YAML."""
    if isinstance(value, list | ListConfig):
        return f"[{','.join(map(_written, value))}]"
    return str(value).lower() if value is True or value is False else "null" if value is None else str(value)


def _with_hint(allowed: str, value: Any) -> str:
    """Return what is allowed, with the name that was probably meant."""
    names = allowed.replace(" or ", ", ").split(", ")
    near = get_close_matches(str(value), names, 1, 0.7) if isinstance(value, str) else []
    return f"{allowed} is allowed" + (f"; did you mean {near[0]}?" if near and near[0] != value else "")

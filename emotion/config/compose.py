"""Composition of the configuration: directories of YAML files, groups, and the syntax of overrides."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from emotion.errors import EmotionError, suggest

_INSTALLED = Path(__file__).parents[1] / "conf"
DIRECTORY = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"
"""The directory of the YAML files: in the package once it is built, beside it in a checkout."""
_SEARCH_PATH = re.compile(r"\+*hydra\.searchpath=\[?(.*?)\]?")


def config_directories(arguments: Sequence[str]) -> list[Path]:
    """Return the directories of YAML files of a command line.

    Args:
        arguments: Arguments, of which `--config-dir` and `hydra.searchpath=` name further directories.

    Returns:
        The directories, that of this package first.

    Example:
        >>> [path.name for path in config_directories(["--config-dir", "mine", "hydra.searchpath=[file://yours]"])]
        ['conf', 'mine', 'yours']
        >>> [path.name for path in config_directories([])]
        ['conf']
    """
    found = [DIRECTORY]
    for number, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--config-dir", "-cd"):
            found += [Path(name) for name in ([value] if value else arguments[number + 1 : number + 2])]
        elif match := _SEARCH_PATH.fullmatch(argument):
            found += [_directory(place.strip(" '\"")) for place in match[1].split(",") if place.strip()]
    return found


def _directory(place: str) -> Path:
    """Return the directory of an entry of Hydra's search path."""
    if not place.startswith("pkg://"):
        return Path(place.removeprefix("file://"))
    module, *parts = re.split(r"[./]", place.removeprefix("pkg://"))
    package = importlib.util.find_spec(module)
    return Path(package.origin or "").parent.joinpath(*parts) if package else Path(place)


def choices(group: str, directories: Sequence[Path] = (DIRECTORY,), nested: bool = False) -> dict[str, Path]:
    """Return the YAML files of a group by the names of the choices.

    Args:
        group: Name of the group, such as `model/branch`.
        directories: See `config_directories`.
        nested: True to look into folders too.
    """
    pattern, folders = "**/*.yaml" if nested else "*.yaml", [directory / group for directory in directories]
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for folder in folders for path in folder.glob(pattern)
    }


def compose(name: str, overrides: Sequence[str], directories: Sequence[Path] = (DIRECTORY,)) -> DictConfig:
    """Compose a configuration, including Hydra's own, outside of a Hydra command.

    Args:
        name: Name of the YAML file.
        overrides: Overrides.
        directories: See `config_directories`.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    places = [quoted(f"file://{directory.resolve()}") for directory in directories if directory != DIRECTORY]
    searched = [f"hydra.searchpath=[{','.join(places)}]"] if places else []
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        composed = hydra.compose(name, overrides=[*overrides, *searched], return_hydra_config=True)
    GlobalHydra.instance().clear()
    return composed


def to_plain(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """Return a configuration as plain data.

    Args:
        config: The configuration, or a group of it.
        resolve: True to replace interpolations by their values (default: False).
    """
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))


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


def _corpus_members(names: Any, options: Any) -> DictConfig:
    """Return the members of `data=several`: the classes of the corpora in the group `data`, with their options.

    Args:
        names: Names of the members; each is a choice in the group `data`, unless its options name one.
        options: Options by name: `choice`, `root`, `channel`, and arguments of the class of the corpus.
    """
    names, options = _plain(names) or [], _plain(options) or {}
    if unknown := set(options) - set(names):
        raise EmotionError(f"data.options.{min(unknown)}: {suggest(min(unknown), names)}")
    known = choices("data", _directories_in_use())
    members = {}
    for name in names:
        own = dict(options.get(name) or {})
        choice = own.pop("choice", name)
        if choice not in known or choice == "several":
            near = suggest(str(choice), set(known) - {"several"})
            raise EmotionError(f"data.corpora: unknown corpus {choice}: {near}")
        corpus = to_plain(OmegaConf.select(OmegaConf.load(known[choice]), "corpus"))
        # Interpolations are of keys of `data`, which are not those of a member.
        defaults = {key: None if "${" in str(value) else value for key, value in corpus.items()}
        members[str(name)] = {"root": None, "channel": None} | defaults | own
    return OmegaConf.create(members)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _directories_in_use() -> list[Path]:
    """Return the directories of YAML files of the running Hydra command, or the directory of this package."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return [DIRECTORY]
    sources = HydraConfig.get().runtime.config_sources
    return [DIRECTORY, *(Path(source.path) for source in sources if source.schema == "file")]


OmegaConf.register_new_resolver("corpus_members", _corpus_members, replace=True)
OmegaConf.register_new_resolver("joined", lambda names: "_".join(map(str, names or [])) or "several", replace=True)

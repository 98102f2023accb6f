"""`emotion prepare` and `emotion splits`."""

import argparse
from pathlib import Path


def add_prepare(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion prepare`."""
    parser = commands.add_parser("prepare", help="scan a corpus and decode its sound into the cache")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train.py, such as data=ravdess")
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="PNG",
        help="draw a few speakers in every emotion; with model=face_cnn the faces as it sees them",
    )
    parser.set_defaults(call=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    from hydra import compose, initialize_config_dir

    from emotion.config import DIRECTORY
    from emotion.data.build import build_datamodule
    from emotion.entry import check_overrides, explained

    overrides = check_overrides(arguments.overrides)
    with explained(overrides, "train"), initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        config = compose("train", overrides=arguments.overrides)
    datamodule = build_datamodule(config)
    datamodule.setup()
    for name, items in datamodule.sources.items():
        print(f"prepared {len(items.length):,} recordings, {_amount(name, items.length.sum(), datamodule.sample_rate)}")
    if arguments.contact_sheet:
        _draw_contact_sheet(datamodule, arguments.contact_sheet)


def _amount(source: str, items: int, sample_rate: int) -> str:
    if source == "waveform":
        return f"{items / sample_rate / 60:.1f} minutes of sound"
    return f"{items:,} {'faces' if source == 'faces' else 'rows of action units'}"


def _draw_contact_sheet(datamodule: "EmotionDataModule", path: Path) -> None:  # noqa: F821 (imported lazily)
    from emotion.evaluation import contact_sheet
    from emotion.evaluation.figures import save

    if "faces" in datamodule.sources:
        save(contact_sheet.draw_faces(datamodule.table, datamodule.sources["faces"]), path)
        print(f"drawn to {path}")
        return
    corpus, directory = datamodule.corpus, datamodule.corpus.locate(datamodule.root)
    chosen = contact_sheet.choose(datamodule.table)
    corpus.provide_video(directory, chosen["recording"])
    table = corpus.scan(directory, datamodule.channel)
    save(contact_sheet.draw(table[table["recording"].isin(chosen["recording"])], directory), path)
    print(f"drawn to {path}")


def add_splits(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion splits`."""
    parser = commands.add_parser("splits", help="list the protocols, or write their CSVs")
    parser.add_argument("--write", type=Path, metavar="DIR", help="generate every CSV below DIR")
    parser.set_defaults(call=_splits)


def _splits(arguments: argparse.Namespace) -> None:
    from emotion.protocols import generate
    from emotion.protocols.protocol import number_of_folds

    if arguments.write:
        print(f"wrote {generate.generate(arguments.write)} folds below {arguments.write}")
        return
    for corpus, protocols in generate.GENERATORS.items():
        for protocol in protocols:
            print(f"{corpus:10}{protocol:24}{number_of_folds(corpus, protocol):3} folds")

"""`emotion prepare` and `emotion splits`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.cli.outputs import add_force, existing_below, path, require_free
from emotion.errors import counted, shown_command

if TYPE_CHECKING:
    from emotion.data.datamodule import EmotionDataModule


def add_prepare(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion prepare`."""
    parser = commands.add_parser("prepare", help="Decode the audio of a corpus, and crop its faces, into the cache.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Overrides, such as data=ravdess.")
    parser.add_argument(
        "--contact-sheet",
        type=path,
        metavar="PNG",
        help="Image grid of a few speakers and all emotions to write; with model=face_cnn of the face crops.",
    )
    add_force(parser)
    parser.set_defaults(call=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    from emotion.composition import datamodule_of
    from emotion.notebook import configure

    config = configure(*arguments.overrides)
    sheet = arguments.contact_sheet
    require_free([sheet], existing_below(config.data.root, [sheet]), arguments.force, [sheet])
    datamodule = datamodule_of(config)
    datamodule.setup()
    for name, items in datamodule.sources.items():
        amount = _amount(name, items.length.sum(), datamodule.sample_rate)
        print(f"prepared {counted(len(items.length), 'recording')}, {amount}")
    if arguments.contact_sheet:
        _draw_contact_sheet(datamodule, arguments.contact_sheet)


def _amount(source: str, items: int, sample_rate: int) -> str:
    if source == "waveform":
        return f"{items / sample_rate / 60:.1f} minutes of audio"
    return f"{items:,} {'faces' if source == 'faces' else 'rows of action units'}"


def _draw_contact_sheet(datamodule: "EmotionDataModule", path: Path) -> None:
    from emotion.plots import contact_sheet
    from emotion.plots.figure import save_figure

    if "faces" in datamodule.sources:
        save_figure(contact_sheet.plot_face_crops(datamodule.table, datamodule.sources["faces"]), path)
        print(f"wrote {path}")
        return
    corpus, directory = datamodule.corpus, datamodule.corpus.locate(datamodule.root)
    selected = contact_sheet.select_recordings(datamodule.table)
    corpus.ensure_video(directory, selected["recording"])
    table = corpus.scan(directory, datamodule.channel)
    save_figure(contact_sheet.plot_recordings(table[table["recording"].isin(selected["recording"])], directory), path)
    print(f"wrote {path}")


def add_export_dataset(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion export-dataset`."""
    parser = commands.add_parser(
        "export-dataset", help="Write recordings with the splits of a protocol as a data set for other programs."
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="Overrides, such as data=ravdess protocol=luna5."
    )
    parser.add_argument("--output", type=path, required=True, metavar="DIR", help="New or empty folder.")
    parser.add_argument(
        "--format",
        choices=("parquet", "webdataset"),
        default="parquet",
        help="Parquet files for the library datasets (default), or WebDataset shards.",
    )
    parser.add_argument("--without", choices=("audio", "video"), help="Leave out audio files, or videos.")
    parser.set_defaults(call=_export_dataset)


def _export_dataset(arguments: argparse.Namespace) -> None:
    from emotion.notebook import configure
    from emotion.pipelines.export_dataset import export_dataset
    from emotion.protocols import SPLITS

    table = export_dataset(configure(*arguments.overrides), arguments.output, arguments.format, arguments.without)
    counts = ", ".join(f"{(table['split'] == split).sum():,} {split}" for split in SPLITS)
    print(f"wrote {counts} recordings to {arguments.output}")


def add_splits(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion splits`."""
    parser = commands.add_parser("splits", help="List the committed protocols, or write their CSV files.")
    parser.add_argument("--write", type=path, metavar="DIR", help="Directory to which all CSV files are written.")
    parser.set_defaults(call=_splits)


def _splits(arguments: argparse.Namespace) -> None:
    from emotion.protocols import generate
    from emotion.protocols.protocol import count_folds

    if arguments.write:
        print(f"wrote {generate.generate(arguments.write)} folds below {arguments.write}")
        return
    for corpus, protocols in generate.GENERATORS.items():
        for protocol in protocols:
            print(f"{corpus:10}{protocol:24}{count_folds(corpus, protocol):3} folds")


def add_download(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion download`."""
    parser = commands.add_parser(
        "download",
        help="Download RAVDESS, TESS or EmoDB from its official source.",
        description="Files are verified. Interrupted downloads are resumed, and existing files are kept.",
    )
    parser.add_argument("corpus", choices=("ravdess", "tess", "emodb"))
    parser.add_argument(
        "--what",
        type=_listed,
        default=(),
        metavar="KIND,…",
        help="Parts of RAVDESS: speech (default), song, video-speech, video-song; videos are 13 and 11 GB.",
    )
    parser.add_argument(
        "--actors", type=_numbers, default=(), metavar="1-24", help="Actors of RAVDESS, such as 1-4,7 (default: all)."
    )
    parser.add_argument(
        "--to", type=path, metavar="DIR", help="Parent directory of the corpus (default: EMOTION_DATA, else ./data)."
    )
    parser.add_argument("--mirror", metavar="URL", help="Server with the same paths as the official source.")
    parser.add_argument(
        "--jobs", type=_positive, default=2, metavar="N", help="Number of parallel downloads (default: 2)."
    )
    parser.add_argument(
        "--retries", type=_positive, default=5, metavar="N", help="Number of attempts without progress (default: 5)."
    )
    parser.add_argument(
        "--timeout", type=float, default=60, metavar="SECONDS", help="Timeout of a server, in seconds (default: 60)."
    )
    parser.add_argument("--keep-archives", action="store_true", help="Keep archives in DIR/CORPUS/.downloads.")
    parser.set_defaults(call=_download)


def _download(arguments: argparse.Namespace) -> None:
    import os

    from emotion.downloads import SOURCES, Request, download
    from emotion.downloads.transfer import Session

    root = arguments.to or Path(os.environ.get("EMOTION_DATA") or "data")
    session = Session(arguments.retries, arguments.timeout)
    download(
        Request(
            arguments.corpus,
            root,
            arguments.what,
            arguments.actors,
            arguments.mirror,
            arguments.jobs,
            arguments.keep_archives,
            session,
        )
    )
    corpus = SOURCES[arguments.corpus].corpus
    channels = {kind.removeprefix("video-") for kind in arguments.what} or {"speech"}
    channel = channels.pop() if len(channels) == 1 else "both"
    print(corpus.describe(corpus.scan(corpus.locate(str(root)), channel), channel))
    other = "" if channel == "speech" else f" data.channel={channel}"
    print(f"next: {shown_command('train', f'data={arguments.corpus}', f'data.root={root}')}{other}")


def _listed(text: str) -> tuple[str, ...]:
    from emotion.downloads.sources import RAVDESS_PARTS

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in RAVDESS_PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(RAVDESS_PARTS)}")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in a text such as `1-4,7`."""
    from emotion.corpora.ravdess import ACTORS

    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.strip().isdecimal() and (last.strip().isdecimal() or not last)):
            raise argparse.ArgumentTypeError(f"{text!r} does not name actors, such as 1-4,7")
        numbers |= {*range(int(first), int(last or first) + 1)} if len(first + last) < 9 else {0}
    if not numbers or not numbers <= {*ACTORS}:
        raise argparse.ArgumentTypeError(f"{text!r}: there are actors 1 to 24")
    return tuple(sorted(numbers))


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)

"""`emotion embed`."""

import argparse
import sys

from emotion.cli.inputs import add_files, find_files, report_problems
from emotion.cli.outputs import add_force, path, require_free
from emotion.errors import counted, printable


def add_embed(commands: "argparse._SubParsersAction") -> None:
    """Add `emotion embed`."""
    parser = commands.add_parser("embed", help="Write the embeddings of your own files.")
    add_files(parser)
    parser.add_argument(
        "--run",
        type=path,
        metavar="RUN_DIR",
        help="Directory of a finished run (default: the audio part of the model of emotion card).",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="Format: parquet, or npy with a CSV beside it (default: the suffix of --output).",
    )
    parser.add_argument("--output", type=path, required=True, metavar="PATH", help="File to write.")
    add_force(parser)
    parser.set_defaults(call=_embed)


def _embed(arguments: argparse.Namespace) -> None:
    from emotion.inference import Problem, embeddings
    from emotion.progress import track

    media = find_files(arguments.files)
    form = embeddings.choose_format(arguments.format, arguments.output)
    outputs = embeddings.outputs_of(form, arguments.output)
    require_free(outputs, [*media.files, *filter(None, [arguments.run])], arguments.force)
    embedder = embeddings.Embedder(arguments.run or embeddings.SHIPPED_RUN)
    found, interrupted = [], False
    try:
        found.extend(track(embedder.embed(media.files), "embedding", len(media.files)))
    except KeyboardInterrupt:  # keeps the embeddings before it
        interrupted = True
    embedded = [one for one in found if not isinstance(one, Problem)]
    if embedded:
        table = embeddings.to_frame(embedded, embedder.model, embedder.version)
        written = " and ".join(map(str, embeddings.FORMATS[form](table, arguments.output)))
        shape = f"{counted(len(embedded), 'embedding')} of {counted(len(embedded[0].values), 'value')}"
        print(f"wrote {printable(written)}: {shape}, {embedder.model} {embedder.version}", file=sys.stderr)
    has_problems = report_problems(found, media.missing)
    if interrupted:
        print(f"interrupted: {len(found)} of {counted(len(media.files), 'recording')} embedded", file=sys.stderr)
    if interrupted or has_problems:
        sys.exit(130 if interrupted else 1)

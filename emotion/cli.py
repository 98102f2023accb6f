"""The `emotion` command: everything that is not training or evaluating a run."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emotion.errors import EmotionError, one_line_errors


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="emotion", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for add in (_add_prepare, _add_predict, _add_splits, _add_report, _add_robustness, _add_figures):
        add(commands)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with one_line_errors():
        arguments.call(arguments)


def _add_prepare(commands: "argparse._SubParsersAction") -> None:
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


def _add_predict(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser("predict", help="which emotion your own files show")
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound, videos, images; folders of them; patterns")
    parser.add_argument("--run", type=Path, required=True, metavar="RUN_DIR", help="the finished run that answers")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--timeline", action="store_true", help="judge long recordings window by window, face by face")
    parser.add_argument("--window", type=float, default=3.0, metavar="SECONDS", help="of a timeline (3)")
    parser.add_argument("--hop", type=float, default=1.0, metavar="SECONDS", help="from window to window (1)")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the timeline of one recording")
    parser.add_argument("--overlay", type=Path, metavar="MP4", help="write one video with boxes, labels and timeline")
    parser.set_defaults(call=_predict)


def _predict(arguments: argparse.Namespace) -> None:
    from emotion.inference import Predictor, Problem, output, recordings
    from emotion.progress import track

    found = recordings.find(arguments.files)
    drawn = [path for path in (arguments.plot, arguments.overlay) if path]
    if drawn and len(found.files) != 1:
        raise EmotionError(f"{drawn[0]} shows one recording; {len(found.files)} were given")
    predictor = Predictor.from_run(arguments.run)
    if arguments.timeline or drawn:
        judged = _timelines(predictor, found.files, arguments)
    else:
        judged = track(predictor.predict(found.files), "judging recordings", len(found.files))
    answers = list(judged)
    output.show(answers, predictor.labels, arguments.format)
    problems = [f"{answer.name}: {answer.reason}" for answer in answers if isinstance(answer, Problem)]
    for problem in (*found.missing, *problems):
        print(f"error: {problem}", file=sys.stderr)
    if problems or found.missing:
        sys.exit(1)


def _timelines(
    predictor: "Predictor",  # noqa: F821 (imported lazily)
    files: Sequence[Path],
    arguments: argparse.Namespace,
) -> Iterator["Moment | Problem"]:  # noqa: F821
    from emotion.inference import Problem
    from emotion.media.audio import MediaError
    from emotion.progress import track

    for file in files:
        try:
            windows = predictor.timeline(file, arguments.window, arguments.hop)
            moments = list(track(windows, f"judging {file.name}, window by window", None))
            _draw_timeline(file, moments, predictor.labels, arguments)
        except MediaError as error:
            yield Problem(str(file), str(error).removeprefix(f"{file}: "))
        else:
            yield from moments


def _draw_timeline(
    file: Path,
    moments: Sequence["Moment"],  # noqa: F821 (imported lazily)
    labels: tuple[str, ...],
    arguments: argparse.Namespace,
) -> None:
    if arguments.plot:
        from emotion.evaluation.figures import save
        from emotion.inference.timeline_figure import timeline_figure

        save(timeline_figure(moments, labels, title=file.name), arguments.plot)
    if arguments.overlay:
        from emotion.inference.overlay import write_overlay

        write_overlay(file, moments, labels, arguments.overlay)
    for path in filter(None, (arguments.plot, arguments.overlay)):
        print(f"drawn to {path}", file=sys.stderr)


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


def _add_splits(commands: "argparse._SubParsersAction") -> None:
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


def _add_report(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser("report", help="one table of many runs: folds pooled, mean ± deviation over seeds")
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="run directories, or folders that hold them")
    parser.add_argument("--output", type=Path, metavar="MD", help="write a page of results here")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy the small files behind the table to DIR")
    parser.add_argument("--by", metavar="KEY", help="a configuration key that tells systems apart, and gets a column")
    parser.add_argument("--against", metavar="NAME", help="a system; by how much each other is better gets a column")
    parser.add_argument(
        "--ensemble", action="store_true", help="add a row for the mean of the log-probabilities of all runs"
    )
    parser.add_argument("--csv", type=Path, metavar="CSV", help="write the table as numbers")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw the UAR of each system with its interval")
    parser.add_argument(
        "--curve", type=Path, metavar="PNG", help="draw train, dev and test UAR over the values of --by"
    )
    parser.add_argument(
        "--learning-curves", type=Path, metavar="PNG", help="draw loss and UAR of train and dev over the epochs"
    )
    parser.set_defaults(call=_report)


def _report(arguments: argparse.Namespace) -> None:
    from emotion.evaluation import figures, report, results_page, run_figures, systems
    from emotion.files import write_text

    runs = systems.find(arguments.runs)
    if arguments.keep:
        systems.keep(runs, arguments.keep)
    if arguments.output:
        write_text(arguments.output, results_page.page(runs))
    if arguments.curve:
        if not arguments.by:
            raise EmotionError("--curve needs --by KEY, the hyperparameter to draw it over")
        curve = report.validation_curve(runs, arguments.by)
        figures.save(figures.validation_curve_figure(curve, arguments.by), arguments.curve)
    if arguments.learning_curves:
        figures.save(figures.learning_curves_figure(run_figures.learning_curves(runs)), arguments.learning_curves)
    if not arguments.output or arguments.csv or arguments.figure:
        _tabulate(arguments, runs)
    for path in (arguments.output, arguments.curve, arguments.learning_curves, arguments.csv, arguments.figure):
        if path:
            print(f"written to {path}")


def _tabulate(arguments: argparse.Namespace, runs: list["Run"]) -> None:  # noqa: F821 (imported lazily)
    from emotion.evaluation import figures, report
    from emotion.files import write_text

    table = report.compare(runs, arguments.by, arguments.against, arguments.ensemble)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        figures.save(figures.systems_figure(table, arguments.by), arguments.figure)
    if not arguments.output:
        print(report.to_markdown(report.in_words(table, arguments.by)), end="")
    for warning in report.warnings(table):
        print(f"note: {warning}", file=sys.stderr)


def _add_robustness(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser("robustness", help="how finished runs do on noise, rooms, telephones, darkness")
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="run directories, or folders of them")
    parser.add_argument("--noise", type=Path, metavar="FILE", help="a recording of noise, to be added too")
    parser.add_argument("--csv", type=Path, metavar="CSV", help="write the table as numbers")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw UAR over the levels")
    parser.set_defaults(call=_robustness)


def _robustness(arguments: argparse.Namespace) -> None:
    from emotion.evaluation import figures, report, robustness, systems
    from emotion.files import write_text

    runs = systems.find(arguments.runs)
    robustness.measure([run.directory for run in runs], arguments.noise)
    table = robustness.table(runs)
    if arguments.csv:
        write_text(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    if arguments.figure:
        figures.save(figures.robustness_figure(table), arguments.figure)
    print(report.to_markdown(robustness.in_words(table)), end="")


def _add_figures(commands: "argparse._SubParsersAction") -> None:
    parser = commands.add_parser("figures", help="draw recordings, or what is worth seeing of finished runs")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="media files and run directories")
    parser.add_argument("--output", type=Path, default=Path("figures"), metavar="DIR", help="for those of media files")
    parser.add_argument(
        "--explain", nargs="+", default=[], metavar="RECORDING", help="of each run: what of these speaks for its answer"
    )
    parser.set_defaults(call=_figures)


def _figures(arguments: argparse.Namespace) -> None:
    from emotion.evaluation import clip_figures, figures, run_figures

    for path in arguments.paths:
        if path.is_dir():
            drawn = run_figures.draw(path)
            drawn += [run_figures.explain(path, arguments.explain)] if arguments.explain else []
        else:
            drawn = [arguments.output / f"{path.stem}.png"]
            figures.save(clip_figures.clip_figure(path), drawn[0])
        for file in drawn:
            print(f"drawn to {file}")


if __name__ == "__main__":
    main()

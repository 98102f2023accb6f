"""Loggers of a training: they get the same hyperparameters, curves, metrics and figures."""

import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from emotion.config.target import Target, instantiate
from emotion.errors import EmotionError, error_message
from emotion.training.process import process_rank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CARDS = {"UAR": {"UAR": "uar", "accuracy": "war"}, "CCC": {"CCC": "ccc", "mean squared error": "mse"}}
"""The curves of which TensorBoard's page of custom scalars shows train and dev together, by the main metric."""


class MLflow(MLFlowLogger):
    """A logger of MLflow that writes to a database in a folder, unless a server is named.

    Args:
        experiment_name: Name of the experiment, under which MLflow lists runs.
        run_name: Name of the run.
        tracking_uri: Address of a server, or of a database (default: that in `MLFLOW_TRACKING_URI`, else `folder`).
        folder: Folder of the database and of the figures.

    Raises:
        EmotionError: the server or the database cannot be reached.
    """

    def __init__(
        self, experiment_name: str, run_name: str, tracking_uri: str | None = None, folder: str = "outputs/mlflow"
    ) -> None:
        for name in ("mlflow", "alembic"):  # they report the creation of tables
            logging.getLogger(name).setLevel(logging.WARNING)
        figures = None
        tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if tracking_uri is None:
            own = Path(folder).absolute()
            own.mkdir(parents=True, exist_ok=True)
            tracking_uri, figures = f"sqlite:///{own / 'mlflow.db'}", (own / "figures").as_uri()
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else it tries for minutes
        super().__init__(experiment_name, run_name, tracking_uri, artifact_location=figures)
        try:
            _ = self.experiment
        except Exception as error:  # servers and databases fail in many ways
            raise EmotionError(
                f"MLflow at {tracking_uri} cannot be reached ({error_message(error)}); set logger.mlflow.tracking_uri, "
                "or leave it out"
            ) from error


@contextmanager
def open_loggers(targets: Mapping[str, Target], run_dir: Path, name: str) -> Iterator[list[Logger]]:
    """Build loggers, and close them in the end; in further processes of a distributed fit they do nothing.

    Args:
        targets: Loggers by name.
        run_dir: Directory of the run.
        name: Name of what is trained, under which loggers of several runs list this one.

    Raises:
        EmotionError: the library of a logger is not installed.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # it reports every step on the console
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists")  # its curves are kept
    if process_rank():  # of a distributed fit, whose first process logs
        yield [DummyLogger() for _ in targets]
        return
    loggers = [_build(key, target, run_dir, name) for key, target in targets.items()]
    try:
        yield loggers
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()  # else the next run of a sweep would continue this one


def _build(key: str, target: Target, run_dir: Path, name: str) -> Logger:
    # TensorBoard and CSV files lie in the run directory itself.
    own = "" if issubclass(target.resolve(), CSVLogger | TensorBoardLogger) else f"{name} {run_dir.name}"
    arguments = {"save_dir": str(run_dir), "name": own, "run_name": own, "experiment_name": name, "experiment": name}
    if issubclass(target.resolve(), CSVLogger):
        _keep_curves(run_dir / "csv" / "metrics.csv")
    try:
        return instantiate(target, Logger, **_accepted(target, arguments))
    except ModuleNotFoundError as error:
        raise EmotionError(f"{key} is not installed: pip install 'emotion[{key}]'") from error


def _keep_curves(path: Path) -> None:
    """Rename the file of a run that is resumed, which Lightning would remove."""
    if path.exists():
        number = len(list(path.parent.parent.glob("metrics_before_resume_*.csv"))) + 1
        path.rename(path.parent.parent / f"metrics_before_resume_{number}.csv")


def _accepted(target: Target, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a configuration does not give; `experiment` of wandb is a run, not a name."""
    kept = {key: value for key, value in arguments.items() if key not in target.arguments}
    if issubclass(target.resolve(), WandbLogger):
        kept.pop("experiment", None)
    return kept


def log_start(loggers: Sequence[Logger], hyperparameters: Mapping[str, Any], main: Literal["UAR", "CCC"]) -> None:
    """Log the hyperparameters of a training; TensorBoard gets them in the end, beside the final metrics.

    Args:
        loggers: The loggers.
        hyperparameters: Values by key.
        main: The main metric.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            curves = {"loss": "loss"} | _CARDS[main]
            cards = {name: ["Multiline", [f"train/{key}", f"dev/{key}"]] for name, key in curves.items()}
            logger.experiment.add_custom_scalars({"train and dev": cards})
        else:
            logger.log_hyperparams(dict(hyperparameters))


def log_end(
    loggers: Sequence[Logger], metrics: Mapping[str, float], figures: Mapping[str, "Figure"], epochs: int
) -> None:
    """Log the final metrics and the figures of a training.

    Args:
        loggers: The loggers; that of TensorBoard is left out, see `emotion.plots.tensorboard`.
        metrics: Metrics by key.
        figures: Figures by key, for the loggers that show figures.
        epochs: Number of epochs.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            continue
        logger.log_metrics(dict(metrics), epochs)
        logger.save()
        for key, figure in figures.items():
            _log_figure(logger, key, figure)


def _log_figure(logger: Logger, key: str, figure: "Figure") -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [figure])
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, f"{key}.png")
    elif type(logger).__module__.startswith("aim."):
        image = importlib.import_module("aim").Image(figure)
        cast(Any, logger).experiment.track(image, name=key)

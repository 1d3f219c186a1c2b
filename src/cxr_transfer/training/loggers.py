"""Figures of a training for other programs, through Lightning's loggers: TensorBoard and MLflow.

Both write below the run folder, and nothing else: MLflow's database is a file there. What a run
keeps for itself, ``history.csv``, is written in any case. MLflow has no field for who trained and
where: it would fill in the user's name and the program's path.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_transfer.errors import UsageError
from cxr_transfer.extras import installed, require
from cxr_transfer.quiet import quiet
from cxr_transfer.training.device import LOGGERS
from cxr_transfer.training.stage_recipe import Stage

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

TENSORBOARD, MLFLOW = "tensorboard", "mlflow"
_NEEDS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


def chosen_loggers(asked: str | None) -> tuple[str, ...]:
    """Return the loggers that a person asked for.

    Args:
        asked: Names with commas; "none" for none. None is TensorBoard where it is installed.

    Raises:
        UsageError: ``unknown_logger``.
        MachineError: ``missing_package``.
    """
    if asked is None:
        return ("tensorboard",) if installed("tensorboard") else ()
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",")))
    if names == ("none",):
        return ()
    for name in names:
        if name not in LOGGERS:
            raise UsageError(
                "unknown_logger",
                f"Expected loggers out of {', '.join(LOGGERS)} with commas, or none, but got "
                f"{name!r}; history.csv is written in any case.",
            )
        for package in _NEEDS[name]:
            require(package, f"--logger {name}")
    return names


def where_to_look(folder: Path, names: Iterable[str]) -> list[str]:
    """Return lines that say how to look at what loggers write.

    Args:
        folder: Run folder.
        names: Loggers.
    """
    commands = {
        "tensorboard": f"tensorboard --logdir {shlex.quote(str(folder / TENSORBOARD))}",
        "mlflow": f"mlflow ui --backend-store-uri {shlex.quote(_database(folder))}",
    }
    titles = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}
    return [f"{titles[name]}: {commands[name]}" for name in names]


def loggers_of(folder: Path, stage: Stage, names: Iterable[str]) -> list[Logger]:
    """Return Lightning's loggers of a stage.

    Args:
        folder: Run folder.
        stage: Stage; each has a run of its own, named after it.
        names: Loggers.
    """
    made = {"tensorboard": _tensorboard, "mlflow": _mlflow}
    return [made[name](folder, stage) for name in names]


def _tensorboard(folder: Path, stage: Stage) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name=TENSORBOARD, version=stage.name)


def _mlflow(folder: Path, stage: Stage) -> Logger:
    # It would send how it is used to its makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with quiet(*_MLFLOW_LOGGERS, expected=(".*",)):
        from lightning.pytorch.loggers import MLFlowLogger

        (folder / MLFLOW).mkdir(parents=True, exist_ok=True)
        logger = MLFlowLogger(
            stage_experiment(folder),
            run_name=stage.name,
            tracking_uri=_database(folder),
            tags={"mlflow.user": "", "mlflow.source.name": "cxr"},
            run_id=_run_before(folder, stage.name),
        )
        logger.log_hyperparams(stage.model_dump(mode="json"))
    return logger


_MLFLOW_LOGGERS = ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration")


def stage_experiment(folder: Path) -> str:
    """Return the name of the experiment that holds the stages of a run."""
    return folder.name


def _run_before(folder: Path, name: str) -> str | None:
    """Return the run of a stage that an earlier call began; None where there is none."""
    from mlflow.tracking import MlflowClient

    client: Any = MlflowClient(tracking_uri=_database(folder))
    experiment = client.get_experiment_by_name(stage_experiment(folder))
    if experiment is None:
        return None
    runs = client.search_runs([experiment.experiment_id])
    return next((run.info.run_id for run in runs if run.info.run_name == name), None)


def _database(folder: Path) -> str:
    return f"sqlite:///{(folder / MLFLOW / 'mlflow.db').absolute()}"

"""Which runs a cluster's job has: cluster.json in a run's folder. Knows nothing of Slurm's commands.

Such a run has a desk of its own in its folder, with its own queue and lock: several jobs train at once, each alone
with its run, while the worker of the runs folder serves the rest and leaves them alone.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.clusters import Resources
from engine.records.errors import RunError
from engine.records.files import storage_error, write_whole
from engine.records.runs import Run, list_runs
from engine.records.settings import Settings
from engine.records.versions import FORMAT, FormatVersion

FILE = "cluster.json"
DESK = "desk"


class ClusterJob(BaseModel):
    """What was asked of the cluster, and the job that came of it.

    job: Slurm's number, '12', or '12_3' in an array; '' until Slurm has given one.  versions: of what decides a result,
    where the job was sent from.  evaluations: plans that the job carries out when its run has finished.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    cluster: str
    asked: Resources
    job: str = Field("", pattern=r"^([0-9]+(_[0-9]+)?)?$")
    submitted: float = Field(default_factory=time.time)
    versions: dict[str, str] = {}
    other_versions: bool = False
    evaluations: tuple[dict[str, Any], ...] = ()
    version: FormatVersion = FORMAT


def read_job(run: Run) -> ClusterJob | None:
    """The job that has this run; None for a run of this machine. Raises RunError for a damaged file."""
    file = run.folder / FILE
    try:
        return ClusterJob.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(
            f"Run {run.id} has no readable {FILE}: delete it where no job of a cluster has the run any more."
        ) from error


def is_on_cluster(run: Run) -> bool:
    """Whether a cluster's job has this run, or had it last."""
    return (run.folder / FILE).exists()


def write_job(run: Run, job: ClusterJob) -> None:
    """Raises RunError when the disk is full."""
    write_whole(run.folder / FILE, job.model_dump_json(indent=2))


def forget_job(run: Run) -> None:
    """The run is this machine's again."""
    try:
        (run.folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(run.folder / FILE, error) from error


def settings_of(run: Run, settings: Settings) -> Settings:
    """The settings of whoever has the run: those of the workbench, or with the run's own desk."""
    return of_own_desk(run, settings) if is_on_cluster(run) else settings


def of_own_desk(run: Run, settings: Settings) -> Settings:
    """With the run's own desk, whether a cluster has it already or not."""
    return replace(settings, own_desk=run.folder / DESK)


def served_runs(settings: Settings) -> list[Run]:
    """The runs that whoever has these settings looks after: one alone, or all that no cluster's job has."""
    if settings.own_desk:
        return [Run(settings.own_desk.parent)]
    return [run for run in list_runs(settings.runs) if not is_on_cluster(run)]


def logs_folder(settings: Settings) -> Path:
    """Where Slurm writes what jobs say, one file a job."""
    return settings.runs / ".workbench" / "cluster"


def log_file(settings: Settings, job: ClusterJob) -> Path:
    return logs_folder(settings) / f"{job.job}_0_log.out"

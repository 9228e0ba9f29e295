"""Send runs to a cluster: submitit writes the job, sbatch takes it, the run's folder notes its number.

Knows nothing of what becomes of them: see engine.desk.cluster.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from engine.desk import slurm
from engine.desk.cluster import NUMBERED_SECONDS
from engine.desk.lock import owned
from engine.desk.on_node import begin
from engine.desk.queue import Queue
from engine.records.cluster_jobs import ClusterJob, forget_job, logs_folder, of_own_desk, read_job, write_job
from engine.records.clusters import Cluster, Resources, find_cluster, need_shared
from engine.records.errors import ClusterError, RunError, WorkbenchError
from engine.records.events import StatusEvent
from engine.records.files import storage_error
from engine.records.installed import versions
from engine.records.runs import Run, Status, delete_run, need_trainable
from engine.records.settings import ROOT, Settings

SENT = "Sent to a cluster"


class _Claim(NamedTuple):
    """A run that is being sent, with its status and the note of its job before."""

    run: Run
    was: Status
    noted: ClusterJob | None


def send(
    runs: Sequence[Run],
    *,
    to: str,
    settings: Settings,
    asked: Resources | None = None,
    evaluations: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> list[ClusterJob]:
    """Hand runs over to a cluster: one as a job, several as one array. They are queued, or resumed; one that somebody
    cancels meanwhile is not sent.

    asked: in place of what the cluster's table says.  evaluations: for a run's id, the plans to carry out after it.
    Raises ClusterError, and leaves the runs as they were, where the cluster does not take them; RunError for a run
    that cannot be trained.
    """
    cluster = find_cluster(settings, to)
    asked = asked or cluster.asked()
    for run in runs:
        _need_free(run, settings)
    need_accepted(cluster, asked, to, settings)
    jobs = [
        ClusterJob(
            cluster=to,
            asked=asked,
            versions=versions(),
            other_versions=cluster.other_versions,
            evaluations=tuple((evaluations or {}).get(run.id, ())),
        )
        for run in runs
    ]
    claims: list[_Claim] = []
    numbers: list[str] = []
    try:
        for run, job in zip(runs, jobs, strict=True):
            claims.append(_claim(run, job, settings))
        commands = [["on-node", run.id, "--runs", str(settings.runs)] for run in runs]
        numbers = _submitted(cluster, asked, commands, settings, name=f"breaker-{runs[0].id}")
        jobs = [job.model_copy(update={"job": number}) for job, number in zip(jobs, numbers, strict=True)]
        sent = []
        for run, job, claim in zip(runs, jobs, claims, strict=True):
            if not _queued_again(run, job, settings, claim.was):
                _put_back(claim, job)
                with suppress(ClusterError):
                    slurm.call_back(job.job)
                continue
            # The job waits for its number to be written here.
            write_job(run, job)
            sent.append(job)
        if not sent:
            raise RunError(f"Run {runs[0].id} was cancelled while it was handed over: it was not sent.")
    except WorkbenchError:
        for number in numbers:
            with suppress(ClusterError):
                slurm.call_back(number)
        for claim, job in zip(claims, jobs, strict=False):
            with suppress(WorkbenchError):
                _not_queued(claim, job, settings)
            _put_back(claim, job)
        raise
    return sent


def send_or_delete(run: Run, *, to: str, asked: Resources | None, settings: Settings) -> None:
    """Send a run that was made for it. Where the cluster does not take it there is no run: its spec is whoever asked's.

    Raises as `send` does.
    """
    try:
        send([run], to=to, asked=asked, settings=settings)
    except WorkbenchError:
        delete_run(run)
        raise


def submit_command(arguments: list[str], *, to: str, settings: Settings, asked: Resources, name: str) -> str:
    """Send any command of the workbench to a cluster; the job's number. Raises ClusterError."""
    cluster = find_cluster(settings, to)
    need_accepted(cluster, asked, to, settings)
    return _submitted(cluster, asked, [arguments], settings, name=name)[0]


def need_accepted(cluster: Cluster, asked: Resources, name: str, settings: Settings) -> None:
    """Raises ClusterError where the cluster would not take the job, or would leave it waiting for ever."""
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "sbatch is not installed here: start the workbench on a machine from which Slurm's jobs are sent, or train "
            "on this machine."
        )
    need_shared(cluster, settings)
    found = slurm.partitions()
    for partition in asked.partition.split(","):
        if partition not in found:
            raise ClusterError(
                f"The cluster '{name}' has no partition '{partition}': choose one of {', '.join(sorted(found))}."
            )
        limit = found[partition].minutes
        if limit is not None and 60 * asked.hours > limit:
            raise ClusterError(
                f"{asked.hours:g} hours are more than the partition '{partition}' allows ({limit / 60:g}): ask for at "
                "most so many. A run that takes longer is queued again and goes on."
            )
    if 3600 * asked.hours <= 1.5 * cluster.notice_seconds:
        raise ClusterError(
            f"{asked.hours:g} hours are too short: {cluster.notice_seconds} seconds before their end a job already "
            "writes down what it has. Ask for more hours."
        )


def _need_free(run: Run, settings: Settings) -> Status:
    """The status of a run that may be sent. Raises RunError where somebody has it already: two clicks in two tabs are
    one job."""
    status, job = need_trainable(run), read_job(run)
    being_sent = job is not None and not job.job and time.time() - job.submitted < NUMBERED_SECONDS
    if job is not None and (status == "queued" or being_sent):
        raise RunError(f"Run {run.id} is on {job.cluster} already (job {job.job or 'to come'}): wait, or take it back.")
    queue = Queue(settings.desk)
    if queue.worker().alive and any(
        one.run_id == run.id and one.status in ("queued", "running") for one in queue.newest("train", limit=1000)
    ):
        raise RunError(f"Run {run.id} waits for this machine's worker: cancel it there first.")
    return status


def _submitted(
    cluster: Cluster, asked: Resources, commands: list[list[str]], settings: Settings, *, name: str
) -> list[str]:
    """The jobs' numbers, those of one array where there are several commands. Raises ClusterError, RunError."""
    import submitit

    folder = logs_folder(settings)
    environment = {"WORKBENCH_CACHE": str(settings.cache), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        # What is in it is run on the node: for its owner alone.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_python=cluster.python or None)
        executor.update_parameters(**_parameters(cluster, asked, name))
        if len(commands) == 1:
            return [executor.submit(begin, commands[0], environment).job_id]
        return [job.job_id for job in executor.map_array(begin, commands, [environment] * len(commands))]
    except OSError as error:
        raise storage_error(folder, error) from error
    except RuntimeError as error:
        # What sbatch says: submitit raises it as it is.
        said = slurm.slurm_words(str(error)) or type(error).__name__
        raise ClusterError(
            f"Slurm did not take the job: {said}. Ask for something else, or mend the cluster."
        ) from error


def _parameters(cluster: Cluster, asked: Resources, name: str) -> dict[str, Any]:
    # sbatch hands on how many processes this machine's worker takes; a job takes one for each GPU that it has.
    unset = ["unset WORKBENCH_PROCESSES"] if asked.gpus else []
    parameters = {
        "name": name,
        "timeout_min": max(1, round(60 * asked.hours)),
        "nodes": 1,
        "tasks_per_node": 1,
        "cpus_per_task": asked.cpus,
        "gpus_per_node": asked.gpus or None,
        "mem_gb": asked.memory_gb,
        "slurm_partition": asked.partition,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_constraint": cluster.constraint,
        "slurm_setup": [*unset, *cluster.setup] or None,
        "slurm_signal_delay_s": cluster.notice_seconds,
        "slurm_stderr_to_stdout": True,
        # Since Slurm 22.05 srun does not take the number over from sbatch.
        "slurm_srun_args": [f"--cpus-per-task={asked.cpus}"],
        "slurm_additional_parameters": {"requeue": True, "chdir": str(ROOT)},
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _claim(run: Run, job: ClusterJob, settings: Settings) -> _Claim:
    """Note the job before Slurm has it: from here on no worker takes the run, and nobody else sends it. Raises RunError
    where somebody was quicker."""
    with owned(of_own_desk(run, settings)):
        claim = _Claim(run, _need_free(run, settings), read_job(run))
        write_job(run, job)
    return claim


def _queued_again(run: Run, job: ClusterJob, settings: Settings, was: Status) -> bool:
    """The record of a run that is handed over. What was asked of an earlier job does not hold for the new one.

    was: its status before. False, and nothing is done, where it has another one now, or the note is not that of this
    job: somebody cancelled it meanwhile, or took it home.
    """
    own = of_own_desk(run, settings)
    with owned(own):
        if run.record().status != was or not _is_noted(run, job):
            return False
        Queue(own.desk).file.unlink(missing_ok=True)
        if was != "queued":
            run.append(StatusEvent(status="queued", step=run.record().step, message=SENT))
            run.update(status="queued", error="")
        return True


def _not_queued(claim: _Claim, job: ClusterJob, settings: Settings) -> None:
    """The status of a run that was handed over and called back with others."""
    run, was = claim.run, claim.was
    with owned(of_own_desk(run, settings)):
        if was != "queued" and run.record().status == "queued" and _is_noted(run, job):
            run.append(StatusEvent(status=was, step=run.record().step, message="Called back from the cluster"))
            run.update(status=was)


def _put_back(claim: _Claim, job: ClusterJob) -> None:
    with suppress(WorkbenchError):
        if not _is_noted(claim.run, job):
            return
        if claim.noted is None:
            forget_job(claim.run)
        else:
            write_job(claim.run, claim.noted)


def _is_noted(run: Run, job: ClusterJob) -> bool:
    """Whether the note in the run's folder is of this sending, with its number or without."""
    noted = read_job(run)
    return noted is not None and noted.submitted == job.submitted

"""`python -m engine on-node RUN`: what a cluster's job does on its node. It has its run to itself.

The run's folder holds its queue and its lock; the worker of the runs folder leaves it alone. When the time is nearly
up, or the node is wanted by others, the training closes with a checkpoint; begun again, it goes on exactly from there.
"""

import argparse
import logging
import os
import signal
import sys
import time
from contextlib import suppress

from engine.desk.lock import owned
from engine.desk.on_node import GO, PAUSED, TIME_IS_UP, hear
from engine.desk.queue import Queue
from engine.desk.sending import SENT
from engine.desk.slurm import queue_again
from engine.records.cluster_jobs import ClusterJob, read_job, settings_of
from engine.records.errors import ClusterError, RunError
from engine.records.evaluation.own import is_pending
from engine.records.events import Alert, StatusEvent, StepResult
from engine.records.installed import differing, versions
from engine.records.runs import ACTIVE, Record, Run, Status, open_run
from engine.records.settings import Settings
from engine.telling import telling

log = logging.getLogger("workbench.worker")

NUMBER_SECONDS = 60.0
# A process of an earlier start may be about its last checkpoint.
LOCK_SECONDS = 120.0
# Begun so often without one training step, it is not queued again.
SPANS_WITHOUT_A_STEP = 5
TIME_WAS_UP = "Its time on the node was up: Slurm queues it again"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")


def on_node(options: argparse.Namespace, settings: Settings) -> int:
    """Exit codes: 0 the run has ended as it should or is queued again, 1 it did not. Raises RunError and WorkerError
    where the run is another job's."""
    told: list[signal.Signals] = []
    hear({kind: lambda number, _frame: told.append(signal.Signals(number)) for kind in (TIME_IS_UP, GO)})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run = open_run(settings.runs, options.run)
    job = _own_job(run)
    own = settings_of(run, settings)
    with owned(own, patience=LOCK_SECONDS):
        if not _may_begin(run, job, settings):
            return 0 if run.record().status in ("finished", "stopped") else 1
        left = _serve(run, job, own, told)
        record = run.record()
        if TIME_IS_UP in told and (record.status == "queued" or is_pending(record) or left):
            return _again(run, job, settings)
        return 0 if record.status in ("finished", "stopped", "queued") else 1


def _own_job(run: Run) -> ClusterJob:
    """Raises RunError where another job has the run. Its number is written down after Slurm has given it."""
    number = os.environ.get("SLURM_JOB_ID", "")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        number = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    deadline = time.monotonic() + NUMBER_SECONDS
    while (job := read_job(run)) is None or not job.job:
        if time.monotonic() > deadline:
            raise RunError(f"No job has been noted for run {run.id}: send it to the cluster again.")
        time.sleep(0.2)
    if job.job != number:
        raise RunError(f"Run {run.id} is that of job {job.job}, and this is {number or 'no job'}: nothing is done.")
    return job


def _may_begin(run: Run, job: ClusterJob, settings: Settings) -> bool:
    """Whether there is something to do; other versions than the run was trained with so far are said, or refused."""
    record = run.record()
    if is_pending(record):
        return True
    if record.status == "finished":
        return bool(job.evaluations)
    if record.status == "paused":
        # Its node died.
        _ends(run, "interrupted", PAUSED, settings)
        return False
    if record.status not in ACTIVE | {"interrupted"} or (record.status == "interrupted" and record.error == PAUSED):
        return False
    resumed = record.step > 0
    other = differing(versions(), record.versions if resumed else job.versions)
    if not other:
        return True
    if resumed and not job.other_versions:
        message = (
            f"The node has {other}, with which this run was trained so far: the rest would not be what an unbroken run "
            "gives. Install the same versions there, or set other_versions = true for the cluster, and resume it."
        )
        log.error("%s", message)
        _ends(run, "failed", message, settings)
        return False
    of_what = "this run was trained with so far" if resumed else "the machine has that sent the run"
    message = f"The node has {other}, which {of_what}."
    if not any(isinstance(event, Alert) and event.message == message for event in run.events()[0]):
        advice = "The result may differ from one that is trained elsewhere: install the same versions on both."
        alert = Alert(step=record.step, message=message, advice=advice)
        run.append(alert)
        with telling(settings) as hear:
            hear(run.id, alert)
    return True


def _serve(run: Run, job: ClusterJob, own: Settings, told: list[signal.Signals]) -> bool:
    """Work until the run has ended or the time is up. Whether evaluations that came with the job are left to do."""
    from engine.ranks import teamed
    from engine.worker import Worker

    queue = Queue(own.desk)
    # The run's lock is held: what an earlier job of it had claimed, on whichever node, is nobody's.
    queue.forget_claims()
    if run.record().status in ACTIVE | {"interrupted"}:
        queue.submit("train", run_id=run.id)
    asked: list[int] = []

    def has_ended(record: Record) -> bool:
        if record.status in ACTIVE | {"interrupted"} or is_pending(record):
            return False
        if record.status == "finished" and not asked:
            asked.extend(queue.submit("evaluate", run_id=run.id, payload=dict(plan)) for plan in job.evaluations)
        return not left()

    def left() -> bool:
        return any((one := queue.job(number)) and one.status in ("queued", "running") for number in asked)

    log.info("job %s begins run %s", job.job, run.id)
    with teamed(own):
        Worker(own).serve(until=lambda: bool(told) or has_ended(run.record()))
    log.info("job %s leaves run %s: %s", job.job, run.id, run.record().status)
    # Of a training that ended just as the time was up they have not been asked for yet.
    return left() or (not asked and bool(job.evaluations) and run.record().status == "finished")


def _again(run: Run, job: ClusterJob, settings: Settings) -> int:
    """Have Slurm queue the job again; on most clusters that is up to it alone what becomes of this process then."""
    step = run.record().step
    if _spans_without_a_step(run) >= SPANS_WITHOUT_A_STEP:
        spans = f"{SPANS_WITHOUT_A_STEP + 1} spans of {job.asked.hours:g} hours"
        if run.record().status not in ACTIVE:
            reason = f"Its evaluations did not end in {spans}: evaluate it with more, or fewer requests."
            return _give_up(run, settings, reason)
        return _give_up(run, settings, f"It took no training step in {spans}: resume it with more hours.")
    with suppress(RunError):
        run.append(StatusEvent(status=run.record().status, step=step, message=TIME_WAS_UP))
    try:
        queue_again(job.job)
    except ClusterError as error:
        reason = f"Its time on the node was up, and it could not be queued again: {error} Resume it."
        return _give_up(run, settings, reason)
    return 0


def _give_up(run: Run, settings: Settings, reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    if run.record().status in ACTIVE:
        _ends(run, "interrupted", reason, settings)
    return 1


def _ends(run: Run, status: Status, reason: str, settings: Settings) -> None:
    event = StatusEvent(status=status, step=run.record().step, message=reason)
    run.append(event)
    run.update(status=status, error=reason, ended=time.time())
    with telling(settings) as hear:
        hear(run.id, event)


def _spans_without_a_step(run: Run) -> int:
    spans = 0
    for event in run.events()[0]:
        if isinstance(event, StepResult) or (isinstance(event, StatusEvent) and event.message == SENT):
            spans = 0
        elif isinstance(event, StatusEvent) and event.message == TIME_WAS_UP:
            spans += 1
    return spans

"""What follows a training by itself: a small evaluation on the run's own held-out rows, as an ordinary job, and what
was planned on a cluster for a run that was taken home.

The run's record says that it is due from the moment its training ends, so it is made up for when a worker dies before
it: once, since it may be what killed that worker. Its failure never makes the run a failed one. Knows the queue and
records; nothing of models.
"""

import logging
from contextlib import suppress
from pathlib import Path

from engine.bookkeeping import RunBook
from engine.desk.queue import Job, Queue
from engine.records.cluster_jobs import served_runs
from engine.records.errors import WorkbenchError
from engine.records.evaluation.own import is_own, is_pending, own_plan, own_step
from engine.records.planned import forget_planned, planned
from engine.records.runs import EvaluationNote, Run, open_run
from engine.records.settings import Settings

log = logging.getLogger("workbench.worker")

# How a job ends, in the words of the record.
NOTES: dict[str, EvaluationNote] = {"finished": "done", "failed": "failed", "cancelled": "cancelled"}
DIED = "the worker ended twice in the midst of it"


def begin_evaluation(queue: Queue, book: RunBook) -> None:
    """Queue the evaluation of a run whose training has just ended, if it is due, and what was planned behind it."""
    if book.unsaved:
        # The disk is full; what could not be noted is not begun either.
        book.unsaved |= {"evaluation": "failed", "evaluation_error": "the disk was full when the run ended"}
        return
    try:
        if is_pending(book.run.record()):
            _submit(queue, book.run)
        _submit_planned(queue, book.run)
    except WorkbenchError as error:
        log.error("%s", error)
        with suppress(WorkbenchError):
            book.run.update(evaluation="failed", evaluation_error=str(error))


def note_evaluation(runs: Path, job: Job, status: str, *, error: str = "") -> None:
    """Write into the run's record what became of its own evaluation; other jobs, and ends that are none, leave no
    note."""
    note = NOTES.get(status)
    if job.kind != "evaluate" or note is None or not is_own(job.payload):
        return
    with suppress(WorkbenchError):
        run = open_run(runs, job.run_id)
        # A run that was resumed meanwhile is evaluated anew at its end; without a step it is of the finished adapter.
        if not run.read_only and own_step(job.payload) in (None, run.record().step):
            run.update(evaluation=note, evaluation_error=error if note == "failed" else "")


def make_up(settings: Settings, queue: Queue) -> None:
    """Queue again what an earlier worker left undone."""
    queued = (job for job in queue.under_way("evaluate") if job.status == "queued")
    waiting = {job.run_id for job in queued if is_own(job.payload)}
    for run in served_runs(settings):
        try:
            record = run.record()
            if not run.read_only:
                _submit_planned(queue, run)
            if run.read_only or not is_pending(record) or run.id in waiting:
                continue
            if record.evaluation == "retried":
                run.update(evaluation="failed", evaluation_error=DIED)
                continue
            run.update(evaluation="retried")
            _submit(queue, run)
        except WorkbenchError as error:
            log.error("%s", error)


def _submit(queue: Queue, run: Run) -> None:
    """Raises RunError when the run or the queue cannot be read."""
    plan = own_plan(run.id, run.record().step, run.spec().captures.evaluation_rows)
    queue.submit("evaluate", run_id=run.id, payload=plan.model_dump(mode="json"))


def _submit_planned(queue: Queue, run: Run) -> None:
    """Raises RunError when the run or the queue cannot be read or written."""
    plans = planned(run)
    if plans and run.record().status == "finished":
        for one in plans:
            queue.submit("evaluate", run_id=run.id, payload=one)
        forget_planned(run)

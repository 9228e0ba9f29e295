"""Runs on a cluster: what became of them, steering them, taking them back. engine.desk.sending sends them there.

Whose job has a run is written in the run's folder (engine.records.cluster_jobs); whether that job lives is asked of
Slurm. Knows nothing of models or screens.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from engine.desk import slurm
from engine.desk.lock import owned
from engine.desk.queue import Queue
from engine.desk.slurm import Answer, JobState
from engine.records.cluster_jobs import ClusterJob, forget_job, is_on_cluster, read_job, settings_of
from engine.records.errors import ClusterError, RunError, WorkbenchError, WorkerError
from engine.records.evaluation.own import is_pending
from engine.records.events import Control, ControlEvent, Event, StatusEvent
from engine.records.files import written_at
from engine.records.learned import throw_away
from engine.records.planned import plan
from engine.records.runs import ACTIVE, Run
from engine.records.settings import Settings
from engine.telling import telling

# Between handing a job over and its being in squeue's list.
APPEARS_SECONDS = 15.0
# Until its number is written down.
NUMBERED_SECONDS = 120.0
# For a job that is called back: it writes a checkpoint.
ENDING_SECONDS = 20.0

watch = slurm.Watch()
# Jobs of finished runs that Slurm has ended: it is not asked for them again.
_ended: set[tuple[Run, str]] = set()


class Place(NamedTuple):
    """A cluster's job that has a run. said: Slurm's words, '' where it said none.  waits: it holds no node.  problem:
    why Slurm gave no answer."""

    job: ClusterJob
    said: str = ""
    waits: bool = False
    problem: str = ""

    @property
    def words(self) -> str:
        """'a100, job 12: PENDING (Resources)'."""
        name = f"{self.job.cluster}, job {self.job.job}" if self.job.job else f"{self.job.cluster}, being sent"
        return f"{name}: {self.said}" if self.said else name


def look_at(runs: Sequence[Run], settings: Settings, *, patience: float = 1.0) -> None:
    """Ask Slurm for all these runs at once, and set right those whose job has ended without a word."""
    there = [run for run in runs if is_on_cluster(run)]
    active, evaluated = [run for run in there if _may_live(run)], [run for run in there if _may_evaluate(run)]
    if not active and not evaluated:
        return
    answer = states_of([*active, *evaluated], patience=patience)
    with telling(settings) as hear:
        for run in active:
            with suppress(WorkbenchError):
                settle(run, answer, settings, hear=hear)


def place_of(run: Run) -> Place | None:
    """The cluster's job that has a run, as it was seen last; None for a run of this machine. Raises RunError for a
    damaged file."""
    job = read_job(run)
    if job is None or not (_may_live(run) or _may_evaluate(run)):
        return Place(job) if job else None
    answer = states_of([run], patience=0.0)
    state = answer.states.get(job.job)
    if state is None:
        return Place(job, problem=answer.problem)
    return Place(job, state.words, state.waits, answer.problem)


def at_work(run: Run) -> Place | None:
    """The job that still has a run: it trains it, or carries out the evaluations behind its training. Raises RunError
    for a damaged file."""
    place = place_of(run)
    if place is None or _may_live(run):
        return place
    answer = states_of([run], patience=0.0) if _may_evaluate(run) else Answer()
    state = answer.states.get(place.job.job)
    if state is not None and not state.has_ended:
        return place
    if not answer.problem:
        _ended.add((run, place.job.job))
    return None


def states_of(runs: Sequence[Run], *, patience: float = 1.0) -> Answer:
    """What Slurm said last of the jobs that have these runs; asked anew every few seconds, by a thread."""
    jobs = [job.job for run in runs if (job := _job(run)) and job.job]
    return watch.states(jobs, patience=patience)


def settle(
    run: Run, answer: Answer, settings: Settings, *, hear: Callable[[str, Event], None] = lambda *_: None
) -> bool:
    """Set right the record of a run whose job has ended without a word. Whether something was set right. hear: is told
    of the run's end.

    Only what Slurm says counts: a lock may not be seen across machines, and Slurm that says nothing ends no run.
    """
    job = _job(run)
    if job is None or answer.problem or not _may_live(run):
        return False
    state = answer.states.get(job.job) if job.job else None
    waited = time.time() - job.submitted
    if state is None and waited < (APPEARS_SECONDS if job.job else NUMBERED_SECONDS):
        return False
    if state is not None and not state.has_ended:
        return False
    try:
        with owned(settings_of(run, settings)):
            if read_job(run) != job or not _may_live(run):
                return False
            event = _interrupt(run, reason_of(job, state, trained=run.record().status not in ACTIVE))
    except WorkerError:
        # Its process is still about to write its last words.
        return False
    if event is not None:
        hear(run.id, event)
    return True


def reason_of(job: ClusterJob, state: JobState | None, *, trained: bool = False) -> str:
    """Why a job ended, and what to do, in words. trained: only the evaluation behind the training was lost."""
    name = f"Job {job.job} on {job.cluster}"
    if not job.job:
        return f"The run was never handed to {job.cluster}: resume it."
    asked = job.asked
    known = {
        "TIMEOUT": (f"{name} was ended at its limit of {asked.hours:g} hours", "resume it, or ask for more hours"),
        "NODE_FAIL": (f"The node of job {job.job} failed, and Slurm did not begin it again", "resume it"),
        "OUT_OF_MEMORY": (f"{name} needed more than the {asked.memory_gb:g} GB it asked for", "resume it with more"),
        "CANCELLED": (f"{name} was cancelled in Slurm", "resume the run to go on from its last checkpoint"),
        "PREEMPTED": (f"{name} had to give way, and Slurm did not begin it again", "resume it"),
    }
    unknown = f"Slurm knows job {job.job} no more, and it did not say how it ended"
    why, advice = (unknown, "its log may. Resume the run")
    if state is not None:
        why, advice = known.get(state.state, (f"{name} ended as {state.words}", "its log says why. Resume the run"))
    return f"{why}: {'measure its answers on its page' if trained else advice}."


def control(run: Run, settings: Settings, kind: Control, value: float | None = None) -> None:
    """Steer a run, whoever has it. A cancel reaches a job that Slurm has not begun yet, too.

    Raises RunError when the queue cannot be written, ClusterError when Slurm gives no answer to a cancel.
    """
    queue = Queue(settings_of(run, settings).desk)
    queue.control(run.id, kind, value)
    job = _job(run)
    if kind == "cancel" and job is not None and _waits(job):
        take_back(run, settings, keep=False)


def take_back(run: Run, settings: Settings, *, keep: bool = True) -> None:
    """Cancel the job that has a run, wherever that stands. keep: what was learned; the run can then be resumed.

    Raises ClusterError when Slurm gives no answer, WorkerError when the job is long about its last checkpoint.
    """
    job = _job(run)
    if job is None:
        raise RunError(f"Run {run.id} is on no cluster.")
    if job.job:
        slurm.call_back(job.job)
        _wait_for_end(job.job)
    with owned(settings_of(run, settings), patience=ENDING_SECONDS):
        # Whoever looked meanwhile has noted that the job ended: what is to be thrown away is so all the same.
        if run.record().status not in (ACTIVE if keep else ACTIVE | {"interrupted"}):
            return
        if keep:
            _interrupt(run, f"Taken back from {job.cluster}. Resume it here or there.")
            return
        throw_away(run)
        run.append(ControlEvent(control="cancel", step=run.record().step))
        run.append(StatusEvent(status="stopped", message="Cancelled by the user; nothing was kept"))
        run.update(status="stopped", ended=time.time(), step=0, figures={}, error="Cancelled: nothing was kept.")


def take_home(run: Run, settings: Settings) -> None:
    """A run that its job has left is this machine's from here on, with the evaluations that were to follow. Raises
    RunError while the job may be at work on it.

    What its record says is enough: a job that is begun once more finds no note of itself, and leaves the run alone.
    """
    job = _job(run)
    if job is None:
        return
    answer = Answer()
    if _may_live(run):
        answer = slurm.job_states([job.job] if job.job else [])
        settle(run, answer, settings)
    if _may_live(run):
        state = answer.states.get(job.job)
        said = answer.problem or f"Slurm says {state.words if state else 'nothing'} of job {job.job}."
        raise RunError(f"Run {run.id} may still be on {job.cluster}. {said} Take it back, or wait until it has ended.")
    with owned(settings_of(run, settings), patience=ENDING_SECONDS):
        if job.evaluations:
            plan(run, job.evaluations)
        forget_job(run)
    if job.job:
        with suppress(ClusterError):
            slurm.call_back(job.job)


def _interrupt(run: Run, reason: str) -> StatusEvent | None:
    """For who holds the run's lock. What is to be told, None where only an evaluation ended."""
    record = run.record()
    if record.status not in ACTIVE:
        run.update(evaluation="failed", evaluation_error=reason)
        return None
    event, ended = (
        StatusEvent(status="interrupted", step=record.step, message=reason),
        written_at(run.folder / "record.json"),
    )
    run.append(event)
    run.update(status="interrupted", ended=ended, error=reason)
    return event


def _may_live(run: Run) -> bool:
    """Whether a run's record leaves something to a job: the training, or the evaluation behind it."""
    with suppress(RunError):
        record = run.record()
        return record.status in ACTIVE or is_pending(record)
    return False


def _may_evaluate(run: Run) -> bool:
    """Whether evaluations that came with a job may still be under way behind the training."""
    job = _job(run)
    with suppress(RunError):
        return bool(job and job.evaluations and (run, job.job) not in _ended) and run.record().status == "finished"
    return False


def _job(run: Run) -> ClusterJob | None:
    with suppress(RunError):
        return read_job(run)
    return None


def _waits(job: ClusterJob) -> bool:
    """Whether Slurm has not begun a job. Raises ClusterError when it gives no answer."""
    answer = slurm.job_states([job.job] if job.job else [])
    if answer.problem:
        raise ClusterError(f"{answer.problem} The cancel is kept: the job finds it when it begins.")
    state = answer.states.get(job.job)
    return state is None or state.waits or state.has_ended


def _wait_for_end(job: str) -> None:
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        answer = slurm.job_states([job])
        if answer.problem or job not in answer.states or answer.states[job].has_ended:
            return
        time.sleep(0.3)

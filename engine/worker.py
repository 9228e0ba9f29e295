"""The worker: one process that owns the device. It advances the most urgent job once, writes down what that yielded,
looks at the controls, and goes on. Knows the queue and the run folders; what jobs do is in engine.jobs.
"""

import fcntl
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from engine.child import end_child
from engine.compute.model.memory import ran_out_of_memory
from engine.desk.queue import ControlRequest, Job, Queue
from engine.device import Device, Tools
from engine.jobs.capture import capture_job
from engine.jobs.cards import describe_data_job, describe_model_job
from engine.jobs.chat import chat_job
from engine.jobs.doses import dose_curve_job
from engine.jobs.evaluation import evaluate_job
from engine.jobs.maps import examine_job, project_job, tokens_job, warm_projection_job
from engine.jobs.packages import fetch_package_job
from engine.jobs.sets import answer_set_job
from engine.jobs.training import Intent, train_run
from engine.machine import measure_machine, versions
from engine.records.errors import RunError, WorkbenchError, WorkerError
from engine.records.events import VALUE_CONTROLS, ControlEvent, Event, HeldoutResult, Progress, StatusEvent, StepResult
from engine.records.runs import ACTIVE, RESUMABLE, Run, list_runs, open_run
from engine.records.settings import Settings

log = logging.getLogger("workbench.worker")

IDLE_SECONDS = 0.2
BEAT_SECONDS = 1.0
HUNG_SECONDS = 300.0
RECORD_SECONDS = 1.0
PROGRESS_SECONDS = 0.5
REST_SECONDS = 0.05

# Jobs that write as they go what a second start would write again.
UNREPEATED = {"chat"}

Steps = Generator[Event | None, None, None]
# What each kind of job but training does, given what was asked and what it may use.
JOBS: dict[str, Callable[[dict[str, Any], Tools], Steps]] = {
    "describe_model": describe_model_job,
    "describe_data": describe_data_job,
    "warm_projection": warm_projection_job,
    "project": project_job,
    "examine": examine_job,
    "tokens": tokens_job,
    "capture": capture_job,
    "evaluate": evaluate_job,
    "fetch_package": fetch_package_job,
    "chat": chat_job,
    "answer_set": answer_set_job,
    "dose_curve": dose_curve_job,
}


@dataclass
class Task:
    """A job under way. `controls` is shared with its generator: a change appended here holds from its step on."""

    job: Job
    steps: Steps
    run: Run | None = None
    intent: Intent = field(default_factory=Intent)
    controls: list[ControlEvent] = field(default_factory=list)
    paused: bool = False
    begun: bool = False
    step: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    written: float = 0.0
    reported: float = 0.0
    phase: str = ""
    turned: int = 0
    rests_until: float = 0.0


class Worker:
    """Serves one runs folder. Create it inside `with owned(settings)`."""

    def __init__(self, settings: Settings, *, watch: Callable[[str, Event], None] | None = None) -> None:
        self.settings = settings
        self.queue = Queue(settings.desk)
        self.tasks: list[Task] = []
        self.device = Device(settings)
        self.turns = 0
        self.watch = watch
        self.started = time.time()
        self.ending = threading.Event()
        self.advancing: tuple[str, str, float] | None = None
        self.unsaved: dict[str, dict[str, Any]] = {}
        self.unfinished: dict[int, tuple[str, str]] = {}
        self.machine: dict[str, Any] = {}
        self.complaint = ""

    def serve(self, *, until: Callable[[], bool] | None = None) -> None:
        """Work until told to end (or `until` says so). Jobs under way are then closed and become interrupted."""
        beat = threading.Thread(target=self._beat, daemon=True)
        self.queue.forget_claims()
        self._reconcile()
        beat.start()
        try:
            self.machine = measure_machine()
            while not self.ending.is_set() and not (until and until()):
                if not self.turn():
                    resting = any(task.rests_until for task in self.tasks if not task.paused)
                    self.ending.wait(REST_SECONDS if resting else IDLE_SECONDS)
        finally:
            self.ending.set()
            end_child()
            for task in list(self.tasks):
                self._end(task, "interrupted" if task.begun else "queued", message="The worker ended")
                if task.run is None and task.job.kind not in UNREPEATED:
                    # Nobody's failure: the next worker goes on with it.
                    with suppress(RunError):
                        self.queue.finish(task.job.id, status="queued")
            beat.join(timeout=5)
            with suppress(WorkbenchError):
                self.queue.beat(status="dead", ended=True)

    def turn(self) -> bool:
        """One round: new jobs, controls, one advance of the most urgent job. False if there was nothing to do."""
        try:
            self._save_unsaved()
            for job in self.queue.claim():
                self._accept(job)
            for request in self.queue.take_controls():
                self._control(request)
            for job_id in self.queue.take_unwanted():
                self._cancel(job_id)
        except RunError as error:
            # Without a queue nothing new comes in, but what is under way goes on, or fails with a message of its own.
            self._complain(str(error))
        now = time.monotonic()
        ready = [task for task in self.tasks if not task.paused and task.rests_until <= now]
        if not ready:
            return False
        self.turns += 1
        task = min(ready, key=lambda task: (task.job.priority, task.turned, task.job.id))
        task.turned = self.turns
        self._advance(task)
        return True

    def _accept(self, job: Job) -> None:
        tools = self.device.tools(job.id)
        if job.kind in JOBS:
            self.tasks.append(Task(job, JOBS[job.kind](job.payload, tools)))
            return
        try:
            run = open_run(self.settings.runs, job.run_id)
            status = run.record().status
            if run.read_only or status not in RESUMABLE | {"queued"}:
                raise RunError(f"Run {run.id} is {status} and cannot be trained: start another like it.")
            controls = run.controls()
        except WorkbenchError as error:
            log.error("%s", error)
            self.queue.finish(job.id, error=str(error))
            return
        intent = Intent()
        steps = train_run(run, tools=tools, controls=controls, intent=intent)
        self.tasks.append(Task(job, steps, run=run, intent=intent, controls=controls))
        if status != "queued":
            run.update(status="queued", error="")

    def _advance(self, task: Task) -> None:
        what = f"{task.job.kind} {task.job.run_id}".strip()
        self.advancing = (what, task.job.run_id, time.monotonic())
        try:
            if not task.begun:
                task.begun = True
                self._begin(task)
            event = next(task.steps)
            elsewhere = isinstance(event, Progress) and event.elsewhere
            task.rests_until = time.monotonic() + REST_SECONDS if elsewhere else 0.0
            if event is not None:
                self._write(task, event)
        except StopIteration:
            self._end(task, "finished")
        except WorkbenchError as error:
            self._fail(task, str(error))
        except Exception as error:  # A job must never take the worker down with it.
            log.error("%s", traceback.format_exc())
            self._fail(task, _advice(error))
        finally:
            self.advancing = None

    def _begin(self, task: Task) -> None:
        if task.run is None:
            return
        record = task.run.record()
        task.seconds, task.step, task.figures = record.seconds, record.step, dict(record.figures)
        self._status(
            task, "running", started=record.started or time.time(), host=socket.gethostname(), versions=versions()
        )

    def _write(self, task: Task, event: Event) -> None:
        run = task.run
        now = time.monotonic()
        if isinstance(event, Progress):
            soon = event.phase == task.phase and now - task.reported < PROGRESS_SECONDS
            if soon and (event.done != event.total or not event.total):
                return
            task.phase, task.reported = event.phase, now
        if run is None:
            if isinstance(event, Progress):
                self.queue.report(task.job.id, event)
            return
        if isinstance(event, StatusEvent) and event.status == "resumed":
            task.step = event.step
        run.append(event)
        if isinstance(event, StepResult):
            task.step = event.step + 1
            task.seconds += event.seconds
            if now - task.written > RECORD_SECONDS:
                task.written = now
                run.update(step=task.step, seconds=task.seconds)
        elif isinstance(event, HeldoutResult):
            prefix = "heldout" if event.split == "test" else "validation"
            task.figures |= {f"{prefix}_cosine": event.mean_cosine, f"{prefix}_drift": event.mean_drift}
            if event.borderline_drift is not None:
                task.figures[f"{prefix}_borderline_drift"] = event.borderline_drift
            run.update(figures=task.figures, step=task.step, seconds=task.seconds)
        if self.watch:
            self.watch(run.id, event)

    def _control(self, request: ControlRequest) -> None:
        task = next((task for task in self.tasks if task.run and task.run.id == request.run_id), None)
        if task is None or task.run is None:
            log.info("control %s for %s: no such job is under way", request.control, request.run_id)
            return
        event = ControlEvent(control=request.control, step=self._next_step(task, request), value=request.value)
        task.run.append(event)
        if request.control == "pause":
            task.paused = True
            self._status(task, "paused")
        elif request.control == "resume" and task.paused:
            task.paused = False
            self._status(task, "running" if task.begun else "queued")
        elif request.control in VALUE_CONTROLS:
            task.controls.append(event)
        elif request.control in ("stop", "cancel"):
            task.intent.keep = request.control == "stop"
            self._status(task, "stopping")
            message = "Stopped by the user" if task.intent.keep else "Cancelled by the user; nothing was kept"
            self._end(task, "stopped", message=message)

    def _cancel(self, job_id: int) -> None:
        """Close a job that is nobody's wish any more. A run's training is ended by its own controls."""
        task = next((task for task in self.tasks if task.job.id == job_id and task.run is None), None)
        if task is not None:
            self._end(task, "cancelled")

    def _next_step(self, task: Task, request: ControlRequest) -> int:
        # A step whose micro-batches are under way has read its values already.
        return task.step + 1 if request.control in VALUE_CONTROLS and task.begun else task.step

    def _end(self, task: Task, status: str, *, message: str = "") -> None:
        """Close the job and write its last status. Closing writes the checkpoint, and may itself fail."""
        self.tasks.remove(task)
        try:
            task.steps.close()
        except Exception as error:  # The checkpoint could not be written, on a full disk for instance.
            log.error("%s", traceback.format_exc())
            status, message = "failed", str(error)
        self._finish_job(
            task, message if status == "failed" else "", status="cancelled" if status == "cancelled" else ""
        )
        if task.run is None:
            return
        changes: dict[str, Any] = {"ended": None if status == "queued" else time.time(), "seconds": task.seconds}
        if task.begun:
            changes |= {"step": task.step if task.intent.keep else 0, "figures": task.figures}
        if status == "failed":
            changes["error"] = message
        elif not task.intent.keep:
            changes |= {"error": "Cancelled: nothing was kept.", "figures": {}}
        self._status(task, status, message=message, **changes)

    def _fail(self, task: Task, message: str) -> None:
        log.error("%s %s failed: %s", task.job.kind, task.job.run_id, message)
        with suppress(ValueError):
            self.tasks.remove(task)
        with suppress(Exception):
            task.steps.close()
        self._finish_job(task, message)
        self._status(
            task, "failed", message=message, error=message, ended=time.time(), step=task.step, seconds=task.seconds
        )

    def _finish_job(self, task: Task, error: str, *, status: str = "") -> None:
        self.device.release(task.job.id)
        self.unfinished[task.job.id] = (error, status)
        with suppress(RunError):
            self._save_unsaved()

    def _status(self, task: Task, status: str, *, message: str = "", **changes: Any) -> None:
        """Write a status; on a full disk it is kept in mind and written as soon as that works."""
        run = task.run
        if run is None:
            return
        changes = self.unsaved.pop(run.id, {}) | changes | {"status": status}
        try:
            run.append(StatusEvent(status=status, step=task.step, message=message))
            run.update(**changes)
        except RunError as error:
            log.error("%s", error)
            self.unsaved[run.id] = changes
        if self.watch:
            self.watch(run.id, StatusEvent(status=status, step=task.step, message=message))

    def _save_unsaved(self) -> None:
        """Write what a full disk has refused so far. Jobs first: a job that is not marked as done would be taken for
        the next one that asks to resume the run."""
        for job_id, (error, status) in list(self.unfinished.items()):
            self.queue.finish(job_id, error=error, status=status)
            del self.unfinished[job_id]
        for run_id, changes in list(self.unsaved.items()):
            with suppress(WorkbenchError):
                Run(self.settings.runs / run_id).update(**changes)
                del self.unsaved[run_id]

    def _complain(self, message: str) -> None:
        """Log a lasting problem once, not five times a second: the log may lie on the disk that is full."""
        if message != self.complaint:
            log.error("%s", message)
        self.complaint = message

    def _reconcile(self) -> None:
        """What an earlier worker left: runs under way are interrupted, queued ones are queued again."""
        for run in list_runs(self.settings.runs):
            try:
                record = run.record()
                if run.read_only or record.status not in ACTIVE:
                    continue
                if record.status == "queued":
                    self.queue.submit("train", run_id=run.id)
                else:
                    run.append(StatusEvent(status="interrupted", step=record.step, message="The worker died"))
                    run.update(status="interrupted", ended=time.time())
            except WorkbenchError as error:
                log.error("%s", error)

    def _beat(self) -> None:
        while not self.ending.is_set():
            now = self.advancing
            doing, run_id = (now[0], now[1]) if now else ("", "")
            busy = bool(now) or any(not task.paused for task in self.tasks)
            hung = now is not None and time.monotonic() - now[2] > HUNG_SECONDS
            model = self.device.model
            device = model.device.type if model else self.machine.get("device", "")
            try:
                self.queue.beat(
                    status="hung" if hung else "busy" if busy else "idle",
                    doing=doing,
                    run_id=run_id or next((task.run.id for task in self.tasks if task.run), ""),
                    runs=[task.run.id for task in self.tasks if task.run],
                    device=device,
                    started=self.started,
                    machine=self.machine,
                )
            except RunError as error:
                self._complain(str(error))
            self.ending.wait(BEAT_SECONDS)


@contextmanager
def owned(settings: Settings):
    """Hold the runs folder's lock. Raises WorkerError when another worker has it."""
    try:
        settings.desk.mkdir(parents=True, exist_ok=True)
        lock = (settings.desk / "worker.lock").open("a")
    except OSError as error:
        raise WorkerError(
            f"The runs folder {settings.runs} cannot be used: {error.strerror}. Choose another with --runs."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = Queue(settings.desk).worker()
            raise WorkerError(
                f"Another worker (process {other.pid} on {other.host or 'this machine'}) owns {settings.runs}: "
                "use it (`python -m engine submit`), end it, or choose another folder with --runs."
            ) from error
        yield


def serve(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT. It gives way to the app: its priority is lower."""
    with owned(settings):
        with suppress(OSError):
            os.nice(5)
        worker = Worker(settings)
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, lambda *_: worker.ending.set())
        log.info("worker %d serves %s", os.getpid(), settings.runs)
        worker.serve()
        log.info("worker %d ended", os.getpid())


def _advice(error: Exception) -> str:
    """What a job that failed in no foreseen way says to the user."""
    if ran_out_of_memory(error):
        reason = (str(error).splitlines() or ["the system gave none"])[0]
        return f"Memory ran out: {reason} Choose a smaller model, or fewer or shorter texts at once."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). The worker log has the details."

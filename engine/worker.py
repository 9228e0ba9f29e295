"""The worker: one process that owns the device. It advances the most urgent job once, writes down what that yielded,
looks at the controls, and goes on. Knows the queue and the run folders; what jobs do is in engine.job_functions.
"""

import fcntl
import logging
import os
import platform
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from engine.compute.models import LoadedModel, choose_device
from engine.job_functions import Intent, describe_data_job, describe_model_job, load_waiting, train_run
from engine.records.errors import RunError, WorkbenchError, WorkerError
from engine.records.jobs import ControlRequest, Job, Queue
from engine.records.results import ControlEvent, Event, HeldoutResult, Progress, StatusEvent, StepResult
from engine.records.runs import ACTIVE, RESUMABLE, Run, list_runs, open_run
from engine.records.settings import Settings
from engine.records.spec import ModelSpec

log = logging.getLogger("workbench.worker")

IDLE_SECONDS = 0.2
BEAT_SECONDS = 1.0
HUNG_SECONDS = 300.0
RECORD_SECONDS = 1.0
PROGRESS_SECONDS = 0.5


@dataclass
class Task:
    """A job under way. `controls` is shared with its generator: a change appended here holds from its step on."""

    job: Job
    steps: Generator[Event | None, None, None]
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


class Worker:
    """Serves one runs folder. Create it inside `with owned(settings)`."""

    def __init__(self, settings: Settings, *, watch: Callable[[str, Event], None] | None = None) -> None:
        self.settings = settings
        self.queue = Queue(settings.desk)
        self.tasks: list[Task] = []
        self.model: LoadedModel | None = None
        self.watch = watch
        self.started = time.time()
        self.ending = threading.Event()
        self.advancing: tuple[str, str, float] | None = None
        self.unsaved: dict[str, dict[str, Any]] = {}
        self.unfinished: dict[int, str] = {}
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
                    self.ending.wait(IDLE_SECONDS)
        finally:
            self.ending.set()
            for task in list(self.tasks):
                self._end(task, "interrupted" if task.begun else "queued", message="The worker ended")
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
        except RunError as error:
            # Without a queue nothing new comes in, but what is under way goes on, or fails with a message of its own.
            self._complain(str(error))
        ready = [task for task in self.tasks if not task.paused]
        if not ready:
            return False
        self._advance(min(ready, key=lambda task: (task.job.priority, task.job.id)))
        return True

    def _accept(self, job: Job) -> None:
        if job.kind == "describe_model":
            self.tasks.append(Task(job, describe_model_job(job.payload, self.settings)))
            return
        if job.kind == "describe_data":
            self.tasks.append(Task(job, describe_data_job(job.payload, self.settings)))
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
        steps = train_run(run, acquire=self._acquire, settings=self.settings, controls=controls, intent=intent)
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
            if event is not None:
                self._write(task, event)
        except StopIteration:
            self._end(task, "finished")
        except WorkbenchError as error:
            self._fail(task, str(error))
        except torch.OutOfMemoryError as error:
            log.error("%s", traceback.format_exc())
            self._fail(
                task,
                f"Memory ran out: {str(error).splitlines()[0]} Choose a smaller model or fewer tokens a micro-batch.",
            )
        except Exception as error:  # A job must never take the worker down with it.
            log.error("%s", traceback.format_exc())
            self._fail(
                task,
                f"Something unexpected went wrong ({type(error).__name__}: {error}). The worker log has the details.",
            )
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
        if run is None:
            return
        now = time.monotonic()
        if isinstance(event, Progress):
            if event.phase == task.phase and now - task.reported < PROGRESS_SECONDS and event.done != event.total:
                return
            task.phase, task.reported = event.phase, now
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
        elif request.control in ("alpha", "learning_rate"):
            task.controls.append(event)
        elif request.control in ("stop", "cancel"):
            task.intent.keep = request.control == "stop"
            self._status(task, "stopping")
            message = "Stopped by the user" if task.intent.keep else "Cancelled by the user; nothing was kept"
            self._end(task, "stopped", message=message)

    def _next_step(self, task: Task, request: ControlRequest) -> int:
        # A step whose micro-batches are under way has read its values already.
        return task.step + 1 if request.control in ("alpha", "learning_rate") and task.begun else task.step

    def _end(self, task: Task, status: str, *, message: str = "") -> None:
        """Close the job and write its last status. Closing writes the checkpoint, and may itself fail."""
        self.tasks.remove(task)
        try:
            task.steps.close()
        except Exception as error:  # The checkpoint could not be written, on a full disk for instance.
            log.error("%s", traceback.format_exc())
            status, message = "failed", str(error)
        self._finish_job(task, "")
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

    def _finish_job(self, task: Task, error: str) -> None:
        self.unfinished[task.job.id] = error
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
        for job_id, error in list(self.unfinished.items()):
            self.queue.finish(job_id, error=error)
            del self.unfinished[job_id]
        for run_id, changes in list(self.unsaved.items()):
            with suppress(WorkbenchError):
                Run(self.settings.runs / run_id).update(**changes)
                del self.unsaved[run_id]

    def _acquire(self, spec: ModelSpec) -> Generator[Event, None, LoadedModel]:
        """The base model, loaded once; another one waits until no job under way holds the present one."""
        while self.model is not None and self.model.spec != spec and self.model.peft_model is not None:
            yield Progress(phase="waiting", message=f"Waiting: another run holds {self.model.spec.name}")
            time.sleep(IDLE_SECONDS)
        if self.model is None or self.model.spec != spec:
            self.model = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.model = yield from load_waiting(spec, self.settings)
        return self.model

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
            device = self.model.device.type if self.model else self.machine.get("device", "")
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
            state = Queue(settings.desk).worker()
            raise WorkerError(
                f"Another worker (process {state.pid} on {state.host or 'this machine'}) owns {settings.runs}: "
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


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"python": platform.python_version()}
    for package in ("torch", "transformers", "peft", "accelerate"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def measure_machine() -> dict[str, Any]:
    """Device, memory, and the speed of a large matrix product here: what estimates rest on. Takes under a second."""
    device, dtype = choose_device(ModelSpec())
    size = 4096 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        product = left @ left
        float(product[0, 0])
        best = min(best, time.perf_counter() - started)
    memory = (
        torch.cuda.mem_get_info()[1]
        if device.type == "cuda"
        else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    return {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "flops_per_second": 2 * size**3 / best,
        "memory_bytes": int(memory),
        "cores": os.cpu_count(),
    }

"""The worker: one process that owns the device. It advances the most urgent job once, writes down what that yielded,
looks at the controls, and goes on. Knows the queue and the run folders; what jobs do is in engine.jobs.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from engine.afterwards import begin_evaluation, make_up, note_evaluation
from engine.bookkeeping import RunBook, live_changes, reconciled, trainable_status
from engine.child import end_child
from engine.compute.model.memory import device_failed, failure_words
from engine.compute.team import broken, team_facts
from engine.desk.queue import OLDER, ControlRequest, Job, Queue
from engine.device import Device
from engine.heart import Complaint, Pace, beating
from engine.jobs.table import JOBS, UNREPEATED
from engine.jobs.training import Intent, train_run
from engine.machine import measure_machine
from engine.records.errors import RunError, TeamError, WorkbenchError
from engine.records.events import VALUE_CONTROLS, ControlEvent, Event, Progress
from engine.records.installed import sources_digest
from engine.records.learned import throw_away
from engine.records.runs import open_run
from engine.records.settings import Settings
from engine.tasks import REST_SECONDS, Task, doing, in_the_way, left_as, next_task
from engine.telling import Teller

log = logging.getLogger("workbench.worker")

IDLE_SECONDS, HUNG_SECONDS = 0.2, 300.0


class Worker:
    """Serves one runs folder. Create it inside `with owned(settings)`. only: the one run that it trains; '': all."""

    def __init__(self, settings: Settings, *, watch: Callable[[str, Event], None] | None = None) -> None:
        self.settings = settings
        self.queue = Queue(settings.desk)
        self.tasks: list[Task] = []
        self.device = Device(settings)
        self.turns = self.places = 0
        self.watch = watch
        self.started = time.time()
        self.ending = threading.Event()
        self.advancing: tuple[str, str, float] | None = None
        self.unfinished: dict[int, tuple[str, str]] = {}
        self.unsaved: list[RunBook] = []
        self.done: set[int] = set()
        self.reason = self.only = ""
        self.complaint, self.pace = Complaint(), Pace()
        self.teller = Teller(settings, watch=watch)

    def serve(self, *, until: Callable[[], bool] | None = None) -> None:
        """Work until told to end (or `until` says so). Jobs under way are then closed and become interrupted."""
        self.queue.forget_claims()
        waiting = reconciled(self.settings, watch=self.teller.hear)
        if not self.settings.own_desk:
            # Given to a worker that did not answer any more; a cluster's job goes on by itself, and obeys.
            self.queue.forget_controls(of_all_but=waiting)
        for run_id in waiting:
            self.queue.submit("train", run_id=run_id)
        self._cancel_unwanted()  # Also what was while no worker was there.
        make_up(self.settings, self.queue)
        with beating(self.queue, self._about, lambda: self.reason):
            try:
                self.device.machine = measure_machine() | team_facts()
                while not self.ending.is_set() and not (until and until()):
                    if not self.turn():
                        rests = any(task.rests_until for task in self.tasks if not task.paused)
                        self.ending.wait(REST_SECONDS if rests else IDLE_SECONDS)
            finally:
                end_child()
                for task in list(self.tasks):
                    self._leave(task)
                self.teller.close()

    def turn(self) -> bool:
        """One round: new jobs, controls, one advance of the most urgent job. False if there was nothing to do."""
        if self.pace.is_due or next_task(self.tasks) is None:
            with self.pace:
                self._look()
        for blocking in in_the_way(self.tasks, model_wanted=bool(self.device.waiting), awaited=self.device.awaited):
            self._give_way(blocking)
        task = next_task(self.tasks)
        if task is None:
            return False
        task.turned = self.turns = self.turns + 1
        self._advance(task)
        return True

    def _look(self) -> None:
        """What is new, and what could not be written so far."""
        try:
            self._save_unsaved()
            self.teller.write_down()
            for job in self.queue.claim():
                self._accept(job)
            for request in self.queue.controls():
                self._control(request)
            self._cancel_unwanted()
        except RunError as error:
            # Without a queue nothing new comes in, but what is under way goes on, or fails with a message of its own.
            self.complaint.say(str(error))

    def _accept(self, job: Job) -> None:
        if job.kind in JOBS:
            tools = self.device.tools(job.id, job.kind.replace("_", " "))
            self.tasks.append(Task(job, partial(JOBS[job.kind], job.payload, tools)))
            return
        if job.kind != "train":
            return self._mark_done(job.id, OLDER)
        try:
            run = open_run(self.settings.runs, job.run_id)
            status = trainable_status(run, self.settings)
            controls, book = live_changes(run), RunBook(run, watch=self.teller.see)
        except WorkbenchError as error:
            log.error("%s", error)
            return self._mark_done(job.id, str(error))
        tools, intent = self.device.tools(job.id, f"the training of run {run.id}"), Intent()
        begin = partial(train_run, run, tools=tools, controls=controls, intent=intent)
        self.places += 1
        held, line = self.only not in ("", run.id), self.places
        self.tasks.append(Task(job, begin, book=book, intent=intent, controls=controls, place=line, paused=held))
        if status != "queued":
            book.line_up()

    def _advance(self, task: Task) -> None:
        self.advancing = (f"{task.job.kind} {task.job.run_id}".strip(), task.job.run_id, time.monotonic())
        try:
            if task.book and task.steps is None:
                task.book.begin()
            task.begun = True
            event = task.advance()
            if event is not None and task.is_news(event):
                self._write(task, event)
            if isinstance(event, ControlEvent):  # It stops itself, and ends as one that its user stopped.
                self._end(task, "stopped", message="Stopped by the bound on drift")
        except StopIteration:
            self._end(task, "finished")
        except TeamError as error:
            # Of several processes one is gone: a training goes on from where it was, once all are there again.
            if task.book:
                self._end(task, "interrupted", message=str(error))
            else:
                self._fail(task, str(error))
        except WorkbenchError as error:
            # Whoever asks no more may have taken away what the job wrote to: that is no failure.
            with suppress(RunError):
                self._cancel_unwanted()
            if task in self.tasks:
                self._fail(task, str(error))
        except Exception as error:  # A job must never take the worker down with it.
            log.error("%s", traceback.format_exc())
            self._fail(task, failure_words(error))
            if device_failed(error):
                # Nothing more can be computed in this process.
                self.reason = failure_words(error)
                self.ending.set()
        finally:
            self.advancing = None
            if reason := broken():
                self.reason = reason
                self.ending.set()

    def _write(self, task: Task, event: Event) -> None:
        if task.book:
            task.book.write(event)
        elif isinstance(event, Progress):
            self.queue.report(task.job.id, event)
            if self.watch:
                self.watch(task.job.run_id, event)

    def _give_way(self, task: Task) -> None:
        """A training closes, with its checkpoint, and goes on from there when its turn comes."""
        assert task.book is not None
        try:
            task.close()
        except Exception as error:  # The checkpoint could not be written, on a full disk for instance.
            log.error("%s", traceback.format_exc())
            return self._fail(task, str(error))
        self.device.release(task.job.id)
        if not task.paused:
            task.book.status("queued", step=task.book.step, message="Gave way to another run")

    def _control(self, request: ControlRequest) -> None:
        """Carry a control out, then forget it: on a full disk it waits and is not lost."""
        if request.id not in self.done:
            task = next((task for task in self.tasks if task.book and task.book.run.id == request.run_id), None)
            if task is None:
                log.info("control %s for %s: no such job is under way", request.control, request.run_id)
            elif task.book and task.book.is_gone:
                self._fail(task, "It was deleted while it waited.")
            else:
                self._carry_out(task, request)
            self.done.add(request.id)
        self.queue.carried_out(request)
        self.done.discard(request.id)

    def _carry_out(self, task: Task, request: ControlRequest) -> None:
        assert task.book is not None
        # A step whose micro-batches are under way has read its values already.
        step = task.book.step + (request.control in VALUE_CONTROLS and task.begun)
        event = ControlEvent(control=request.control, step=step, value=request.value)
        task.book.control(event)
        if request.control == "pause" and not task.paused:
            task.paused = True
            task.book.status("paused")
        elif request.control == "resume" and task.paused:
            # Whoever trains meanwhile trains to its end.
            self.places += 1
            task.paused, task.place = False, self.places
            task.book.status("running" if task.steps is not None else "queued")
        elif request.control == "first":
            task.place = min(one.place for one in self.tasks if one.book) - 1
        elif request.control in VALUE_CONTROLS:
            task.controls.append(event)
        elif request.control in ("stop", "cancel"):
            task.intent.keep = request.control == "stop"
            task.book.status("stopping")
            message = "Stopped by the user" if task.intent.keep else "Cancelled by the user; nothing was kept"
            self._end(task, "stopped", message=message)

    def _cancel_unwanted(self) -> None:
        """Close what is nobody's wish any more. A run's training is ended by its own controls."""
        for job_id in self.queue.take_unwanted():
            task = next((task for task in self.tasks if task.job.id == job_id and task.book is None), None)
            if task is not None:
                self._end(task, "cancelled")
            elif (job := self.queue.job(job_id)) is not None:
                note_evaluation(self.settings.runs, job, job.status, error=job.error)

    def _leave(self, task: Task) -> None:
        """The worker ends: what is under way is interrupted, what waits is for the next worker."""
        status, said = left_as(task, on_node=bool(self.settings.own_desk))
        self._end(task, status, message=said)
        if task.book is None and task.job.kind not in UNREPEATED:
            with suppress(RunError):
                self.queue.finish(task.job.id, status="queued")

    def _end(self, task: Task, status: str, *, message: str = "") -> None:
        """Close the job and write its last status. Closing writes the checkpoint, and may itself fail."""
        self.tasks.remove(task)
        try:
            task.close()
        except Exception as error:  # The checkpoint could not be written, on a full disk for instance.
            log.error("%s", traceback.format_exc())
            status, message = "failed", str(error)
        if task.book and not task.intent.keep:
            throw_away(task.book.run)
        self._finish_job(task, status, message)
        if task.book:
            task.book.end(status, message=message, kept=task.intent.keep)  # type: ignore[arg-type]
            begin_evaluation(self.queue, task.book)
            self.unsaved.append(task.book)

    def _fail(self, task: Task, message: str) -> None:
        log.error("%s %s failed: %s", task.job.kind, task.job.run_id, message)
        with suppress(ValueError):
            self.tasks.remove(task)
        with suppress(Exception):
            task.close()
        self._finish_job(task, "failed", message)
        if task.book:
            task.book.fail(message)
            self.unsaved.append(task.book)

    def _finish_job(self, task: Task, status: str, message: str) -> None:
        self.device.release(task.job.id)
        note_evaluation(self.settings.runs, task.job, status, error=message)
        self._mark_done(task.job.id, message if status == "failed" else "", "cancelled" * (status == "cancelled"))

    def _mark_done(self, job_id: int, error: str, status: str = "") -> None:
        self.unfinished[job_id] = (error, status)
        with suppress(RunError):
            self._save_unsaved()

    def _save_unsaved(self) -> None:
        """Write what a full disk has refused so far. Jobs first: a job that is not marked as done would be taken for
        the next one that asks to resume the run."""
        for job_id, (error, status) in list(self.unfinished.items()):
            self.queue.finish(job_id, error=error, status=status)
            del self.unfinished[job_id]
        self.unsaved = [book for book in self.unsaved if not book.save()]
        for task in self.tasks:
            if task.book:
                task.book.save()

    def _about(self) -> dict[str, Any]:
        """What the worker says of itself with each beat."""
        now = doing(list(self.tasks), self.advancing, hung_after=HUNG_SECONDS)
        return now | self.device.about | {"started": self.started, "sources": sources_digest()}

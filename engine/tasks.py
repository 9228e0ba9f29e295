"""Jobs under way and whose turn it is. Knows nothing of queues, records or of what jobs do.

The most urgent goes first, equals take turns; of the trainings one has the device, the others wait for it in line.
"""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.bookkeeping import RunBook
from engine.desk.on_node import PAUSED
from engine.desk.queue import Job
from engine.jobs.training import Intent
from engine.records.events import ControlEvent, Event, Progress

PROGRESS_SECONDS = 0.5
REST_SECONDS = 0.05

Steps = Generator[Event | None, None, None]


@dataclass
class Task:
    """A job under way. `controls` is shared with its generator: a change appended here holds from its step on.

    begin: makes the generator anew. A training that gives way to another one is closed, which writes its checkpoint,
    and goes on from there; it holds neither model nor memory meanwhile.  place: in the line of trainings.
    """

    job: Job
    begin: Callable[[], Steps]
    book: RunBook | None = None
    intent: Intent = field(default_factory=Intent)
    controls: list[ControlEvent] = field(default_factory=list)
    place: int = 0
    paused: bool = False
    begun: bool = False
    steps: Steps | None = None
    turned: int = 0
    rests_until: float = 0.0
    phase: str = ""
    reported: float = 0.0

    def advance(self) -> Event | None:
        """Raises StopIteration at the end of the job."""
        if self.steps is None:
            self.steps = self.begin()
        event = next(self.steps)
        elsewhere = isinstance(event, Progress) and event.elsewhere
        self.rests_until = time.monotonic() + REST_SECONDS if elsewhere else 0.0
        return event

    def close(self) -> None:
        """End the generator; what it holds is given back. Closing a training writes its checkpoint, and may fail."""
        steps, self.steps = self.steps, None
        if steps is not None:
            steps.close()

    def is_news(self, event: Event) -> bool:
        """Whether an event is to be written down: of a phase's progress only so much that a reader can follow."""
        if not isinstance(event, Progress):
            return True
        now = time.monotonic()
        soon = event.phase == self.phase and now - self.reported < PROGRESS_SECONDS
        if soon and (event.done != event.total or not event.total):
            return False
        self.phase, self.reported = event.phase, now
        return True


def training_at_work(tasks: Sequence[Task]) -> Task | None:
    """The training that has the device: the first in line that is not paused."""
    return min((task for task in tasks if task.book and not task.paused), key=lambda task: task.place, default=None)


def next_task(tasks: Sequence[Task]) -> Task | None:
    """Whose turn it is; None when nobody can go on at this moment."""
    now, at_work = time.monotonic(), training_at_work(tasks)
    ready = [
        task for task in tasks if not task.paused and task.rests_until <= now and (task.book is None or task is at_work)
    ]
    return min(ready, key=lambda task: (task.job.priority, task.turned, task.job.id), default=None)


def in_the_way(tasks: Sequence[Task], *, model_wanted: bool, awaited: Collection[int] = ()) -> list[Task]:
    """Trainings that hold memory though it is not their turn: another one is at work, or one that is paused keeps a
    model in memory while a job waits for another (`model_wanted`), or has not fetched what a job waits for (`awaited`,
    by the fetching jobs' numbers)."""
    at_work = training_at_work(tasks)
    return [
        task
        for task in tasks
        if task.book
        and task.steps is not None
        and task is not at_work
        and (at_work is not None or (task.paused and (model_wanted or task.job.id in awaited)))
    ]


def left_as(task: Task, *, on_node: bool) -> tuple[str, str]:
    """The status of a job whose worker ends, and why. What is under way is interrupted, what waits is for the next one.
    on_node: the worker is a cluster's job, with one run to itself."""
    if on_node and task.paused:
        return "interrupted", PAUSED
    # A run that gave way to another one waits too; a cluster's job is begun again, or is found to have ended.
    waits = task.book is not None and (task.steps is None or on_node) and not task.paused
    said = "The job left its node" if on_node else "The worker ended"
    return "interrupted" if task.begun and not waits else "queued", said


def doing(tasks: Sequence[Task], advancing: tuple[str, str, float] | None, *, hung_after: float) -> dict[str, Any]:
    """What all of them come to, as the screen reads it (engine.desk.presence).

    advancing: what is being advanced now in words, its run's id, and since when.  hung_after: seconds.
    """
    words, run_id = (advancing[0], advancing[1]) if advancing else ("", "")
    at_work = training_at_work(tasks)
    busy = bool(advancing) or any(not task.paused for task in tasks)
    hung = advancing is not None and time.monotonic() - advancing[2] > hung_after
    return {
        "status": "hung" if hung else "busy" if busy else "idle",
        "doing": words,
        "run_id": run_id or next((task.book.run.id for task in tasks if task.book), ""),
        "waiting": waiting_for(tasks),
        "trains": at_work.book.run.id if at_work and at_work.book else "",
    }


def waiting_for(tasks: Sequence[Task]) -> dict[str, str]:
    """For each run that waits, the run it waits for; in the order in which they will train."""
    at_work = training_at_work(tasks)
    if at_work is None or at_work.book is None:
        return {}
    line = sorted(tasks, key=lambda task: task.place)
    return {
        task.book.run.id: at_work.book.run.id for task in line if task.book and task is not at_work and not task.paused
    }

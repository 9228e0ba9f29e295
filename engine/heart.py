"""The worker's sign of life, about once a second from a thread of its own. Knows nothing of jobs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from filelock import FileLock

from engine.desk.lock import held_again
from engine.desk.queue import Queue
from engine.records.errors import RunError, WorkbenchError, WorkerError

log = logging.getLogger("workbench.worker")

BEAT_SECONDS = 1.0
# What takes longer is slow, and is left alone for so many times as long, but never for longer than who asks can wait.
SLOW_SECONDS = 0.02
REST_TIMES = 5
MOST_SECONDS = 2.0


class Complaint:
    """A lasting problem, logged once and not at every look: the log may lie on the disk that is full."""

    def __init__(self) -> None:
        self.last = ""

    def say(self, message: str) -> None:
        if message != self.last:
            log.error("%s", message)
        self.last = message

    def is_over(self) -> None:
        """Should it come back, it is logged again."""
        self.last = ""


class Pace:
    """Of what is done beside the work again and again: where it takes long, as a look at a file on a cluster's shared
    disk does, it is done so seldom that the work has most of the time. `with pace:` around it."""

    def __init__(self) -> None:
        self._began = self._next = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        spent = now - self._began
        self._next = now + (min(REST_TIMES * spent, MOST_SECONDS) if spent > SLOW_SECONDS else 0.0)


@contextmanager
def beating(queue: Queue, about: Callable[[], dict[str, Any]], last: Callable[[], str]) -> Iterator[None]:
    """Inside, what `about` tells is written down every second; on leaving, that the worker ended, and why (`last`)."""
    ending = threading.Event()

    complaint, locks = Complaint(), list[FileLock]()

    def beat() -> None:
        try:
            # Whoever deletes this folder must not have two workers for it.
            if lock := held_again(queue.desk):
                locks.append(lock)
            queue.beat(**about())
            complaint.is_over()
        except (RunError, WorkerError) as error:
            complaint.say(str(error))

    def go_on() -> None:
        while not ending.wait(BEAT_SECONDS):
            beat()

    # Before anything is claimed: who submits a job meanwhile would take the claim for a dead worker's.
    beat()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(timeout=5)
        with suppress(WorkbenchError):
            queue.beat(status="dead", ended=True, reason=last())

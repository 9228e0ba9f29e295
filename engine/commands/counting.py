"""A job in the foreground: what it counts stands on one line of standard error, and it rests while another process
works. Knows nothing of what jobs do."""

import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from engine.compute.steps import drained
from engine.records.events import Event, Progress

LOOK_SECONDS = 0.1


def rest(event: Event | None) -> None:
    """Where the work goes on in another process there is nothing to hurry back for."""
    if isinstance(event, Progress) and event.elsewhere:
        time.sleep(LOOK_SECONDS)


def carry_out(steps: Generator[Event | None, None, Any], say: Callable[[Progress], str]) -> None:
    """Advance a job to its end. say: what is being counted, in words."""

    def look(event: Event | None) -> None:
        if isinstance(event, Progress) and event.total:
            print(f"\r{say(event)} {event.done} of {event.total}", end="", file=sys.stderr, flush=True)
        rest(event)

    drained(steps, look)
    print(file=sys.stderr)

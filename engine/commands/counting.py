"""A job in the foreground: what it counts stands on one line of standard error. Knows nothing of what jobs do."""

import sys
from collections.abc import Callable, Generator
from typing import Any

from engine.compute.steps import drained
from engine.records.events import Event, Progress


def carry_out(steps: Generator[Event | None, None, Any], say: Callable[[Progress], str]) -> None:
    """Advance a job to its end. say: what is being counted, in words."""

    def look(event: Event | None) -> None:
        if isinstance(event, Progress) and event.total:
            print(f"\r{say(event)} {event.done} of {event.total}", end="", file=sys.stderr, flush=True)

    drained(steps, look)
    print(file=sys.stderr)

"""How long a run took: one time with its meaning, and its parts. Pure: knows nothing of Streamlit, files or events."""

import time
from typing import NamedTuple

from engine.records.runs import ACTIVE, Record
from workbench.kit.words import duration

WHOLE = "Whole time"
MEANING = (
    "By the clock, from the start of loading until the end: generating training answers, measuring, training, "
    "the test, and pauses, without the time that a run lay stopped before it was resumed."
)


class Times(NamedTuple):
    """Seconds; None where the run has not begun. whole: by the clock.  answers, training: of it
    generating answers, and the training steps alone."""

    whole: float | None
    answers: float
    training: float


def run_times(record: Record, status: str, *, changed: float = 0.0, now: float | None = None) -> Times:
    """changed: when the record was last written: until then a run went on that its worker left without a word."""
    if record.started is None:
        return Times(None, record.elicit_seconds, record.seconds)
    end = record.ended
    if status in ACTIVE and not (status == "queued" and end):
        end = time.time() if now is None else now
    elif end is None:
        end = changed or record.started
    return Times(max(0.0, end - record.started - record.rested), record.elicit_seconds, record.seconds)


def meaning(times: Times) -> str:
    """For the help beside the whole time."""
    if not times.whole:
        return MEANING
    said = []
    if times.training:
        said.append(f"The training steps alone took {duration(times.training)}")
    if times.answers:
        said.append(f"generating training answers took {duration(times.answers)}")
    text = ", ".join(said)
    return MEANING + (f" {text[:1].upper()}{text[1:]}." if text else "")

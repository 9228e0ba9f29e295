"""How long a run still takes. Pure arithmetic on its record, its stages and its steps."""

import time
from collections.abc import Iterable

from engine.records.runs import Record
from workbench.kit.status import remaining_seconds
from workbench.runs.follow import Followed


def left_in_all(record: Record, followed: Followed, *, now: float | None = None) -> float | None:
    """Seconds until the run has ended, all stages that are left together; None where that is not known yet.

    What has a pace goes by it, what has not begun by the estimate that the worker made when the run began.
    """
    clock, expected = followed.clock, record.expected
    now = time.time() if now is None else now
    training = expected.get("train")
    if clock.stage in ("load", "answer") and not record.step:
        answers = clock.left_in_stage() if clock.stage == "answer" else None
        if answers is None and "answer" in expected:
            done = clock.counted.share if clock.stage == "answer" and clock.counted else 0.0
            answers = expected["answer"] * (1 - done)
        return None if answers is None or training is None else answers + training
    if clock.stage == "measure" and not record.step:
        return None if training is None else max(0.0, training - clock.spent("measure", now))
    if clock.stage == "test":
        return max(0.0, clock.heldout_seconds - clock.spent("test", now)) if clock.heldout_seconds else None
    steps = followed.tables.steps
    times = steps["time"].tolist() if len(steps) else []
    left = remaining_seconds(times, record.steps - record.step)
    if left is None and training is not None:
        left = training * (1 - record.step / max(1, record.steps))
    return None if left is None else left + clock.heldout_seconds


def whole_expected(record: Record, others: Iterable[Record]) -> float | None:
    """Seconds that a run which waits will take: by its own estimate, or as long as the newest finished run of the same
    spec took; None where neither is known."""
    if record.expected:
        begun = record.step / max(1, record.steps)
        answers = 0.0 if record.step else record.expected.get("answer", 0.0)
        return answers + record.expected.get("train", 0.0) * (1 - begun)
    same = [one for one in others if one.digest == record.digest and one.status == "finished" and one.ended]
    newest = max(same, key=lambda one: one.created, default=None)
    # Its answers are known by now, so its training is what will be taken again.
    return newest.seconds if newest else None

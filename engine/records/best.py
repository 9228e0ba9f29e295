"""The best checkpoint of a run, by what its validation rows said of activations. Pure: knows no files.

The rule: of the checkpoints whose benign and borderline rows stayed within the bounds, the one whose harmful rows
moved furthest; where none stayed within, the one that did least damage among those that moved at all. The last
checkpoint is left in place by one that is better by less than MARGIN: figures of so few rows cannot tell them apart.
A run may take it, under bounds of its own on borderline rows, or keep its last one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from engine.records.events import AnyEvent, HeldoutResult
from engine.records.spec_parts import OptimizerSpec

# Shares of the block's mean centred norm.
BENIGN_DRIFT = 0.15
BENIGN_COSINE = 0.85
# Above it harmful rows count as not moved.
MOVED_COSINE = 0.7
MARGIN = 0.03
DEFAULTS = OptimizerSpec()


class BestCheckpoint(BaseModel):
    """measured: after how many steps the figures were taken, at or before `step`.  rows: harmful and benign ones of
    the validation split.  within: whether the bounds held.  last: of the last checkpoint, where that is another one:
    when it was measured, its cosine and its drift."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    step: int
    measured: int
    cosine: float
    drift: float
    benign_cosine: float
    borderline_drift: float | None = None
    rows: tuple[int, int] = (0, 0)
    within: bool = True
    last: tuple[int, float, float] | None = None


def best_checkpoint(
    events: Iterable[AnyEvent], *, last: int, optimizer: OptimizerSpec = DEFAULTS
) -> BestCheckpoint | None:
    """None where no checkpoint has a validation measurement of both sides, or nothing moved.

    events: of one run, without what a resume threw away.  last: the step whose weights the run kept.  optimizer: of the
    run's spec, which has the bounds on borderline rows.
    """
    checkpoints = {last}
    measured: list[HeldoutResult] = []
    for event in events:
        if event.kind == "checkpoint":
            checkpoints.add(event.step)
        elif event.kind == "heldout" and event.split == "validation" and event.step > 0:
            measured.append(event)
    candidates = [one for step in sorted(checkpoints) if (one := _candidate(step, measured, optimizer)) is not None]
    if optimizer.keep == "best":
        # Weights are not kept for the figures of others.
        candidates = [one for one in candidates if one.measured == one.step]
    best = _best(candidates, last)
    end = _candidate(last, measured, optimizer)
    if best is None or end is None or best.step == last:
        return best
    return best.model_copy(update={"last": (end.measured, end.cosine, end.drift)})


def _best(candidates: Sequence[BestCheckpoint], last: int) -> BestCheckpoint | None:
    within = [one for one in candidates if one.within]
    if within:
        return _unless_last(min(within, key=lambda one: one.cosine), within, lambda one: one.cosine, last)
    moved = [one for one in candidates if one.cosine <= MOVED_COSINE]
    if not moved:
        return None
    return _unless_last(min(moved, key=lambda one: one.drift), moved, lambda one: one.drift, last)


def better_words(better: BestCheckpoint) -> str:
    """Why another checkpoint than the last one is offered."""
    harmful, benign = better.rows
    where = "" if better.measured == better.step else f", measured at step {better.measured}"
    border = "" if better.borderline_drift is None else f", borderline drift {better.borderline_drift:.2f}"
    beside = ""
    if better.last is not None:
        step, cosine, drift = better.last
        beside = f" (at step {step}: {cosine:.2f} and {drift:.2f})"
    return (
        f"Step {better.step} was better on the validation split (n = {harmful} + {benign}{where}): harmful cosine "
        f"{better.cosine:.2f}, benign drift {better.drift:.2f}{beside}{border}."
    )


def _candidate(step: int, measured: Sequence[HeldoutResult], optimizer: OptimizerSpec) -> BestCheckpoint | None:
    before = [event for event in measured if event.step <= step]
    newest = max(before, key=lambda event: event.step, default=None)
    if newest is None or not newest.benign_cosine:
        return None
    benign_cosine = sum(newest.benign_cosine.values()) / len(newest.benign_cosine)
    figures = (newest.mean_cosine, newest.mean_drift, benign_cosine)
    if not all(math.isfinite(value) for value in figures):
        return None
    borderline, answers = newest.borderline_drift, newest.borderline_answer_cosine
    return BestCheckpoint(
        step=step,
        measured=newest.step,
        cosine=newest.mean_cosine,
        drift=newest.mean_drift,
        benign_cosine=benign_cosine,
        borderline_drift=borderline,
        rows=(newest.harmful_rows, newest.benign_rows),
        within=newest.mean_drift <= BENIGN_DRIFT
        and benign_cosine >= BENIGN_COSINE
        and (borderline is None or borderline <= optimizer.keep_drift)
        # Drift is over prompts too, which no answer that breaks moves.
        and (not optimizer.keep_answers or _mean_of(answers) >= optimizer.keep_answers),
    )


def _mean_of(answers: Mapping[str, float]) -> float:
    return sum(answers.values()) / len(answers) if answers else 1.0


def _unless_last(best: BestCheckpoint, among: Sequence[BestCheckpoint], figure, last: int) -> BestCheckpoint:
    end = next((one for one in among if one.step == last), None)
    return end if end is not None and figure(end) - figure(best) <= MARGIN else best

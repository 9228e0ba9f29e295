"""In which order the list of runs stands. Pure: knows rows, nothing of widgets."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from engine.records.outcome import Outcome
from engine.records.runs import Record
from workbench.kit.outcome import OUTCOMES

# What is given: a run's name, its record and its outcome. None goes last, whatever the order.
Key = Callable[[str, Record, Outcome], Any]


def _figure(name: str) -> Key:
    def value(_name: str, record: Record, _outcome: Outcome) -> float | None:
        found = record.figures.get(f"heldout_{name}")
        return found if found is not None and math.isfinite(found) else None

    return value


def _seconds(_name: str, record: Record, _outcome: Outcome) -> float | None:
    return (record.seconds + record.elicit_seconds) or None


def _left_of_others(_name: str, _record: Record, outcome: Outcome) -> float | None:
    return None if outcome.others is None else outcome.others.harmful.rerouted.rate


SORTS: dict[str, Key] = {
    "name": lambda name, _record, _outcome: name.casefold(),
    "outcome": lambda _name, _record, outcome: list(OUTCOMES).index(outcome.word),
    "worst author": _left_of_others,
    "cosine": _figure("cosine"),
    "drift": _figure("drift"),
    "duration": _seconds,
}
ORDERS = ("newest", *SORTS)
ORDER_HELP = (
    "Best outcome, least harm left of the worst of other authors, lowest cosine, lowest drift and shortest duration "
    "first. Of equals the newest comes first; runs without the figure come last."
)


def in_order(rows: Sequence[Any], by: str) -> list[Any]:
    """Rows of the list, ordered; equals stay as they are, and what cannot be compared goes last.

    by: 'newest' leaves them as they come: newest first, then those that ship.
    """
    if by not in SORTS:
        return list(rows)
    known: list[tuple[Any, Any]] = []
    unknown: list[Any] = []
    for row in rows:
        value = None if row.record is None or row.outcome is None else SORTS[by](row.name, row.record, row.outcome)
        if value is None:
            unknown.append(row)
        else:
            known.append((value, row))
    return [row for _, row in sorted(known, key=lambda pair: pair[0])] + unknown

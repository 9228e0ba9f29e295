"""Follow a run's events without reading them twice. Knows files of records, and nothing of widgets but the session."""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import streamlit as st

from engine.records.events import Alert, AnyEvent, ControlEvent, HeldoutResult, effective
from engine.records.runs import Run
from engine.records.stages import StageClock
from engine.records.tables import RunTables, run_tables
from workbench.kit.state import FOLLOWED

KEPT_RUNS = 12


@dataclass
class Followed:
    """What is known of one run so far. `version` grows whenever rows were added."""

    offset: int = 0
    version: int = 0
    events: list[AnyEvent] = field(default_factory=list)
    tables: RunTables = field(default_factory=lambda: run_tables([]))
    clock: StageClock = field(default_factory=StageClock)

    @property
    def last(self) -> AnyEvent | None:
        return self.events[-1] if self.events else None

    def heldout(self, split: str = "") -> HeldoutResult | None:
        """The newest held-out measurement, of one split where it is given."""
        events = (event for event in reversed(self.events) if isinstance(event, HeldoutResult))
        return next((event for event in events if split in ("", event.split)), None)

    @property
    def alerts(self) -> list[Alert]:
        return [event for event in self.events if isinstance(event, Alert)]

    @property
    def controls(self) -> list[ControlEvent]:
        return [event for event in self.events if isinstance(event, ControlEvent)]


def follow(run: Run, *, beside: int = 0) -> Followed:
    """The run as far as this session has read it, brought up to date: only new bytes are read. beside: how many runs
    are looked at together."""
    known: OrderedDict[str, Followed] = st.session_state.setdefault(FOLLOWED, OrderedDict())
    key = str(run.folder)
    followed = known.setdefault(key, Followed())
    known.move_to_end(key)
    while len(known) > max(KEPT_RUNS, beside):
        known.popitem(last=False)
    if _size(run.events_file) < followed.offset:
        followed = known[key] = Followed(version=followed.version + 1)
    events, followed.offset = run.events(followed.offset)
    if events:
        extend(followed, events)
    return followed


def extend(followed: Followed, events: list[AnyEvent]) -> None:
    """Add events. A resume throws away later steps, so the tables are then made anew; else they only grow."""
    followed.events += events
    for event in events:
        # Also what a resume threw away took its time.
        followed.clock.take(event)
    followed.version += 1
    if any(event.kind == "status" and event.status == "resumed" for event in events):
        followed.events = effective(followed.events)
        followed.tables = run_tables(followed.events)
        return
    old, new = followed.tables, run_tables(events)
    followed.tables = RunTables(
        _joined(old.steps, new.steps), _joined(old.heldout, new.heldout), old.probes + new.probes
    )


def _joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    if old.empty or new.empty:
        return new if old.empty else old
    return pd.concat([old, new], ignore_index=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

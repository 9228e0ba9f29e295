"""What is written down about one run while a job is at work on it: events, record, status. Knows the run's folder and
what events mean for its record; nothing of queues, of the device, or of what jobs do.
"""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engine.records.best import best_checkpoint
from engine.records.checkpoints import last_checkpoint
from engine.records.cluster_jobs import is_on_cluster, served_runs
from engine.records.errors import RunError, WorkbenchError
from engine.records.events import (
    KEPT,
    Alert,
    ControlEvent,
    Event,
    HeldoutResult,
    StatusEvent,
    StepResult,
    changes_value,
    effective,
    up_to_cancel,
)
from engine.records.files import written_at
from engine.records.installed import differing, versions
from engine.records.runs import ACTIVE, Record, Run, Status, need_trainable
from engine.records.settings import Settings

log = logging.getLogger("workbench.worker")

RECORD_SECONDS = 1.0


class RunBook:
    """The book of one run: `step`, `seconds` and `figures` as they stand, and what a full disk has refused so far."""

    def __init__(self, run: Run, *, watch: Callable[[str, Event], None] | None = None) -> None:
        """watch: is told every event, with the run's id. Raises RunError when the run's record cannot be read."""
        record = run.record()
        self.run = run
        self.watch = watch
        self.step, self.seconds, self.figures = record.step, record.seconds, dict(record.figures)
        self.unsaved: dict[str, Any] = {}
        self._written = 0.0

    def begin(self) -> None:
        """The job's first step is about to be taken, from the last checkpoint or anew: what an earlier life did
        behind it is thrown away, and not only once the model is loaded."""
        record = self.run.record()
        started, rested = record.started or time.time(), rested_by_now(record)
        last = last_checkpoint(self.run)
        known = effective(self.run.events()[0])
        before = known[: up_to_cancel(known)]
        place: dict[str, Any] = {"host": socket.gethostname(), "versions": versions()}
        if not last and (any(one.kind in ("step", "heldout") for one in known) or any(map(changes_value, before))):
            self.figures, self.seconds, started, rested = {}, 0.0, time.time(), 0.0
            place |= {"seconds": 0.0, "elicit_seconds": 0.0}
            with suppress(RunError):
                self.run.append(StatusEvent(status="resumed", step=0, message="Anew: it has no checkpoint"))
        self.step = min(self.step, last)
        place |= {"started": started, "rested": rested, "ended": None}
        self.status("running", step=self.step, figures=self.figures, **place)
        if last and (other := differing(place["versions"], record.versions)):
            self.write(
                Alert(
                    step=last,
                    message=f"It goes on with {other}: its steps may differ from those of a run of one kind.",
                    advice="For one of one kind throughout resume it where those versions are installed.",
                )
            )

    def write(self, event: Event) -> None:
        """Append an event, and carry into the record what it says of the run. Raises RunError on a full disk."""
        if isinstance(event, StatusEvent) and event.status in ("resumed", KEPT):
            if event.status == KEPT:
                self._keep_figures(event.step)
            self.step = event.step
        self.run.append(event)
        if isinstance(event, StepResult):
            self.step = event.step + 1
            self.seconds += event.seconds
            now = time.monotonic()
            if now - self._written > RECORD_SECONDS:
                self._written = now
                self.run.update(step=self.step, seconds=self.seconds)
        elif isinstance(event, HeldoutResult):
            self.figures |= figures_of(event)
            self.run.update(figures=self.figures, step=self.step, seconds=self.seconds)
        self._tell(event)

    def _keep_figures(self, step: int) -> None:
        """What was measured of the validation split is of the weights that are kept: of an earlier step its own, and
        none where they act with another strength from now on."""
        self.figures = {name: value for name, value in self.figures.items() if not name.startswith("validation_")}
        if step != self.step:
            for event in effective(self.run.events()[0]):
                if isinstance(event, HeldoutResult) and event.split == "validation" and event.step == step:
                    self.figures |= figures_of(event)
        self.run.update(figures=self.figures)

    def control(self, event: ControlEvent) -> None:
        """Append a control as it takes effect. Raises RunError on a full disk."""
        self.run.append(event)

    def status(self, status: Status, *, message: str = "", **changes: Any) -> None:
        """Write a status; on a full disk it is kept in mind until `save` can write it."""
        changes = self.unsaved | changes | {"status": status}
        self.unsaved = {}
        event = StatusEvent(status=status, step=self.step, message=message)
        try:
            self.run.append(event)
            self.run.update(**changes)
        except RunError as error:
            log.error("%s", error)
            self.unsaved = changes
        self._tell(event)

    def line_up(self) -> None:
        """In line again: the record alone says so; on a full disk it is kept in mind as with `status`."""
        changes = {"status": "queued", "error": ""}
        try:
            self.run.update(**changes)
        except RunError as error:
            log.error("%s", error)
            self.unsaved |= changes

    @property
    def is_gone(self) -> bool:
        """Whether the run was deleted meanwhile."""
        return not (self.run.folder / "record.json").is_file()

    def end(self, status: Status, *, message: str = "", kept: bool = True) -> None:
        """The last status of a job. kept: what was learned is there; else the run begins anew when it is resumed."""
        changes: dict[str, Any] = {"ended": None if status == "queued" else time.time(), "seconds": self.seconds}
        changes |= {"step": self.step, "figures": self.figures}
        if status in ("failed", "interrupted"):
            changes["error"] = message
        elif not kept:
            changes |= {"step": 0, "figures": {}, "error": "Cancelled: nothing was kept."}
        if status in ("finished", "stopped"):
            changes |= {"best": None, "evaluation": "", "evaluation_error": ""}
            # A spec that cannot be read any more takes nothing from what is written here.
            with suppress(WorkbenchError):
                changes |= self._offers() if kept else {}
        self.status(status, message=message, **changes)

    def _offers(self) -> dict[str, Any]:
        """What is better than what was kept, and whether that is evaluated."""
        events, spec = effective(self.run.events()[0]), self.run.spec()
        # Validation figures are of the strength that was trained at: they say nothing of weights kept at another.
        best = best_checkpoint(events, last=self.step, optimizer=spec.optimizer) if spec.adapter.strength == 1 else None
        return {"best": best, "evaluation": "due" if self.is_evaluated else ""}

    @property
    def is_evaluated(self) -> bool:
        """Whether a small evaluation is to follow by itself."""
        return self.step > 0 and self.run.spec().captures.evaluation_rows > 0

    def fail(self, message: str) -> None:
        """The job broke. Behind the last step nothing that was learned is lost, and the message says so."""
        with suppress(WorkbenchError):
            is_kept = (self.run.adapter_folder / "adapter_config.json").is_file()
            if 0 < self.run.record().steps <= self.step and not is_kept:
                message = f"Training is complete, but was not saved: {message} Resume saves it; no step is taken again."
        self.end("failed", message=message)

    def save(self) -> bool:
        """Write what a full disk has refused so far; whether nothing is left to write."""
        if self.is_gone:
            self.unsaved = {}
        if self.unsaved:
            with suppress(WorkbenchError):
                self.run.update(**self.unsaved)
                self.unsaved = {}
        return not self.unsaved

    def _tell(self, event: Event) -> None:
        if self.watch:
            self.watch(self.run.id, event)


def live_changes(run: Run) -> list[ControlEvent]:
    """What was changed while it trained and holds when it goes on: nothing from before a cancel that kept nothing."""
    events = effective(run.events()[0])
    thrown_away = 0 if last_checkpoint(run) else up_to_cancel(events)
    return [event for event in events[thrown_away:] if isinstance(event, ControlEvent)]


def trainable_status(run: Run, settings: Settings) -> Status:
    """The status of a run that whoever has these settings may train. Raises RunError for any other."""
    if is_on_cluster(run) and not settings.own_desk:
        raise RunError(f"Run {run.id} is on a cluster: its job trains it.")
    return need_trainable(run)


def figures_of(event: HeldoutResult) -> dict[str, float]:
    """As the record keeps them, with the step whose weights they are of."""
    prefix = "heldout" if event.split == "test" else "validation"
    return {f"{prefix}_{name}": value for name, value in event.figures.items()} | {f"{prefix}_step": float(event.step)}


def rested_by_now(record: Record) -> float:
    """Seconds that a run has lain since it began, with those since it ended last."""
    return record.rested + (max(0.0, time.time() - record.ended) if record.started and record.ended else 0.0)


def reconciled(settings: Settings, *, watch: Callable[[str, Event], None] | None = None) -> list[str]:
    """Set right what an earlier worker left: runs under way are interrupted, and watch is told so. Returns the runs
    that are queued, the oldest first."""
    queued: list[tuple[float, str]] = []
    died = "The node or its process died" if settings.own_desk else "The worker died"
    for run in served_runs(settings):
        try:
            record = run.record()
            if run.read_only or record.status not in ACTIVE:
                continue
            if record.status == "queued":
                queued.append((record.created, run.id))
            else:
                event = StatusEvent(status="interrupted", step=record.step, message=died)
                # It ended when it wrote for the last time, and not when that is found.
                ended = written_at(run.folder / "record.json")
                run.append(event)
                run.update(status="interrupted", ended=ended, error=died)
                if watch:
                    watch(run.id, event)
        except WorkbenchError as error:
            log.error("%s", error)
    return [run_id for _, run_id in sorted(queued)]

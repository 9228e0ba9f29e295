"""Through which stages a run goes and how long each takes: read from its events. Knows nothing of files or screens."""

from dataclasses import dataclass, field
from typing import Literal

from engine.records.events import KEPT, AnyEvent, HeldoutResult, Progress, StatusEvent, StepResult

Stage = Literal["load", "answer", "measure", "train", "test"]
STAGES: tuple[Stage, ...] = ("load", "answer", "measure", "train", "test")
_OF_PHASE: dict[str, Stage] = {
    "waiting": "load",
    "converting": "load",
    "fetching": "load",
    "loading": "load",
    "eliciting": "answer",
    "measuring": "measure",
    "testing": "test",
}


@dataclass
class StageClock:
    """Told every event in order. Pauses and the time between two sittings belong to no stage.

    stage: the one under way, or the last one.  going: whether time runs.  at: when the last event was.
    counted: how far the stage is, where it counts; a pause does not take it away.  coarse: nothing says where loading,
    answers and measuring end, as in a run that was packed: all is counted as loading.
    heldout_seconds: what the last measurement of held-out rows took.
    """

    stage: Stage = "load"
    seconds: dict[Stage, float] = field(default_factory=dict)
    going: bool = False
    at: float = 0.0
    counted: Progress | None = None
    coarse: bool = True
    heldout_seconds: float = 0.0
    _paused: bool = False
    _first: tuple[int, float] = (0, 0.0)

    def take(self, event: AnyEvent) -> None:
        gap = max(0.0, event.time - self.at) if self.going else 0.0
        self.at = event.time
        if isinstance(event, StepResult) and self.stage != "train":
            own = min(gap, event.seconds)
            self._spend(gap - own)
            self._enter("train")
            self._spend(own)
        else:
            self._spend(gap)
        if isinstance(event, StatusEvent):
            self._status(event.status)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, HeldoutResult):
            self.heldout_seconds = gap

    def spent(self, stage: Stage, now: float) -> float:
        """Seconds in a stage until now."""
        running = max(0.0, now - self.at) if self.going and stage == self.stage else 0.0
        return self.seconds.get(stage, 0.0) + running

    def left_in_stage(self) -> float | None:
        """Seconds to the end of what the stage counts, at its pace so far; None where nothing tells the pace."""
        if self.counted is None or not self.counted.total:
            return None
        done, seconds = self._first
        taken = self.counted.done - done
        if taken <= 0:
            return None
        return (self.counted.total - self.counted.done) * (self.seconds.get(self.stage, 0.0) - seconds) / taken

    def _status(self, status: str) -> None:
        if status == "running":
            if not self._paused:
                # A new sitting begins from the start, whatever the one before had reached.
                self.stage, self.counted = "load", None
            self.going = True
        elif status not in ("resumed", KEPT):
            self.going = False
        self._paused = status == "paused"

    def _progress(self, event: Progress) -> None:
        stage = _OF_PHASE.get(event.phase)
        if stage is None or STAGES.index(stage) < STAGES.index(self.stage):
            # Something on the way, such as a capture between two steps.
            return
        self.coarse = False
        self._enter(stage)
        if self.counted is None or self.counted.phase != event.phase:
            self._first = (event.done, self.seconds.get(stage, 0.0))
        self.counted = event

    def _enter(self, stage: Stage) -> None:
        if stage != self.stage:
            self.stage, self.counted = stage, None

    def _spend(self, seconds: float) -> None:
        if seconds:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + seconds

"""What jobs yield and runs remember: one small frozen type an event. Knows nothing of files or screens."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from engine.records.conversation import Label
from engine.records.versions import FORMAT, FormatVersion

# What counts something in an event; beyond it a table's numbers end.
Whole = Annotated[int, Field(ge=0, le=2**53)]
PerBlock = dict[Annotated[str, Field(pattern=r"^[0-9]{1,6}$")], float]
Control = Literal["pause", "resume", "first", "stop", "cancel", "alpha", "learning_rate"]
# The status that says what a run keeps where that is not its last step's weights as they were trained.
KEPT = "kept"
# How the alert begins that tells of a run that its bound on drift ended.
STOPPED_BY_DRIFT = "Stopped: benign validation rows drifted"
# Those that change how the run trains on, and carry a value.
VALUE_CONTROLS: tuple[Control, ...] = ("alpha", "learning_rate")


class Event(BaseModel):
    # A figure that is not finite is written as text: JSON has no word for it, and null could not be read back.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    time: float = Field(default_factory=time.time, description="Seconds since the epoch.")


class StepResult(Event):
    """One optimizer step. Losses are before their weights, 0 where they have none; seconds are of this step alone.

    reroute_weight, retain_weight: by the schedule, before the spec's own factors.  answer_loss: divergence of what held
    answers foretell, in nats where loss.answer_temperature is 1, else softened, times its square.  twin_loss: cosine of
    harmful tokens with where their borderline twins lie, above its margin.
    """

    kind: Literal["step"] = "step"
    step: Whole
    reroute_loss: float
    retain_loss: float
    answer_loss: float = 0.0
    twin_loss: float = 0.0
    reroute_weight: float
    retain_weight: float
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens: Whole
    seconds: float


class HeldoutResult(Event):
    """Held-out rows the training never sees. Cosines in the standardised space, per block as text keys.

    cosine: mean over response tokens of harmful rows, base against rerouted activations; 1 = nothing moved, 0 = turned
    away.
    benign_answer_cosine, borderline_answer_cosine: the same over the response tokens of the benign rows that are not
    borderline, and of the borderline rows: what stands beside `cosine`. Empty in what versions before 0.2 wrote.
    benign_cosine: over all tokens of all benign rows, borderline ones too, prompt tokens too.
    drift: mean over these tokens of the distance, divided by the block's mean centred norm.
    """

    kind: Literal["heldout"] = "heldout"
    step: Whole
    split: Literal["validation", "test"]
    cosine: PerBlock
    raw_cosine: PerBlock
    benign_cosine: PerBlock
    benign_answer_cosine: PerBlock = Field(default_factory=dict)
    borderline_answer_cosine: PerBlock = Field(default_factory=dict)
    drift: PerBlock
    borderline_drift: float | None = None
    harmful_rows: int
    benign_rows: int
    borderline_rows: int = 0

    @property
    def mean_cosine(self) -> float:
        return _mean(self.cosine)

    @property
    def mean_drift(self) -> float:
        return _mean(self.drift)

    @property
    def figures(self) -> dict[str, float]:
        """What a run's record says of this measurement, means over the blocks that were measured: the targets for
        cosines of harmful answers, the retain blocks for all else; what was not measured is left out. benign_cosine is
        over answers of plain rows, where the bound on a best checkpoint is over all tokens of all benign rows."""
        figures = {"cosine": self.mean_cosine, "drift": self.mean_drift}
        if self.benign_answer_cosine:
            figures["benign_cosine"] = _mean(self.benign_answer_cosine)
        if self.borderline_answer_cosine:
            figures["borderline_cosine"] = _mean(self.borderline_answer_cosine)
        if self.borderline_drift is not None:
            figures["borderline_drift"] = self.borderline_drift
        return figures


# Label, id and text of a prompt: rows of two files may have one id.
Request = tuple[Label, str, str]


class ProbeAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt_id: str
    label: Label
    prompt: str
    answer: str


class ProbeResult(Event):
    """A few answers of the model as it stands at this step; step 0 is the base model."""

    kind: Literal["probe"] = "probe"
    step: Whole
    answers: tuple[ProbeAnswer, ...]

    @property
    def by_request(self) -> dict[Request, ProbeAnswer]:
        """Each once: runs before held-out rows had no copies asked a row as often as their spec trains on it."""
        return {(one.label, one.prompt_id, one.prompt): one for one in self.answers}


class CheckpointResult(Event):
    kind: Literal["checkpoint"] = "checkpoint"
    step: Whole
    name: str


class CapturedResult(Event):
    """The activations of the probe set were captured after this many steps."""

    kind: Literal["captured"] = "captured"
    step: Whole
    key: str
    seconds: float


class Progress(Event):
    """A phase on the way: loading, eliciting, measuring. `total` 0 means that the end is not known."""

    kind: Literal["progress"] = "progress"
    phase: str
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    elsewhere: bool = Field(
        False, exclude=True, description="The work goes on in another process: no need to hurry back."
    )

    @property
    def share(self) -> float:
        """Of all that is to do, 0 to 1; 0 where the end is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def counted(self) -> str:
        """' 3 of 10 kB' or ' 30 %', with its space; '' where the end is not known."""
        if self.unit == "%":
            return f" {100 * self.share:.0f} %"
        return f" {self.done} of {self.total} {self.unit}".rstrip() if self.total else ""


class Alert(Event):
    """Something the supervisor should see, and what to try."""

    kind: Literal["alert"] = "alert"
    step: Whole
    message: str
    advice: str


class ControlEvent(Event):
    """A control as it took effect: `step` is the first step it holds for."""

    kind: Literal["control"] = "control"
    control: Control
    step: Whole
    value: float | None = None


class NoticeResult(Event):
    """Whether one of those who wait was told of the run, in a sentence without address or token."""

    kind: Literal["notice"] = "notice"
    step: Whole = 0
    target: str
    what: str
    told: bool
    message: str


class StatusEvent(Event):
    kind: Literal["status"] = "status"
    status: str
    step: Whole = 0
    message: str = ""
    version: FormatVersion = Field(FORMAT, description="Of the events that follow.")


AnyEvent = Annotated[
    StepResult
    | HeldoutResult
    | ProbeResult
    | CheckpointResult
    | CapturedResult
    | Progress
    | Alert
    | ControlEvent
    | NoticeResult
    | StatusEvent,
    Field(discriminator="kind"),
]
parse_event: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def effective(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Events with what a resume threw away left out: after `running from step n`, later steps are done anew; where a
    cancelled run begins anew, it does so without the changes that were made before."""
    kept: list[AnyEvent] = []
    for event in events:
        if event.kind == "status" and event.status == "resumed":
            cancelled = 0 if event.step else up_to_cancel(kept)
            left = [old for old in kept[:cancelled] if not changes_value(old)] + kept[cancelled:]
            kept = [old for old in left if _survives(old, event.step)]
        kept.append(event)
    return kept


def up_to_cancel(events: Sequence[AnyEvent]) -> int:
    """How many events there are up to the last cancel, which is one of them; 0 without a cancel."""
    is_cancel = (event.kind == "control" and event.control == "cancel" for event in reversed(events))
    behind = next((number for number, found in enumerate(is_cancel) if found), len(events))
    return len(events) - behind


def changes_value(event: AnyEvent) -> bool:
    return event.kind == "control" and event.control in VALUE_CONTROLS


def _survives(event: AnyEvent, resumed: int) -> bool:
    """Optimizer step n counts from 0, so a resume from n does it anew; a measurement after n steps stands, but
    where the run begins anew altogether."""
    if event.kind == "step":
        return event.step < resumed
    if event.kind in ("heldout", "probe", "checkpoint", "captured", "alert"):
        return 0 < event.step <= resumed or event.step == 0 < resumed
    return True


def _mean(per_block: dict[str, float]) -> float:
    """Not a number where a split has no row of that side."""
    return sum(per_block.values()) / len(per_block) if per_block else math.nan

"""Who is asked in a chat and how tokens are chosen. Knows nothing of models or files."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.records.checkpoints import CheckpointText

MOST_COLUMNS = 4
MOST_DOSE = 1.5
MOST_STEERING = 3.0
# How a direction that tells harmful from benign activations is found: as the axis of a map, or as a probe's.
DirectionKind = Literal["difference", "probe"]
# How far a call is begun for the model: with its function's name, or with all that stands before its arguments.
CallStart = Literal["name", "arguments"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Frozen):
    """How tokens are chosen. temperature 0 takes the likeliest; the same seed gives every column the same draws."""

    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    new_tokens: int = Field(96, ge=1, le=4096)
    seed: int = Field(0, ge=0, lt=2**31)


class Steering(Frozen):
    """A direction that is added, at every token, to what a block gives out. It is found in the base model's activations
    of a capture.

    run_id: whose capture it is, '' where it is of a base model alone.  capture: its key.  strength: in distances
    between the means of harmful and of benign activations; above 0 towards harmful, 0 adds nothing.
    """

    run_id: str = ""
    capture: str
    block: int = Field(ge=0)
    kind: DirectionKind = "difference"
    strength: float = Field(ge=-MOST_STEERING, le=MOST_STEERING)


class Column(Frozen):
    """One model that is asked. dose: how much of its adapter, 1 as trained, 0 none."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    checkpoint: CheckpointText = Field(alias="state")
    dose: float = Field(1.0, ge=0, le=MOST_DOSE)
    steering: Steering | None = Field(None, exclude_if=lambda steering: steering is None)


class ForcedCall(Frozen):
    """Every answer begins with a call of this function, in the words of the model's chat template."""

    name: str = Field(min_length=1)
    start: CallStart = "name"

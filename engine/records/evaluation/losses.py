"""How unlikely targets became, in nats a token, and of how many of them a rise is. Knows nothing of models."""

from pydantic import BaseModel, ConfigDict, Field

from engine.records.evaluation.counts import Side

# From this many nats a token more on, a target counts as lost: the circuit-broken model would hardly write it.
LOST_NATS = 1.0


class LostTargets(BaseModel):
    """Whether a mean rose because few targets are lost or because all drift. lost: of n targets those with a rise of
    LOST_NATS or more.  rest: mean nats a token of the others; None where there is none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n: int
    lost: int
    rest: dict[Side, float | None]


class Losses(BaseModel):
    """Mean nats a token of the targets under each model; None where there was none. targets: None in older files."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: float | None
    rerouted: float | None
    targets: LostTargets | None = Field(None, exclude_if=lambda targets: targets is None)

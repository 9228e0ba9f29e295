"""How a breaker's dose changes what it costs: loss on harmful and benign answers. Kept as a card of the desk."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.records.cards import card_file, write_card
from engine.records.checkpoints import Checkpoint
from engine.records.runs import Run

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class DoseCurve(BaseModel):
    """Mean nats an answer token at each dose, over held-out prompts answered by the base model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    doses: tuple[float, ...]
    harmful: tuple[float, ...]
    benign: tuple[float, ...]
    rows: int


def dose_payload(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    """What is asked about one checkpoint. A run that went on has other weights under the same name, so its step
    counts; so does when it began: one that kept nothing may begin anew.
    """
    record = run.record()
    step = record.step if checkpoint.step is None else checkpoint.step
    return {"state": str(checkpoint), "step": step, "began": record.started}


def write_dose_curve(cards: Path, payload: dict[str, Any], curve: DoseCurve) -> None:
    write_card(cards, "dose_curve", payload, curve)


def read_dose_curve(cards: Path, payload: dict[str, Any]) -> DoseCurve | None:
    try:
        return DoseCurve.model_validate(json.loads(card_file(cards, "dose_curve", payload).read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None

"""Loss against dose for one breaker: the price of more and of less of it, on answers the training never saw."""

import math
from collections.abc import Generator
from statistics import fmean
from typing import Any

from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.device import Tools
from engine.jobs.known_answers import known_rows
from engine.records.chats.doses import DOSES, DoseCurve, write_dose_curve
from engine.records.checkpoints import parse_checkpoint
from engine.records.conversation import Label
from engine.records.errors import ComputeError
from engine.records.events import Event, Progress
from engine.records.runs import open_run

ROWS = 6


def dose_curve_job(payload: dict[str, Any], tools: Tools) -> Generator[Event | None, None, None]:
    """Write the card of one checkpoint's dose curve."""
    checkpoint = parse_checkpoint(payload["state"])
    run = open_run(tools.settings.runs, checkpoint.run_id)
    spec = run.spec()
    model = yield from tools.acquire(spec.model)
    sides: tuple[Label, Label] = ("harmful", "benign")
    rows = {}
    for label in sides:
        rows[label] = yield from known_rows(model, spec, tools.settings, split="test", label=label, limit=ROWS)
        if not rows[label]:
            raise ComputeError(
                f"The base model says nothing to the {label} prompts of the held-out split, so that no loss can be "
                "measured: train a run on other prompts."
            )
    losses: dict[Label, list[float]] = {label: [] for label in sides}
    with tools.still(model, checkpoint) as name:
        for number, dose in enumerate(DOSES):
            yield Progress(phase="measuring", done=number, total=len(DOSES), message="Loss against dose")
            for label in sides:
                contexts = [row.ids[: row.response_start] for row in rows[label]]
                answers = [row.ids[row.response_start :] for row in rows[label]]
                nats = yield from answer_nats(model, contexts, answers, voice=Voice(name, dose))
                losses[label].append(fmean(fmean(row) for row in nats))
    if not all(map(math.isfinite, losses["harmful"] + losses["benign"])):
        raise ComputeError(
            f"At some dose the losses of {checkpoint} are no numbers in {spec.model.dtype}: train and measure it in "
            "bfloat16 or float32."
        )
    curve = DoseCurve(
        doses=DOSES,
        harmful=tuple(losses["harmful"]),
        benign=tuple(losses["benign"]),
        rows=sum(len(found) for found in rows.values()),
    )
    write_dose_curve(tools.settings.cards, payload, curve)
    yield None

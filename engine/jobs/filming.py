"""Captures of the probe set while a run trains: the film that the Representations page plays."""

import time
from collections.abc import Callable, Generator, Sequence

from engine.compute.geometry.film import Film
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import decode
from engine.compute.training.rows import Row
from engine.jobs.capture import described, fitting, in_order
from engine.records.blocks import ResolvedBlocks
from engine.records.captures.capture import (
    AVERAGED,
    BASE,
    TRAINING,
    Averaged,
    CaptureIndex,
    CaptureRequest,
    TokenChoice,
    checkpoint_name,
    checkpoint_step,
    read_capture,
    write_answers,
    write_index,
)
from engine.records.events import CapturedResult, Event
from engine.records.prompts import Prompt
from engine.records.runs import Run
from engine.records.spec import RunSpec

TOKENS: tuple[TokenChoice, ...] = ("last_prompt", "response_mean")


def filming(
    run: Run,
    model: LoadedModel,
    name: str,
    spec: RunSpec,
    blocks: ResolvedBlocks,
    rows: Sequence[Row],
    prompts: Sequence[Prompt],
) -> Callable[[int], Generator[Event | None, None, Event]] | None:
    """What captures the probe set after a number of steps; None where there is nothing to capture.

    The probe set: the first validation rows of each side, half of the benign ones borderline. Captured are the first
    adapted block and all above it: those below are the same in both models.
    """
    chosen = [fitting(model, row) for row in probe_rows(rows, spec.captures.capture_prompts)]
    if not chosen:
        return None
    known = {(prompt.label, prompt.id): prompt for prompt in prompts}
    wanted = tuple(range(blocks.first_adapted, model.card.block_count))
    film = Film(model, chosen, blocks=wanted, entry_block=blocks.first_adapted, tokens=TOKENS)
    folder = run.representations_folder / TRAINING

    def index(checkpoints: set[str], averaged: tuple[Averaged, ...] = AVERAGED) -> CaptureIndex:
        return CaptureIndex(
            run_id=run.id,
            key=TRAINING,
            request=CaptureRequest(
                run_id=run.id, model=spec.model, data=spec.data, splits=("validation",), tokens=TOKENS, seed=spec.seed
            ),
            model=spec.model.name,
            d_model=model.d_model,
            block_count=model.card.block_count,
            blocks=wanted,
            targets=blocks.targets,
            adapted=blocks.adapted,
            tokens=TOKENS,
            averaged=averaged,
            prompts=described([known[row.label, row.prompt_id] for row in chosen], chosen),
            checkpoints=in_order(checkpoints),
            digest=f"{len(checkpoints)}-{max(map(checkpoint_step, checkpoints))}",
        )

    def capture(step: int) -> Generator[Event | None, None, Event]:
        started = time.monotonic()
        if not film.spaces:
            yield from film.prepare()
        before = read_capture(folder)
        # What a resumed run had captured beyond its checkpoint is captured anew when it gets there.
        known = before.index.checkpoints if before else ()
        there = {checkpoint for checkpoint in known if checkpoint_step(checkpoint) <= step}
        if BASE not in there:
            film.write_spaces(folder)
            answers = (decode(model, row.ids[row.response_start :]) for row in chosen)
            write_answers(folder, dict(zip((one.id for one in index({BASE}).prompts), answers, strict=True)))
            yield from film.take(folder, BASE, None)
        if step:
            yield from film.take(folder, checkpoint_name(step), name)
        # Steps that version 0.1 captured before this run was resumed hold what it measured, and so does the film.
        averaged = before.index.averaged if before and there - {BASE} else AVERAGED
        write_index(folder, index({*there, BASE, checkpoint_name(step) if step else BASE}, averaged))
        return CapturedResult(step=step, key=TRAINING, seconds=time.monotonic() - started)

    return capture


def probe_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """The first `count` rows of each side; of the benign ones, half are borderline where there are enough."""
    harmful = [row for row in rows if row.label == "harmful"][:count]
    benign = [row for row in rows if row.label == "benign"]
    borderline = [row for row in benign if row.borderline][: count // 2]
    plain = [row for row in benign if not row.borderline][: count - len(borderline)]
    return harmful + plain + borderline

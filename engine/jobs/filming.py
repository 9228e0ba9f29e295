"""Captures that a run makes by itself: of a few prompts while it trains, the film that the Representations page plays,
and of many at its end, beside a random adapter.
"""

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from engine.compute.geometry.film import Film
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import decode
from engine.compute.training.pairs import Pair, elicit, without_refusals
from engine.compute.training.rows import Row, encode
from engine.compute.training.sources import read_prompts
from engine.jobs.capture import are_same, described, fitting, in_order, sides, take_random, whole, written_now
from engine.records.blocks import ResolvedBlocks, format_blocks, picture_blocks
from engine.records.captures.capture import (
    AVERAGED,
    BASE,
    FINAL,
    RANDOM,
    TRAINING,
    Averaged,
    CaptureIndex,
    CaptureRequest,
    TokenChoice,
    checkpoint_name,
    checkpoint_step,
    write_answers,
    write_index,
)
from engine.records.captures.thumbnails import write_thumbnails
from engine.records.chosen_rows import held_apart
from engine.records.events import CapturedResult, Event
from engine.records.prompts import Prompt, Split, select
from engine.records.runs import Run
from engine.records.spec import RunSpec
from engine.records.spec_parts import DataSpec

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

    prompts: of the rows, in their order: an id may stand for two of them.

    The probe set: the first validation rows of each side, half of the benign ones borderline. Captured are the first
    adapted block and all above it: those below are the same in both models.
    """
    picked = probe_rows(rows, spec.captures.capture_prompts)
    if not picked:
        return None
    place = {id(row): prompt for row, prompt in zip(rows, prompts, strict=True)}
    asked = [place[id(row)] for row in picked]
    chosen = [fitting(model, row) for row in picked]
    wanted = tuple(range(blocks.first_adapted, model.card.block_count))
    film = Film(model, chosen, blocks=wanted, entry_block=blocks.first_adapted, tokens=TOKENS)
    folder = run.representations_folder / TRAINING

    def index(checkpoints: set[str], averaged: tuple[Averaged, ...] = AVERAGED, random: int = 0) -> CaptureIndex:
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
            prompts=described(asked, chosen),
            checkpoints=in_order(checkpoints),
            random=random,
            digest=f"{len(checkpoints)}-{max(map(checkpoint_step, checkpoints))}"
            + (f"-{RANDOM}-{random}" if random else "")
            + f"-{written_now()}",
        )

    def capture(step: int) -> Generator[Event | None, None, Event]:
        started = time.monotonic()
        if not film.spaces:
            yield from film.prepare()
        before, prompts = whole(folder), described(asked, chosen)
        said = (decode(model, row.ids[row.response_start :]) for row in chosen)
        answers = dict(zip((one.id for one in prompts), said, strict=True))
        # Of a run that was packed none are kept.
        if before and not (are_same(before.index.prompts, prompts) and before.answers() in ({}, answers)):
            # A prompt file changed under its name, or answers were made anew: vectors of others are of no use.
            before = None
        # What a resumed run had captured beyond its checkpoint is captured anew when it gets there.
        captured = [one for one in before.index.checkpoints if before.holds(one)] if before else []
        there = {checkpoint for checkpoint in captured if checkpoint_step(checkpoint) <= step}
        if BASE not in there:
            film.write_spaces(folder)
            write_answers(folder, answers)
            write_thumbnails(folder, (shown for prompt in asked for shown in prompt.conversation.pictures))
            yield from film.take(folder, BASE, None)
        if step:
            yield from film.take(folder, checkpoint_name(step), name)
        # The capture at the run's end holds one, of more prompts.
        random = step if step == spec.optimizer.steps and not spec.captures.final_prompts else 0
        if random:
            yield from take_random(film, folder, model, name, seed=spec.seed)
        # Steps that version 0.1 captured before this run was resumed hold what it measured, and so does the film.
        averaged = before.index.averaged if before and there - {BASE} else AVERAGED
        write_index(folder, index({*there, BASE, checkpoint_name(step) if step else BASE}, averaged, random))
        return CapturedResult(step=step, key=TRAINING, seconds=time.monotonic() - started)

    return capture


def final_capture(
    run: Run, model: LoadedModel, name: str, spec: RunSpec, blocks: ResolvedBlocks, answers: Path, *, step: int
) -> Generator[Event | None, None, None]:
    """Capture many held-out prompts of the finished adapter and of a random one at three blocks, once.
    step: whose weights it has."""
    started, folder = time.monotonic(), run.representations_folder / FINAL
    count = spec.captures.final_prompts
    known = whole(folder)
    if not count or (known is not None and known.steps == [step] and known.has_random):
        return
    pairs = yield from elicit(model, _final_prompts(spec), spec.data, answers_folder=answers, seed=spec.seed)
    answered = [(pair, encode(model, pair, spec.data)) for pair in without_refusals(pairs, spec.data, needed=False)]
    limit = model.card.context_length
    rows = [(pair, row) for pair, row in answered if row.response_start < len(row.ids) <= (limit or len(row.ids))]
    place = {id(row): pair for pair, row in rows}
    chosen = probe_rows([row for _, row in rows], count)
    if not chosen:
        return
    wanted = picture_blocks(blocks, model.card.block_count)
    film = Film(model, chosen, blocks=wanted, entry_block=blocks.first_adapted, tokens=TOKENS)
    yield from film.prepare()
    film.write_spaces(folder)
    kept: list[Pair] = [place[id(row)] for row in chosen]
    prompts = described([pair.prompt for pair in kept], chosen)
    write_answers(folder, dict(zip((one.id for one in prompts), (pair.answer for pair in kept), strict=True)))
    write_thumbnails(folder, (shown for pair in kept for shown in pair.prompt.conversation.pictures))
    yield from film.take(folder, BASE, None)
    yield from film.take(folder, checkpoint_name(step), name)
    yield from take_random(film, folder, model, name, seed=spec.seed)
    request = CaptureRequest(
        run_id=run.id,
        steps=(step,),
        model=spec.model,
        data=spec.data,
        splits=("test", "validation"),
        prompts_per_side=count,
        blocks=format_blocks(wanted),
        tokens=TOKENS,
        seed=spec.seed,
    )
    index = CaptureIndex(
        run_id=run.id,
        key=FINAL,
        request=request,
        model=spec.model.name,
        d_model=model.d_model,
        block_count=model.card.block_count,
        blocks=wanted,
        targets=blocks.targets,
        adapted=blocks.adapted,
        tokens=TOKENS,
        averaged=film.averaged,
        prompts=prompts,
        checkpoints=(BASE, checkpoint_name(step)),
        random=step,
        digest=f"{step}-{len(prompts)}-{started:.0f}",
    )
    write_index(folder, index)
    yield CapturedResult(step=step, key=FINAL, seconds=time.monotonic() - started)


def _final_prompts(spec: RunSpec) -> list[Prompt]:
    """The run's held-out prompts, whose answers are known; then, if the spec asks, others of the held-out splits until
    there are enough. The test split goes first: nothing was chosen by it."""
    found: list[Prompt] = []
    more = spec.data.model_copy(update={"heldout_rows": 0})
    for label, source in sides(spec.data):
        everything = held_apart(read_prompts(source, label=label, answer_field=spec.data.answer_field))

        def held_out(data: DataSpec, everything=everything, label=label) -> list[Prompt]:
            splits: tuple[Split, ...] = ("test", "validation")
            there = [split for split in splits if any(prompt.split == split for prompt in everything)]
            return [
                one for split in there for one in select(everything, data, label=label, split=split, seed=spec.seed)
            ]

        side = held_out(spec.data)
        if spec.captures.final_answers == "elicit":
            taken = {id(prompt) for prompt in side}
            others = [prompt for prompt in held_out(more) if id(prompt) not in taken]
            side += others[: max(0, spec.captures.final_prompts - len(side))]
        found += side
    return found


def probe_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """The first `count` rows of each side; of the benign ones, half are borderline where there are enough."""
    harmful = [row for row in rows if row.label == "harmful"][:count]
    benign = [row for row in rows if row.label == "benign"]
    borderline = [row for row in benign if row.borderline][: count // 2]
    plain = [row for row in benign if not row.borderline][: count - len(borderline)]
    return harmful + plain + borderline

"""Capturing activations, and maps, examinations and token views made of them. Knows nothing of the queue or of
screens.
"""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from engine.compute.geometry.film import Film
from engine.compute.model.adapters import random_twin
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.pairs import Pair, elicit, without_refusals
from engine.compute.training.rows import Row, encode, with_requests
from engine.compute.training.sources import reading
from engine.device import Tools
from engine.records.blocks import parse_blocks, resolve_blocks
from engine.records.captures.capture import (
    BASE,
    INDEX_FILE,
    RANDOM,
    Capture,
    CapturedPrompt,
    CaptureIndex,
    CaptureRequest,
    capture_folder,
    checkpoint_name,
    checkpoint_step,
    read_capture,
    write_answers,
    write_index,
)
from engine.records.captures.thumbnails import write_thumbnails
from engine.records.checkpoints import BASE_MODEL, Checkpoint, as_kept
from engine.records.chosen_rows import held_apart
from engine.records.conversation import Label
from engine.records.errors import DataError, RunError
from engine.records.events import Event
from engine.records.prompts import Prompt, Split, select, told_once
from engine.records.runs import Run, open_run
from engine.records.spec_parts import DataSpec

Job = Generator[Event | None, None, None]


def capture_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Capture prompts of the base model and of a run at some steps; what is already there is not captured again."""
    request = CaptureRequest.model_validate(payload)
    model = yield from tools.acquire(request.model)
    run = open_run(tools.settings.runs, request.run_id) if request.run_id else None
    blocks = parse_blocks(request.blocks, model.card.block_count)
    folder = capture_folder(tools.settings, request.run_id, request.key)
    known = whole(folder)
    pairs, rows = yield from _captured_rows(model, request, tools.settings.answers)
    resolved = resolve_blocks(run.spec(), model.card.block_count) if run else None
    film = Film(
        model,
        rows,
        blocks=blocks,
        entry_block=resolved.first_adapted if resolved else 0,
        tokens=request.tokens,
        position=request.position,
        averaged=request.averaged,
    )
    prompts = described([pair.prompt for pair in pairs], rows)
    answers = dict(zip((prompt.id for prompt in prompts), (pair.answer for pair in pairs), strict=True))
    contents = _contents(prompts, answers)
    # What was packed holds no answers: its digest tells.
    is_same = known and (known.answers() == answers or (not known.answers() and contents in known.index.digest))
    if known and not (is_same and are_same(known.index.prompts, prompts)):
        # A prompt file changed under its name: vectors of other prompts are of no use.
        known = None
    # What is torn is captured again.
    there = {checkpoint for checkpoint in known.index.checkpoints if known.holds(checkpoint)} if known else set()
    if BASE not in there:
        known, there = None, set()
    as_trained = set(known.index.as_trained) if known else set()
    # The same step is another adapter once its run has finished.
    stale = {name for name in as_trained if run and checkpoint_step(name) in request.steps and _is_finished(run, name)}
    there -= stale
    missing = [] if BASE in there else [BASE]
    missing += [name for name in map(checkpoint_name, request.steps) if run and name not in there]
    # Whose size a random adapter has that is captured beside the steps: the last one's.
    last = max(request.steps, default=0) if run else 0
    random = known.index.random if known and known.has_random else 0
    random = 0 if checkpoint_name(random) in stale else random
    missing += [RANDOM] if last > random else []
    shown = [picture for pair in pairs for picture in pair.prompt.conversation.pictures]
    if not missing:
        if not (run and run.is_fixed(folder)):
            # Of one that was packed, or whose files could not be read then.
            write_thumbnails(folder, shown)
        return
    if run and run.is_fixed(folder):
        raise RunError(
            f"The capture {request.key} ships with the run {run.name} and stays as it is: choose the steps and prompts "
            "that it holds, or others than its own."
        )
    yield from film.prepare()
    _need_there(run, tools)
    if known is None:
        # What it lists would else be told of vectors of other prompts, should this one break off.
        (folder / INDEX_FILE).unlink(missing_ok=True)
        film.write_spaces(folder)
        write_answers(folder, answers)
        write_thumbnails(folder, shown)
    taken: set[str] = set()
    for name in missing:
        step = last if name == RANDOM else checkpoint_step(name)
        checkpoint = BASE_MODEL if run is None or name == BASE else Checkpoint(run.id, step)
        _need_there(run, tools)
        at_one = run is not None and name not in (BASE, RANDOM) and _is_at_one(run, name)
        # One at a time: a run may have a hundred checkpoints, and an adapter of an 8B model takes 100 MB.
        with tools.still(model, checkpoint) as adapter:
            if name == RANDOM:
                yield from take_random(film, folder, model, adapter, seed=request.seed)
                random = last
            else:
                yield from film.take(folder, name, adapter)
                there.add(name)
                taken.add(name)
                as_trained = as_trained | {name} if at_one else as_trained - {name}
        _need_there(run, tools)
        meanwhile = whole(folder)
        if meanwhile and contents in meanwhile.index.digest and are_same(meanwhile.index.prompts, prompts):
            # Of other steps of this capture, by a job that took its turns between.
            there |= {step for step in meanwhile.index.checkpoints if meanwhile.holds(step)}
            random = random or meanwhile.index.random
            as_trained |= set(meanwhile.index.as_trained) - taken
        # After each, so that a capture that breaks off keeps what it has.
        write_index(
            folder,
            CaptureIndex(
                run_id=request.run_id,
                key=request.key,
                request=request,
                model=request.model.name,
                d_model=model.d_model,
                block_count=model.card.block_count,
                blocks=blocks,
                targets=resolved.targets if resolved else (),
                adapted=resolved.adapted if resolved else (),
                tokens=request.tokens,
                position=request.position,
                averaged=request.averaged,
                prompts=prompts,
                checkpoints=in_order(there),
                random=random,
                as_trained=in_order(as_trained),
                digest=f"{len(there)}-{max(map(checkpoint_step, there))}-{contents}"
                + (f"-{RANDOM}-{random}" if random else "")
                + f"-{written_now()}",
            ),
        )


def take_random(
    film: Film, folder: Path, model: LoadedModel, adapter: str | None, *, seed: int
) -> Generator[Event, None, None]:
    """The film's rows under a random adapter of the size of this one: what nothing looks like."""
    assert adapter is not None
    with random_twin(model, adapter, seed=seed) as twin:
        yield from film.take(folder, RANDOM, twin)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of checkpoints as captures list them: the base model, then by step."""
    return tuple(sorted(names, key=lambda name: (name != BASE, checkpoint_step(name))))


def written_now() -> str:
    """Of a digest the part that no other writing has: vectors of a life that was thrown away are not those that follow,
    though they are of the same steps."""
    return secrets.token_hex(3)


def _contents(prompts: tuple[CapturedPrompt, ...], answers: dict[str, str]) -> str:
    """Tells captures of other texts apart, whatever their files are called."""
    content = json.dumps([[prompt.text, answers[prompt.id], *prompt.pictures] for prompt in prompts])
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def are_same(before: tuple[CapturedPrompt, ...], now: tuple[CapturedPrompt, ...]) -> bool:
    """An older capture does not know the keys of whole conversations."""
    return len(before) == len(now) and all(
        one == (other if one.key else other.model_copy(update={"key": ""}))
        for one, other in zip(before, now, strict=True)
    )


def whole(folder: Path) -> Capture | None:
    """What was captured before; None where there is nothing, or nothing that can be read."""
    try:
        return read_capture(folder)
    except RunError:
        return None


def described(prompts: list[Prompt], rows: list[Row]) -> tuple[CapturedPrompt, ...]:
    """What the screen shows of captured prompts, in the order of their vectors. An id that stands for two prompts (both
    files may count from 1) is told apart by a number."""
    seen: Counter[str] = Counter()

    def name(prompt: Prompt) -> str:
        seen[prompt.id] += 1
        return prompt.id if seen[prompt.id] == 1 else f"{prompt.id} ({seen[prompt.id]})"

    return tuple(
        CapturedPrompt(
            id=name(prompt),
            label=prompt.label,
            borderline=prompt.borderline,
            category=prompt.category,
            style=prompt.style,
            split=prompt.split,
            text=prompt.text,
            pictures=prompt.conversation.picture_keys,
            key=prompt.conversation.key,
            prompt_tokens=row.response_start,
            response_tokens=len(row.ids) - row.response_start,
        )
        for prompt, row in zip(prompts, rows, strict=True)
    )


def _captured_rows(
    model: LoadedModel, request: CaptureRequest, answers: Path
) -> Generator[Event, None, tuple[list[Pair], list[Row]]]:
    """Prompts of both sides with their answers, as many of each side as asked, spread over the splits."""
    # Row limits of the run are about training; here the request's own limit holds.
    data = request.data.model_copy(update={"circuit_breaker_rows": 0, "retain_rows": 0, "heldout_rows": 0})
    prompts: list[Prompt] = []
    for label, source in sides(data):
        everything = held_apart((yield from reading(source, label=label, answer_field=data.answer_field)))
        found = [_of_split(everything, data, label, split, request.seed) for split in request.splits]
        share = -(-request.prompts_per_side // len(request.splits))
        # Where a split has fewer, the others stand in.
        side = [prompt for rank in (slice(share), slice(share, None)) for part in found for prompt in part[rank]]
        if not side:
            raise DataError(f"No {label} prompt is in the splits {', '.join(request.splits)}: choose other splits.")
        prompts += side[: request.prompts_per_side]
    pairs = yield from elicit(model, prompts, data, answers_folder=answers, seed=request.seed)
    # One label by itself: where the base model refused all harmful ones, that is what is told.
    kept = [one for label, _ in sides(data) for one in without_refusals(_of_label(pairs, label), data)]
    shown = with_requests(data)
    return kept, [fitting(model, encode(model, pair, shown, within_context=False)) for pair in kept]


def _is_at_one(run: Run, name: str) -> bool:
    """Whether a step is read as it was trained, of a run whose finished adapter is stronger or weaker."""
    return run.spec().adapter.strength != 1 and not _is_finished(run, name)


def _is_finished(run: Run, name: str) -> bool:
    return as_kept(run, Checkpoint(run.id, checkpoint_step(name))).step is None


def _need_there(run: Run | None, tools: Tools) -> None:
    """Raises RunError where the run was deleted meanwhile: what is written then would be found by nobody."""
    if run is not None:
        open_run(tools.settings.runs, run.id)


def _of_label(pairs: list[Pair], label: Label) -> list[Pair]:
    return [pair for pair in pairs if pair.prompt.label == label]


def _of_split(prompts: list[Prompt], data: DataSpec, label: Label, split: Split, seed: int) -> list[Prompt]:
    if not any(prompt.split == split for prompt in prompts):
        return []
    return select(told_once(prompts), data, label=label, split=split, seed=seed)


def fitting(model: LoadedModel, row: Row) -> Row:
    """Raises DataError for a row that the model cannot read in one go."""
    limit = model.card.context_length
    if limit and len(row.ids) > limit:
        raise DataError(
            f"Prompt {row.prompt_id} has {len(row.ids)} tokens with its answer, {len(row.ids) - limit} more than "
            f"{model.spec.name} can read ({limit}): shorten it, or lower max_tokens."
        )
    return row


def sides(data: DataSpec) -> list[tuple[Label, str]]:
    """Both labels with the source of their prompts."""
    return [("harmful", data.circuit_breaker), ("benign", data.retain)]

"""Capturing states, and maps, examinations and token views made of them. Knows nothing of the queue or of screens."""

import hashlib
import json
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from engine.child import in_child
from engine.compute.captures import Film, compare_tokens
from engine.compute.datasets import read_prompts
from engine.compute.elicitation import Pair, Row, elicit, encode, without_refusals
from engine.compute.models import LoadedModel
from engine.compute.reroute import BlockSpace
from engine.device import Tools
from engine.records.captures.capture import (
    BASE,
    Capture,
    CapturedPrompt,
    CaptureIndex,
    CaptureRequest,
    capture_folder,
    read_capture,
    state_name,
    state_step,
    write_answers,
    write_index,
)
from engine.records.captures.projections import (
    ExaminationRequest,
    ProjectionRequest,
    TokenRequest,
    TokenView,
    projection_file,
    token_file,
)
from engine.records.conversation import Label
from engine.records.errors import ComputeError, DataError, RunError
from engine.records.events import Event
from engine.records.files import write_whole
from engine.records.model_states import ModelState
from engine.records.prompts import Prompt, Split, select
from engine.records.runs import Run, open_run
from engine.records.spec import DataSpec, parse_blocks, resolve_blocks

Job = Generator[Event | None, None, None]


def warm_projection_job(_payload: dict[str, Any], _tools: Tools) -> Job:
    """Start the process that fits maps, so that the first map does not wait for its libraries."""
    yield from in_child("engine.child.warm", phase="warming", message="Loading the libraries for maps")


def capture_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Capture prompts of the base model and of a run at some steps; what is already there is not captured again."""
    request = CaptureRequest.model_validate(payload)
    model = yield from tools.acquire(request.model)
    run = open_run(tools.settings.runs, request.run_id) if request.run_id else None
    blocks = parse_blocks(request.blocks, model.card.block_count)
    folder = capture_folder(tools.settings, request.run_id, request.key)
    known = _whole(folder)
    pairs, rows = yield from _captured_rows(model, request, tools.settings.answers)
    resolved = resolve_blocks(run.spec(), model.card.block_count) if run else None
    film = Film(
        model,
        rows,
        blocks=blocks,
        entry_block=resolved.first_adapted if resolved else 0,
        tokens=request.tokens,
        position=request.position,
    )
    prompts = described([pair.prompt for pair in pairs], rows)
    answers = dict(zip((prompt.id for prompt in prompts), (pair.answer for pair in pairs), strict=True))
    if known and (known.index.prompts != prompts or known.answers() != answers):
        # A prompt file changed under its name: vectors of other prompts are of no use.
        known = None
    # What is torn is captured again.
    there = {state for state in known.index.states if known.holds(state)} if known else set()
    if BASE not in there:
        known, there = None, set()
    with ExitStack() as stack:
        wanted: dict[str, str | None] = {} if BASE in there else {BASE: None}
        for step in request.steps:
            if run and state_name(step) not in there:
                state = state_of(run, step)
                wanted[state_name(step)] = stack.enter_context(tools.attached(model, state))
        if not wanted:
            return
        yield from film.prepare()
        if known is None:
            film.write_spaces(folder)
            write_answers(folder, answers)
        yield from film.take(folder, wanted)
    states = {*there, *wanted}
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
            prompts=prompts,
            states=tuple(sorted(states, key=lambda state: (state != BASE, state_step(state)))),
            digest=f"{len(states)}-{max(map(state_step, states))}-{_contents(prompts, answers)}",
        ),
    )


def _contents(prompts: tuple[CapturedPrompt, ...], answers: dict[str, str]) -> str:
    """Tells captures of other texts apart, whatever their files are called."""
    content = json.dumps([[prompt.text, answers[prompt.id]] for prompt in prompts])
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def _whole(folder: Path) -> Capture | None:
    """What was captured before; None where there is nothing, or nothing that can be read."""
    try:
        return read_capture(folder)
    except RunError:
        return None


def project_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Make one map, in a process of its own."""
    request = ProjectionRequest.model_validate(payload)
    folder = capture_folder(tools.settings, request.run_id, request.key)
    progress = _progress_file(tools, projection_file(_known(folder), request))
    yield from _in_child("make_map", folder, request, progress, phase="projecting")


def examine_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Examine every block, in a process of its own."""
    request = ExaminationRequest.model_validate(payload)
    folder = capture_folder(tools.settings, request.run_id, request.key)
    progress = _progress_file(tools, folder / f"examine-{request.state}")
    yield from _in_child("examine", folder, request, progress, phase="examining")


def tokens_job(payload: dict[str, Any], tools: Tools) -> Job:
    """One prompt and answer, token by token, under both models."""
    request = TokenRequest.model_validate(payload)
    folder = capture_folder(tools.settings, request.run_id, request.key)
    capture = _known(folder)
    asked = capture.index.request
    model = yield from tools.acquire(asked.model)
    row = yield from _one_row(model, capture, request.prompt_id, tools.settings.answers)
    run = open_run(tools.settings.runs, request.run_id)
    blocks, spaces = capture.index.blocks, _spaces(folder, capture.index.blocks, model.device)
    with tools.attached(model, state_of(run, state_step(request.state))) as adapter:
        if adapter is None:
            raise ComputeError("The base model is compared with itself here: choose a step of the run.")
        cosine, before, after = compare_tokens(model, row, adapter, blocks, spaces)
    yield None
    targets = [blocks.index(block) for block in capture.index.targets if block in blocks] or [len(blocks) - 1]
    level = cosine[:, targets].mean(-1)
    tripped = [place for place in range(row.response_start, len(row.ids)) if float(level[place]) < request.threshold]
    view = TokenView(
        prompt_id=request.prompt_id,
        tokens=tuple(str(model.tokenizer.decode([token])) for token in row.ids),
        response_start=row.response_start,
        blocks=blocks,
        cosine=_rounded(cosine),
        base_norm=_rounded(before),
        rerouted_norm=_rounded(after),
        trip=tripped[0] if tripped else None,
    )
    write_whole(token_file(capture, request), view.model_dump_json())


def state_of(run: Run, step: int) -> ModelState:
    """The checkpoint of a step, or the finished adapter when the step is the run's last one."""
    finished = step == run.record().step and not run.checkpoint_folder(step).is_dir()
    return ModelState(run.id, None if finished else step)


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
    for label, source in _sides(data):
        everything = read_prompts(source, label=label, answer_field=data.answer_field)
        found = [_of_split(everything, data, label, split, request.seed) for split in request.splits]
        share = -(-request.prompts_per_side // len(request.splits))
        side = [prompt for part in found for prompt in part[:share]]
        if not side:
            raise DataError(f"No {label} prompt is in the splits {', '.join(request.splits)}: choose other splits.")
        prompts += side[: request.prompts_per_side]
    pairs = yield from elicit(model, prompts, data, answers_folder=answers, seed=request.seed)
    kept = without_refusals(pairs, data)
    return kept, [fitting(model, encode(model, pair, data)) for pair in kept]


def _of_split(prompts: list[Prompt], data: DataSpec, label: Label, split: Split, seed: int) -> list[Prompt]:
    if not any(prompt.split == split for prompt in prompts):
        return []
    return select(prompts, data, label=label, split=split, seed=seed)


def fitting(model: LoadedModel, row: Row) -> Row:
    """Raises DataError for a row that the model cannot read in one go."""
    limit = model.card.context_length
    if limit and len(row.ids) > limit:
        raise DataError(
            f"Prompt {row.prompt_id} has {len(row.ids)} tokens with its answer, {len(row.ids) - limit} more than "
            f"{model.spec.name} can read ({limit}): shorten it, or lower max_tokens."
        )
    return row


def _one_row(model: LoadedModel, capture: Capture, prompt_id: str, answers: Path) -> Generator[Event, None, Row]:
    data = capture.index.request.data
    captured = next((one for one in capture.index.prompts if one.id == prompt_id), None)
    for label, source in _sides(data):
        for prompt in read_prompts(source, label=label, answer_field=data.answer_field):
            if captured and (prompt.label, prompt.text) == (captured.label, captured.text):
                seed = capture.index.request.seed
                pairs = yield from elicit(model, [prompt], data, answers_folder=answers, seed=seed)
                return encode(model, pairs[0] if pairs else Pair(prompt, ""), data)
    raise DataError(f"Prompt {prompt_id} is no longer in the prompt sets: capture them again.")


def _known(folder: Path) -> Capture:
    capture = read_capture(folder)
    if capture is None:
        raise ComputeError(f"There is no capture in {folder}: capture the prompts first.")
    return capture


def _spaces(folder: Path, blocks: tuple[int, ...], device: torch.device) -> dict[int, BlockSpace]:
    tensors = load_file(folder / "spaces.safetensors", device=str(device))
    return {
        block: BlockSpace(
            tensors[f"mean/{block}"], tensors[f"deviation/{block}"], float(tensors[f"centred_norm/{block}"])
        )
        for block in blocks
    }


def _in_child(
    function: str, folder: Path, request: ProjectionRequest | ExaminationRequest, progress: Path, *, phase: str
) -> Job:
    name = f"engine.compute.maps.{function}"
    yield from in_child(name, folder, request, progress, phase=phase, message="Reading states", progress=progress)


def _progress_file(tools: Tools, result: Path) -> Path:
    return tools.settings.desk / "progress" / result.stem


def _rounded(values: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 4) for value in row) for row in values.tolist())


def _sides(data: DataSpec) -> list[tuple[Label, str]]:
    return [("harmful", data.circuit_breaker), ("benign", data.retain)]

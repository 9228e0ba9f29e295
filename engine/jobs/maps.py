"""Maps, examinations and token views of captures. Knows nothing of the queue or of screens."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from engine.child import in_child
from engine.compute.geometry.film import compare_tokens
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import token_text
from engine.compute.training.pairs import Pair, elicit
from engine.compute.training.reroute import BlockSpace
from engine.compute.training.rows import Row, encode, with_requests
from engine.compute.training.sources import reading
from engine.device import Tools
from engine.jobs.capture import Job, sides
from engine.records.captures.capture import Capture, CapturedPrompt, capture_folder, checkpoint_step, read_capture
from engine.records.captures.projections import (
    ExaminationRequest,
    ProjectionRequest,
    TokenRequest,
    TokenView,
    examination_file,
    projection_file,
    token_file,
)
from engine.records.checkpoints import Checkpoint
from engine.records.errors import ComputeError, DataError
from engine.records.events import Event
from engine.records.files import write_whole
from engine.records.prompts import Prompt
from engine.records.runs import open_run

LOADING = "loading the map libraries (about 8 s the first time)"


def warm_projection_job(_payload: dict[str, Any], _tools: Tools) -> Job:
    """Start the process that fits maps, so that the first map does not wait for its libraries."""
    yield from in_child("engine.child.warm", phase="warming", message=LOADING)


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
    # Of two captures, or two choices of tokens, each has its own.
    progress = _progress_file(tools, examination_file(_known(folder), request))
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
    with tools.still(model, Checkpoint(run.id, checkpoint_step(request.checkpoint))) as adapter:
        if adapter is None:
            raise ComputeError("The base model is compared with itself here: choose a step of the run.")
        cosine, before, after = compare_tokens(model, row, adapter, blocks, spaces)
    yield None
    targets = [blocks.index(block) for block in capture.index.targets if block in blocks] or [len(blocks) - 1]
    level = cosine[:, targets].mean(-1)
    tripped = [place for place in range(row.response_start, len(row.ids)) if float(level[place]) < request.threshold]
    view = TokenView(
        prompt_id=request.prompt_id,
        tokens=tuple(token_text(model, token) for token in row.ids),
        response_start=row.response_start,
        blocks=blocks,
        cosine=_rounded(cosine),
        base_norm=_rounded(before),
        rerouted_norm=_rounded(after),
        trip=tripped[0] if tripped else None,
    )
    write_whole(token_file(capture, request), view.model_dump_json())


def _one_row(model: LoadedModel, capture: Capture, prompt_id: str, answers: Path) -> Generator[Event, None, Row]:
    """As it was captured, with the request that training may have hidden. Of equal requests with answers of their own
    the one whose answer was captured."""
    data, said = capture.index.request.data, capture.answers().get(prompt_id)
    captured = next((one for one in capture.index.prompts if one.id == prompt_id), None)
    found: Pair | None = None
    for label, source in sides(data):
        prompts = yield from reading(source, label=label, answer_field=data.answer_field)
        for prompt in prompts:
            if captured and _is_it(prompt, captured):
                seed = capture.index.request.seed
                pairs = yield from elicit(model, [prompt], data, answers_folder=answers, seed=seed)
                pair = pairs[0] if pairs else Pair(prompt, "")
                found = pair if found is None or pair.answer == said else found
                if said in (None, pair.answer):
                    break
    if found is not None:
        return encode(model, found, with_requests(data), within_context=False)
    raise DataError(f"Prompt {prompt_id} is no longer in the prompt sets: capture them again.")


def _is_it(prompt: Prompt, captured: CapturedPrompt) -> bool:
    """By the whole conversation, where the capture knows it: two may end in one request."""
    if captured.key:
        return (prompt.label, prompt.conversation.key) == (captured.label, captured.key)
    keys = prompt.conversation.picture_keys
    return (prompt.label, prompt.text, keys) == (captured.label, captured.text, captured.pictures)


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
    name = f"engine.compute.geometry.maps.{function}"
    yield from in_child(name, folder, request, progress, phase=phase, message=LOADING, progress=progress)


def _progress_file(tools: Tools, result: Path) -> Path:
    return tools.settings.desk / "progress" / result.stem


def _rounded(values: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 4) for value in row) for row in values.tolist())

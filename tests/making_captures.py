"""Capture folders as the worker writes them, with random states, for tests that need no model. No fixtures."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.records.captures.capture import (
    BASE,
    MEASURES,
    Averaged,
    Capture,
    CapturedPrompt,
    CaptureIndex,
    CaptureRequest,
    TokenChoice,
    checkpoint_name,
    read_capture,
    write_answers,
    write_index,
)
from engine.records.captures.projections import MapFigures, ProjectionRequest, projection_file
from engine.records.captures.shards import shards


def write_capture(
    folder: Path,
    *,
    harmful: int = 6,
    benign: int = 6,
    steps: tuple[int, ...] = (10, 20),
    blocks: tuple[int, ...] = (0, 1, 2),
    tokens: tuple[TokenChoice, ...] = ("last_prompt", "response_mean"),
    run_id: str = "",
    key: str = "made",
    seed: int = 0,
    averaged: tuple[Averaged, ...] = (),
    targets: tuple[int, ...] | None = None,
    width: int = 8,
) -> Capture:
    """A capture whose harmful prompts turn away from step to step and whose benign ones stay.

    The cosine of a harmful prompt at a block is 1 - step / 100, of a benign one 1. Every third benign prompt is
    borderline. Choice 'every' has two tokens a prompt.

    averaged: over other tokens than answers, prompts moved half as far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [_prompt("harmful", index) for index in range(harmful)]
    prompts += [_prompt("benign", index) for index in range(benign)]
    generator = np.random.default_rng(seed)
    count = len(prompts)
    is_harmful = np.array([prompt.label == "harmful" for prompt in prompts])
    base = {block: generator.normal(size=(count, width)).astype(np.float32) for block in blocks}
    for block in blocks:
        base[block][is_harmful] += 2
    states = [BASE, *map(checkpoint_name, steps)]
    for step in (0, *steps):
        columns: dict[str, np.ndarray] = {}
        for block in blocks:
            moved = base[block] - (step / 10 * is_harmful)[:, None].astype(np.float32)
            for choice in tokens:
                columns[f"{choice}/{block}"] = np.repeat(moved, 2, axis=0) if choice == "every" else moved
            if step:
                cosine = np.where(is_harmful, 1 - step / 100, 1.0)
                columns |= {
                    f"cosine/{block}": cosine,
                    f"raw_cosine/{block}": cosine,
                    f"drift/{block}": np.where(is_harmful, step / 50, 0.05),
                    f"norm_ratio/{block}": np.where(is_harmful, 0.8, 1.0),
                }
                for name in averaged:
                    moved_by = cosine if name == "answer" else (1 + cosine) / 2
                    columns |= {f"{name}/{measure}/{block}": moved_by for measure in MEASURES}
        if "every" in tokens:
            columns["lengths"] = np.full(count, 2)
        for number, part in enumerate(shards([2**17] * count)):
            tokens_part = slice(part.start * 2, part.stop * 2)
            save_file(
                {
                    name: np.ascontiguousarray(values[tokens_part if name.startswith("every/") else part])
                    for name, values in columns.items()
                },
                folder / f"{BASE if step == 0 else checkpoint_name(step)}.{number:03d}.safetensors",
            )
    spaces = {f"mean/{block}": base[block].mean(0) for block in blocks}
    spaces |= {f"deviation/{block}": base[block].std(0) for block in blocks}
    save_file(spaces, folder / "spaces.safetensors")
    write_answers(folder, {prompt.id: f"answer of {prompt.id}" for prompt in prompts})
    write_index(
        folder,
        CaptureIndex(
            run_id=run_id,
            key=key,
            request=CaptureRequest(run_id=run_id),
            model="made/model",
            d_model=width,
            block_count=len(blocks),
            blocks=blocks,
            targets=blocks[1:2] if targets is None else targets,
            adapted=blocks[:2],
            tokens=tokens,
            averaged=averaged,
            prompts=tuple(prompts),
            states=tuple(states),
            digest=str(len(states)),
        ),
    )
    capture = read_capture(folder)
    assert capture is not None
    return capture


def write_map(capture: Capture, request: ProjectionRequest, figures: MapFigures) -> None:
    """A map whose coordinates are the first dimensions of the vectors."""
    points = {
        state: capture.vectors(state, request.tokens, request.block)[:, : request.dimensions]
        for state in capture.index.checkpoints
    }
    about = {
        "states": list(points),
        "figures": {state: figures.model_dump(mode="json") for state in points},
        "explained": [0.5, 0.25, 0.1][: request.dimensions],
        "axes": ["component 1", "component 2", "component 3"][: request.dimensions],
        "notes": [],
    }
    file = projection_file(capture, request)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(found) for name, found in points.items()}, file, {"about": json.dumps(about)})


def _prompt(label: str, index: int) -> CapturedPrompt:
    return CapturedPrompt(
        id=f"{label}-{index}",
        label=label,  # type: ignore[arg-type]
        borderline=label == "benign" and index % 3 == 0,
        category=f"category {index % 2}",
        split=("validation", "test")[index % 2],  # type: ignore[arg-type]
        text=f"{label} request number {index}",
        prompt_tokens=5,
        response_tokens=3,
    )

"""Maps and examinations of a capture folder: read vectors, compute, write the result beside them.

Runs in a process without torch. Knows captures on disk; nothing of models or queues.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

from engine.compute.geometry.projection import movement_plane, project
from engine.compute.geometry.separation import Groups, Mask, Vectors, centroid_distance, probe_auc, top_energy
from engine.records.blocks import format_blocks
from engine.records.captures.capture import BASE, RANDOM, Capture, TokenChoice, read_capture
from engine.records.captures.projections import (
    RANDOM_BASE,
    BlockExamination,
    Examination,
    ExaminationRequest,
    ProjectionRequest,
    examination_file,
    projection_file,
)
from engine.records.errors import ComputeError
from engine.records.files import write_whole

NEARLY = 0.01
SINK_NOTE = "The first token of each prompt, an attention sink far from all others, has no place on the map."


class Suggestion(NamedTuple):
    """Where to intervene, as block lists, and why."""

    targets: str
    adapted: str
    reason: str


def make_map(folder: Path, request: ProjectionRequest, progress: Path | None = None) -> Path:
    """Write the map and return its file. Raises ComputeError when the capture cannot carry it."""
    capture = _capture(folder)
    block = _block(capture, request.block)
    groups, kept = _groups(capture, request.tokens), _kept(capture, request.tokens)
    wanted = set(request.checkpoints) or set(capture.index.checkpoints)

    def read(checkpoint: str) -> Vectors:
        return _in_space(capture, capture.vectors(checkpoint, request.tokens, block)[kept], block, request.space)

    vectors = {checkpoint: read(checkpoint) for checkpoint in capture.index.checkpoints if checkpoint in wanted}
    try:
        made = project(
            vectors,
            groups,
            method=request.method,
            dimensions=request.dimensions,
            seed=request.seed,
            say=lambda phase: None if progress is None else _say(progress, phase),
        )
    except ValueError as error:
        raise ComputeError(
            f"This map cannot be drawn: {error}. Capture other prompts or choose another block."
        ) from error
    found_points = dict(made.points)
    if request.method == "movement" and capture.has_random:
        # The same making for the random adapter: a plane of its own, on the same prompts.
        own = {BASE: vectors[BASE], RANDOM: read(RANDOM)}
        plane, _, _ = movement_plane(own, groups, dimensions=request.dimensions, seed=request.seed)
        found_points |= {RANDOM: plane[RANDOM], RANDOM_BASE: plane[BASE]}
    about = {
        "states": list(found_points),
        "figures": {checkpoint: figures.model_dump(mode="json") for checkpoint, figures in made.figures.items()},
        "explained": made.explained,
        "axes": made.axes,
        "notes": [*made.notes, *([SINK_NOTE] if not kept.all() else [])],
        "fitted": made.fitted is not None,
    }
    file = projection_file(capture, request)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    points = {
        checkpoint: np.full((len(kept), found.shape[1]), np.nan, found.dtype)
        for checkpoint, found in found_points.items()
    }
    for checkpoint, found in found_points.items():
        points[checkpoint][kept] = found
    if made.fitted is not None:
        points["fitted"] = np.zeros(len(kept), np.uint8)
        points["fitted"][kept] = made.fitted
    save_file(points, temporary, metadata={"about": json.dumps(about)})
    temporary.replace(file)
    return file


def examine(folder: Path, request: ExaminationRequest, progress: Path | None = None) -> Path:
    """Write figures of every captured block and return their file. Raises ComputeError without a capture."""
    capture = _capture(folder)
    groups, kept = _groups(capture, request.tokens), _kept(capture, request.tokens)
    found = []
    for number, block in enumerate(capture.index.blocks):
        if progress is not None:
            _say(progress, f"block {number + 1} of {len(capture.index.blocks)}")
        base = capture.vectors(BASE, request.tokens, block)[kept]
        after = capture.vectors(request.checkpoint, request.tokens, block)[kept] if request.checkpoint != BASE else None
        found.append(_examined(block, base, after, groups, request.seed))
    suggestion = suggest(found, capture.index.block_count)
    file = examination_file(capture, request)
    write_whole(file, Examination(blocks=tuple(found), **suggestion._asdict()).model_dump_json(indent=1))
    return file


def suggest(found: list[BlockExamination], block_count: int) -> Suggestion:
    """The lowest block beyond 40 % of the depth that tells harmful from borderline prompts nearly as well as any, with
    adapters on it and the quarter of the depth below it.

    Deeper targets broke harm at less cost here (docs/decisions/0005); beyond three quarters of the depth too few blocks
    are left for the change to act on.
    """
    depth = [(one, one.block / max(1, block_count - 1)) for one in found]
    inside = [one for one, share in depth if 0.4 <= share <= 0.76] or found
    scored = [(one, _score(one)) for one in inside]
    known = [(one, score) for one, score in scored if score is not None and np.isfinite(score)]
    if not known:
        middle = round(0.64 * (block_count - 1))
        first = max(0, middle - round(0.25 * block_count))
        return Suggestion(
            str(middle),
            format_blocks(range_of(first, middle)),
            f"Too few prompts to compare blocks: block {middle}, at two thirds of the depth, is only a rule of thumb.",
        )
    best, top = max(known, key=lambda pair: pair[1])
    chosen, score = next((one, score) for one, score in known if score >= top - NEARLY)
    first = max(0, chosen.block - round(0.25 * block_count))
    what = "borderline" if chosen.auc_borderline is not None else "benign"
    compared = "the best there is" if chosen.block == best.block else f"the best is {top:.2f} at block {best.block}"
    return Suggestion(
        str(chosen.block),
        format_blocks(range_of(first, chosen.block)),
        f"A linear probe tells harmful from {what} prompts at block {chosen.block} with a held-out AUC of {score:.2f} "
        f"({compared}). It is the lowest such block between 40 and 76 % of the depth; adapters on the "
        f"{chosen.block - first + 1} blocks up to it can turn it away.",
    )


def range_of(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def _score(one: BlockExamination) -> float | None:
    return one.auc if one.auc_borderline is None else one.auc_borderline


def _examined(block: int, base: Vectors, after: Vectors | None, groups: Groups, seed: int) -> BlockExamination:
    aucs = {"auc": groups.plain, "auc_borderline": groups.borderline}

    def probed(vectors: Vectors, others: Mask) -> float | None:
        return probe_auc(vectors, groups.harmful, others, seed=seed, prompt=groups.prompt)

    found = {name: probed(base, others) for name, others in aucs.items()}
    if after is not None:
        found |= {f"{name}_after": probed(after, others) for name, others in aucs.items()}
    return BlockExamination(
        block=block,
        distance=centroid_distance(base, groups.harmful, groups.plain),
        top_energy=top_energy(base),
        **found,
    )


def _capture(folder: Path) -> Capture:
    capture = read_capture(folder)
    if capture is None:
        raise ComputeError(f"There is no capture in {folder}: capture the prompts first.")
    return capture


def _block(capture: Capture, block: int) -> int:
    if block not in capture.index.blocks:
        there = format_blocks(list(capture.index.blocks))
        raise ComputeError(f"Block {block} was not captured: choose from {there}, or capture it.")
    return block


def _groups(capture: Capture, tokens: TokenChoice) -> Groups:
    prompts = capture.index.prompts
    harmful = np.array([prompt.label == "harmful" for prompt in prompts], dtype=bool)
    borderline = np.array([prompt.borderline for prompt in prompts], dtype=bool) & ~harmful
    groups = Groups(harmful, ~harmful, borderline)
    if tokens != "every":
        return groups
    lengths = np.diff(capture.token_offsets(BASE))
    owners = np.repeat(np.arange(len(prompts)), lengths)[_kept(capture, tokens)]
    return Groups(harmful[owners], ~harmful[owners], borderline[owners], owners)


def _kept(capture: Capture, tokens: TokenChoice) -> Mask:
    """Which vectors are looked at. Of every token all but each prompt's first: an attention sink, hundreds of times
    longer than the rest, whose place would be the whole map."""
    if tokens != "every":
        return np.ones(len(capture.index.prompts), dtype=bool)
    offsets = capture.token_offsets(BASE)
    kept = np.ones(offsets[-1], dtype=bool)
    kept[offsets[:-1]] = False
    return kept


def _in_space(capture: Capture, vectors: Vectors, block: int, space: str) -> Vectors:
    """In units of the base model's deviation per dimension, so that rogue dimensions do not decide the map."""
    if space == "raw":
        return vectors
    mean, deviation = capture.space(block)
    constant = deviation < 1e-6 * max(float(deviation.max()), 1e-12)
    return (vectors - mean) / np.where(constant, 1.0, deviation)


def _say(progress: Path, phase: str) -> None:
    progress.parent.mkdir(parents=True, exist_ok=True)
    progress.write_text(phase)

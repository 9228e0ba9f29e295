"""Maps and examinations of a capture folder: read vectors, compute, write the result beside them.

Runs in a process without torch. Knows captures on disk; nothing of models or queues.
"""

import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.compute.geometry.certainty import auc_interval, chance_level
from engine.compute.geometry.projection import movement_plane, project
from engine.compute.geometry.separation import (
    Groups,
    Mask,
    Vectors,
    centroid_distance,
    drawn_rows,
    probe_auc,
    probe_folds,
    top_energy,
)
from engine.compute.geometry.suggestion import Counts, suggest
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
from engine.records.progress import LOADING_SHARE, say

# The share of a map's time until its activations are read.
READ = 0.2
SINK_NOTE = "The first token of each prompt, an attention sink far from all others, has no place on the map."


def make_map(folder: Path, request: ProjectionRequest, progress: Path | None = None) -> Path:
    """Write the map and return its file. Raises ComputeError when the capture cannot carry it."""
    say(progress, "reading activations", LOADING_SHARE)
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
            say=lambda phase, share: say(progress, phase, READ + (1 - READ) * share),
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
    # Workers of two folders may share a cache.
    temporary = file.with_suffix(f".{os.getpid()}.part")
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
        count = len(capture.index.blocks)
        say(progress, f"probes of block {block}, {number + 1} of {count}", LOADING_SHARE + 0.9 * number / count)
        base = capture.vectors(BASE, request.tokens, block)[kept]
        after = capture.vectors(request.checkpoint, request.tokens, block)[kept] if request.checkpoint != BASE else None
        found.append(_examined(block, base, after, groups, request.seed))
    counts = _counts(groups, request.seed)
    suggestion = suggest(found, capture.index.block_count, counts)
    file = examination_file(capture, request)
    examination = Examination(blocks=tuple(found), **suggestion._asdict(), **counts._asdict())
    write_whole(file, examination.model_dump_json(indent=1))
    return file


def _examined(block: int, base: Vectors, after: Vectors | None, groups: Groups, seed: int) -> BlockExamination:
    harmful, prompt = groups.harmful, groups.prompt
    found: dict[str, float | None] = {}
    for name, others in (("auc", groups.plain), ("auc_borderline", groups.borderline)):
        found[name] = auc = probe_auc(base, harmful, others, seed=seed, prompt=prompt)
        folds = probe_folds(harmful, others, seed=seed, prompt=prompt)
        if auc is not None and folds is not None:
            found[f"{name}_low"], found[f"{name}_high"] = auc_interval(auc, *folds.sides)
            found[f"{name}_chance"] = chance_level(base, harmful, others, seed=seed, prompt=prompt)
        if after is not None:
            found[f"{name}_after"] = probe_auc(after, harmful, others, seed=seed, prompt=prompt)
    return BlockExamination(
        block=block,
        distance=centroid_distance(base, groups.harmful, groups.plain),
        top_energy=top_energy(base),
        **found,
    )


def _counts(groups: Groups, seed: int) -> Counts:
    """How many prompts of each group a probe is made of; of every token those whose tokens it draws."""

    def prompts(mask: Mask) -> int:
        return len(np.unique(groups.owners[drawn_rows(mask, seed)]))

    return Counts(prompts(groups.harmful), prompts(groups.benign & ~groups.borderline), prompts(groups.borderline))


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

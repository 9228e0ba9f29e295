"""The film of a run's captured activations: where each answer stood in one plane, step by step. Pure arithmetic.

Across: the direction in which harmful answers moved. It is fitted on half of the prompts and shown for the other half,
and the other way round, so that every arrow is held out and none is left out. Up: the first principal component of the
activations before and after training that is orthogonal to it, found without labels. Knows nothing of Streamlit or of
how a film is drawn.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from engine.records.captures.averages import over_answers
from engine.records.captures.capture import BASE, TRAINING, Capture, checkpoint_name, read_capture
from engine.records.runs import Run

TURNED_BELOW = 0.5
"""An answer whose cosine with the base model's activations is below this counts as turned away: where a breaker trips,
unless another threshold is chosen."""
MOST_PROMPTS = 60
"""More arrows than these hide each other."""
GROUPS = ("harmful", "benign", "borderline")


class Film(NamedTuple):
    """points[step][prompt]: across and up, in standard deviations of the base model's activations; 0 is where answers
    began, on average. turned: whose activations are turned away at the end.  block: where this was captured.
    strength: of the finished adapter, beside that of the training, 1."""

    steps: tuple[int, ...]
    points: Float[np.ndarray, "step prompt axis"]
    groups: tuple[str, ...]
    turned: tuple[bool, ...]
    block: int
    strength: float = 1.0

    def count(self, group: str) -> int:
        return self.groups.count(group)

    def count_turned(self, group: str) -> int:
        return sum(turned for name, turned in zip(self.groups, self.turned, strict=True) if name == group)


def film_of(run: Run) -> Film | None:
    """The film of what was captured while the run trained; None where there is none, or too little of it.

    Raises RunError when the capture or the run's spec is damaged.
    """
    folder = run.representations_folder / TRAINING
    try:
        stat = (folder / "capture.json").stat()
    except OSError:
        return None
    record = run.record()
    # A run that keeps its best checkpoint was filmed beyond it.
    end = record.step if record.status == "finished" else None
    film = _film(folder, (stat.st_mtime_ns, stat.st_size), end)
    return film and film._replace(strength=run.spec().adapter.strength)


def film_points(
    vectors: Float[np.ndarray, "step prompt d_model"], groups: Sequence[str]
) -> Float[np.ndarray, "step prompt axis"]:
    """Each prompt's place in the plane at each step, the first being the base model."""
    base, last = vectors[0], vectors[-1]
    halves = _halves(groups)
    harmful = np.array([group == "harmful" for group in groups])
    moved = last - base
    directions = np.stack([_unit(moved[harmful & (halves != half)].mean(axis=0)) for half in (0, 1)])
    seen = np.concatenate([base, last])
    across = _unit(directions.sum(axis=0))
    rest = seen - seen.mean(axis=0)
    rest = rest - np.outer(rest @ across, across)
    up = np.linalg.svd(rest, full_matrices=False)[2][0]
    x = np.einsum("spd,pd->sp", vectors, directions[halves])
    y = vectors @ up
    points = np.stack([x, y], axis=-1)
    # Which way up points is chance: harmful answers go up.
    if (points[-1, harmful, 1] - points[0, harmful, 1]).mean() < 0:
        points[..., 1] *= -1
    return points - points[0].mean(axis=0)


@lru_cache(maxsize=8)
def _film(folder: Path, stamp: tuple[int, int], end: int | None) -> Film | None:
    capture = read_capture(folder)
    if capture is None or BASE not in capture.index.checkpoints:
        return None
    steps = [step for step in capture.steps if end is None or step <= end]
    if not steps:
        return None
    checkpoints = [BASE, *map(checkpoint_name, steps)]
    block = next((block for block in capture.index.targets if block in capture.index.blocks), None)
    kept = _kept([prompt.group for prompt in capture.index.prompts])
    groups = tuple(capture.index.prompts[place].group for place in kept)
    if block is None or "response_mean" not in capture.index.tokens or groups.count("harmful") < 4:
        return None
    vectors = _standardised(capture, checkpoints, block)[:, kept]
    # A prompt without an answer has no place.
    known = np.isfinite(vectors).all(axis=(0, 2))
    groups = tuple(group for group, whole in zip(groups, known, strict=True) if whole)
    if groups.count("harmful") < 4 or len(groups) == groups.count("harmful"):
        return None
    # Of what the arrows show: means over answers, where the capture has them.
    cosine = capture.measure(checkpoints[-1], "cosine", block, over_answers(capture))[kept][known]
    return Film(
        (0, *steps),
        film_points(vectors[:, known], groups),
        groups,
        tuple(bool(value < TURNED_BELOW) for value in cosine),
        block,
    )


def _standardised(capture: Capture, checkpoints: Sequence[str], block: int) -> Float[np.ndarray, "step prompt d_model"]:
    mean, deviation = capture.space(block)
    # One that never varies stays undivided, as in the losses and the maps.
    deviation = np.where(deviation < 1e-6 * deviation.max(), 1.0, deviation)
    return np.stack([(capture.vectors(name, "response_mean", block) - mean) / deviation for name in checkpoints])


def _kept(groups: Sequence[str]) -> np.ndarray:
    """Places of at most MOST_PROMPTS prompts, evenly of each group."""
    share = min(1.0, MOST_PROMPTS / max(1, len(groups)))
    places = [np.flatnonzero(np.array(groups) == group) for group in GROUPS]
    return np.sort(np.concatenate([found[: math.ceil(len(found) * share)] for found in places]))


def _halves(groups: Sequence[str]) -> np.ndarray:
    """0 or 1 for each prompt, every other one within its group."""
    halves = np.zeros(len(groups), dtype=int)
    for group in set(groups):
        halves[np.flatnonzero(np.array(groups) == group)[1::2]] = 1
    return halves


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)

"""Captures, maps and token views as tables: drawn, listed and downloaded. Knows nothing of figures or models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from engine.records.captures.capture import (
    BASE,
    RANDOM,
    Averaged,
    Capture,
    Measure,
    TokenChoice,
    checkpoint_name,
    checkpoint_step,
)
from engine.records.captures.projections import RANDOM_BASE, Examination, Projection, TokenView
from engine.records.errors import RunError

GROUPS = ("harmful", "benign", "borderline")
POINTS = 20_000
AXES = ("x", "y", "z")
MEASURED_TOKENS = (
    "Between base and circuit-broken activations, standardised: 1, nothing moved; 0, turned away. A mean over answer "
    "tokens for harmful prompts, over all tokens but the first for benign and borderline ones."
)


def prompt_table(capture: Capture) -> pd.DataFrame:
    """One row a captured prompt in the order of the vectors. No text: tables are downloaded, and text may harm."""
    return pd.DataFrame(
        [
            {
                "prompt": prompt.id,
                "group": prompt.group,
                "category": prompt.category,
                "style": prompt.style,
                "split": prompt.split,
                "prompt_tokens": prompt.prompt_tokens,
                "response_tokens": prompt.response_tokens,
            }
            for prompt in capture.index.prompts
        ],
        columns=["prompt", "group", "category", "style", "split", "prompt_tokens", "response_tokens"],
    )


def map_table(capture: Capture, projection: Projection, checkpoint: str, choice: TokenChoice) -> pd.DataFrame:
    """One row a point: its prompt ('row' is the prompt's place), base coordinates and those of the checkpoint.

    Columns base_x, base_y, x, y (and base_z, z), token for choice 'every', and fitted where a map was fitted on some of
    the prompts that are not to be shown. Points that have no place are left out.
    """
    owners, tokens = _owners(capture, choice, len(projection.points[BASE]))
    table = prompt_table(capture).iloc[owners].reset_index(drop=True)
    table.insert(0, "row", owners)
    if choice == "every":
        table.insert(1, "token", tokens)
    if projection.fitted is not None:
        table["fitted"] = projection.fitted
    base = RANDOM_BASE if checkpoint == RANDOM else BASE
    for prefix, points in (("base_", projection.points[base]), ("", projection.points[checkpoint])):
        for axis, values in zip(AXES, points.T, strict=False):
            table[prefix + axis] = values
    places = [name for name in table.columns if name.removeprefix("base_") in AXES]
    placed = np.isfinite(table[places].to_numpy()).all(axis=1)
    return table.loc[placed].reset_index(drop=True)


def map_ranges(projection: Projection) -> list[tuple[float, float]]:
    """Least and greatest coordinate of each axis over all checkpoints, with a margin: the frame of the whole film."""
    everything = np.concatenate(list(projection.points.values()))
    low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
    margin = np.maximum((high - low) * 0.06, 1e-6)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True)]


def sampled(groups: Sequence[str] | pd.Series, *, limit: int = POINTS, seed: int = 0) -> np.ndarray:
    """Places of at most `limit` points, in order: small classes whole, the rest shared evenly by the larger ones."""
    names = np.asarray(groups)
    if len(names) <= limit:
        return np.arange(len(names))
    members = sorted((np.flatnonzero(names == name) for name in np.unique(names)), key=len)
    generator = np.random.default_rng(seed)
    kept, left = [], limit
    for place, found in enumerate(members):
        share = min(len(found), left // (len(members) - place))
        kept.append(generator.choice(found, share, replace=False))
        left -= share
    return np.sort(np.concatenate(kept))


def movement_table(
    capture: Capture, measures: Sequence[Measure] = ("cosine",), *, averaged: Averaged | None = None
) -> pd.DataFrame:
    """Mean of each measure per block, step and group; 'prompts' counts those that have one. Empty for base alone.

    averaged: as in `Capture.measure`.
    """
    groups = np.array([prompt.group for prompt in capture.index.prompts])
    rows: list[dict[str, str | float]] = []
    for step in capture.steps:
        for block in capture.index.blocks:
            values = {name: _known(capture, step, name, block, averaged) for name in measures}
            for group in GROUPS:
                chosen = groups == group
                if chosen.any():
                    means: dict[str, float] = {name: _mean(column[chosen]) for name, column in values.items()}
                    count = int(np.isfinite(values[measures[0]][chosen]).sum())
                    rows.append({"block": block, "step": step, "group": group, **means, "prompts": count})
    return pd.DataFrame(rows, columns=["block", "step", "group", *measures, "prompts"])


def prompt_movements(capture: Capture, checkpoint: str) -> pd.DataFrame:
    """How far each prompt moved, in the order of the vectors: mean cosine and norm ratio over the target blocks,
    mean drift over the adapted blocks and all tokens but the first. The losses see the blocks and tokens of their spec.

    Not a number where that was not captured. Without known targets all captured blocks count.
    """
    captured = capture.index.blocks
    targets = [block for block in capture.index.targets if block in captured] or list(captured)
    adapted = [block for block in capture.index.adapted if block in captured] or list(captured)
    step = checkpoint_step(checkpoint)
    wanted: tuple[tuple[Measure, list[int]], ...] = (
        ("cosine", targets),
        ("drift", adapted),
        ("norm_ratio", targets),
    )
    return pd.DataFrame(
        {name: np.mean([_known(capture, step, name, block) for block in blocks], axis=0) for name, blocks in wanted}
    )


def block_table(
    capture: Capture, checkpoint: str, examination: Examination | None, *, averaged: Averaged | None = None
) -> pd.DataFrame:
    """One row a block: what rerouting did to each group of prompts (harmful, benign, borderline where there are some),
    and how well a probe tells them apart before and after. averaged: as in `Capture.measure`."""
    step, groups = checkpoint_step(checkpoint), np.array([prompt.group for prompt in capture.index.prompts])
    measures: tuple[Measure, ...] = ("cosine", "norm_ratio", "drift")
    rows = []
    for block in capture.index.blocks:
        row: dict[str, float] = {"block": block}
        for measure in measures:
            values = _known(capture, step, measure, block, averaged)
            row |= {f"{measure}_{group}": _mean(values[groups == group]) for group in GROUPS if group in groups}
        rows.append(row)
    table = pd.DataFrame(rows)
    if examination is None:
        return table
    return table.merge(examination_table(examination), on="block", how="left")


def examination_table(examination: Examination) -> pd.DataFrame:
    """One row a block: separation before and after, centroid distance, share of energy in three dimensions."""
    table = pd.DataFrame([block.model_dump() for block in examination.blocks])
    numbers = [name for name in table.columns if name != "block"]
    table[numbers] = table[numbers].astype(float)
    return table


def token_table(view: TokenView) -> pd.DataFrame:
    """One row a token and block. No token texts: the table may be of a harmful answer."""
    tokens, blocks = len(view.tokens), len(view.blocks)
    return pd.DataFrame(
        {
            "token": np.repeat(np.arange(tokens), blocks),
            "response": np.repeat(np.arange(tokens) >= view.response_start, blocks),
            "block": np.tile(view.blocks, tokens),
            "cosine": np.ravel(view.cosine),
            "base_norm": np.ravel(view.base_norm),
            "rerouted_norm": np.ravel(view.rerouted_norm),
        }
    )


def trip_token(view: TokenView, targets: Sequence[int], threshold: float) -> int | None:
    """The first response token whose mean cosine over the target blocks is below the threshold; None: it holds.

    Without a captured target all blocks of the view count.
    """
    columns = [index for index, block in enumerate(view.blocks) if block in targets] or list(range(len(view.blocks)))
    cosine = np.asarray(view.cosine, dtype=float).reshape(len(view.tokens), -1)[view.response_start :, columns]
    if not cosine.size:
        return None
    below = np.flatnonzero(cosine.mean(axis=1) < threshold)
    return view.response_start + int(below[0]) if len(below) else None


def _owners(capture: Capture, choice: TokenChoice, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Each point's prompt and token. Raises RunError where the map has other points than the capture."""
    if choice == "every":
        offsets = capture.token_offsets(BASE)
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        tokens = np.arange(len(owners)) - offsets[owners]
    else:
        owners = np.arange(len(capture.index.prompts))
        tokens = np.zeros(len(owners), dtype=int)
    if len(owners) != points:
        raise RunError(
            f"The map holds {points} points and the capture {capture.folder} {len(owners)}: it was captured again "
            "meanwhile. Reload the page."
        )
    return owners, tokens


def _known(capture: Capture, step: int, name: Measure, block: int, averaged: Averaged | None = None) -> np.ndarray:
    """A measure of all prompts; the base model itself has not moved, and what was not captured is not a number."""
    if step == 0:
        same = {"cosine": 1.0, "raw_cosine": 1.0, "drift": 0.0, "norm_ratio": 1.0}[name]
        return np.full(len(capture.index.prompts), same)
    if block not in capture.index.blocks:
        return np.full(len(capture.index.prompts), np.nan)
    return np.asarray(capture.measure(checkpoint_name(step), name, block, averaged), dtype=float)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")

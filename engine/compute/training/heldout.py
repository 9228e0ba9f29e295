"""Held-out cosine and drift, and the spaces they are taken in. Knows nothing of optimizers or runs."""

from collections.abc import Generator, Sequence
from typing import Literal

import torch
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.team import divided, team_size, together
from engine.compute.training.base_activations import GROUP_TOKENS, BaseActivations, entering, row_batch
from engine.compute.training.reroute import BlockSpace, BlockStatistics, spaces_of, token_cosine, token_drift
from engine.compute.training.rows import Row, micro_batches
from engine.records.blocks import ResolvedBlocks
from engine.records.events import HeldoutResult
from engine.records.start_rows import STATISTICS_ROWS

# Measures that are given in units of a block's centred norm.
IN_NORMS = ("drift", "borderline_drift")
# A measure's name, over how many tokens of a row it is, and its sum over these per block, still on the device.
Measure = tuple[str, float, dict[int, Tensor]]
# The same, read back, in the units of its measure.
Figure = tuple[str, float, dict[int, float]]


@together
def measure_spaces(activations: BaseActivations, rows: Sequence[Row]) -> Generator[None, None, dict[int, BlockSpace]]:
    """Mean and deviation of the base activations per block, the first token left out: target blocks over both sets,
    blocks that are only held still over the benign set.

    The first token is left out since its activations are an attention sink, hundreds of times longer than all others.
    """
    statistics: dict[int, BlockStatistics] = {}
    for group in micro_batches(rows, GROUP_TOKENS):
        for row in activations.of(group):
            for block, outputs in row.outputs.items():
                statistics.setdefault(block, BlockStatistics()).add(outputs[1:])
        yield None
    activations.spaces = spaces_of(statistics)
    return activations.spaces


def statistics_rows(harmful: Sequence[Row], benign: Sequence[Row]) -> list[Row]:
    """The rows that spaces are measured on: evenly spaced over each side, at most STATISTICS_ROWS of each."""
    chosen: list[Row] = []
    for rows in (harmful, benign):
        stride = max(1, len(rows) // STATISTICS_ROWS)
        chosen += rows[::stride][:STATISTICS_ROWS]
    return chosen


def measure_heldout(
    model: LoadedModel,
    name: str,
    rows: Sequence[Row],
    base_activations: BaseActivations,
    blocks: ResolvedBlocks,
    *,
    step: int,
    split: Literal["validation", "test"],
    tokens_per_batch: int,
) -> Generator[None, None, HeldoutResult]:
    """Cosine on answer tokens of harmful, benign and borderline rows; drift and cosine on all benign tokens. Means over
    tokens, per block."""
    sums: dict[tuple[str, int], float] = {}
    counts: dict[str, float] = {}
    groups = micro_batches(rows, tokens_per_batch)
    for start in range(0, len(groups), team_size()):
        for found in _measured(model, name, groups[start : start + team_size()], base_activations, blocks):
            for measure, count, per_block in found:
                counts[measure] = counts.get(measure, 0.0) + count
                for block, value in per_block.items():
                    sums[measure, block] = sums.get((measure, block), 0.0) + value
        yield None

    def means(measure: str) -> dict[str, float]:
        return {str(b): value / counts[m] for (m, b), value in sorted(sums.items()) if m == measure}

    borderline = means("borderline_drift")
    return HeldoutResult(
        step=step,
        split=split,
        cosine=means("cosine"),
        raw_cosine=means("raw_cosine"),
        benign_cosine=means("benign_cosine"),
        benign_answer_cosine=means("benign_answer_cosine"),
        borderline_answer_cosine=means("borderline_answer_cosine"),
        drift=means("drift"),
        borderline_drift=sum(borderline.values()) / len(borderline) if borderline else None,
        harmful_rows=sum(row.label == "harmful" for row in rows),
        benign_rows=sum(row.label == "benign" for row in rows),
        borderline_rows=sum(row.borderline for row in rows),
    )


@divided("groups")
def _measured(
    model: LoadedModel,
    name: str,
    groups: Sequence[Sequence[Row]],
    base_activations: BaseActivations,
    blocks: ResolvedBlocks,
) -> list[list[Figure]]:
    """What all rows of each group give."""
    return [_group_measures(model, name, group, base_activations, blocks) for group in groups]


def _group_measures(
    model: LoadedModel, name: str, group: Sequence[Row], base_activations: BaseActivations, blocks: ResolvedBlocks
) -> list[Figure]:
    base_rows, spaces = base_activations.of(group), base_activations.spaces
    batch = row_batch(model, group)
    entry = entering(base_rows, batch.ids.shape[1])
    wanted = sorted({block for row in group for block in blocks.compared(row.label)})
    with torch.no_grad(), adapted(model, name):
        rerouted = block_activations(
            model, batch, wanted, entry_block=base_activations.entry_block, entry=entry
        ).outputs
    measures = [
        measure
        for index, (row, base) in enumerate(zip(group, base_rows, strict=True))
        for measure in _row_measures(index, row, base.outputs, rerouted, spaces, blocks)
    ]
    found = []
    for (measure, count, per_block), values in zip(measures, _read_back(measures), strict=True):
        units = (max(spaces[block].centred_norm, 1e-12) if measure in IN_NORMS else 1.0 for block in per_block)
        in_units = {block: value / unit for block, value, unit in zip(per_block, values, units, strict=True)}
        found.append((measure, count, in_units))
    return found


def _read_back(measures: Sequence[Measure]) -> list[list[float]]:
    """The sums of all these measures, from the device in one go: one of each row and block would stop it hundreds of
    times a group."""
    sums = [value for _, _, per_block in measures for value in per_block.values()]
    values = iter(torch.stack(sums).tolist() if sums else ())
    return [[next(values) for _ in per_block] for _, _, per_block in measures]


def _row_measures(
    index: int,
    row: Row,
    base: dict[int, Tensor],
    rerouted: dict[int, Tensor],
    spaces: dict[int, BlockSpace],
    blocks: ResolvedBlocks,
) -> list[Measure]:
    start = row.response_start if row.label == "harmful" else 1
    length = len(row.ids)
    tokens = float(length - start)
    if tokens <= 0:
        return []

    def pair(block: int) -> tuple[Tensor, Tensor]:
        still = base[block][None, start:]
        # What is not run anew lies below all adapters.
        return rerouted[block][index : index + 1, start:length] if block in rerouted else still, still

    cosines = {b: token_cosine(*pair(b), spaces[b], "standardised") for b in blocks.targets}
    cosine = {b: values.sum() for b, values in cosines.items()}
    if row.label == "harmful":
        raw = {b: token_cosine(*pair(b), spaces[b], "raw").sum() for b in blocks.targets}
        return [("cosine", tokens, cosine), ("raw_cosine", tokens, raw)]
    drift = {b: token_drift(*pair(b)).sum() for b in blocks.retain}
    measures: list[Measure] = [("benign_cosine", tokens, cosine), ("drift", tokens, drift)]
    if row.borderline:
        measures.append(("borderline_drift", tokens, drift))
    if length > row.response_start:
        answer = {b: values[:, row.response_start - start :].sum() for b, values in cosines.items()}
        kind = "borderline_answer_cosine" if row.borderline else "benign_answer_cosine"
        measures.append((kind, float(length - row.response_start), answer))
    return measures

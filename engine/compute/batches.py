"""Which rows a step trains on, and how they are cut into micro-batches. Pure: a function of seed and step."""

from collections.abc import Sequence

import torch

from engine.compute.elicitation import Row
from engine.compute.seeds import mix
from engine.records.spec import RunSpec


def step_rows(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row], step: int) -> list[Row]:
    """The rows of one optimizer step, harmful first. Each side runs through its rows in a new order every epoch."""
    optimizer = spec.optimizer
    chosen = _draw(harmful, optimizer.circuit_breaker_batch, step, seed=f"{spec.seed}:harmful")
    borderline = [row for row in benign if row.borderline]
    plain = [row for row in benign if not row.borderline]
    if not spec.data.borderline_share or not borderline or not plain:
        return chosen + _draw(benign, optimizer.retain_batch, step, seed=f"{spec.seed}:benign")
    count = round(optimizer.retain_batch * spec.data.borderline_share)
    return (
        chosen
        + _draw(borderline, count, step, seed=f"{spec.seed}:borderline")
        + _draw(plain, optimizer.retain_batch - count, step, seed=f"{spec.seed}:plain")
    )


def micro_batches(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Rows of similar length together, each group within `budget` tokens, padding included; a longer row goes alone."""
    groups: list[list[Row]] = []
    # Longest first: the first micro-batch then needs the most memory, so that a step fails early or not at all.
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0].ids) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _draw(rows: Sequence[Row], count: int, step: int, *, seed: str) -> list[Row]:
    chosen = []
    orders: dict[int, list[int]] = {}
    for number in range(step * count, (step + 1) * count):
        epoch, place = divmod(number, len(rows))
        if epoch not in orders:
            generator = torch.Generator().manual_seed(mix(seed, epoch))
            orders[epoch] = torch.randperm(len(rows), generator=generator).tolist()
        chosen.append(rows[orders[epoch][place]])
    return chosen

"""Which tokens a loss sees, and over how many its mean is taken. Knows nothing of models."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.training.reroute import published_distances
from engine.compute.training.rows import Row
from engine.records.spec import RunSpec


def loss_mask(spec: RunSpec, rows: Sequence[Row], tokens: int, device: torch.device) -> Float[Tensor, "prompt token"]:
    """1 for tokens that a loss sees: the spec's masks, harmful rows and benign ones."""
    mask = torch.zeros((len(rows), tokens))
    for index, row in enumerate(rows):
        mask[index, _start(spec, row) : len(row.ids)] = 1
    return mask.to(device)


def reroute_tokens(spec: RunSpec, rows: Sequence[Row]) -> float:
    """How many tokens the rerouting mean of a whole step is over."""
    return float(sum(len(row.ids) - _start(spec, row) for row in rows if row.label == "harmful"))


def retain_distances(spec: RunSpec, rows: Sequence[Row], blocks: int) -> float:
    """How many distances the retain mean of a whole step is over."""
    benign = [row for row in rows if row.label == "benign"]
    if spec.loss.retain_mean == "positions":
        return published_distances(rows=len(benign), tokens=spec.data.max_tokens, blocks=blocks)
    return float(sum(len(row.ids) - _start(spec, row) for row in benign) * blocks)


def _start(spec: RunSpec, row: Row) -> int:
    """The first token that the row's loss sees."""
    lead = max(0, row.response_start - spec.loss.lead_tokens)
    if row.label == "harmful":
        return 0 if spec.loss.mask == "all" else min(lead + spec.loss.skip_response_tokens, len(row.ids))
    # Relative drift is in units of the centred norm, which the first token (an attention sink) does not share.
    first = 1 if spec.loss.retain_scale == "relative" else 0
    return first if spec.loss.retain_mask == "all" else max(first, lead)

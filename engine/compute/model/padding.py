"""Rows of tokens as one batch on the model's device. Knows nothing of what the batch is for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from engine.compute.model.loaded import LoadedModel


class Batch(NamedTuple):
    """Rows padded to the longest. attention: 1 for real tokens.  positions: count real tokens alone, from 0; those of
    padding mean nothing.  rows: the same tokens without padding, as they were given: to ask the device for them would
    make it wait."""

    ids: Int[Tensor, "prompt token"]
    attention: Int[Tensor, "prompt token"]
    positions: Int[Tensor, "prompt token"]
    rows: tuple[tuple[int, ...], ...] = ()


def batch_of(
    model: LoadedModel,
    rows: Sequence[Sequence[int]],
    *,
    side: Literal["left", "right"] = "right",
) -> Batch:
    """Rows as one batch, padded on the given side with the model's own padding token.

    On the left for rows that end together, since what is said goes on behind their last token.
    """
    return pad(rows, pad_id=model.tokenizer.pad_token_id or 0, device=model.device, side=side)


def pad(
    rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device, side: Literal["left", "right"] = "right"
) -> Batch:
    """One batch, no longer than its longest row."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(len(row))
        ids[index, place] = torch.tensor(row, dtype=torch.long)
        attention[index, place] = 1
    ids, attention = ids.to(device), attention.to(device)
    return Batch(ids, attention, positions_of(attention), rows=tuple(map(tuple, rows)))


def positions_of(attention: Int[Tensor, "prompt token"]) -> Int[Tensor, "prompt token"]:
    """Where each token stands among the real tokens of its row."""
    return (attention.cumsum(-1) - 1).clamp_min(0)

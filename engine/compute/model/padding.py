"""Rows of tokens as one batch. Knows nothing of models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Batch(NamedTuple):
    """Rows padded on the right to the longest. pictures: the keys of each row's pictures, none where no row has any."""

    ids: Int[Tensor, "prompt token"]
    attention: Int[Tensor, "prompt token"]
    pictures: tuple[tuple[str, ...], ...] = ()


def pad(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> Batch:
    """One batch, no longer than its longest row."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    attention = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        attention[index, : len(row)] = 1
    return Batch(ids.to(device), attention.to(device))


def pad_left(
    prompts: Sequence[Sequence[int]], *, pad_id: int
) -> tuple[Int[Tensor, "prompt token"], Int[Tensor, "prompt token"]]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for index, prompt in enumerate(prompts):
        ids[index, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        attention[index, longest - len(prompt) :] = 1
    return ids, attention


def left_padded(
    rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device
) -> tuple[Int[Tensor, "prompt token"], Int[Tensor, "prompt token"], Int[Tensor, "prompt token"]]:
    """Token ids, attention and positions of rows that end together."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = torch.tensor(list(row), dtype=torch.long)
        attention[index, longest - len(row) :] = 1
    positions = (attention.cumsum(-1) - 1).clamp_min(0)
    return ids.to(device), attention.to(device), positions.to(device)

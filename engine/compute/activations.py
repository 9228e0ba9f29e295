"""Hidden states at the blocks that are asked for, and at no greater cost than that.

No LM head, no block beyond the last one needed, and, given the states that enter a block, none below it. Knows nothing
of losses or data.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from engine.compute.models import LoadedModel


class Batch(NamedTuple):
    """Rows padded on the right to the longest."""

    ids: Int[Tensor, "prompt token"]
    attention: Int[Tensor, "prompt token"]


class BlockStates(NamedTuple):
    """outputs[block]: what a block gave out.  entry: what went into the first block that was run."""

    outputs: dict[int, Float[Tensor, "prompt token d_model"]]
    entry: Float[Tensor, "prompt token d_model"] | None


def pad(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> Batch:
    """One batch, no longer than its longest row."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    attention = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        attention[index, : len(row)] = 1
    return Batch(ids.to(device), attention.to(device))


def block_states(
    model: LoadedModel,
    batch: Batch,
    blocks: Sequence[int],
    *,
    entry_block: int = 0,
    entry: Float[Tensor, "prompt token d_model"] | None = None,
    keep_entry: bool = False,
) -> BlockStates:
    """Outputs of the given blocks under whatever adapter is active.

    With `entry`, the states that enter `entry_block`, the blocks below it are not run. Block b's output is
    `hidden_states[b + 1]` of transformers (but for the last block, where transformers adds the final norm).
    """
    outputs: dict[int, Tensor] = {}
    entered: list[Tensor] = []

    def record(block: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs[block] = output[0] if isinstance(output, tuple) else output

        return hook

    with _hooks() as hooks, _only(model, first=entry_block if entry is not None else 0, last=max(blocks)):
        for block in blocks:
            hooks.append(model.blocks[block].register_forward_hook(record(block)))
        if entry is not None:
            hooks.append(_replace_input(model.blocks[entry_block], entry))
        elif keep_entry:
            hooks.append(model.blocks[entry_block].register_forward_pre_hook(_recorder(entered), with_kwargs=True))
        model.decoder(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
    return BlockStates(outputs, entered[0] if entered else None)


@contextmanager
def _only(model: LoadedModel, *, first: int, last: int) -> Iterator[None]:
    """Run blocks first..last alone: those above are cut off, those below hand their input on."""
    everything = list(model.blocks)
    # In place, since the decoder and `model.blocks` are one object.
    del model.blocks[last + 1 :]
    for block in everything[:first]:
        block.forward = _pass_on  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in everything[:first]:
            del block.forward
        model.blocks.extend(everything[last + 1 :])


@contextmanager
def _hooks() -> Iterator[list[torch.utils.hooks.RemovableHandle]]:
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def _pass_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return hidden_states


def _replace_input(block: nn.Module, entry: Tensor) -> torch.utils.hooks.RemovableHandle:
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (entry, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": entry}

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _recorder(entered: list[Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])

    return hook

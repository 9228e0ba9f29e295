"""Activations (hidden states) at the blocks that are asked for, and at no greater cost than that.

No LM head, no block beyond the last one needed, and, given the activations that enter a block, none below it. Knows
nothing of losses or data.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from engine.compute.model.loaded import LoadedModel, replaced_forwards
from engine.compute.model.padding import Batch
from engine.compute.model.text import common_opening
from engine.compute.team import is_sharded, where_sharded

# An opening that all rows share, a chat template's most often, is run once if it is at least so long.
SHARED_TOKENS = 8


class BlockActivations(NamedTuple):
    """outputs[block]: what a block gave out.  entry: what went into the first block that was run."""

    outputs: dict[int, Float[Tensor, "prompt token d_model"]]
    entry: Float[Tensor, "prompt token d_model"] | None


@where_sharded
def block_activations(
    model: LoadedModel,
    batch: Batch,
    blocks: Sequence[int],
    *,
    entry_block: int = 0,
    entry: Float[Tensor, "prompt token d_model"] | None = None,
    keep_entry: bool = False,
    share_opening: bool = True,
) -> BlockActivations:
    """Outputs of the given blocks under whatever adapter is active.

    With `entry`, the activations that enter `entry_block`, the blocks below it are not run, and their outputs are not
    among those returned: they are the base model's. Block b's output is
    `hidden_states[b + 1]` of transformers (but for the last block, where transformers adds the final norm).

    An opening that all rows share (a chat template's system turn) is run once for all of them: nothing behind it can
    change its activations. `share_opening=False` runs it in every row, as dropout needs that draws anew for each.
    """
    first = entry_block if entry is not None else 0
    last, blocks = max(first, *blocks), [block for block in blocks if block >= first]
    # Where weights are sharded, each process has rows of its own and all need equally many passes.
    shares = share_opening and not is_sharded()
    shared = shared_tokens(batch.rows or _without_padding(batch)) if shares else 0
    run = partial(_run, model, blocks=blocks, entry_block=entry_block, keep_entry=keep_entry)
    with only_blocks(model, first=first, last=last):
        if not shared:
            return run(batch.ids, batch.attention, entry=entry)
        cache = DynamicCache(config=model.causal_lm.config)
        opening = run(
            batch.ids[:1, :shared],
            batch.attention[:1, :shared],
            entry=None if entry is None else entry[:1, :shared],
            cache=cache,
        )
        _repeat(cache, unread=first, like=batch.ids[:, :shared])
        rest = run(
            batch.ids[:, shared:], batch.attention, entry=None if entry is None else entry[:, shared:], cache=cache
        )
    return BlockActivations(
        {block: _joined(opening.outputs[block], rest.outputs[block]) for block in blocks},
        _joined(opening.entry, rest.entry) if opening.entry is not None and rest.entry is not None else None,
    )


def _run(
    model: LoadedModel,
    ids: Int[Tensor, "prompt token"],
    attention: Int[Tensor, "prompt seen"],
    *,
    blocks: Sequence[int],
    entry_block: int,
    entry: Float[Tensor, "prompt token d_model"] | None,
    keep_entry: bool,
    cache: DynamicCache | None = None,
) -> BlockActivations:
    """Activations of these tokens, behind those in the cache if there is one; they are then added to it."""
    entered: list[Tensor] = []
    with recorded(model, blocks) as outputs, _hooks() as hooks:
        if entry is not None:
            hooks.append(_replace_input(model.blocks[entry_block], entry))
        elif keep_entry:
            hooks.append(model.blocks[entry_block].register_forward_pre_hook(_recorder(entered), with_kwargs=True))
        model.decoder(input_ids=ids, attention_mask=attention, past_key_values=cache, use_cache=cache is not None)
    return BlockActivations(outputs, entered[0] if entered else None)


@contextmanager
def recorded(model: LoadedModel, blocks: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """What these blocks gave out in the last forward pass inside, by block; on leaving, the hooks are gone."""
    outputs: dict[int, Tensor] = {}
    with _hooks() as hooks:
        for block in blocks:
            hooks.append(model.blocks[block].register_forward_hook(_output_recorder(outputs, block)))
        yield outputs


def shared_tokens(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows open with, each keeping one of its own; 0 where running them once is not worth it."""
    if len(rows) == 1:
        return 0
    first, last = min(map(list, rows)), max(map(list, rows))
    shared = min(common_opening(first, last), min(map(len, rows)) - 1)
    return shared if shared >= SHARED_TOKENS else 0


def _without_padding(batch: Batch) -> list[list[int]]:
    lengths = batch.attention.sum(1).tolist()
    return [row[:length] for row, length in zip(batch.ids.tolist(), lengths, strict=True)]


def _repeat(cache: DynamicCache, *, unread: int, like: Int[Tensor, "prompt shared"]) -> None:
    """Hand what one row left in the cache to all rows of `like`. The first `unread` blocks were not run and will not
    be, but models ask block 0 how much was read before: they get nothing of the right length."""
    rows, shared = like.shape
    cache.batch_repeat_interleave(rows)
    nothing = like.new_zeros((rows, 1, shared, 1))
    for block in range(unread):
        cache.update(nothing, nothing, block)


def _joined(
    opening: Float[Tensor, "1 shared d_model"], rest: Float[Tensor, "prompt token d_model"]
) -> Float[Tensor, "prompt whole d_model"]:
    return torch.cat([opening.expand(len(rest), -1, -1), rest], dim=1)


# Families whose decoder reads the first of several things that a block gives out.
GIVE_SEVERAL = frozenset({"bloom", "codegen", "falcon", "gpt_neo", "gptj", "mpt"})


@contextmanager
def only_blocks(model: LoadedModel, *, first: int, last: int) -> Iterator[None]:
    """Run blocks first..last alone: those above are cut off, those below hand their input on. A sharded model keeps
    its blocks, since its processes gather the weights of all: those above hand their input on too."""
    everything = list(model.blocks)
    silent = everything[:first]
    if is_sharded():
        silent += everything[last + 1 :]
    else:
        # In place, since the decoder and `model.blocks` are one object.
        del model.blocks[last + 1 :]
    several = model.published.config.get_text_config(decoder=True).model_type in GIVE_SEVERAL
    pass_on = _pass_first_on if several else _pass_on
    try:
        with replaced_forwards((block, pass_on) for block in silent):
            yield
    finally:
        model.blocks.extend(everything[len(model.blocks) :])


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


def _pass_first_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, None]:
    return hidden_states, None


def _replace_input(block: nn.Module, entry: Tensor) -> torch.utils.hooks.RemovableHandle:
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (entry, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": entry}

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _output_recorder(outputs: dict[int, Tensor], block: int) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs[block] = output[0] if isinstance(output, tuple) else output

    return hook


def _recorder(entered: list[Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])

    return hook

"""Gradient checkpointing: what a block computes is not kept but computed anew on the way back. Knows nothing of losses.

transformers' own switch asks the model to be in training mode and takes the cache away from it; here only the blocks
that train change, and everything else (hooks, inputs that replace what enters a block, blocks cut off) stays as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from engine.compute.model.loaded import LoadedModel, replaced_forwards


@contextmanager
def recomputed(model: LoadedModel, blocks: Sequence[int]) -> Iterator[None]:
    """Inside, these blocks keep only what enters them for the backward pass, which must be taken inside too: a block is
    computed anew with the same adapter, layers and random numbers. Openings that rows share must not be run apart: a
    block that is computed twice would fill its cache twice."""
    with replaced_forwards((model.blocks[block], _anew(model.blocks[block])) for block in blocks):
        yield


def _anew(block: nn.Module) -> Any:
    plain = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(plain, *args, use_reentrant=False, **kwargs)

    return forward

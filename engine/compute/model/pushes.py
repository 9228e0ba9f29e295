"""Directions that are added to what blocks give out, for some rows of a batch. Knows not where they come from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from engine.compute.model.loaded import LoadedModel


@dataclass(frozen=True)
class Push:
    """What is added to every activation that leaves a block. Two of one name and block are the same push."""

    name: str
    block: int
    vector: Float[Tensor, " d_model"] = field(compare=False, repr=False)


class PushedRows(NamedTuple):
    """A push, and the rows of the batch that it is for."""

    rows: slice
    push: Push


@contextmanager
def pushed(model: LoadedModel, pushes: Sequence[PushedRows]) -> Iterator[None]:
    """Inside, each push is added to its rows, the other rows are as they were; on leaving, the hooks are gone.

    What others record of such a block holds the push: later blocks see it too.
    """
    handles = []
    try:
        for one in pushes:
            # Before the hooks of whoever records, whenever these came.
            block = model.blocks[one.push.block]
            handles.append(block.register_forward_hook(_adding(one.rows, one.push.vector), prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(rows: slice, vector: Float[Tensor, " d_model"]) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        activations = output[0] if isinstance(output, tuple) else output
        # A copy: a block that is passed over gives out what it was given.
        moved = activations.clone()
        moved[rows] += vector.to(activations)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    return hook

"""Adapters that read nothing of what benign inputs have in common.

Of what enters each adapted layer under the base model on benign rows, the directions that hold most of the energy are
found once; the adapter's A is kept out of them after every step, so that what lies in them passes by it unread. Knows
nothing of losses.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, adapter_parameters
from engine.compute.model.padding import Batch
from engine.compute.team import together
from engine.compute.training.base_activations import GROUP_TOKENS, entering, row_batch
from engine.compute.training.heldout import statistics_rows
from engine.compute.training.rows import micro_batches
from engine.compute.training.trainer import Trainer

DOWN = "lora_A"


def leading_directions(moment: Float[Tensor, "inputs inputs"], share: float) -> Float[Tensor, "inputs direction"]:
    """The fewest orthonormal directions that hold this share of the energy of inputs x with this E[x x^T]."""
    # Not every device has numbers of this width; where one has, it takes seconds in place of minutes.
    energies, directions = torch.linalg.eigh((moment if moment.is_cuda else moment.cpu()).double())
    energies, directions = energies.flip(0).clamp_min(0), directions.flip(1)
    held = energies.cumsum(0) / energies.sum().clamp_min(1e-30)
    count = min(int((held < share).sum()) + 1, len(held))
    return directions[:, :count].to(moment)


def without(
    down: Float[Tensor, "rank inputs"], directions: Float[Tensor, "inputs direction"]
) -> Float[Tensor, "rank inputs"]:
    """What is left of A's rows outside these orthonormal directions."""
    return down - (down @ directions) @ directions.T


@together
def find_directions(trainer: Trainer) -> Generator[None, None, None]:
    """Find what the adapter is kept out of, if the spec says so, and keep its start out of it: over at most
    STATISTICS_ROWS benign rows, borderline ones among them, without each row's first token. One block at a time, so
    that no more than its own layers' moments are in memory."""
    share = trainer.spec.adapter.null_space
    if not share:
        return
    groups = micro_batches(statistics_rows([], trainer.rows.benign), GROUP_TOKENS)
    batches = [row_batch(trainer.model, group) for group in groups]
    entered: list[Tensor | None] = [None] * len(groups)
    if trainer.base.entry_block:
        for place, group in enumerate(groups):
            entered[place] = entering(trainer.base.of(group), batches[place].ids.shape[1])
            yield None
    for block in range(trainer.blocks.first_adapted, max(trainer.blocks.adapted) + 1):
        moments: dict[str, Tensor] = {}
        owners: dict[str, str] = {}
        for place, batch in enumerate(batches):
            entered[place] = _through(trainer, block, batch, entered[place], moments, owners)
            yield None
        found = {}
        for name, moment in moments.items():
            found[name] = leading_directions(moment, share)
            yield None
        trainer.directions |= {name: found[owner] for name, owner in owners.items()}
    if trainer.step == 0:
        # Later A is there already, and to take out what rounding left would make a resumed run another one.
        keep_out(trainer)


def keep_out(trainer: Trainer) -> None:
    """Take out of the adapter's A what an optimizer's step has put into the directions that were found."""
    if not trainer.directions:
        return
    with torch.no_grad():
        for name, down in adapter_parameters(trainer.model, trainer.name, part=DOWN):
            down.copy_(without(down, trainer.directions[name]))


def _through(
    trainer: Trainer,
    block: int,
    batch: Batch,
    entry: Tensor | None,
    moments: dict[str, Tensor],
    owners: dict[str, str],
) -> Float[Tensor, "prompt token d_model"]:
    """One block of the base model; what enters its adapted layers is added to their moments. owners: by layer, the
    first of those that the same enters (queries, keys and values), which alone has a moment."""
    seen = batch.attention.bool()
    seen[:, 0] = False
    layers = {
        name: trainer.model.causal_lm.get_submodule(name.partition(f".{DOWN}.")[0])
        for name, _ in adapter_parameters(trainer.model, trainer.name, part=DOWN)
    }
    own = set(trainer.model.blocks[block].modules())
    watched = {name: layer for name, layer in layers.items() if layer in own}
    with torch.no_grad(), adapted(trainer.model, None), _added(watched, seen, moments, owners):
        return block_activations(
            trainer.model, batch, [block], entry_block=block, entry=entry, share_opening=False
        ).outputs[block]


@contextmanager
def _added(
    layers: dict[str, nn.Module],
    seen: Bool[Tensor, "prompt token"],
    moments: dict[str, Tensor],
    owners: dict[str, str],
) -> Iterator[None]:
    # What entered is held until the block is done, so that no other tensor takes its place in memory.
    entered: list[tuple[str, Tensor]] = []

    def hook(name: str):
        def add(_module: nn.Module, inputs: tuple) -> None:
            owners[name] = next((owner for owner, one in entered if one is inputs[0]), name)
            if owners[name] != name:
                return
            entered.append((name, inputs[0]))
            # Some layers are given the tokens of all rows as one.
            rows = inputs[0].flatten(0, -2)[seen.flatten()].float()
            moments[name] = moments.get(name, 0.0) + rows.T @ rows

        return add

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""One micro-batch of a step: its rows forwards, and its shares of the step's losses. Knows nothing of optimizers, of
gradients, or of what other processes do."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.foretelling import carried_on, logits_of
from engine.compute.model.padding import Batch
from engine.compute.team import is_sharded
from engine.compute.training.base_activations import RowActivations, entering, row_batch, stack
from engine.compute.training.masks import (
    answer_tokens,
    foretelling,
    holds_answer,
    loss_mask,
    reroute_tokens,
    retain_distances,
)
from engine.compute.training.neighbours import row_points
from engine.compute.training.rates import learning_rate_at, weights_at
from engine.compute.training.reroute import (
    answer_divergence,
    last_normed,
    nearest,
    overlap_weight,
    rerouting_loss,
    retain_loss,
    twin_loss,
)
from engine.compute.training.rows import Row
from engine.compute.training.trainer import Trainer
from engine.records.events import ControlEvent
from engine.records.schedules import Weights

Activations = dict[int, Float[Tensor, "prompt token d_model"]]


class Losses(NamedTuple):
    """A figure for each loss."""

    reroute: float
    retain: float
    answer: float
    twin: float


class LossShares(NamedTuple):
    """A micro-batch's shares of the losses of its step, before their weights."""

    reroute: Float[Tensor, ""]
    retain: Float[Tensor, ""]
    answer: Float[Tensor, ""]
    twin: Float[Tensor, ""]


class StepPlan(NamedTuple):
    """What all micro-batches of one step share: its number, its loss weights, and what its means are over. factors: by
    what each loss is multiplied in their sum, which is what is trained."""

    step: int
    weight: Weights
    rate: float
    factors: Losses
    reroute_tokens: float
    retain_distances: float
    answer_tokens: float


class MicroBatch(NamedTuple):
    """Rows of one micro-batch, the `harmful` first ones harmful, with their base activations."""

    rows: list[Row]
    harmful: int
    batch: Batch
    base: list[RowActivations]
    entry: Float[Tensor, "prompt token d_model"] | None


def planned(trainer: Trainer, rows: Sequence[Row], controls: Sequence[ControlEvent]) -> StepPlan:
    """rows: of the whole step, in all processes."""
    spec, step = trainer.spec, trainer.step
    weight = weights_at(spec, step, controls)
    return StepPlan(
        step,
        weight,
        learning_rate_at(spec, step, controls),
        Losses(
            reroute=weight.reroute,
            retain=weight.retain * spec.loss.retain_weight,
            answer=weight.retain * spec.loss.answer_weight,
            twin=weight.reroute * spec.loss.twin_weight,
        ),
        reroute_tokens(spec, rows),
        retain_distances(spec, rows, len(trainer.blocks.retain)),
        answer_tokens(spec, rows),
    )


def drawn(trainer: Trainer, group: Sequence[Row]) -> MicroBatch:
    """Rows as a micro-batch, with what the base model makes of them."""
    rows = sorted(group, key=lambda row: row.label, reverse=True)
    base = trainer.base.of(rows, share_opening=trainer.shares_base_opening)
    batch = row_batch(trainer.model, rows)
    harmful = sum(row.label == "harmful" for row in rows)
    return MicroBatch(rows, harmful, batch, base, entering(base, batch.ids.shape[1]))


def forward(trainer: Trainer, micro: MicroBatch) -> Activations:
    """Activations of the circuit-broken model at the blocks that the rows' losses see."""
    blocks = trainer.blocks
    harmful = micro.harmful > 0 or is_sharded()
    benign = micro.harmful < len(micro.rows) or is_sharded()
    carried = any(holds_answer(trainer.spec, row) for row in micro.rows)
    needed = sorted(
        {
            *(blocks.targets if harmful else ()),
            *(blocks.retain if benign else ()),
            *((blocks.last,) if carried else ()),
        }
    )
    return block_activations(
        trainer.model,
        micro.batch,
        needed,
        entry_block=trainer.base.entry_block,
        entry=micro.entry,
        share_opening=trainer.shares_opening,
    ).outputs


def loss_shares(trainer: Trainer, plan: StepPlan, micro: MicroBatch, rerouted: Activations) -> LossShares:
    """The micro-batch's shares of the step's losses."""
    mask = loss_mask(trainer.spec, micro.rows, micro.batch.ids.shape[1], trainer.model.device)
    reroute = retain = answer = twin = mask.new_zeros(())
    if micro.harmful:
        reroute, twin = _harmful_shares(trainer, plan, micro, rerouted, mask)
    if micro.harmful < len(micro.rows):
        retain = _retain_share(trainer, plan, micro, rerouted, mask)
    if answered := [place for place, row in enumerate(micro.rows) if holds_answer(trainer.spec, row)]:
        answer = _answer_share(trainer, plan, micro, rerouted[trainer.blocks.last], answered)
    return LossShares(reroute, retain, answer, twin)


def _harmful_shares(
    trainer: Trainer, plan: StepPlan, micro: MicroBatch, rerouted: Activations, mask: Float[Tensor, "prompt token"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Of the rerouting loss, and of the one that keeps harmful rows from where their borderline twins lie."""
    loss, spaces, rows = trainer.spec.loss, trainer.spaces, slice(0, micro.harmful)
    targets, tokens = trainer.blocks.targets, plan.reroute_tokens
    moved, base = _pair(micro, rerouted, rows, targets)
    counted = seen = mask[rows]
    twin = mask.new_zeros(())
    if trainer.neighbours:
        points = row_points(trainer, micro.rows[rows], micro.base[rows], targets[-1])
        cosine, which = nearest(points, trainer.neighbours[targets[-1]])
        if loss.overlap_cosine:
            weight = overlap_weight(cosine, threshold=loss.overlap_cosine, width=loss.overlap_width)
            counted = seen * weight[:, None]
        if loss.twin_weight:
            twins = {block: trainer.neighbours[block][which] for block in targets}
            twin = twin_loss(moved, twins, seen, spaces, space=loss.space, margin=loss.twin_margin, tokens=tokens)
    reroute = rerouting_loss(moved, base, counted, spaces, space=loss.space, margin=loss.reroute_margin, tokens=tokens)
    return reroute, twin


def _retain_share(
    trainer: Trainer, plan: StepPlan, micro: MicroBatch, rerouted: Activations, mask: Float[Tensor, "prompt token"]
) -> Float[Tensor, ""]:
    loss, rows = trainer.spec.loss, slice(micro.harmful, None)
    pair = _pair(micro, rerouted, rows, trainer.blocks.retain)
    moved, base = (last_normed(found, trainer.final_norm) for found in pair)
    return retain_loss(
        moved,
        base,
        mask[rows],
        trainer.spaces,
        scale=loss.retain_scale,
        margin=loss.retain_margin,
        distances=plan.retain_distances,
    )


def _answer_share(
    trainer: Trainer,
    plan: StepPlan,
    micro: MicroBatch,
    rerouted: Float[Tensor, "prompt token d_model"],
    places: Sequence[int],
) -> Float[Tensor, ""]:
    """rerouted: what the last block that any loss sees gave out.  places: of the rows whose answers are held."""
    model, rows = trainer.model, [micro.rows[place] for place in places]
    batch = row_batch(model, rows)
    tokens = batch.ids.shape[1]
    entered = torch.stack([rerouted[place, :tokens] for place in places])
    moved = carried_on(model, batch, entered, block=trainer.blocks.last, share_opening=trainer.shares_opening)
    ends = [foretelling(row) for row in rows]
    last = len(model.blocks) - 1
    held = [micro.base[place].outputs[last][seen.start : seen.stop] for place, seen in zip(places, ends, strict=True)]
    with torch.no_grad():
        base = logits_of(model, torch.cat(held))
    return answer_divergence(
        logits_of(model, torch.cat([moved[row, seen.start : seen.stop] for row, seen in enumerate(ends)])),
        base,
        temperature=trainer.spec.loss.answer_temperature,
        tokens=plan.answer_tokens,
    )


def _pair(
    micro: MicroBatch, rerouted: Activations, rows: slice, blocks: Sequence[int]
) -> tuple[dict[int, Float[Tensor, "row token d_model"]], dict[int, Float[Tensor, "row token d_model"]]]:
    """Activations of these rows at these blocks under the circuit-broken model, and under the base model."""
    tokens = micro.batch.ids.shape[1]
    base = {block: stack([one.outputs[block] for one in micro.base[rows]], tokens) for block in blocks}
    # What is not run anew lies below all adapters.
    return {block: rerouted[block][rows] if block in rerouted else base[block] for block in blocks}, base

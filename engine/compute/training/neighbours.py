"""Where borderline rows lie under the base model, and which of them lies nearest to a harmful row. Knows nothing of
losses."""

from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.team import together
from engine.compute.training.base_activations import GROUP_TOKENS, RowActivations
from engine.compute.training.masks import answer_places
from engine.compute.training.rows import Row, micro_batches, row_kinds
from engine.compute.training.trainer import Trainer
from engine.records.errors import TrainingError
from engine.records.start_rows import NEIGHBOURS


@together
def find_neighbours(trainer: Trainer) -> Generator[None, None, None]:
    """Find where borderline training rows lie at the target blocks, at most NEIGHBOURS of them, evenly taken, if a loss
    of the spec asks for it. Raises TrainingError where there are none."""
    if not trainer.spec.loss.needs_neighbours:
        return
    benign = trainer.rows.benign
    places = [place for place, kind in enumerate(row_kinds(benign)) if kind.borderline]
    if not places:
        raise TrainingError(
            "Harmful rows cannot be compared with borderline ones, since the retain set has none to train on: give "
            "rows with the field 'borderline', or set loss.overlap_cosine and loss.twin_weight to 0."
        )
    rows = [benign[place] for place in places[:: -(-len(places) // NEIGHBOURS)]]
    points: dict[int, list[Tensor]] = {block: [] for block in trainer.blocks.targets}
    for group in micro_batches(rows, GROUP_TOKENS):
        activations = trainer.base.of(group)
        for block, found in points.items():
            found.append(row_points(trainer, group, activations, block))
        yield None
    trainer.neighbours = {block: torch.cat(found) for block, found in points.items()}


def row_points(
    trainer: Trainer, rows: Sequence[Row], base: Sequence[RowActivations], block: int
) -> Float[Tensor, "row d_model"]:
    """Where rows lie at a target block: the mean of their answers' base activations, in the losses' space."""
    means = []
    for row, activations in zip(rows, base, strict=True):
        seen = answer_places(row)
        means.append(activations.outputs[block][seen.start : seen.stop].float().mean(0))
    return trainer.spaces[block].transform(torch.stack(means)[None], trainer.spec.loss.space)[0]

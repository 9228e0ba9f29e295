"""The base model's activations of training rows: computed without the adapter, kept within a byte budget.

Where adapters begin above block 0, the activations that enter the first adapted block are the same in both models;
they are kept too, and the blocks below are never run again for that row. Knows nothing of losses.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import Batch, batch_of
from engine.compute.team import is_sharded, sent, together, working
from engine.compute.training.reroute import BlockSpace
from engine.compute.training.rows import Row, micro_batches
from engine.records.events import Progress

GROUP_TOKENS = 2048
RowKey = tuple[str, tuple[int, ...]]


class RowActivations(NamedTuple):
    """One row's base activations, by block, and what enters the first adapted block (None when that is block 0)."""

    outputs: dict[int, Float[Tensor, "token d_model"]]
    entry: Float[Tensor, "token d_model"] | None


class _Group(NamedTuple):
    """Rows that are computed together."""

    rows: list[Row]
    share_opening: bool


class BaseActivations:
    """Base activations of known rows at the blocks that their side needs.

    Kept rows are computed in groups that are fixed at the start, never in whatever batch asks first: sums in another
    order differ in their last bits, and a resumed run would then not equal an unbroken one.
    """

    def __init__(
        self,
        model: LoadedModel,
        rows: Sequence[Row],
        *,
        blocks: dict[str, tuple[int, ...]],
        entry_block: int,
        budget_bytes: int,
        group_tokens: int = GROUP_TOKENS,
        measured: Sequence[Sequence[Row]] = (),
        measured_tokens: int = GROUP_TOKENS,
        share_opening: bool = True,
    ) -> None:
        """rows: those that steps draw again.  blocks: for each label the blocks whose activations are compared.
        group_tokens: how many go through at once.  measured: lists of rows that are measured as they stand, in groups
        of `measured_tokens`: their base activations are computed in those very groups, so that an adapter that changes
        nothing moves nothing, to the last bit.  share_opening: as of block_activations, for `rows`.
        """
        self.model = model
        self.blocks = blocks
        self.entry_block = entry_block
        self.bytes = 0
        # Where these activations live, once that was measured.
        self.spaces: dict[int, BlockSpace] = {}
        self._groups: list[_Group] = []
        self._kept: dict[RowKey, RowActivations] = {}
        known = {_key(row) for part in measured for row in part}
        others = {key: row for row in rows if (key := _key(row)) not in known}
        groups = [_Group(group, True) for part in measured for group in micro_batches(part, measured_tokens)]
        groups += [_Group(group, share_opening) for group in micro_batches(list(others.values()), group_tokens)]
        for group in groups:
            size = sum(row_bytes(model, blocks, entry_block, row) for row in group.rows)
            if self.bytes + size <= budget_bytes:
                self.bytes += size
                self._groups.append(group)

    @together
    def fill(self) -> Generator[Progress, None, None]:
        """Compute what fits the budget, a group at a time; several processes compute one each, and tell the others."""
        rank, size = (0, 1) if is_sharded() else working()
        for start in range(0, len(self._groups), size):
            yield Progress(
                phase="measuring", done=start, total=len(self._groups), message="Activations of the base model"
            )
            groups = self._groups[start : start + size]
            own = groups[rank] if rank < len(groups) else None
            computed = self._compute(own.rows, share_opening=own.share_opening) if own else None
            for source, group in enumerate(groups):
                given = computed if source == rank else None
                known = given if size == 1 and given is not None else self._told(group.rows, given, source)
                self._kept |= dict(zip(map(_key, group.rows), known, strict=True))

    def _told(self, rows: Sequence[Row], computed: list[RowActivations] | None, source: int) -> list[RowActivations]:
        """What process `source` computed of these rows, in all processes; one message."""
        sizes = [
            len(row.ids) * self.model.d_model
            for row in rows
            for _ in range(len(self.blocks[row.label]) + (self.entry_block > 0))
        ]
        if computed is None:
            flat = torch.empty(sum(sizes), dtype=self.model.dtype, device=self.model.device)
        else:
            flat = torch.cat([part.flatten() for row in computed for part in (*row.outputs.values(), *_entries(row))])
        parts = iter(sent(flat, source=source).split(sizes))
        found = []
        for row in rows:
            outputs = {block: next(parts).view(len(row.ids), -1).clone() for block in self.blocks[row.label]}
            entry = next(parts).view(len(row.ids), -1).clone() if self.entry_block else None
            found.append(RowActivations(outputs, entry))
        return found

    def of(self, rows: Sequence[Row], *, share_opening: bool = True) -> list[RowActivations]:
        """Activations of these rows; what is not kept is computed in one pass, its opening once if that is shared."""
        others = [row for row in rows if _key(row) not in self._kept]
        fresh = dict(zip(map(_key, others), self._compute(others, share_opening=share_opening), strict=True))
        return [self._kept.get(_key(row)) or fresh[_key(row)] for row in rows]

    def _compute(self, rows: Sequence[Row], *, share_opening: bool) -> list[RowActivations]:
        if not rows:
            return []
        batch = row_batch(self.model, rows)
        wanted = sorted({block for row in rows for block in self.blocks[row.label]})
        with torch.no_grad(), adapted(self.model, None):
            activations = block_activations(
                self.model,
                batch,
                wanted,
                entry_block=self.entry_block,
                keep_entry=self.entry_block > 0,
                share_opening=share_opening,
            )
        # Clones, so that a kept row does not hold its whole padded batch in memory.
        return [
            RowActivations(
                {block: activations.outputs[block][index, : len(row.ids)].clone() for block in self.blocks[row.label]},
                None if activations.entry is None else activations.entry[index, : len(row.ids)].clone(),
            )
            for index, row in enumerate(rows)
        ]


def _entries(row: RowActivations) -> list[Tensor]:
    return [] if row.entry is None else [row.entry]


def row_bytes(model: LoadedModel, blocks: Mapping[str, tuple[int, ...]], entry_block: int, row: Row) -> int:
    """What keeping a row's base activations takes. blocks, entry_block: as of BaseActivations."""
    activations = len(blocks[row.label]) + (entry_block > 0)
    return activations * len(row.ids) * model.d_model * model.dtype.itemsize


def _key(row: Row) -> RowKey:
    return row.label, row.ids


def row_batch(model: LoadedModel, rows: Sequence[Row]) -> Batch:
    return batch_of(model, [row.ids for row in rows])


def entering(rows: Sequence[RowActivations], tokens: int) -> Float[Tensor, "prompt token d_model"] | None:
    """What enters the first adapted block, of these rows; None where it is not kept."""
    kept = [row.entry for row in rows if row.entry is not None]
    return stack(kept, tokens) if kept else None


def stack(activations: Sequence[Float[Tensor, "_ d_model"]], tokens: int) -> Float[Tensor, "prompt token d_model"]:
    """Rows of different length in one tensor, padded on the right with zeros."""
    stacked = activations[0].new_zeros((len(activations), tokens, activations[0].shape[-1]))
    for index, row in enumerate(activations):
        stacked[index, : len(row)] = row
    return stacked

"""What the steps of one run share: model, rows, optimizer, base activations, checkpoints. Knows nothing of losses."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from engine.compute.model.adapters import adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.loaded import LoadedModel, find_final_norm
from engine.compute.seeds import mix
from engine.compute.team import is_sharded, keep, together, working
from engine.compute.training.base_activations import GROUP_TOKENS, BaseActivations, base_activations, row_bytes
from engine.compute.training.checkpoints import Position, list_checkpoints, load_checkpoint, save_checkpoint
from engine.compute.training.reroute import BlockSpace
from engine.compute.training.rows import Row, places_that_come_back
from engine.records.blocks import ResolvedBlocks
from engine.records.errors import TrainingError
from engine.records.estimate import KEPT_BYTES
from engine.records.events import CheckpointResult, ControlEvent, Event, StatusEvent
from engine.records.spec import RunSpec


class Rows(NamedTuple):
    """What a run trains on and is measured on."""

    harmful: Sequence[Row]
    benign: Sequence[Row]
    validation: list[Row]
    test: list[Row]


@dataclass
class Trainer:
    """All that the steps of one run share.

    micro_batch_tokens: what goes through forwards and backwards at once, padding included; forwards alone, twice that.
    """

    model: LoadedModel
    name: str
    spec: RunSpec
    blocks: ResolvedBlocks
    rows: Rows
    accelerator: Accelerator
    optimizer: torch.optim.Optimizer
    base: BaseActivations
    checkpoints: Path
    controls: Sequence[ControlEvent]
    micro_batch_tokens: int
    final_norm: Callable[[Tensor], Tensor] | None = None
    step: int = 0
    saved_step: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    warned: bool = False
    drift: float = 0.0

    @property
    def spaces(self) -> dict[int, BlockSpace]:
        """Where the base activations live, once that was measured."""
        return self.base.spaces

    @property
    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What is trained, by name, in a stable order."""
        return adapter_parameters(self.model, self.name)

    @together
    def resume(self) -> Generator[Event, None, None]:
        """Go on from the last checkpoint, if there is one. Raises RunError when it is damaged."""
        found = list_checkpoints(self.checkpoints)
        if not found:
            return
        position = load_checkpoint(found[-1], self.parameters, self.optimizer)
        self.step = self.saved_step = position.step
        self.seconds = position.seconds
        yield StatusEvent(status="resumed", step=position.step, message=f"From checkpoint {found[-1].name}")

    def save(self) -> Event:
        """Write a checkpoint. Raises RunError when the disk is full."""
        position = Position(self.step, self.seconds)
        folder = save_checkpoint(self.checkpoints, position, self.parameters, self.optimizer)
        self.saved_step = self.step
        return CheckpointResult(step=self.step, name=folder.name)

    @together
    def end(self) -> None:
        """Give back what accelerate keeps for the whole process. Its own end would take the team's connections down."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        AcceleratorState._reset_state(reset_partial_state=True)


@together
def prepared(
    model: LoadedModel,
    name: str,
    spec: RunSpec,
    blocks: ResolvedBlocks,
    rows: Rows,
    checkpoints: Path,
    controls: Sequence[ControlEvent],
    trackers_folder: Path | None,
    micro_batch_tokens: int,
) -> Trainer:
    """Attach the adapter and get ready. Raises TrainingError for a tracker that is not there. Of several processes the
    first one alone keeps track."""
    trackers = list(spec.captures.trackers) if working()[0] == 0 else []
    final_norm = find_final_norm(model) if spec.loss.final_norm else None
    attach_adapter(model, name, spec.adapter, blocks.adapted, seed=mix(spec.seed, "adapter"))
    try:
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(
            cpu=model.device.type == "cpu",
            mixed_precision="bf16" if model.dtype == torch.bfloat16 else "no",
            log_with=trackers or None,
            project_dir=trackers_folder,
        )
        _check_trackers(trackers, accelerator)
        if trackers:
            accelerator.init_trackers("representation-rerouting", config={"digest": spec.digest})
    except (ValueError, ImportError) as error:
        remove_adapter(model, name)
        raise TrainingError(f"The tracker {', '.join(spec.captures.trackers)} cannot be used: {error}") from error
    parameters = [parameter for _, parameter in adapter_parameters(model, name)]
    settings = spec.optimizer
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    seen = {"harmful": blocks.targets, "benign": tuple(sorted({*blocks.retain, *blocks.targets}))}
    # A GPU's own memory holds them, and is the scarcer one.
    budget = KEPT_BYTES // 2 if model.device.type == "cuda" else KEPT_BYTES
    if is_sharded():
        # Each process needs as many passes as the others, whatever rows it has.
        budget = 0
    size = partial(row_bytes, model, seen, blocks.first_adapted)
    activations = base_activations(
        model,
        _kept_rows(spec, rows, bytes_of=size, budget=budget),
        blocks=seen,
        entry_block=blocks.first_adapted,
        group_tokens=min(GROUP_TOKENS, 2 * micro_batch_tokens),
        budget_bytes=budget,
    )
    trainer = Trainer(
        model,
        name,
        spec,
        blocks,
        rows,
        accelerator,
        optimizer,
        activations,
        checkpoints,
        controls,
        micro_batch_tokens,
        final_norm,
    )
    keep(trainer)
    return trainer


def _check_trackers(trackers: Sequence[str], accelerator: Accelerator) -> None:
    """accelerate leaves out a tracker whose package is missing, and says nothing."""
    there = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    missing = [name for name in trackers if name not in there]
    if missing:
        raise ImportError(f"{', '.join(missing)} is not installed. Install it, or leave it out of the captures.")


def _kept_rows(spec: RunSpec, rows: Rows, *, bytes_of: Callable[[Row], int], budget: int) -> list[Row]:
    """Rows that the steps draw more than once, as many as the budget may hold, and the held-out ones."""
    sides = {"harmful": rows.harmful, "benign": rows.benign}
    kept: list[Row] = []
    size = 0
    for place in places_that_come_back(spec, rows.harmful, rows.benign):
        kept.append(sides[place.label][place.number])
        size += bytes_of(kept[-1])
        if size > budget:
            break
    return [*kept, *rows.validation, *rows.test]

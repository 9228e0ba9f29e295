"""What the steps of one run share: model, rows, optimizer, base activations, checkpoints. Knows nothing of losses."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from jaxtyping import Float
from torch import Tensor, nn

from engine.compute.model.adapters import adapter_parameters, attach_adapter
from engine.compute.model.loaded import LoadedModel, find_final_norm
from engine.compute.model.room import machine_of
from engine.compute.seeds import mix
from engine.compute.team import held, is_sharded, keep, together, working
from engine.compute.training.base_activations import GROUP_TOKENS, BaseActivations, row_bytes
from engine.compute.training.checkpoints import (
    Position,
    checkpoint_at,
    list_checkpoints,
    load_checkpoint,
    read_adapter_weights,
    save_checkpoint,
)
from engine.compute.training.drawing import places_that_come_back
from engine.compute.training.needs import need_what_options_need
from engine.compute.training.reroute import BlockSpace
from engine.compute.training.rows import Row, pictured_tokens
from engine.records.blocks import ResolvedBlocks
from engine.records.errors import first_line
from engine.records.events import CheckpointResult, ControlEvent, Event, StatusEvent
from engine.records.room import checkpoints_gradients, kept_bytes
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

    micro_batch_tokens: what goes through forwards and backwards at once, padding included.  first_tokens: the same as
    the run began, before memory ran out: twice that goes forwards alone, in groups that stay.
    checkpointing: blocks are computed anew on the way back.  problem: why it cannot begin, which the first of several
    processes alone may find; '' where it can.
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
    first_tokens: int
    final_norm: Callable[[Tensor], Tensor] | None = None
    checkpointing: bool = False
    problem: str = ""
    exact: bool = True  # The way back takes kernels alone that repeat themselves.
    step: int = 0
    saved_step: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    warned: bool = False
    drift: float = 0.0
    # What was looked at since the last step.
    looks: tuple[str, ...] = ()
    # What each layer's A is kept out of, by the name of that parameter.
    directions: dict[str, Float[Tensor, "inputs direction"]] = field(default_factory=dict)
    # Where borderline rows lie at each target block.
    neighbours: dict[int, Float[Tensor, "neighbour d_model"]] = field(default_factory=dict)
    # The rerouting losses' gradients of a step, where they are kept apart from the others.
    aside: list[Tensor] = field(default_factory=list)

    @property
    def spaces(self) -> dict[int, BlockSpace]:
        """Where the base activations live, once that was measured."""
        return self.base.spaces

    @property
    def measured_tokens(self) -> int:
        """How many tokens of held-out rows go through at once."""
        return _measured_tokens(self.spec, self.first_tokens)

    @property
    def shares_opening(self) -> bool:
        """Whether an opening that all rows of a micro-batch share is run once: not where dropout draws anew for every
        row, where a block that is computed anew would fill its cache again, nor where weights are sharded."""
        return self.spec.adapter.dropout == 0 and not self.checkpointing and not is_sharded()

    @property
    def shares_base_opening(self) -> bool:
        """The same for the base model's part. In bfloat16 the two ways differ by 2 % of an activation (measured), which
        would read as drift; in float32 by 3e-7."""
        return self.shares_opening or self.model.dtype == torch.float32

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
        self.seconds, self.looks = position.seconds, position.looks if position.step else ()
        yield StatusEvent(status="resumed", step=position.step, message=f"From checkpoint {found[-1].name}")

    def save(self) -> Event:
        """Write a checkpoint. Raises RunError when the disk is full."""
        now = Position(self.step, self.seconds, self.looks)
        save_checkpoint(self.checkpoints, now, self.parameters, self.optimizer)
        self.saved_step = self.step
        return self.saved()

    def saved(self) -> Event:
        """What is said of the last checkpoint."""
        return CheckpointResult(step=self.saved_step, name=checkpoint_at(self.checkpoints, self.saved_step).name)

    @together
    def go_back(self, step: int) -> None:
        """Take an earlier checkpoint's weights; no step is taken afterwards. Raises RunError when it is damaged."""
        weights = read_adapter_weights(checkpoint_at(self.checkpoints, step))
        with torch.no_grad():
            for name, parameter in self.parameters:
                parameter.copy_(weights[name].to(parameter))
        self.step = step

    @together
    def begin_anew(self) -> None:
        """Forget what a step that did not end has left: gradients, and moments of which some may have found no room."""
        self.optimizer.zero_grad()
        if not self.step:
            self.optimizer.state.clear()

    @together
    def set_strength(self) -> None:
        """Multiply what the adapter adds by the spec's strength; no step is taken afterwards."""
        with torch.no_grad():
            for _, parameter in adapter_parameters(self.model, self.name, part="lora_B"):
                parameter.mul_(self.spec.adapter.strength)

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
    first_tokens: int,
) -> Trainer:
    """Attach the adapter and get ready. Of several processes the first one alone keeps track: a tracker that cannot be
    used is the trainer's `problem`, since an error of one process alone would end the team."""
    need_what_options_need(model, spec, rows.benign)
    trackers = list(spec.captures.trackers) if working()[0] == 0 else []
    final_norm = find_final_norm(model) if spec.loss.final_norm else None
    attach_adapter(model, name, spec.adapter, blocks.adapted, seed=mix(spec.seed, "adapter"))
    problem = ""
    try:
        accelerator = _accelerated(model, spec, trackers, trackers_folder)
    except Exception as error:  # Whatever another library finds wrong.
        problem = f"The tracker {', '.join(trackers)} cannot be used: {first_line(error)}"
        accelerator = _accelerated(model, spec, [], trackers_folder)
    parameters = [parameter for _, parameter in adapter_parameters(model, name)]
    settings = spec.optimizer
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    # What the base model's answers foretell is made of what its last block gave out, which is kept for that.
    last = {len(model.blocks) - 1} if spec.loss.answer_weight else set()
    seen = {"harmful": blocks.targets, "benign": tuple(sorted({*blocks.compared("benign"), *last}))}
    machine = machine_of(model)
    budget = kept_bytes(machine)
    if model.device.type == "cpu":
        budget //= working()[1]  # Each process keeps all of them, in one memory.
    pictured = pictured_tokens(rows.harmful, rows.benign)
    checkpointing = checkpoints_gradients(spec, model.card, machine, pictured=pictured)
    size = partial(row_bytes, model, seen, blocks.first_adapted)
    activations = held(
        partial(
            BaseActivations,
            model,
            _kept_rows(spec, rows, bytes_of=size, budget=budget),
            blocks=seen,
            entry_block=blocks.first_adapted,
            group_tokens=min(GROUP_TOKENS, 2 * first_tokens),
            budget_bytes=budget,
            measured=(rows.validation, rows.test),
            measured_tokens=_measured_tokens(spec, first_tokens),
            share_opening=(spec.adapter.dropout == 0 and not checkpointing) or model.dtype == torch.float32,
        )
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
        first_tokens,
        final_norm,
        checkpointing,
        problem,
    )
    keep(trainer)
    return trainer


def _measured_tokens(spec: RunSpec, first_tokens: int) -> int:
    return min(spec.optimizer.tokens_per_micro_batch, 2 * first_tokens)


def _accelerated(
    model: LoadedModel, spec: RunSpec, trackers: Sequence[str], trackers_folder: Path | None
) -> Accelerator:
    """Whatever a tracker's own library raises where it cannot be used."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=model.device.type == "cpu",
        # Base and rerouted activations are both computed in the weights' own format, without autocast.
        mixed_precision="no",
        log_with=list(trackers) or None,
        project_dir=trackers_folder,
    )
    _check_trackers(trackers, accelerator)
    if trackers:
        accelerator.init_trackers("representation-rerouting", config={"digest": spec.digest})
    return accelerator


def _check_trackers(trackers: Sequence[str], accelerator: Accelerator) -> None:
    """accelerate leaves out a tracker whose package is missing, and says nothing."""
    there = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    missing = [name for name in trackers if name not in there]
    if missing:
        raise ImportError(f"{', '.join(missing)} is not installed. Install it, or leave it out of the captures.")


def _kept_rows(spec: RunSpec, rows: Rows, *, bytes_of: Callable[[Row], int], budget: int) -> list[Row]:
    """Rows that the steps draw more than once, as many as the budget may hold."""
    sides = {"harmful": rows.harmful, "benign": rows.benign}
    kept: list[Row] = []
    size = 0
    for place in places_that_come_back(spec, rows.harmful, rows.benign):
        kept.append(sides[place.label][place.number])
        size += bytes_of(kept[-1])
        if size > budget:
            break
    return kept

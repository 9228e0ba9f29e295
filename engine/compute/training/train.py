"""train(): Representation Rerouting as a generator, one micro-batch at a time.

Knows models, rows and losses; nothing of queues, run folders beyond the checkpoint folder, or screens.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.loaded import LoadedModel, find_final_norm
from engine.compute.model.low_rank import quick_layers
from engine.compute.model.memory import ran_out_of_memory
from engine.compute.seeds import mix
from engine.compute.training.base_activations import BaseActivations, row_batch, stack
from engine.compute.training.checkpoints import Position, list_checkpoints, load_checkpoint, save_checkpoint
from engine.compute.training.heldout import measure_heldout, measure_spaces, statistics_rows
from engine.compute.training.reroute import (
    BlockSpace,
    last_normed,
    published_distances,
    rerouting_loss,
    retain_loss,
)
from engine.compute.training.rows import Row, micro_batches, step_rows
from engine.records.errors import TrainingError
from engine.records.estimate import KEPT_BYTES
from engine.records.events import Alert, CheckpointResult, ControlEvent, Event, Progress, StatusEvent, StepResult
from engine.records.schedules import Weights, weights
from engine.records.spec import ResolvedBlocks, RunSpec

PLATEAU_STEPS = 30
PLATEAU_COSINE = 0.95

Steps = Generator[Event | None, None, None]
# A look at the model as it stands after some steps, given that number.
Look = Callable[[int], Generator[Event | None, None, Event]]


class Rows(NamedTuple):
    """What a run trains on and is measured on."""

    harmful: list[Row]
    benign: list[Row]
    validation: list[Row]
    test: list[Row]


class Losses(NamedTuple):
    reroute: float
    retain: float


@dataclass
class Trainer:
    """All that the steps of one run share."""

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
    final_norm: Callable[[Tensor], Tensor] | None = None
    spaces: dict[int, BlockSpace] = field(default_factory=dict)
    step: int = 0
    saved_step: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    warned: bool = False


def train(
    *,
    model: LoadedModel,
    name: str,
    spec: RunSpec,
    blocks: ResolvedBlocks,
    rows: Rows,
    checkpoints: Path,
    controls: Sequence[ControlEvent] = (),
    trackers_folder: Path | None = None,
    probe: Look | None = None,
    capture: Look | None = None,
) -> Steps:
    """Train the adapter `name`; yields events, and None after each micro-batch that finished no step.

    Starts from the last checkpoint in `checkpoints` if there is one. `controls` may grow while training: a changed
    value holds from its step on. `probe(step)` answers a few prompts and `capture(step)` captures activations as the
    model stands. Closing the generator writes
    a checkpoint. The adapter stays attached until the caller removes it, so that it can still be asked and saved.
    Raises TrainingError when a loss is not finite or memory is exhausted.
    """
    trainer = _prepare(model, name, spec, blocks, rows, checkpoints, controls, trackers_folder)
    try:
        yield from _resume(trainer)
        yield from trainer.base.fill()
        trainer.spaces = yield from measure_spaces(trainer.base, statistics_rows(rows.harmful, rows.benign))
        if trainer.step == 0:
            yield from _measure(trainer, probe, capture)
        while trainer.step < spec.optimizer.steps:
            yield from _one_step(trainer)
            yield from _measure(trainer, probe, capture)
            if trainer.step % spec.captures.checkpoint_every == 0:
                yield _checkpoint(trainer)
        if trainer.saved_step < trainer.step:
            yield _checkpoint(trainer)
        yield from _test(trainer)
    except GeneratorExit:
        if trainer.step > trainer.saved_step:
            _checkpoint(trainer)
        raise
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise TrainingError(
            f"Memory ran out in step {trainer.step} with {spec.optimizer.tokens_per_micro_batch} tokens a micro-batch: "
            "halve tokens_per_micro_batch, shorten max_tokens, or adapt fewer blocks. The last checkpoint is kept."
        ) from error
    finally:
        trainer.accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)


def learning_rate_at(spec: RunSpec, step: int, controls: Sequence[ControlEvent] = ()) -> float:
    """Learning rate of an optimizer step: warm-up, decay and live changes included."""
    optimizer = spec.optimizer
    rate = _live(controls, "learning_rate", step, optimizer.learning_rate)
    if step < optimizer.warmup_steps:
        return rate * (step + 1) / optimizer.warmup_steps
    left = 1 - (step - optimizer.warmup_steps) / max(1, optimizer.steps - optimizer.warmup_steps)
    shapes = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return rate * shapes[optimizer.decay]


def weights_at(spec: RunSpec, step: int, controls: Sequence[ControlEvent] = ()) -> Weights:
    """Both loss weights of an optimizer step, live changes of alpha included."""
    alpha = _live(controls, "alpha", step, spec.schedule.alpha)
    return weights(spec.schedule.model_copy(update={"alpha": alpha}), step, spec.optimizer.steps)


def _live(controls: Sequence[ControlEvent], name: str, step: int, value: float) -> float:
    for control in controls:
        if control.control == name and control.step <= step and control.value is not None:
            value = control.value
    return value


def _prepare(
    model: LoadedModel,
    name: str,
    spec: RunSpec,
    blocks: ResolvedBlocks,
    rows: Rows,
    checkpoints: Path,
    controls: Sequence[ControlEvent],
    trackers_folder: Path | None,
) -> Trainer:
    final_norm = find_final_norm(model) if spec.loss.final_norm else None
    attach_adapter(model, name, spec.adapter, blocks.adapted, seed=mix(spec.seed, "adapter"))
    try:
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(
            cpu=model.device.type == "cpu",
            mixed_precision="bf16" if model.dtype == torch.bfloat16 else "no",
            log_with=list(spec.captures.trackers) or None,
            project_dir=trackers_folder,
        )
        _check_trackers(spec, accelerator)
        if spec.captures.trackers:
            accelerator.init_trackers("representation-rerouting", config={"digest": spec.digest})
    except (ValueError, ImportError) as error:
        remove_adapter(model, name)
        raise TrainingError(f"The tracker {', '.join(spec.captures.trackers)} cannot be used: {error}") from error
    parameters = [parameter for _, parameter in adapter_parameters(model, name)]
    settings = spec.optimizer
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    activations = BaseActivations(
        model,
        _rows_that_come_back(spec, rows),
        blocks={"harmful": blocks.targets, "benign": tuple(sorted({*blocks.retain, *blocks.targets}))},
        entry_block=blocks.first_adapted,
        # A GPU's own memory holds them, and is the scarcer one.
        budget_bytes=KEPT_BYTES // 2 if model.device.type == "cuda" else KEPT_BYTES,
    )
    return Trainer(
        model, name, spec, blocks, rows, accelerator, optimizer, activations, checkpoints, controls, final_norm
    )


def _check_trackers(spec: RunSpec, accelerator: Accelerator) -> None:
    """accelerate leaves out a tracker whose package is missing, and says nothing."""
    there = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    missing = [name for name in spec.captures.trackers if name not in there]
    if missing:
        raise ImportError(f"{', '.join(missing)} is not installed. Install it, or leave it out of the captures.")


def _rows_that_come_back(spec: RunSpec, rows: Rows) -> list[Row]:
    """Rows that the steps will draw (one epoch draws them all), and the held-out ones."""
    optimizer = spec.optimizer
    epoch = 1 + max(
        len(rows.harmful) // optimizer.circuit_breaker_batch, len(rows.benign) // max(1, optimizer.retain_batch // 2)
    )
    drawn = [
        row for step in range(min(optimizer.steps, epoch)) for row in step_rows(spec, rows.harmful, rows.benign, step)
    ]
    return [*drawn, *rows.validation, *rows.test]


def _resume(trainer: Trainer) -> Steps:
    found = list_checkpoints(trainer.checkpoints)
    if not found:
        return
    position = load_checkpoint(found[-1], adapter_parameters(trainer.model, trainer.name), trainer.optimizer)
    trainer.step = trainer.saved_step = position.step
    trainer.seconds = position.seconds
    yield StatusEvent(status="resumed", step=position.step, message=f"From checkpoint {found[-1].name}")


def _one_step(trainer: Trainer) -> Steps:
    """One optimizer step: forward and backward a micro-batch at a time, then clip and move."""
    spec, step = trainer.spec, trainer.step
    started = time.perf_counter()
    weight = weights_at(spec, step, trainer.controls)
    rate = learning_rate_at(spec, step, trainer.controls)
    rows = step_rows(spec, trainer.rows.harmful, trainer.rows.benign, step)
    reroute_tokens = float(sum(len(row.ids) - _mask_start(spec, row) for row in rows if row.label == "harmful"))
    retain_distances = _retain_distances(spec, rows, len(trainer.blocks.retain))
    losses = Losses(0.0, 0.0)
    seconds = 0.0
    groups = micro_batches(rows, spec.optimizer.tokens_per_micro_batch)
    for number, group in enumerate(groups):
        part = _micro_step(trainer, group, weight, reroute_tokens, retain_distances, number)
        losses = Losses(losses.reroute + part.reroute, losses.retain + part.retain)
        _check_finite(trainer, losses, weight, rate)
        if number + 1 < len(groups):
            # Other jobs run between micro-batches; their time is not this step's.
            seconds += time.perf_counter() - started
            yield None
            started = time.perf_counter()
    parameters = [parameter for _, parameter in adapter_parameters(trainer.model, trainer.name)]
    norm = trainer.accelerator.clip_grad_norm_(parameters, spec.optimizer.clip_norm or math.inf)
    gradient_norm = float(norm) if norm is not None else 0.0
    _check_finite(trainer, losses, weight, rate, gradient_norm)
    for group_of_parameters in trainer.optimizer.param_groups:
        group_of_parameters["lr"] = rate
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    seconds += time.perf_counter() - started
    trainer.step += 1
    trainer.seconds += seconds
    result = StepResult(
        step=step,
        reroute_loss=losses.reroute,
        retain_loss=losses.retain,
        reroute_weight=weight.reroute,
        retain_weight=weight.retain,
        loss=weight.reroute * losses.reroute + weight.retain * spec.loss.retain_weight * losses.retain,
        gradient_norm=gradient_norm,
        learning_rate=rate,
        tokens=sum(len(row.ids) for row in rows),
        seconds=seconds,
    )
    if spec.captures.trackers:
        trainer.accelerator.log(result.model_dump(exclude={"kind", "time", "step"}), step=step)
    yield result
    yield from _watch_plateau(trainer, losses)


def _micro_step(
    trainer: Trainer, group: list[Row], weight: Weights, reroute_tokens: float, retain_distances: float, number: int
) -> Losses:
    """Forward and backward of one micro-batch; its losses are shares of the whole step's means."""
    model, spec, blocks = trainer.model, trainer.spec, trainer.blocks
    group = sorted(group, key=lambda row: row.label, reverse=True)
    harmful = sum(row.label == "harmful" for row in group)
    base_rows = trainer.base.of(group)
    batch = row_batch(model, group)
    tokens = batch.ids.shape[1]
    entry = None
    if trainer.base.entry_block:
        entry = stack([one.entry for one in base_rows if one.entry is not None], tokens)
    needed = sorted({*(blocks.targets if harmful else ()), *(blocks.retain if harmful < len(group) else ())})
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), adapted(model, trainer.name, train=True):
        torch.manual_seed(mix(spec.seed, "dropout", trainer.step, number))
        with trainer.accelerator.autocast(), quick_layers(model, trainer.name):
            rerouted = block_activations(
                model,
                batch,
                needed,
                entry_block=trainer.base.entry_block,
                entry=entry,
                # Dropout draws anew for every row.
                share_opening=spec.adapter.dropout == 0,
            ).outputs
        mask = _loss_mask(spec, group, tokens, model.device)
        zero = mask.new_zeros(())
        reroute = retain = zero
        if harmful:
            reroute = rerouting_loss(
                {block: rerouted[block][:harmful] for block in blocks.targets},
                {block: stack([one.outputs[block] for one in base_rows[:harmful]], tokens) for block in blocks.targets},
                mask[:harmful],
                trainer.spaces,
                space=spec.loss.space,
                tokens=reroute_tokens,
            )
        if harmful < len(group):
            held = {block: rerouted[block][harmful:] for block in blocks.retain}
            base = {
                block: stack([one.outputs[block] for one in base_rows[harmful:]], tokens) for block in blocks.retain
            }
            retain = retain_loss(
                last_normed(held, trainer.final_norm),
                last_normed(base, trainer.final_norm),
                mask[harmful:],
                trainer.spaces,
                scale=spec.loss.retain_scale,
                distances=retain_distances,
            )
        loss = weight.reroute * reroute + weight.retain * spec.loss.retain_weight * retain
        if loss.requires_grad:
            trainer.accelerator.backward(loss)
    return Losses(float(reroute.detach()), float(retain.detach()))


def _loss_mask(spec: RunSpec, rows: Sequence[Row], tokens: int, device: torch.device) -> Tensor:
    """1 for tokens that a loss sees: the spec's masks, harmful rows and benign ones."""
    mask = torch.zeros((len(rows), tokens))
    for index, row in enumerate(rows):
        start = _mask_start(spec, row) if row.label == "harmful" else _retain_start(spec, row)
        mask[index, start : len(row.ids)] = 1
    return mask.to(device)


def _retain_distances(spec: RunSpec, rows: Sequence[Row], blocks: int) -> float:
    """How many distances the retain mean of a whole step is over."""
    benign = [row for row in rows if row.label == "benign"]
    if spec.loss.retain_mean == "positions":
        return published_distances(rows=len(benign), tokens=spec.data.max_tokens, blocks=blocks)
    return float(sum(len(row.ids) - _retain_start(spec, row) for row in benign) * blocks)


def _retain_start(spec: RunSpec, row: Row) -> int:
    """Relative drift is in units of the centred norm, which the first token (an attention sink) does not share."""
    first = 1 if spec.loss.retain_scale == "relative" else 0
    if spec.loss.retain_mask == "all":
        return first
    return max(first, row.response_start - spec.loss.lead_tokens)


def _mask_start(spec: RunSpec, row: Row) -> int:
    if spec.loss.mask == "all":
        return 0
    start = max(0, row.response_start - spec.loss.lead_tokens)
    return min(start + spec.loss.skip_response_tokens, len(row.ids))


def _measure(trainer: Trainer, probe: Look | None, capture: Look | None) -> Steps:
    captures, step = trainer.spec.captures, trainer.step
    last = step == trainer.spec.optimizer.steps
    if trainer.rows.validation and (last or step % captures.heldout_every == 0):
        yield (yield from _heldout(trainer, trainer.rows.validation, "validation"))
    if probe and captures.probe_prompts and (last or step % captures.probe_every == 0):
        yield (yield from probe(step))
    every = captures.capture_every if captures.capture_prompts else 0
    if capture and every and (last or step % every == 0):
        yield (yield from capture(step))


def _test(trainer: Trainer) -> Steps:
    if trainer.rows.test:
        yield Progress(phase="testing", message="Held-out test split")
        yield (yield from _heldout(trainer, trainer.rows.test, "test"))


def _heldout(trainer: Trainer, rows: list[Row], split) -> Generator[None, None, Event]:
    return measure_heldout(
        trainer.model,
        trainer.name,
        rows,
        trainer.base,
        trainer.spaces,
        trainer.blocks,
        step=trainer.step,
        split=split,
        tokens_per_batch=trainer.spec.optimizer.tokens_per_micro_batch,
    )


def _checkpoint(trainer: Trainer) -> Event:
    folder = save_checkpoint(
        trainer.checkpoints,
        Position(trainer.step, trainer.seconds),
        adapter_parameters(trainer.model, trainer.name),
        trainer.optimizer,
    )
    trainer.saved_step = trainer.step
    return CheckpointResult(step=trainer.step, name=folder.name)


def _check_finite(
    trainer: Trainer, losses: Losses, weight: Weights, rate: float, gradient_norm: float | None = None
) -> None:
    values = {"rerouting loss": losses.reroute, "retain loss": losses.retain, "gradient norm": gradient_norm or 0.0}
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if not broken:
        return
    last = f"{trainer.recent[-1]:.3f}" if trainer.recent else "none yet"
    raise TrainingError(
        f"The {' and the '.join(broken)} of step {trainer.step} is not finite (learning rate {rate:g}, weights "
        f"{weight.reroute:.3g} and {weight.retain:.3g}, {trainer.spec.optimizer.clip_norm:g} clip norm, "
        f"{trainer.model.dtype} weights; rerouting loss before: {last}). Lower the learning rate, clip the gradient at "
        "1, or use float32 or bfloat16 instead of float16. The last checkpoint is kept."
    )


def _watch_plateau(trainer: Trainer, losses: Losses) -> Steps:
    """Say it once when the cosine does not fall: the commonest way for rerouting to fail in silence."""
    trainer.recent = [*trainer.recent[-9:], losses.reroute]
    mean = sum(trainer.recent) / len(trainer.recent)
    due = min(PLATEAU_STEPS, max(10, trainer.spec.optimizer.steps // 3))
    if trainer.warned or trainer.step < due or len(trainer.recent) < 10 or mean < PLATEAU_COSINE:
        return
    trainer.warned = True
    advice = []
    if trainer.spec.adapter.noise == 0:
        advice.append("set the adapter's starting noise to 0.001 (at 0 the cosine has no gradient)")
    if trainer.spec.loss.space == "raw":
        advice.append("use the standardised space (rogue dimensions hide the change in raw space)")
    advice.append(f"raise the learning rate (now {learning_rate_at(trainer.spec, trainer.step, trainer.controls):g})")
    advice.append("or raise alpha or adapt more blocks below the targets")
    yield Alert(
        step=trainer.step,
        message=f"The rerouting cosine does not fall: {mean:.3f} over the last 10 steps.",
        advice="Try this: " + "; ".join(advice) + ".",
    )

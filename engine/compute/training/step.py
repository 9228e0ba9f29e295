"""One optimizer step: micro-batches forwards and backwards, then clip and move. Knows nothing of what is measured."""

import math
import operator
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.adapters import adapted
from engine.compute.model.low_rank import quick_layers
from engine.compute.model.memory import ran_out_of_memory
from engine.compute.model.placement import exactly, repeatable
from engine.compute.model.recomputing import recomputed
from engine.compute.model.room import release_memory
from engine.compute.seeds import mix
from engine.compute.team import is_sharded, summed, together, working
from engine.compute.training.drawing import step_rows
from engine.compute.training.micro_batch import Losses, StepPlan, drawn, forward, loss_shares, planned
from engine.compute.training.null_space import keep_out
from engine.compute.training.rows import ROWS_IN_ONE, Row, micro_batches
from engine.compute.training.surgery import put_together, set_aside
from engine.compute.training.trainer import Trainer
from engine.records.errors import TrainingError
from engine.records.events import ControlEvent, StepResult


@together
def one_step(
    trainer: Trainer, controls: Sequence[ControlEvent], micro_batch_tokens: int
) -> Generator[StepResult | None, None, Losses]:
    """Take one step; yields None between micro-batches, and at the end what came out. Returns the losses.

    Several processes take a share of the rows each, and add their gradients up in one message.
    Raises TrainingError when a loss or the gradient is not finite.
    """
    spec, step = trainer.spec, trainer.step
    started = time.perf_counter()
    rows = step_rows(spec, trainer.rows.harmful, trainer.rows.benign, step)
    plan = planned(trainer, rows, controls)
    losses_of: list[Float[Tensor, " loss"]] = []
    short = False
    seconds = 0.0
    rank, size = working()
    trainer.aside = []
    if spec.optimizer.gradient_surgery:
        trainer.aside = [torch.zeros_like(parameter) for _, parameter in trainer.parameters]
    groups = [_groups(trainer, share, micro_batch_tokens) for share in shared_out(rows, size)]
    count = max(map(len, groups))
    for number in range(count):
        # A process whose share is done waits for the others: all take each step of this generator.
        if number < len(groups[rank]) and not short:
            draw = mix(number, rank) if rank else number
            try:
                losses_of.append(_micro_step(trainer, plan, groups[rank][number], draw))
            except (RuntimeError, MemoryError) as error:
                # The others learn of it where all add up, and then all begin anew.
                if size == 1 or is_sharded() or not ran_out_of_memory(error):
                    raise
                short = True
        elif is_sharded():
            # The others need this process's share of the weights, forwards and backwards.
            _micro_step(trainer, plan, rows[:1], number, counts=False)
        if number + 1 < count:
            # Other jobs run between micro-batches; their time is not this step's.
            seconds += time.perf_counter() - started
            yield None
            started = time.perf_counter()
    shares = [_added_up(trainer, losses_of, short=short)] if size > 1 else losses_of
    losses, gradient_norm = _move(trainer, plan, shares)
    seconds += time.perf_counter() - started
    trainer.step += 1
    trainer.looks = ()
    trainer.seconds += seconds
    result = StepResult(
        step=step,
        reroute_loss=losses.reroute,
        retain_loss=losses.retain,
        answer_loss=losses.answer,
        twin_loss=losses.twin,
        reroute_weight=plan.weight.reroute,
        retain_weight=plan.weight.retain,
        loss=sum(map(operator.mul, plan.factors, losses)),
        gradient_norm=gradient_norm,
        learning_rate=plan.rate,
        tokens=sum(len(row.ids) for row in rows),
        seconds=seconds,
    )
    if trainer.accelerator.trackers:
        trainer.accelerator.log(result.model_dump(exclude={"kind", "time", "step"}), step=step)
    yield result
    return losses


def shared_out(rows: Sequence[Row], parts: int) -> list[list[Row]]:
    """The rows of a step as equal shares: each side goes round, the longest first, back and forth. A row of one side
    may cost a multiple of the other's, as where answers are held."""
    shares: list[list[Row]] = [[] for _ in range(parts)]
    for place, row in enumerate(sorted(rows, key=lambda row: (row.label, len(row.ids)), reverse=True)):
        turn, number = divmod(place, parts)
        shares[number if turn % 2 == 0 else parts - 1 - number].append(row)
    return shares if parts > 1 else [list(rows)]


def _groups(trainer: Trainer, rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """Rows as micro-batches; under gradient surgery harmful ones and benign ones apart."""
    sides = [rows]
    if trainer.spec.optimizer.gradient_surgery:
        sides = [[row for row in rows if row.label == label] for label in ("harmful", "benign")]
    # Where memory ran out, rows that offer the same tools give way with all others: by the tokens that all processes
    # were given, since the trainer's own number is the first one's.
    shared, rows_in_one = trainer.shares_opening, ROWS_IN_ONE * tokens / trainer.first_tokens
    return [group for side in sides for group in micro_batches(side, tokens, shared=shared, rows_in_one=rows_in_one)]


def _added_up(trainer: Trainer, losses: Sequence[Float[Tensor, " loss"]], *, short: bool) -> Float[Tensor, " loss"]:
    """The sums over all processes: of the gradients, which are put back, and of the losses. One message of the
    adapter's size in float32. short: this process ran out of memory; all then raise torch.OutOfMemoryError."""
    parameters = [parameter for _, parameter in trainer.parameters]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters] + trainer.aside
    own = torch.stack([torch.zeros(len(Losses._fields), device=trainer.model.device), *losses]).sum(0)
    flat = summed(torch.cat([*(gradient.float().flatten() for gradient in gradients), own, own.new_tensor([short])]))
    *parts, sums, shortages = flat.split([*(gradient.numel() for gradient in gradients), len(own), 1])
    if shortages.item():
        trainer.optimizer.zero_grad()
        del gradients, flat, parts
        release_memory()
        raise torch.OutOfMemoryError("memory ran out in one of the processes")
    trainer.aside = [part.view_as(kept) for kept, part in zip(trainer.aside, parts[len(parameters) :], strict=True)]
    for parameter, part in zip(parameters, parts, strict=False):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)
    return sums


def _micro_step(
    trainer: Trainer, plan: StepPlan, group: Sequence[Row], number: int, *, counts: bool = True
) -> Float[Tensor, " loss"]:
    """Forwards and backwards of one micro-batch; its losses are shares of the whole step's
    means. They stay on the device: to read them back would make it wait. counts: else all of it comes to nothing."""
    micro = drawn(trainer, group)
    with _training(trainer, seed=mix(trainer.spec.seed, "dropout", plan.step, number)):
        rerouted = forward(trainer, micro)
        shares = loss_shares(trainer, plan, micro, rerouted)
        loss = torch.stack(list(map(operator.mul, plan.factors, shares))).sum()
        if is_sharded():
            # All processes then gather the weights of the same blocks backwards, whatever their rows' losses see.
            loss = loss * counts + rerouted[max(rerouted)][..., :0].sum()
        if loss.requires_grad:
            # Of several processes none could begin anew alone.
            is_exact = trainer.exact and working()[1] == 1
            with exactly(trainer.model.device) if is_exact else nullcontext():
                trainer.accelerator.backward(loss)
    if trainer.aside and micro.harmful:
        set_aside([parameter for _, parameter in trainer.parameters], trainer.aside)
    return torch.stack([share.detach() for share in shares])


@contextmanager
def _training(trainer: Trainer, *, seed: int):
    """The adapter is on, with gradients and dropout, whose draws come from `seed` and disturb no other job's. The
    backward pass belongs inside: it may compute blocks anew."""
    model = trainer.model
    devices = [model.device] if model.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(repeatable(model.device))
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(adapted(model, trainer.name, train=True))
        stack.enter_context(quick_layers(model, trainer.name))
        if trainer.checkpointing:
            stack.enter_context(recomputed(model, trainer.blocks.learning(trainer.spec, len(model.blocks))))
        torch.manual_seed(seed)
        yield


def _move(trainer: Trainer, plan: StepPlan, shares: Sequence[Float[Tensor, " loss"]]) -> tuple[Losses, float]:
    """Clip the gradient and take the optimizer's step; the losses, and the gradient's norm before it was clipped.

    All figures come back from the device in one go, the only one of a step.
    """
    parameters = [parameter for _, parameter in trainer.parameters]
    if trainer.aside:
        put_together(parameters, trainer.aside)
    norm = trainer.accelerator.clip_grad_norm_(parameters, trainer.spec.optimizer.clip_norm or math.inf)
    *figures, gradient_norm = torch.cat([*shares, norm.reshape(1).to(shares[0])]).tolist()
    count = len(Losses._fields)
    losses = Losses(*(sum(figures[place::count]) for place in range(count)))
    _check_finite(trainer, plan, losses, gradient_norm)
    for group in trainer.optimizer.param_groups:
        group["lr"] = plan.rate
    trainer.optimizer.step()
    keep_out(trainer)
    trainer.optimizer.zero_grad()
    return losses, gradient_norm


def _check_finite(trainer: Trainer, plan: StepPlan, losses: Losses, gradient_norm: float) -> None:
    values = {f"{name.replace('reroute', 'rerouting')} loss": value for name, value in losses._asdict().items()}
    if all(map(math.isfinite, values.values())):
        # A loss that is not finite has no finite gradient either, and is the cause.
        values = {"gradient norm": gradient_norm}
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if not broken:
        return
    last = f"{trainer.recent[-1]:.3f}" if trainer.recent else "none yet"
    raise TrainingError(
        f"The {' and the '.join(broken)} of step {trainer.step} is not finite (learning rate {plan.rate:g}, weights "
        f"{plan.weight.reroute:.3g} and {plan.weight.retain:.3g}, {trainer.spec.optimizer.clip_norm:g} clip norm, "
        f"{trainer.model.dtype} weights; rerouting loss before: {last}). Lower the learning rate, clip the gradient at "
        "1, or use float32 or bfloat16 instead of float16. The last checkpoint is kept."
    )

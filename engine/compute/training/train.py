"""train(): Representation Rerouting as a generator, one micro-batch at a time.

Knows models, rows and losses; nothing of queues, run folders beyond the checkpoint folder, or screens.
"""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from engine.compute.model.adapters import remove_adapter
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import ran_out_of_memory
from engine.compute.model.room import give_way
from engine.compute.training.heldout import measure_heldout, measure_spaces, statistics_rows
from engine.compute.training.micro_batch import Losses
from engine.compute.training.neighbours import find_neighbours
from engine.compute.training.null_space import find_directions
from engine.compute.training.rates import learning_rate_at
from engine.compute.training.rows import Row
from engine.compute.training.step import one_step
from engine.compute.training.trainer import Rows, Trainer, prepared
from engine.compute.training.unmet import unmet
from engine.records.best import BENIGN_COSINE, BENIGN_DRIFT, BestCheckpoint
from engine.records.blocks import ResolvedBlocks
from engine.records.errors import TeamError, TrainingError
from engine.records.estimate import LEAST_TOKENS
from engine.records.events import (
    KEPT,
    STOPPED_BY_DRIFT,
    Alert,
    ControlEvent,
    Event,
    HeldoutResult,
    Progress,
    StatusEvent,
)
from engine.records.room import learning_bytes
from engine.records.spec import RunSpec

PLATEAU_STEPS = 30
PLATEAU_COSINE = 0.95

Steps = Generator[Event | None, None, None]
# A look at the model as it stands after some steps, given that number.
Look = Callable[[int], Generator[Event | None, None, Event]]


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
    micro_batch_tokens: int = 0,
    first_tokens: int = 0,
    resized: Callable[[int], object] = lambda _: None,
    best: Callable[[], BestCheckpoint | None] = lambda: None,
) -> Steps:
    """Train the adapter `name`; yields events, and None after each micro-batch that finished no step.

    Starts from the last checkpoint in `checkpoints` if there is one. `controls` may grow while training: a changed
    value holds from its step on. `probe(step)` answers a few prompts and `capture(step)` captures activations as the
    model stands. Closing the generator writes a checkpoint. Where benign rows drift beyond the spec's bound, an alert
    and a stop control are yielded, and whoever advances this closes it then. The adapter stays attached until the
    caller removes it, so that it can still be asked and saved. micro_batch_tokens: how much goes through at once, 0: as
    much as the spec allows; a run that is resumed must keep it, since sums in another order differ in their last bits.
    Where memory runs out, a checkpoint is written and the step begun anew with half as much; `resized` is told what a
    run that is resumed must keep then. first_tokens: what it was before that, 0: the same. `best` is asked behind the
    last step, where the spec keeps the best checkpoint, which that is; None: the last. Raises TrainingError when a loss
    is not finite or memory is exhausted.
    """
    tokens = micro_batch_tokens or spec.optimizer.tokens_per_micro_batch
    first = first_tokens or tokens
    trainer = prepared(model, name, spec, blocks, rows, checkpoints, controls, trackers_folder, tokens, first)
    if trainer.problem:
        trainer.end()
        remove_adapter(model, name)
        raise TrainingError(trainer.problem)
    try:
        yield from trainer.resume()
        if not trainer.step:
            yield from unmet(spec, blocks, rows)
        yield from trainer.base.fill()
        yield from measure_spaces(trainer.base, statistics_rows(rows.harmful, rows.benign))
        yield from find_neighbours(trainer)
        yield from find_directions(trainer)
        looks = trainer.looks
        yield from _measure(trainer, probe, capture)
        if trainer.step and trainer.looks != looks:
            # It was broken off amid these looks: what stands behind them was not reached either.
            yield from _watch_drift(trainer)
            if _is_kept(trainer):
                yield trainer.save()
        elif trainer.step and _is_kept(trainer):
            # A run that was stopped as it was written had no word of it.
            yield trainer.saved()
        while trainer.step < spec.optimizer.steps:
            losses = yield from _step_that_fits(trainer, controls, resized)
            yield from _watch_plateau(trainer, losses)
            yield from _measure(trainer, probe, capture)
            yield from _watch_drift(trainer)
            if _is_kept(trainer):
                yield trainer.save()
        if trainer.saved_step < trainer.step:
            yield trainer.save()
        yield from _keep_best(trainer, best)
        yield from _set_strength(trainer)
        yield from _test(trainer)
    except (GeneratorExit, TeamError):
        # Where another process is gone, this one still has what was learned up to the last whole step.
        if trainer.step > trainer.saved_step:
            trainer.save()
        raise
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise TrainingError(
            f"Memory ran out in step {trainer.step} with {trainer.micro_batch_tokens} tokens a micro-batch: shorten "
            "max_tokens, turn gradient checkpointing on, or adapt fewer blocks. The last checkpoint is kept."
        ) from error
    finally:
        trainer.end()


def _step_that_fits(
    trainer: Trainer, controls: Sequence[ControlEvent], resized: Callable[[int], object]
) -> Generator[Event | None, None, Losses]:
    """One step; where memory runs out it is begun anew with half the tokens a micro-batch, down to LEAST_TOKENS."""
    while True:
        try:
            return (yield from one_step(trainer, list(controls), trainer.micro_batch_tokens))
        except (RuntimeError, MemoryError) as error:
            if trainer.exact and "deterministic implementation" in str(error):
                # Of a model's own kernels: it is then repeated as far as it can be.
                trainer.exact = False
                trainer.begin_anew()
                continue
            if not ran_out_of_memory(error) or trainer.micro_batch_tokens // 2 < LEAST_TOKENS:
                raise
        # Behind the handler: while it runs, the error's frames hold the tensors that were too many.
        trainer.begin_anew()
        tokens = trainer.micro_batch_tokens
        tried = learning_bytes(trainer.spec, trainer.model.card, tokens, checkpointing=trainer.checkpointing)
        give_way(trainer.model, tried=tried)
        if trainer.step > trainer.saved_step:
            # A run that is resumed begins here, and so takes no step in parts of another size than it took before.
            yield trainer.save()
        trainer.micro_batch_tokens = tokens // 2
        resized(trainer.micro_batch_tokens)
        yield Alert(
            step=trainer.step,
            message=f"Memory ran out with {tokens} tokens a micro-batch: the run goes on with {tokens // 2}.",
            advice="Nothing is lost. For more room end what else uses that memory, or turn gradient checkpointing on.",
        )


def _keep_best(trainer: Trainer, best: Callable[[], BestCheckpoint | None]) -> Steps:
    """Go back to the best checkpoint, if the spec says so and it is not the last one."""
    found = best() if trainer.spec.optimizer.keep == "best" else None
    if found is None:
        return
    step = found.step
    if not found.within:
        yield Alert(
            step=trainer.step,
            message="No checkpoint that moved harmful rows kept harmless ones within its bounds (benign drift "
            f"{BENIGN_DRIFT:g}, benign cosine {BENIGN_COSINE:g}, borderline drift "
            f"{trainer.spec.optimizer.keep_drift:g}, borderline answers {trainer.spec.optimizer.keep_answers:g}): of "
            f"them the one after step {step} drifted least.",
            advice="Evaluate it before it is used; a larger retain weight or more borderline rows keep more.",
        )
    if step == trainer.step:
        return
    message = f"Of {trainer.step} steps the weights after {step} are kept, the best by validation rows"
    trainer.go_back(step)
    yield StatusEvent(status=KEPT, step=step, message=message)


def _set_strength(trainer: Trainer) -> Steps:
    """Let the adapter act as strongly as the spec says; checkpoints keep the strength that they were trained at."""
    strength = trainer.spec.adapter.strength
    if strength == 1:
        return
    trainer.set_strength()
    message = f"The adapter acts {strength:g} times as strongly as it was trained"
    yield StatusEvent(status=KEPT, step=trainer.step, message=message)


def _is_kept(trainer: Trainer) -> bool:
    """Whether a checkpoint is due: as often as the spec says, and of all that is measured where the best is kept."""
    captures = trainer.spec.captures
    is_measured = trainer.rows.validation and trainer.step % captures.heldout_every == 0
    best = trainer.spec.optimizer.keep == "best"
    return trainer.step % captures.checkpoint_every == 0 or bool(best and is_measured)


def _measure(trainer: Trainer, probe: Look | None, capture: Look | None) -> Steps:
    captures, step = trainer.spec.captures, trainer.step
    last = step == trainer.spec.optimizer.steps
    trainer.drift = 0.0

    def is_due(look: str, every: int) -> bool:
        return look not in trainer.looks and (last or step % every == 0)

    if trainer.rows.validation and is_due("heldout", captures.heldout_every):
        found = yield from _heldout(trainer, trainer.rows.validation, "validation")
        # Without benign rows there is nothing to judge.
        trainer.drift = found.mean_drift if found.drift else 0.0
        trainer.looks += ("heldout",)
        yield found
    if probe and captures.probe_prompts and is_due("probe", captures.probe_every):
        answered = yield from probe(step)
        trainer.looks += ("probe",)
        yield answered
    if capture and captures.capture_prompts and captures.capture_every and is_due("capture", captures.capture_every):
        captured = yield from capture(step)
        trainer.looks += ("capture",)
        yield captured


def _test(trainer: Trainer) -> Steps:
    if trainer.rows.test:
        yield Progress(phase="testing", message="Held-out test split")
        yield (yield from _heldout(trainer, trainer.rows.test, "test"))


def _heldout(trainer: Trainer, rows: list[Row], split) -> Generator[None, None, HeldoutResult]:
    return measure_heldout(
        trainer.model,
        trainer.name,
        rows,
        trainer.base,
        trainer.blocks,
        step=trainer.step,
        split=split,
        tokens_per_batch=trainer.measured_tokens,
    )


def _watch_drift(trainer: Trainer) -> Steps:
    """Stop where benign rows drift further than the spec allows. Each measurement is judged once: a run that is
    resumed goes on to its next one."""
    bound, drift, step = trainer.spec.optimizer.stop_drift, trainer.drift, trainer.step
    # Behind the last step there is nothing left to stop.
    if not bound or drift <= bound or step >= trainer.spec.optimizer.steps:
        return
    rate = learning_rate_at(trainer.spec, step, trainer.controls)
    yield Alert(
        step=step,
        message=f"{STOPPED_BY_DRIFT} by {drift:.3f}, the bound is {bound:g}. What was learned is kept.",
        advice=f"Try this: ask an earlier checkpoint; start another like this one with a lower learning rate (here "
        f"{rate:g}), a lower alpha, a heavier retain loss, or a higher bound. Resumed, this run trains on to its next "
        f"measurement, in {trainer.spec.captures.heldout_every} steps, and stops again if the drift is still above "
        "the bound.",
    )
    yield ControlEvent(control="stop", step=step)


def _watch_plateau(trainer: Trainer, losses: Losses) -> Steps:
    """Say it once when the cosine does not fall: the commonest way for rerouting to fail in silence."""
    trainer.recent = [*trainer.recent[-9:], losses.reroute]
    mean = sum(trainer.recent) / len(trainer.recent)
    due = min(PLATEAU_STEPS, max(10, trainer.spec.optimizer.steps // 3))
    # A loss with a margin falls short of the cosine by that much where nothing has moved.
    mean += trainer.spec.loss.reroute_margin
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

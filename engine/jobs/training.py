"""Training one run: data, answers, steps, probes, adapter folder. Knows nothing of the queue or of other jobs."""

import re
import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from engine.compute.model.adapters import adapter_parameters, remove_adapter, save_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import failure_words, ran_out_of_memory
from engine.compute.model.mixed import Voice
from engine.compute.model.room import learning_room, machine_of
from engine.compute.model.text import decode, tokens_of
from engine.compute.steps import told
from engine.compute.training.checkpoints import list_checkpoints
from engine.compute.training.rows import pictured_tokens
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.device import Tools, adapter_name
from engine.jobs.filming import filming, final_capture
from engine.jobs.harmfulness import fit_probes
from engine.jobs.run_rows import changed_files, other_format, run_rows
from engine.records.as_trained import need_as_trained
from engine.records.best import BestCheckpoint, best_checkpoint
from engine.records.blocks import ResolvedBlocks, resolve_blocks
from engine.records.chats.asked import Sampling
from engine.records.errors import WorkbenchError
from engine.records.estimate import micro_batch_tokens
from engine.records.events import (
    KEPT,
    Alert,
    ControlEvent,
    Event,
    ProbeAnswer,
    ProbeResult,
    Progress,
    StatusEvent,
    StepResult,
    effective,
)
from engine.records.files import on_disk
from engine.records.prompts import Prompt
from engine.records.room import checkpoints_gradients
from engine.records.runs import Run
from engine.records.sample_answers import SampleAnswers
from engine.records.spec import RunSpec

# Of each side, of which the mean length of a row is taken.
MEASURED_ROWS = 512

Job = Generator[Event | None, None, None]


@dataclass
class Intent:
    """What the worker means to do with a run when it closes the job: keep what was learned, or throw it away."""

    keep: bool = True


def train_run(run: Run, *, tools: Tools, controls: Sequence[ControlEvent], intent: Intent) -> Job:
    """Train one run from its spec, from its last checkpoint if it has one, to its adapter folder."""
    spec = run.spec()
    model = yield from tools.acquire(spec.model)
    need_as_trained(run, spec.model.name, model.made_of)
    blocks = resolve_blocks(spec, model.card.block_count)
    if changed := changed_files(run, spec):
        yield changed
    dtype = str(model.dtype).removeprefix("torch.")
    if other := other_format(run, spec, dtype):
        yield other
    samples = SampleAnswers(run)
    rows, validation, filmed = yield from run_rows(run, model, spec, tools, samples)
    name = adapter_name(run)
    tokens, first = _micro_batch_tokens(run, spec, model, rows, tools)
    began, last = False, spec.optimizer.steps
    try:
        run.update(
            targets=blocks.targets,
            adapted=blocks.adapted,
            micro_batch_tokens=tokens,
            first_tokens=first,
            device=f"{model.device} {dtype}",
            made_of=model.made_of,
        )
        for event in train(
            model=model,
            name=name,
            spec=spec,
            blocks=blocks,
            rows=rows,
            checkpoints=run.checkpoints_folder,
            controls=controls,
            trackers_folder=run.folder / "trackers",
            micro_batch_tokens=tokens,
            first_tokens=first,
            resized=lambda fewer: run.update(micro_batch_tokens=fewer),
            probe=lambda step: _probe(model, name, spec, validation, step),
            capture=filming(run, model, name, spec, blocks, rows.validation, filmed),
            best=lambda: _best(run, spec),
        ):
            if isinstance(event, StatusEvent) and event.status == KEPT:
                last = event.step
            if not began:
                began = True
                trained = sum(parameter.numel() for _, parameter in adapter_parameters(model, name))
                run.update(trained_parameters=trained)
            if isinstance(event, StepResult) and run.adapter_folder.is_dir():
                # Of an earlier stop: the weights have moved on.
                shutil.rmtree(run.adapter_folder, ignore_errors=True)
            if samples.kept and not isinstance(event, Progress):
                samples.forget()
            yield event
        yield from _final_capture(run, model, name, spec, blocks, tools, step=last)
        if spec.harmfulness.probe:
            yield from _fit_probes(run, model, name, spec, tools, step=last)
    finally:
        samples.forget()
        try:
            if began and intent.keep:
                _keep_adapter(model, name, run)
        finally:
            # Even when a full disk refuses the files: an adapter left behind would stand in the way of a resume.
            remove_adapter(model, name)


def _best(run: Run, spec: RunSpec) -> BestCheckpoint | None:
    """Of those whose files are still there; None where none was measured."""
    there = [
        event
        for event in effective(run.events()[0])
        if event.kind != "checkpoint" or (run.checkpoint_folder(event.step) / "adapter.safetensors").is_file()
    ]
    return best_checkpoint(there, last=spec.optimizer.steps, optimizer=spec.optimizer)


def _final_capture(
    run: Run, model: LoadedModel, name: str, spec: RunSpec, blocks: ResolvedBlocks, tools: Tools, *, step: int
) -> Job:
    """What stands in its way, such as a prompt file that is gone by now, never makes a run that was trained a failed
    one."""
    try:
        yield from final_capture(run, model, name, spec, blocks, tools.settings.answers, step=step)
    except (WorkbenchError, RuntimeError, MemoryError) as error:
        _need_bearable(error)
        yield Alert(
            step=step,
            message=f"Held-out prompts were not captured at the end: {failure_words(error)}",
            advice="The run itself is complete. Capture them on its Representations page.",
        )


def _fit_probes(run: Run, model: LoadedModel, name: str, spec: RunSpec, tools: Tools, *, step: int) -> Job:
    """What stands in the way of a probe never makes a run that was trained a failed one."""
    try:
        yield from fit_probes(run, model, name, spec, tools.settings, step=step)
    except (WorkbenchError, RuntimeError, MemoryError) as error:
        _need_bearable(error)
        yield Alert(
            step=step,
            message=f"No harmfulness probe was fitted: {failure_words(error)}",
            advice=f"The run itself is complete. Fit it on its page, or with `python -m engine probe {run.id}`.",
        )


def _need_bearable(error: Exception) -> None:
    """Raises it anew where it is neither told in words nor a shortage of memory: what went wrong is not known then."""
    if not isinstance(error, WorkbenchError) and not ran_out_of_memory(error):
        raise error


def _micro_batch_tokens(run: Run, spec: RunSpec, model: LoadedModel, rows: Rows, tools: Tools) -> tuple[int, int]:
    """As many as before, and as at the run's start: sums in another order differ in their last bits, as they do on
    another kind of device, which has room and speed of its own. A run that was begun by version 0.1 noted none, and
    took what its spec allows."""
    noted = run.record()
    if list_checkpoints(run.checkpoints_folder) and _kind(noted.device) in ("", _kind(str(model.device))):
        tokens = noted.micro_batch_tokens or spec.optimizer.tokens_per_micro_batch
        return tokens, noted.first_tokens or tokens
    lengths = [len(row.ids) for side in (rows.harmful, rows.benign) for row in side[:: 1 + len(side) // MEASURED_ROWS]]
    mean = sum(lengths) / max(1, len(lengths))
    pictured = pictured_tokens(rows.harmful, rows.benign)
    checkpointing = checkpoints_gradients(spec, model.card, machine_of(model), pictured=pictured)
    room = learning_room(model)
    tokens = micro_batch_tokens(
        spec,
        model.card,
        tools.speed,
        row_tokens=mean,
        room=room,
        checkpointing=checkpointing,
        advance_seconds=tools.advance_seconds,
    )
    return tokens, tokens


def _kind(device: str) -> str:
    """'cuda' of 'cuda:0 bfloat16'."""
    return re.split("[ :]", device)[0]


def _probe(
    model: LoadedModel, name: str, spec: RunSpec, prompts: list[Prompt], step: int
) -> Generator[None, None, Event]:
    """Answers to a few validation prompts of both sides: the base model's at step 0, the trained one's later."""
    captures = spec.captures
    chosen = [
        prompt
        for label in ("harmful", "benign")
        for prompt in [p for p in prompts if p.label == label][: captures.probe_prompts]
    ]
    voice, limit = Voice(name if step else None), model.card.context_length
    asked = [(prompt, tokens_of(model, prompt.conversation).ids) for prompt in chosen]
    # Rows are cut to what the model can read; half a request is not worth an answer.
    asked = [(prompt, ids) for prompt, ids in asked if not limit or len(ids) + captures.probe_tokens <= limit]
    chosen, asks = [prompt for prompt, _ in asked], [Ask(ids, voice) for _, ids in asked]
    if not asks:
        return ProbeResult(step=step, answers=())
    tokens = answered_ids(model, asks, Sampling(new_tokens=captures.probe_tokens))
    answers = yield from told(tokens, lambda _: None)
    return ProbeResult(
        step=step,
        answers=tuple(
            ProbeAnswer(prompt_id=prompt.id, label=prompt.label, prompt=prompt.text, answer=decode(model, answer))
            for prompt, answer in zip(chosen, answers, strict=True)
        ),
    )


def _keep_adapter(model: LoadedModel, name: str, run: Run) -> None:
    """Replace the run's adapter folder in one rename, so that a reader never sees half an adapter."""
    temporary = run.folder / ".adapter"
    shutil.rmtree(temporary, ignore_errors=True)
    save_adapter(model, name, temporary)
    # What is said of the run behind this must not outlast it.
    on_disk(temporary)
    shutil.rmtree(run.adapter_folder, ignore_errors=True)
    temporary.rename(run.adapter_folder)

"""Memory that runs out, by a stand-in that refuses it: the work goes on with less at once and comes to the same."""

import shutil
import sys

import pytest
import torch
from making import drain, random_rows, write_prompts

from engine.compute.evaluation.attacks.attempt import Options, answers
from engine.compute.model import generation
from engine.compute.model.adapters import adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.compute.training import step as step_module
from engine.compute.training.checkpoints import list_checkpoints
from engine.compute.training.pairs import elicit
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.device import Device
from engine.jobs.training import Intent, train_run
from engine.records.blocks import resolve_blocks
from engine.records.events import Alert, HeldoutResult, StepResult
from engine.records.prompt_files import read_source
from engine.records.runs import create_run
from engine.records.spec_parts import AdapterSpec, DataSpec


class Refusing:
    """In place of a function: refuses the memory for a call of more than `most` rows or tokens."""

    def __init__(self, function, size, *, most: int) -> None:
        self.function, self.size, self.most = function, size, most
        self.sizes: list[int] = []

    def __call__(self, *arguments, **named):
        self.sizes.append(self.size(*arguments, **named))
        if self.sizes[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory (a stand-in)")
        return self.function(*arguments, **named)


def trained(model, spec, rows, folder, **named):
    resized: list[int] = []
    events = list(
        train(
            model=model,
            name="run",
            spec=spec,
            blocks=resolve_blocks(spec, 2),
            rows=rows,
            checkpoints=folder,
            resized=resized.append,
            **named,
        )
    )
    weights = [parameter.detach().clone() for _, parameter in adapter_parameters(model, "run")]
    remove_adapter(model, "run")
    return events, weights, resized


def refuse_in_step(monkeypatch, number: int) -> None:
    """The first micro-batch of that step does not fit, once."""
    plain, refused = step_module._micro_step, []

    def micro_step(trainer, plan, group, part):
        if plan.step == number and not refused:
            refused.append(number)
            raise torch.OutOfMemoryError("CUDA out of memory (a stand-in)")
        return plain(trainer, plan, group, part)

    monkeypatch.setattr(step_module, "_micro_step", micro_step)


def test_a_step_that_does_not_fit_is_begun_anew_in_smaller_parts(
    device_model, device_spec, tiny_rows, tmp_path, monkeypatch
):
    model, spec = device_model(dtype="float32"), device_spec(**{"adapter.dropout": 0.0, "model.dtype": "float32"})
    _, plain, resized = trained(model, spec, tiny_rows, tmp_path / "plain")
    assert resized == []
    refuse_in_step(monkeypatch, 3)
    events, weights, resized = trained(model, spec, tiny_rows, tmp_path / "short")
    assert resized == [128]
    [alert] = [event for event in events if isinstance(event, Alert)]
    assert alert.message == "Memory ran out with 256 tokens a micro-batch: the run goes on with 128."
    assert [event.step for event in events if isinstance(event, StepResult)] == list(range(6))
    for left, right in zip(plain, weights, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_is_written_first_so_that_a_resumed_run_takes_the_same_steps(
    device_model, device_spec, tiny_rows, tmp_path, monkeypatch
):
    """With dropout, whose draws depend on how a step is cut, the weights are equal to the last bit."""
    model, spec = (
        device_model(dtype="float32"),
        device_spec(**{"adapter.dropout": 0.2, "captures.checkpoint_every": 100, "model.dtype": "float32"}),
    )
    refuse_in_step(monkeypatch, 3)
    _, unbroken, _ = trained(model, spec, tiny_rows, tmp_path / "unbroken")
    refuse_in_step(monkeypatch, 3)
    events = train(
        model=model,
        name="run",
        spec=spec,
        blocks=resolve_blocks(spec, 2),
        rows=tiny_rows,
        checkpoints=tmp_path / "killed",
    )
    for event in events:
        if isinstance(event, Alert):
            break
    # A process that is killed writes nothing more.
    monkeypatch.setattr("engine.compute.training.trainer.save_checkpoint", lambda *_: tmp_path)
    events.close()
    monkeypatch.undo()
    remove_adapter(model, "run")
    assert [folder.name for folder in list_checkpoints(tmp_path / "killed")] == ["step-000003"]
    _, resumed, _ = trained(model, spec, tiny_rows, tmp_path / "killed", micro_batch_tokens=128)
    assert all(torch.equal(left, right) for left, right in zip(unbroken, resumed, strict=True))


def test_moments_that_do_not_fit_beside_the_first_steps_gradients_are_made_anew(
    device_model, device_spec, tiny_rows, tmp_path, monkeypatch
):
    model, spec = device_model(dtype="float32"), device_spec(**{"adapter.dropout": 0.0, "model.dtype": "float32"})
    plain, made = torch.zeros_like, []

    def zeros_like(*arguments, **named):
        if sys._getframe(1).f_code.co_filename.endswith("torch/optim/adam.py"):
            made.append(True)
            if len(made) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory (a stand-in)")
        return plain(*arguments, **named)

    monkeypatch.setattr(torch, "zeros_like", zeros_like)
    events, _, resized = trained(model, spec, tiny_rows, tmp_path / "short")
    assert resized == [128] and len(made) > 2
    assert [event.step for event in events if isinstance(event, StepResult)] == list(range(6))


def test_held_out_rows_stay_in_their_groups_where_memory_ran_out_and_when_it_is_resumed(
    device_model, device_spec, tmp_path, monkeypatch
):
    """In bfloat16 a row in another group differs in its last bits, and reads as drift."""
    still = {"adapter.noise": 0.0, "optimizer.learning_rate": 1e-12, "model.dtype": "bfloat16", "optimizer.steps": 8}
    spec = device_spec(**still, **{"captures.heldout_every": 2, "captures.checkpoint_every": 4})
    rows = Rows(random_rows(6), random_rows(6, seed=1, label="benign"), random_rows(40, label="benign"), [])
    model = device_model(dtype="bfloat16")
    refuse_in_step(monkeypatch, 3)
    events, _, resized = trained(model, spec, rows, tmp_path / "run", micro_batch_tokens=128)
    shutil.rmtree(tmp_path / "run" / "step-000008")
    more, _, _ = trained(model, spec, rows, tmp_path / "run", micro_batch_tokens=resized[0], first_tokens=128)
    found = {one.step: one for one in [*events, *more] if isinstance(one, HeldoutResult)}
    assert resized == [64] and list(found) == [0, 2, 4, 6, 8]
    for step, measured in found.items():
        assert set(measured.drift.values()) == {0.0} and set(measured.benign_cosine.values()) == {1.0}, step


def test_the_run_notes_what_a_resumed_one_must_keep(settings, device_spec, monkeypatch):
    refuse_in_step(monkeypatch, 2)
    run = create_run(settings.runs, device_spec())
    drain(train_run(run, tools=Device(settings).tools(1), controls=(), intent=Intent()))
    assert (run.record().micro_batch_tokens, run.record().first_tokens) == (128, 256)


def test_answers_that_do_not_fit_together_are_elicited_in_halves_and_are_the_same(device_model, tmp_path, monkeypatch):
    model = device_model(dtype="float32")
    prompts = read_source(str(write_prompts(tmp_path / "p.jsonl", kind="harmful")), label="harmful")
    data = DataSpec(new_tokens=6, temperature=0.7)
    _, plain = drain(elicit(model, prompts, data, answers_folder=tmp_path / "plain", seed=0))
    forward = Refusing(generation._forward, lambda _m, _b, columns, *_: len(columns), most=3)
    monkeypatch.setattr(generation, "_forward", forward)
    _, halved = drain(elicit(model, prompts, data, answers_folder=tmp_path / "halved", seed=0))
    assert halved == plain and max(forward.sizes) == len(prompts) > 3
    # What did not fit is not tried again.
    assert sum(size > 3 for size in forward.sizes) <= 3


def test_attacks_and_scores_that_do_not_fit_together_are_halved_too(device_model, monkeypatch):
    model = device_model(dtype="float32")
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    prompts = [[5, 6, 7, 8 + number] for number in range(7)]
    options = Options(budget=1, new_tokens=5)
    _, plain = drain(answers(model, "run", prompts, options))
    _, scored = drain(answer_nats(model, prompts, plain, voice=Voice("run")))
    with monkeypatch.context() as context:
        forward = Refusing(generation._forward, lambda _m, _b, columns, *_: len(columns), most=2)
        context.setattr(generation, "_forward", forward)
        assert drain(answers(model, "run", prompts, options))[1] == plain
        assert max(forward.sizes) > 2
    nats = Refusing(model.causal_lm.forward, lambda **named: len(named["input_ids"]), most=2)
    monkeypatch.setattr(model.causal_lm, "forward", nats)
    _, halved = drain(answer_nats(model, prompts, plain, voice=Voice("run")))
    for left, right in zip(scored, halved, strict=True):
        assert left == pytest.approx(right, rel=1e-4)

"""What a run goes through, on the device: trained, stopped, resumed, asked, captured, attacked; and another model."""

import pytest
import torch
from making import drain, until, write_tiny_model
from making_published import write_published
from safetensors.torch import load_file

from engine.desk.lock import owned
from engine.device import Device
from engine.jobs.evaluation import evaluate
from engine.jobs.training import Intent, train_run
from engine.records.captures.capture import run_captures
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.evaluation.attacks import TEXT_ATTACKS
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.events import HeldoutResult, StepResult, effective
from engine.records.presets import read_preset
from engine.records.published import published_folder
from engine.records.runs import Run, create_run
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import with_fields
from engine.worker import Worker

CAPTURED = {"captures.capture_every": 2, "captures.capture_prompts": 4}


@pytest.fixture
def worker(settings):
    worker = Worker(settings)
    with owned(settings):
        yield worker


def started(worker: Worker, settings, spec, name: str) -> Run:
    run = create_run(settings.runs, spec, name=name)
    worker.queue.submit("train", run_id=run.id)
    return run


def finished(worker: Worker, settings, spec, name: str) -> Run:
    run = started(worker, settings, spec, name)
    until(worker, lambda: run.record().status in ("finished", "failed"))
    assert run.record().status == "finished", run.record().error
    return run


def steps_of(run: Run) -> list[StepResult]:
    return [event for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def same(left: Run, right: Run) -> bool:
    return all(torch.equal(value, weights(right)[name]) for name, value in weights(left).items())


def test_a_run_trains_to_its_end_on_the_device_and_turns_harmful_activations_away(
    worker, settings, device_spec, device_name
):
    spec = device_spec(**{"optimizer.steps": 12, "optimizer.learning_rate": 0.02})
    run = finished(worker, settings, spec, "trains")
    steps = steps_of(run)
    assert len(steps) == 12 and steps[-1].reroute_loss < steps[0].reroute_loss
    measured = [event for event in run.events()[0] if isinstance(event, HeldoutResult)]
    assert measured[0].cosine["1"] > measured[-1].cosine["1"]
    assert run.record().device.startswith(device_name)


@pytest.mark.parametrize("checkpointing", ["off", "on"])
@pytest.mark.parametrize("broad", [False, True])
def test_a_stopped_run_resumes_to_the_weights_of_an_unbroken_one(
    worker, settings, device_spec, broad_model_folder, checkpointing, broad
):
    model = {"model.name": str(broad_model_folder)} if broad else {}
    spec = device_spec(**model, **{"optimizer.gradient_checkpointing": checkpointing})
    unbroken = finished(worker, settings, spec, "unbroken")
    run = started(worker, settings, spec, "broken")
    until(worker, lambda: len(steps_of(run)) == 3)
    worker.queue.control(run.id, "stop")
    until(worker, lambda: run.record().status == "stopped")
    worker.queue.submit("train", run_id=run.id)
    until(worker, lambda: run.record().status == "finished")
    assert len(steps_of(run)) == 6 and same(run, unbroken)


def test_a_chat_is_answered_while_a_run_trains_and_the_run_does_not_notice(worker, settings, device_spec):
    spec = device_spec(**{"optimizer.steps": 12})
    alone = finished(worker, settings, spec, "alone")
    run = started(worker, settings, spec, "asked")
    until(worker, lambda: len(steps_of(run)) == 2)
    columns = (Column(checkpoint="base"), Column(checkpoint=alone.id))
    chat = new_chat(settings, columns)
    asked = Exchange(model=spec.model, columns=columns, user="What is this?", sampling=Sampling(new_tokens=6))
    payload = {"chat": chat.id, "exchange": chat.ask(asked)}
    job = worker.queue.submit("chat", payload=payload)
    until(worker, lambda: worker.queue.job(job).status == "done")
    assert chat.reply(0).answered is not None and run.record().status == "running"
    until(worker, lambda: run.record().status == "finished")
    assert same(run, alone)


def test_a_run_films_itself_and_what_is_written_lies_off_the_device(worker, settings, device_spec):
    run = finished(worker, settings, device_spec(**CAPTURED), "filmed")
    [capture] = run_captures(settings, run.id)
    assert capture.steps == [2, 4, 6]
    for file in capture.folder.glob("step-*.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(file).values())


def test_every_attack_is_made_on_both_models(worker, settings, device_spec, tmp_path):
    run = finished(worker, settings, device_spec(**{"adapter.noise": 0.2}), "attacked")
    harmful, benign = tmp_path / "h.jsonl", tmp_path / "b.jsonl"
    harmful.write_text('{"prompt": "Say abc.", "target": "Sure, abc"}\n{"prompt": "Which letters come first?"}\n')
    benign.write_text('{"prompt": "Say def."}\n')
    plan = EvaluationPlan(
        state=run.id,
        harmful=str(harmful),
        benign=str(benign),
        attacks=tuple(AttackChoice(name=name, budget=2) for name in TEXT_ATTACKS),
        abilities=("speed",),
        new_tokens=4,
    )
    device = Device(settings)
    _, found = drain(evaluate(plan, device.tools(1)))
    assert list(found.attacks) == list(TEXT_ATTACKS)
    for name, attack in found.attacks.items():
        for side in (attack.base, attack.rerouted):
            assert side.complied + side.refused + side.incoherent == side.n == 2, name


def test_a_paper_preset_trains_on_50_rows(settings, tmp_path, device_name):
    write_published(published_folder(), rows=60)
    folder = write_tiny_model(
        tmp_path / "mistral", blocks=22, family="mistral", opening="<|begin_of_text|>", context=2048
    )
    changes = {
        "model.name": str(folder),
        "model.device": device_name,
        "data.circuit_breaker_rows": 50,
        "data.retain_rows": 50,
        "data.heldout_rows": 4,
        "optimizer.steps": 3,
        "captures.heldout_every": 3,
        "captures.capture_every": 0,
        "captures.final_prompts": 0,
    }
    run = create_run(settings.runs, with_fields(read_preset("paper-mistral-7b"), changes))
    events = list(train_run(run, tools=Device(settings).tools(1), controls=(), intent=Intent()))
    steps = [event for event in events if isinstance(event, StepResult)]
    assert len(steps) == 3 and all(0 <= step.reroute_loss <= 1 for step in steps)
    assert run.adapter_folder.is_dir()


def test_one_model_gives_way_to_another_and_leaves_no_memory_behind(settings, tmp_path, device_spec, device_name):
    device = Device(settings)
    first = device_spec().model
    _, loaded = drain(device.acquire(first, job_id=1))
    taken = torch.cuda.memory_allocated() if device_name == "cuda" else 0
    device.release(1)
    del loaded
    other = ModelSpec(name=str(write_tiny_model(tmp_path / "other", blocks=3, seed=1)), device=device_name)
    _, loaded = drain(device.acquire(other, job_id=2))
    assert device.model is loaded and len(loaded.blocks) == 3
    device.release(2)
    del loaded
    _, loaded = drain(device.acquire(first, job_id=3))
    assert len(loaded.blocks) == 2
    if device_name == "cuda":
        assert torch.cuda.memory_allocated() <= 1.1 * taken

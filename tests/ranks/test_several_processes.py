"""Several real processes on the processor, over gloo: what one computes alone, they compute together, with whole and
with sharded weights; and what becomes of a run when one of them dies or hangs."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from making import write_prompts, write_tiny_model
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from engine.compute.team import present
from engine.desk.lock import owned
from engine.ranks import teamed
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.events import HeldoutResult, StepResult
from engine.records.runs import Run, create_run, effective
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec
from engine.worker import Worker

pytestmark = pytest.mark.timeout(420)

TOLERANCE = 1e-5
# Jailbreak templates lie in a package and are wording alone.
EVERY = tuple(name for name in ATTACKS if name != "templates")
FEW = ("direct", "embedding")


class Outcome(NamedTuple):
    """What a run left behind, and what was asked of it afterwards."""

    weights: dict[str, torch.Tensor]
    captures: dict[str, dict[str, torch.Tensor]]
    losses: list[tuple[float, float]]
    heldout: list[dict]
    evaluation: list[dict]
    said: list[list[int]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_tiny_model(folder / "tiny", blocks=3)
    for kind in ("harmful", "benign"):
        write_prompts(folder / f"{kind}.jsonl", kind=kind, rows=24)
    return folder


def spec_of(folder: Path, **changes: dict) -> RunSpec:
    """In float32 as it is written: "auto" passes gradients back in bfloat16 on processors that can, where a sum in
    another order is another sum."""
    content: dict[str, dict] = {
        "model": {"name": str(folder / "tiny"), "device": "cpu", "dtype": "float32"},
        "data": {
            "circuit_breaker": str(folder / "harmful.jsonl"),
            "retain": str(folder / "benign.jsonl"),
            "new_tokens": 12,
            "max_tokens": 128,
        },
        "blocks": {"targets": "1", "adapted": "1"},
        # Dropout draws for each micro-batch of each process.
        "adapter": {"rank": 4, "alpha": 4.0, "noise": 0.05, "dropout": 0.0},
        "optimizer": {"steps": 6, "circuit_breaker_batch": 5, "retain_batch": 6, "tokens_per_micro_batch": 256},
        "captures": {
            "heldout_every": 3,
            "probe_every": 3,
            "probe_prompts": 1,
            "probe_tokens": 4,
            "checkpoint_every": 2,
            "capture_every": 3,
            "capture_prompts": 4,
            "final_prompts": 6,
            "evaluation_rows": 0,
        },
    }
    return build_spec({part: fields | changes.get(part, {}) for part, fields in content.items()})


@contextmanager
def working(settings: Settings, processes: int, *, sharded: bool = False) -> Iterator[Worker]:
    """A worker in this process, the first of as many."""
    with owned(settings), teamed(settings, processes, sharded=sharded):
        worker = Worker(settings)
        yield worker
        for task in list(worker.tasks):
            worker._leave(task)


def until(worker: Worker, condition: Callable[[], object], *, turns: int = 5000) -> None:
    for _ in range(turns):
        if condition():
            return
        worker.turn()
    raise AssertionError("it did not happen")


def begun(worker: Worker, spec: RunSpec) -> Run:
    run = create_run(worker.settings.runs, spec)
    worker.queue.submit("train", run_id=run.id)
    return run


def steps_of(run: Run) -> list[StepResult]:
    return [event for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def everything(worker: Worker, folder: Path, attacks: Sequence[str]) -> Outcome:
    """Train, evaluate with these attacks, and ask both models in a chat."""
    run = begun(worker, spec_of(folder))
    until(worker, lambda: not worker.tasks and run.record().status != "queued")
    assert run.record().status == "finished", run.record().error
    plan = EvaluationPlan(
        checkpoint=run.id,
        harmful=str(folder / "harmful.jsonl"),
        benign=str(folder / "benign.jsonl"),
        attacks=tuple(AttackChoice(name=name, budget=1) for name in attacks),
        abilities=("speed",),
        limit=3,
        new_tokens=6,
    )
    job = worker.queue.submit("evaluate", run_id=run.id, payload=plan.model_dump(mode="json"))
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(worker.settings, columns)
    exchange = Exchange(
        model=run.spec().model, columns=columns, user="harmful request", sampling=Sampling(new_tokens=6)
    )
    number = chat.ask(exchange)
    worker.queue.submit("chat", payload={"chat": chat.id, "exchange": number})
    worker.turn()
    until(worker, lambda: not worker.tasks)
    assert worker.queue.job(job).status == "done", worker.queue.job(job).error
    answered = chat.reply(number).answered
    assert answered is not None
    captured = run.representations_folder.rglob("*.safetensors")
    judged = [line for file in run.folder.glob("evaluations/*.rows.jsonl") for line in file.read_text().splitlines()]
    return Outcome(
        weights_of(run),
        {str(file.relative_to(run.folder)): load_file(file) for file in captured},
        [(event.reroute_loss, event.retain_loss) for event in steps_of(run)],
        [event.model_dump(exclude={"time"}) for event in run.events()[0] if isinstance(event, HeldoutResult)],
        [json.loads(line) for line in judged],
        [list(ids) for ids in answered.ids],
    )


@pytest.fixture(scope="module")
def alone(folder: Path) -> Outcome:
    with working(Settings(folder / "alone", folder / "cache-alone"), 1) as worker:
        assert present() is None
        return everything(worker, folder, EVERY)


def furthest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)


@pytest.mark.parametrize(
    ("processes", "sharded", "attacks"),
    [(2, False, EVERY), (4, False, FEW), (2, True, (*FEW, "steering", "finetuning")), (4, True, FEW)],
)
def test_several_processes_train_capture_evaluate_and_answer_as_one_does(folder, alone, processes, sharded, attacks):
    name = f"{processes}-{sharded}"
    with working(Settings(folder / name, folder / f"cache-{name}"), processes, sharded=sharded) as worker:
        found = everything(worker, folder, attacks)
        model = worker.device.model
        assert model is not None
        shares = [one for one in model.blocks[1].parameters() if isinstance(one, DTensor)]
        assert bool(shares) == sharded
        # Each process has its share alone.
        assert all(one.to_local().numel() <= -(-one.numel() // processes) + one.shape[-1] for one in shares)
    assert furthest(found.weights, alone.weights) < TOLERANCE
    assert found.captures.keys() == alone.captures.keys() and len(found.captures) > 6
    for file, vectors in found.captures.items():
        assert furthest(vectors, alone.captures[file]) < TOLERANCE, file
    assert found.losses == [pytest.approx(pair, abs=TOLERANCE) for pair in alone.losses]
    assert [one["cosine"] for one in found.heldout] == [pytest.approx(one["cosine"]) for one in alone.heldout]
    assert [one["drift"] for one in found.heldout] == [pytest.approx(one["drift"], abs=1e-5) for one in alone.heldout]
    expected = [one for one in alone.evaluation if one["attack"] in (*attacks, "benign")]
    assert found.evaluation == [one | {"nats": pytest.approx(one["nats"], abs=TOLERANCE)} for one in expected]
    assert len(expected) == 6 * (len(attacks) + 1)
    assert found.said == alone.said

"""Several real processes on the processor, over gloo: what one computes alone, they compute together, with whole and
with sharded weights; and what becomes of a run when one of them dies or hangs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from several import TOLERANCE, begun, furthest, spec_of, steps_of, until, weights_of, working
from torch.distributed.tensor import DTensor

from engine.compute.team import present
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.evaluation.attacks import TEXT_ATTACKS
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.events import HeldoutResult
from engine.records.settings import Settings
from engine.worker import Worker

pytestmark = pytest.mark.timeout(420)

# Jailbreak templates lie in a package and are wording alone.
EVERY = tuple(name for name in TEXT_ATTACKS if name != "templates")
FEW = ("direct", "embedding")


class Outcome(NamedTuple):
    """What a run left behind, and what was asked of it afterwards."""

    weights: dict[str, torch.Tensor]
    captures: dict[str, dict[str, torch.Tensor]]
    losses: list[tuple[float, float]]
    heldout: list[dict]
    evaluation: list[dict]
    said: list[list[int]]


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

"""Pictures under a worker of two processes: a run on texts and pictures, its captures, a chat and attacks on pixels end
as under one, with whole and with sharded weights."""

import json
from pathlib import Path

import pytest
from making import write_prompts
from making_seers import painted, write_picture_prompts, write_tiny_llava
from several import TOLERANCE, begun, furthest, spec_of, until, weights_of, work, working

from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.evaluation.findings import read_evaluations
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.pictures import picture_at
from engine.records.settings import Settings

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As for the other tests, but the model sees, and half of the rows show a picture."""
    folder = tmp_path_factory.mktemp("seeing")
    write_tiny_llava(folder / "tiny", next=True, blocks=3)
    for kind in ("harmful", "benign"):
        write_prompts(folder / f"{kind}.jsonl", kind=kind)
        write_picture_prompts(folder / f"seen-{kind}.jsonl", kind=kind)
    rows = [
        {"prompt": f"{word} this?", "picture": str(painted(folder / f"{word}.png", seed=seed)), "harmful": seed < 4}
        for seed, word in enumerate(("What is", "Who makes", "Why is", "Where is", "When was", "How is"))
    ]
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    place = tmp_path_factory.mktemp("alone")
    with working(Settings(place / "runs", place / "cache"), 1) as worker:
        return results(worker, folder)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_run_on_pictures_its_chat_and_attacks_on_pixels_end_as_under_one(folder, alone, tmp_path, sharded):
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2, sharded=sharded) as worker:
        found = results(worker, folder)
    assert furthest(found.pop("weights"), alone["weights"]) < TOLERANCE
    assert found == {name: value for name, value in alone.items() if name != "weights"}


def results(worker, folder):
    data = {
        "circuit_breaker": f"{folder}/harmful.jsonl; {folder}/seen-harmful.jsonl",
        "retain": f"{folder}/benign.jsonl; {folder}/seen-benign.jsonl",
        "picture_steps": "alternating",
    }
    run = begun(worker, spec_of(folder, data=data))
    until(worker, lambda: run.record().status in ("finished", "failed", "interrupted"))
    assert run.record().status == "finished", run.record().error
    plan = EvaluationPlan(
        checkpoint=run.id,
        attacks=(),
        pictures=str(folder / "asked.jsonl"),
        picture_attacks=tuple(AttackChoice(name=name, budget=2) for name in ("direct", "pgd", "pgd-universal")),
        new_tokens=4,
    )
    work(worker, "evaluate", run, plan.model_dump(mode="json"))
    [found] = read_evaluations(run, worker.settings)
    attacks = found.pictures.attacks
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(worker.settings, columns)
    shown = picture_at(painted(worker.settings.cache / "own.png", seed=99))
    sampling = Sampling(new_tokens=4)
    asked = Exchange(model=run.spec().model, columns=columns, user="What is this?", parts=(shown,), sampling=sampling)
    number = chat.ask(asked)
    work(worker, "chat", run, {"chat": chat.id, "exchange": number})
    reply = chat.reply(number)
    assert reply.answered is not None and not reply.error
    return {
        "weights": weights_of(run),
        "counts": [(name, one.base, one.rerouted) for name, one in attacks.items()],
        "losses": [
            round(point.loss, 2)
            for one in attacks.values()
            for curve in one.curve.values()
            for point in curve
            if point.loss is not None
        ],
        "said": [token for ids in reply.answered.ids for token in ids],
    }

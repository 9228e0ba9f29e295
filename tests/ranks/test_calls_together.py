"""Function calling under a worker of two processes: the same answers and counts as under one, with whole and with
sharded weights."""

import json
from pathlib import Path

import pytest
from making import TOOL_TEMPLATE, write_prompts, write_tiny_model
from making_bfcl import write_bfcl
from several import begun, spec_of, until, working

from engine.records.evaluation.bfcl import CATEGORIES
from engine.records.evaluation.findings import Ability, read_evaluations
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.settings import Settings
from engine.worker import Worker

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As for the other tests, but the model's template takes tools."""
    folder = tmp_path_factory.mktemp("calling")
    write_tiny_model(folder / "tiny", chat_template=TOOL_TEMPLATE, context=2048)
    for kind in ("harmful", "benign"):
        write_prompts(folder / f"{kind}.jsonl", kind=kind)
    return folder


def measured(worker: Worker, folder: Path) -> tuple[Ability, dict[str, list]]:
    """What was found, and the answers of both models to every question."""
    write_bfcl(worker.settings)
    run = begun(worker, spec_of(folder, captures={"capture_every": 0, "final_prompts": 0}))
    until(worker, lambda: not worker.tasks and run.record().status != "queued")
    assert run.record().status == "finished", run.record().error
    plan = EvaluationPlan(
        checkpoint=run.id,
        harmful=str(folder / "harmful.jsonl"),
        benign=str(folder / "benign.jsonl"),
        attacks=(AttackChoice(name="direct"),),
        abilities=("bfcl",),
        limit=3,
        new_tokens=4,
    )
    job = worker.queue.submit("evaluate", run_id=run.id, payload=plan.model_dump(mode="json"))
    worker.turn()
    until(worker, lambda: not worker.tasks)
    assert worker.queue.job(job).status == "done", worker.queue.job(job).error
    [found] = read_evaluations(run, worker.settings)[0].abilities
    lines = [
        json.loads(line)
        for file in (worker.settings.cache / "evaluations").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    answers: dict[str, list] = {}
    for line in lines:
        for key, attempts in line.get("attempts", {}).items():
            answers.setdefault(key, []).append(attempts[-1][2])
    return found, {key: sorted(both) for key, both in answers.items()}


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ability, dict[str, list]]:
    place = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as change, working(Settings(place / "runs", place / "cache"), 1) as worker:
        change.setattr("engine.jobs.abilities.NEW_TOKENS", 6)
        return measured(worker, folder)


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_answer_and_count_as_one(folder, alone, tmp_path, monkeypatch, sharded: bool):
    monkeypatch.setattr("engine.jobs.abilities.NEW_TOKENS", 6)
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2, sharded=sharded) as worker:
        found, answers = measured(worker, folder)
    assert found == alone[0] and list(found.categories) == list(CATEGORIES) and found.n == 9
    assert answers == alone[1] and len(answers) >= 9 + 6

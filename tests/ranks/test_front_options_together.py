"""The ways to move the front on two processes that hold the whole model: they train as one does."""

from pathlib import Path

import pytest
from several import TOLERANCE, begun, furthest, spec_of, until, weights_of, working

from engine.compute.model import load, room
from engine.compute.training import trainer
from engine.jobs import training
from engine.records.machine_memory import total_memory
from engine.records.room import kept_bytes
from engine.records.runs import Run
from engine.records.settings import Settings

pytestmark = pytest.mark.timeout(420)

OPTIONS = {
    "loss": {
        "reroute_margin": 0.05, "retain_margin": 0.001, "answer_weight": 1.0, "answer_rows": "benign",
        "overlap_cosine": 0.5, "overlap_width": 0.5, "twin_weight": 0.5, "twin_margin": 0.0,
    },
    "adapter": {"rank": 4, "alpha": 4.0, "noise": 0.05, "dropout": 0.0, "null_space": 0.5, "strength": 0.9},
    "optimizer": {
        "steps": 4, "circuit_breaker_batch": 5, "retain_batch": 6, "tokens_per_micro_batch": 256,
        "gradient_surgery": True,
    },
    "captures": {
        "heldout_every": 4, "probe_prompts": 0, "capture_prompts": 0, "final_prompts": 0, "evaluation_rows": 0,
    },
}  # fmt: skip


def trained(folder: Path, name: str, processes: int) -> Run:
    with working(Settings(folder / name, folder / f"cache-{name}"), processes) as worker:
        run = begun(worker, spec_of(folder, **OPTIONS))
        until(worker, lambda: not worker.tasks and run.record().status != "queued")
    return run


def test_processes_share_one_memory_for_the_base_activations_that_each_keeps(folder, monkeypatch):
    budgets = []

    class Seen(trainer.BaseActivations):
        def __init__(self, *arguments, **named):
            budgets.append(named["budget_bytes"])
            super().__init__(*arguments, **named)

    monkeypatch.setattr(trainer, "BaseActivations", Seen)
    for count in (1, 2):
        with working(Settings(folder / f"kept-{count}", folder / "cache-kept"), count) as worker:
            run = begun(worker, spec_of(folder, **OPTIONS))
            until(worker, lambda: len(budgets) == count or (not worker.tasks and run.record().status != "queued"))  # noqa: B023
    assert budgets == [kept_bytes({}), kept_bytes({}) // 2]


def test_a_team_whose_devices_compute_in_unlike_formats_says_so_and_does_not_hang(folder, monkeypatch):
    """This process alone takes its device for one of bfloat16."""
    described = load.describe_model
    monkeypatch.setattr(
        load, "describe_model", lambda *asked: described(*asked).model_copy(update={"dtype": "bfloat16"})
    )
    with working(Settings(folder / "unlike", folder / "cache-unlike"), 2) as worker:
        run = begun(worker, spec_of(folder, **OPTIONS))
        until(worker, lambda: not worker.tasks and run.record().status != "queued")
        assert run.record().status == "failed" and "in unlike number formats, here in bfloat16" in run.record().error
        monkeypatch.undo()
        again = begun(worker, spec_of(folder, **OPTIONS))
        until(worker, lambda: not worker.tasks and again.record().status != "queued")
    assert again.record().status == "finished", again.record().error


def test_unlike_devices_in_one_team_decide_by_the_least_memory(folder, monkeypatch):
    """The first process takes its own for one of 2^60 bytes."""
    asked = []

    def kept(machine):
        asked.append(machine["memory_bytes"])
        return kept_bytes(machine)

    monkeypatch.setattr(trainer, "kept_bytes", kept)
    monkeypatch.setattr(room, "total_bytes", lambda device: 2**60)
    judged = []

    def checkpointed(spec, card, machine, *, pictured):
        judged.append(machine["memory_bytes"])
        return False

    monkeypatch.setattr(training, "checkpoints_gradients", checkpointed)
    with working(Settings(folder / "least", folder / "cache-least"), 2) as worker:
        run = begun(worker, spec_of(folder, **OPTIONS))
        until(worker, lambda: not worker.tasks and run.record().status != "queued")
    assert run.record().status == "finished" and asked == judged == [total_memory()]


def test_two_processes_train_under_all_options_as_one_does(folder):
    alone, together = (trained(folder, f"options-{count}", count) for count in (1, 2))
    assert [run.record().status for run in (alone, together)] == ["finished"] * 2, together.record().error
    assert furthest(weights_of(alone), weights_of(together)) < TOLERANCE

"""A run that keeps its best checkpoint, through the worker: record, adapter and its own evaluation say which."""

import pytest
import torch
from making import until
from safetensors.torch import load_file

from engine.jobs import training
from engine.records.best import BestCheckpoint
from engine.records.evaluation.own import own_step
from engine.records.events import KEPT, CheckpointResult, effective
from engine.records.runs import create_run
from engine.worker import Worker


def test_a_checkpoint_whose_files_are_gone_is_not_the_best(settings, tiny_spec, monkeypatch):
    """Its folder was deleted, for room or since it was damaged: a run that cannot go back to it would never end."""
    given = []
    monkeypatch.setattr("engine.jobs.training.best_checkpoint", lambda events, **_: given.extend(events))
    run = create_run(settings.runs, tiny_spec(**{"optimizer.keep": "best"}))
    for step in (2, 4):
        run.append(CheckpointResult(step=step, name=f"step-{step:06d}"))
    run.checkpoint_folder(4).mkdir(parents=True)
    (run.checkpoint_folder(4) / "adapter.safetensors").write_bytes(b"weights")
    assert training._best(run, run.spec()) is None and [event.step for event in given] == [4]


@pytest.mark.parametrize("final_prompts", [0, 2])
def test_what_a_run_went_back_to_is_what_is_kept_captured_and_evaluated(
    settings, tiny_spec, monkeypatch, final_prompts: int
):
    best = BestCheckpoint(step=4, measured=3, cosine=0.2, drift=0.1, benign_cosine=0.95)
    monkeypatch.setattr("engine.jobs.training.best_checkpoint", lambda *_, **__: best)
    worker = Worker(settings)
    spec = tiny_spec(
        **{
            "optimizer.keep": "best", "captures.evaluation_rows": 2, "optimizer.learning_rate": 0.01,
            "captures.final_prompts": final_prompts,
        }
    )  # fmt: skip
    run = create_run(settings.runs, spec)
    worker.queue.submit("train", run_id=run.id)
    until(worker, lambda: run.record().status == "finished")
    record, events = run.record(), effective(run.events()[0])
    assert (record.step, record.steps) == (4, 6)
    assert max(event.step for event in events if event.kind == "step") == 5
    assert [event.step for event in events if event.kind == "status" and event.status == KEPT] == [4]
    kept = load_file(run.adapter_folder / "adapter_model.safetensors")
    written = load_file(run.checkpoint_folder(4) / "adapter.safetensors")
    assert sum(map(torch.numel, kept.values())) == sum(map(torch.numel, written.values()))
    assert sorted(float(one.sum()) for one in kept.values()) == sorted(float(one.sum()) for one in written.values())
    jobs = worker.queue.newest("evaluate", limit=10)
    assert [own_step(job.payload) for job in jobs] == [4]
    captured = [event.step for event in events if event.kind == "captured" and event.key == "final"]
    assert captured == ([4] if final_prompts else [])

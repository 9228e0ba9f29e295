"""A worker of several processes as tests drive it, and what it is given. No fixtures.

The first process is the test's own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import making
import torch
from safetensors.torch import load_file

from engine.desk.lock import owned
from engine.desk.queue import JobKind
from engine.ranks import teamed
from engine.records.events import StepResult, effective
from engine.records.runs import Run, create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec
from engine.worker import Worker

# Sums in another order differ in their last bits.
TOLERANCE = 1e-5


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
        "adapter": {"rank": 4, "alpha": 4.0, "noise": 0.05, "dropout": 0.0, "strength": 0.9},
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


until = partial(making.until, turns=5000)


def begun(worker: Worker, spec: RunSpec) -> Run:
    run = create_run(worker.settings.runs, spec)
    worker.queue.submit("train", run_id=run.id)
    return run


def work(worker: Worker, kind: JobKind, run: Run, payload: dict) -> None:
    """A job of this kind, from its beginning to its end."""
    job = worker.queue.submit(kind, run_id=run.id, payload=payload)
    deadline = time.monotonic() + 120
    while worker.queue.job(job).status in ("queued", "running"):
        assert time.monotonic() < deadline, f"{kind} did not end"
        if not worker.turn():
            # A child process is at work.
            time.sleep(0.05)
    assert worker.queue.job(job).status == "done", (kind, worker.queue.job(job).error)


def steps_of(run: Run) -> list[StepResult]:
    return [event for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def furthest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)

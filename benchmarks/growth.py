"""How reading grows: a list of 1,000 runs, a run of 100,000 steps, a capture of 10,000 prompts; how training grows with
tokens, rows and blocks.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.rows import Row
from benchmarks.training_step import engine_steps, peak_memory, side_rows, small_spec
from engine.compute.geometry.film import Film
from engine.compute.model.adapters import remove_adapter
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.rows import Row as TrainingRow
from engine.figures.curves import run_figures
from engine.records.captures.capture import BASE
from engine.records.events import StepResult, effective
from engine.records.runs import Run, create_run, list_runs
from engine.records.settings import read_settings
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec
from engine.records.tables import run_tables

RUNS, STEPS, PROMPTS = 1000, 100_000, 10_000


def measure(repeats: int) -> list[Row]:
    model = load_model(ModelSpec(), read_settings())
    return [_runs(repeats), _steps(repeats), _capture(model), *_training(model, repeats)]


def _runs(repeats: int) -> Row:
    folder = Path(tempfile.mkdtemp()) / "runs"
    write_runs(folder)

    def read() -> None:
        for run in list_runs(folder):
            run.record()
            run.label()
            run.spec()

    return Row(f"growth: records, labels and specs of {RUNS} runs", {"s": _seconds(read, repeats)})


def _steps(repeats: int) -> Row:
    run = write_long_run(Path(tempfile.mkdtemp()) / "runs")

    def draw() -> None:
        figures = run_figures(run_tables(effective(run.events()[0])))
        for figure in figures.values():
            figure.to_json()

    return Row(f"growth: a run of {STEPS} steps, from file to figures", {"s": _seconds(draw, repeats)})


def write_runs(folder: Path) -> None:
    for number in range(RUNS):
        run = create_run(folder, build_spec({}), name=f"run {number}")
        run.update(status="finished", figures={"heldout_cosine": 0.1, "heldout_drift": 0.05})


def write_long_run(folder: Path, steps: int = STEPS) -> Run:
    run = create_run(folder, build_spec({}), name=f"{steps} steps")
    with run.events_file.open("w") as file:
        for step in range(steps):
            event = StepResult(
                step=step, reroute_loss=0.5, retain_loss=0.1, reroute_weight=1, retain_weight=1, loss=1,
                gradient_norm=1, learning_rate=1e-3, tokens=1000, seconds=0.1,
            )  # fmt: skip
            file.write(event.model_dump_json() + "\n")
    run.update(status="finished", step=steps, steps=steps)
    return run


def _capture(model: LoadedModel) -> Row:
    """Short rows, so that it ends: what is kept of a prompt does not depend on its length."""
    generator = torch.Generator().manual_seed(0)
    rows = [
        TrainingRow(str(n), ("harmful", "benign")[n % 2], False, tuple(ids), 4)  # type: ignore[arg-type]
        for n, ids in enumerate(torch.randint(5, 40_000, (PROMPTS, 6), generator=generator).tolist())
    ]
    film = Film(model, rows, blocks=range(30), entry_block=0, tokens=("last_prompt",))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, peak_memory(model.device) as peak:
        for steps in (film.prepare(), film.take(Path(folder), BASE, None)):
            for _ in steps:
                pass
    figures = {"s": time.perf_counter() - started, "GiB at the peak": peak[0], "GiB before": before}
    return Row(f"growth: a capture of {PROMPTS} prompts at 30 blocks", figures)


def _training(model: LoadedModel, repeats: int) -> list[Row]:
    """One thing doubled at a time, against 8 + 8 rows of 96 tokens with adapters on ten blocks."""
    kinds = {
        "8 + 8 rows of 96 tokens, blocks 10-19": ("10-19", 8, 96),
        "twice the tokens": ("10-19", 8, 192),
        "twice the rows": ("10-19", 16, 96),
        "twice the blocks": ("0-19", 8, 96),
    }
    rows = []
    for name, (blocks, count, tokens) in kinds.items():
        harmful, benign = side_rows("harmful", (tokens,) * count), side_rows("benign", (tokens,) * count)
        spec = small_spec(blocks, rows=count)
        steps = engine_steps(model, spec, harmful, benign)
        next(steps)
        with peak_memory(model.device) as peak:
            seconds = statistics.median(next(steps).seconds for _ in range(repeats))
        rows.append(Row(f"growth: a training step, {name}", {"s": seconds, "GiB at the peak": peak[0]}))
        del steps
        remove_adapter(model, f"engine-{blocks}")
    return rows


def _seconds(work: Callable[[], None], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)

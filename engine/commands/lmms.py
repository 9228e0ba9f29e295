"""`python -m engine lmms RUN`: MMMU, LLaVA-Wild or other tasks of lmms-eval, on the base and the circuit-broken model
of a run. For those who have a hub: lmms-eval fetches its tasks' data there, and some tasks ask a judge of theirs.

Exit codes: 0 done, 1 interrupted, 2 the run, a task, lmms-eval or the place for the report is wrong.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine.commands.counting import rest
from engine.commands.evaluate import check_writable
from engine.compute.steps import drained
from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import DataError, SpecError, WorkbenchError, first_line
from engine.records.evaluation.counts import SIDES, Side
from engine.records.files import write_whole
from engine.records.pictures import scratch_folder
from engine.records.runs import open_run
from engine.records.settings import Settings

# The paper's own (Zou et al. 2024, arXiv:2406.04313, section 4.2).
TASKS = ("mmmu_val", "llava_in_the_wild")
MOST_TOKENS = 256


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id, or RUN@STEP for a checkpoint")
    command.add_argument(
        "--task", action="append", metavar="NAME", help=f"of lmms-eval; several times (default: {' and '.join(TASKS)})"
    )
    command.add_argument("--limit", type=int, default=0, help="at most so many questions a task; 0: all")
    command.add_argument(
        "--tokens",
        type=int,
        default=MOST_TOKENS,
        help=f"length of an answer at most, in tokens (default {MOST_TOKENS})",
    )
    command.add_argument("--json", metavar="OUT", help="write the figures here")


def lmms(options: argparse.Namespace, settings: Settings) -> int:
    """Figures of both models as lmms-eval scores them, to --json and standard output."""
    if options.limit < 0 or options.tokens < 1:
        raise SpecError(f"--limit {options.limit}, --tokens {options.tokens}: give 0 or more, and 1 or more.")
    out = Path(options.json) if options.json else None
    if out:
        check_writable(out)
    from engine.compute.evaluation.lmms import lmms_model, need_lmms
    from engine.device import Device

    evaluator = need_lmms("evaluator")
    checkpoint = parse_checkpoint(options.run)
    run = open_run(settings.runs, checkpoint.run_id)
    tools = Device(settings).tools(0)
    model = drained(tools.acquire(run.spec().model), rest)
    tasks = list(dict.fromkeys(options.task or TASKS))
    found: dict[str, dict[Side, dict[str, float]]] = {task: {} for task in tasks}
    unanswered: dict[Side, list[str]] = {side: [] for side in SIDES}
    with tools.attached(model, checkpoint) as adapter, scratch_folder() as folder:
        for side in SIDES:
            asked = lmms_model(
                model,
                adapter if side == "rerouted" else None,
                folder=folder,
                most_tokens=options.tokens,
                said=partial(_said, side),
                unanswered=unanswered[side].append,
            )
            scored = _scored(evaluator, asked, tasks, options.limit)
            for task in tasks:
                found[task][side] = _numbers(scored.get(task, {}))
    report = {
        "run": str(checkpoint),
        "tasks": found,
        "unanswered": {side: len(reasons) for side, reasons in unanswered.items()},
        "settings": {"limit": options.limit, "tokens": options.tokens},
    }
    if out:
        write_whole(out, json.dumps(report, indent=2) + "\n")
    print(*_lines(found), sep="\n")
    for side, reasons in unanswered.items():
        if reasons:
            print(f"{side}: {len(reasons)} questions were not asked and count as answered with nothing: {reasons[0]}")
    return 0


def _scored(evaluator: Any, asked: Any, tasks: list[str], limit: int) -> Mapping[str, Mapping[str, Any]]:
    """What lmms-eval says of each task. Raises DataError with its own words: its data may be missing, or its judge."""
    try:
        results = evaluator.simple_evaluate(
            model=asked, tasks=tasks, limit=limit or None, batch_size=1, log_samples=False
        )
    except WorkbenchError:
        raise
    # Tasks raise whatever their readers, hub and judges do.
    except Exception as error:
        raise DataError(f"lmms-eval could not carry out {', '.join(tasks)}: {first_line(error)}") from error
    return results["results"]


def _numbers(scored: Mapping[str, Any]) -> dict[str, float]:
    """Its figures, by the name of their metric, with the filter where it has several; words and what is no number are
    left out."""
    numbers = {
        name: float(value)
        for name, value in scored.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    metrics = Counter(map(_metric, numbers))
    return {name if metrics[_metric(name)] > 1 else _metric(name): value for name, value in numbers.items()}


def _metric(name: str) -> str:
    """'exact_match' of 'exact_match,strict-match'."""
    return name.partition(",")[0]


def _lines(found: Mapping[str, Mapping[Side, Mapping[str, float]]]) -> list[str]:
    lines = []
    for task, sides in found.items():
        for name in dict.fromkeys(name for figures in sides.values() for name in figures):
            base, rerouted = (sides[side].get(name) for side in SIDES)
            told = " ".join(
                f"{side} {'-' if value is None else f'{value:.4g}'}"
                for side, value in (("base", base), ("circuit-broken", rerouted))
            )
            lines.append(f"{task}, {name}: {told}")
    return lines


def _said(side: Side, done: int, total: int) -> None:
    print(f"\r\033[K{side}: {done} of {total} answered", end="" if done < total else "\n", file=sys.stderr, flush=True)

"""`python -m engine runs`: the list of runs with their outcomes. Reads records, loads no model."""

import argparse
import json
import math

from engine.desk.cluster import at_work, look_at
from engine.records.errors import WorkbenchError
from engine.records.outcome import outcome_of
from engine.records.runs import Run, list_runs
from engine.records.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as JSON")


def runs(options: argparse.Namespace, settings: Settings) -> int:
    """Print all runs, as text or as JSON. Of a cluster's, Slurm is asked what became of them."""
    found = list_runs(settings.runs)
    look_at(found, settings, patience=10)
    rows = [_summary(run, settings) for run in found]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print(f"No runs in {settings.runs}. Start one: python -m engine submit quick")
    for row in rows:
        cosine = f"{row['figures']['heldout_cosine']:.3f}" if "heldout_cosine" in row["figures"] else "  -  "
        word = row["outcome"]["word"] if row["outcome"] else ""
        word = row["cluster"] or word
        others = (row["outcome"] or {}).get("others")
        left = f"worst author {100 * others['harmful']['rerouted']['rate']:.0f} %  " if others else ""
        print(
            f"{row['id']}  {row['status']:<11}  {row['step']:>5}/{row['steps']:<5}  cosine {cosine}  {word:<16}  "
            f"{left}{row['name']}"
        )
    return 0


def _summary(run: Run, settings: Settings) -> dict:
    outcome, place = None, None
    try:
        record = run.record().model_dump(
            include={"id", "status", "preset", "step", "steps", "seconds", "figures", "error", "best"}
        )
        # Of a split without rows of one side there is none, and NaN is no JSON.
        record["figures"] = {name: one for name, one in record["figures"].items() if math.isfinite(one)}
        outcome = outcome_of(run, settings).model_dump(mode="json")
        place = at_work(run)
    except WorkbenchError as error:
        record = {"id": run.id, "status": "unreadable", "step": 0, "steps": 0, "figures": {}, "error": str(error)}
    return record | {"name": run.name, "outcome": outcome, "cluster": place.words if place else ""}

"""`python -m engine sweep GRID.json`: train a grid of specs through the queue, evaluate each, tabulate what came out.

GRID.json:  {"base": "default" or a spec file or a spec, "grid": {"loss.retain_weight": [10, 30], ...},
             "points": [{"schedule.alpha": 3}, ...]  (optional: further single points),
             "evaluate": {"attacks": ["direct", "prefill"], "limit": 24, ...}  (any field of a plan but its checkpoint)}

A point that was trained before in this runs folder (the same spec, nothing changed by hand while it trained), to its
end or to its bound on drift, is not trained again. Exit codes: 0 done, 1 some point failed or it was interrupted, 2 the
grid is wrong.
"""

import argparse
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.commands.evaluate import check_writable
from engine.commands.submit import add_arguments as add_cluster_arguments
from engine.commands.submit import need_cluster, resources
from engine.commands.sweep_runs import changed_by_hand, usable_run
from engine.commands.table import as_csv, as_text, figures_of
from engine.desk.cluster import settle, states_of, take_home
from engine.desk.launch import ensure_worker
from engine.desk.queue import Queue
from engine.desk.sending import send
from engine.desk.starting import need_inputs
from engine.records.cluster_jobs import is_on_cluster, read_job
from engine.records.drift_stops import drift_stop
from engine.records.errors import RunError, SpecError, WorkbenchError
from engine.records.evaluation.final import of_final
from engine.records.evaluation.findings import Evaluation, read_evaluations
from engine.records.evaluation.needed import is_of_now, need_read
from engine.records.evaluation.plan import EvaluationPlan, parse_attack
from engine.records.files import write_whole
from engine.records.runs import ACTIVE, Run, create_run, delete_run
from engine.records.settings import ROOT, SAMPLE_DATA, Settings
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec, read_spec
from engine.telling import telling

POLL_SECONDS = 0.5


def sweep(options: argparse.Namespace, settings: Settings) -> int:
    """Train and evaluate all points, by this machine's worker one after the other or on a cluster side by side, then
    print the table (and write it as CSV)."""
    need_cluster(options)
    points, specs, asked = read_grid(Path(options.grid))
    with chdir(ROOT):
        # Where whoever trains reads what a spec names without saying from where.
        # Each once: most points of a grid ask the same of the same files.
        for spec in {(one.model, one.data, one.seed): one for one in specs}.values():
            need_inputs(spec)
    # Now, not after the first run has trained.
    plan = _plan("RUN", asked)
    need_read(plan, settings, models={spec.model.name for spec in specs})
    if plan.probe and not all(spec.harmfulness.probe for spec in specs):
        raise SpecError("'evaluate' asks for a harmfulness probe, and not every point fits one: set harmfulness.probe.")
    out = Path(options.csv) if options.csv else None
    if out:
        check_writable(out)
    print(f"{len(points)} points: {len({spec.digest for spec in specs})} different specs", file=sys.stderr)
    queue = Queue(settings.desk)
    there = _sent(settings, options, specs, points, asked) if options.cluster else []
    rows, apart = [], []
    for number, (spec, point) in enumerate(zip(specs, points, strict=True)):
        # Not side by side: each run would elicit the same answers again.
        run = there[number] if there else _run(settings, queue, spec, point)
        try:
            problem, found = _followed(settings, queue, run, asked)
        except RunError as error:  # Deleted meanwhile, for instance: the other points are none the worse.
            problem, found = str(error), None
        named = {"run": run.id, **{name: json.dumps(value) for name, value in point.items()}}
        rows.append(named | figures_of(found) | {"problem": problem})
        apart.append(named | figures_of(found, apart=True) | {"problem": problem})
        print(f"{run.id} {point}: {problem or 'done'}", file=sys.stderr)
    if out:
        write_whole(out, as_csv(apart))
    print(as_text(rows))
    return 1 if any(row["problem"] for row in rows) else 0


class Grid(NamedTuple):
    """points: what each changes in the base.  specs: what came of it.  evaluate: fields of a plan."""

    points: list[dict[str, Any]]
    specs: list[RunSpec]
    evaluate: dict[str, Any]


def read_grid(path: Path) -> Grid:
    """All points of a grid file and their specs. Raises SpecError when one of them, or the plan, is wrong."""
    grid = _read(path)
    points = list(_points(grid))
    specs = [_spec(grid.get("base", "default"), point) for point in points]
    asked = grid.get("evaluate", {})
    if not isinstance(asked, dict):
        raise SpecError('\'evaluate\' must be an object, such as {"attacks": ["direct"], "limit": 24}.')
    _plan("RUN", asked)
    return Grid(points, specs, asked)


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("grid", metavar="GRID.json", help="base spec, grid of dotted fields, and what to evaluate")
    command.add_argument("--csv", metavar="OUT", help="also write the table here")
    add_cluster_arguments(command)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"The grid {path} cannot be read: {error}. Give the path of a JSON file.") from error
    known = {"base", "grid", "points", "evaluate"}
    if not isinstance(content, dict) or set(content) - known:
        raise SpecError(f"The grid {path.name} may hold {', '.join(sorted(known))} and nothing else.")
    return content


def _points(grid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the grid's values, then the single points; one empty point where there is neither."""
    axes, extra = grid.get("grid", {}), grid.get("points", [])
    if not isinstance(axes, dict) or not all(isinstance(values, list) and values for values in axes.values()):
        raise SpecError("'grid' must give a list of values for each field, such as {\"schedule.alpha\": [3, 5]}.")
    if not isinstance(extra, list) or not all(isinstance(point, dict) for point in extra):
        raise SpecError("'points' must be a list of objects, such as [{\"schedule.alpha\": 3}].")
    if axes or not extra:
        for values in itertools.product(*axes.values()):
            yield dict(zip(axes, values, strict=True))
    yield from extra


def _spec(base: Any, point: dict[str, Any]) -> RunSpec:
    """The base spec with the point's dotted fields. Raises SpecError for a field that does not exist."""
    if isinstance(base, dict):
        spec = build_spec(base, name="the grid's base")
    else:
        if not isinstance(base, str):
            raise SpecError(f"'base' must be a preset's name, a file or a spec, not {base!r:.60}.")
        preset = SAMPLE_DATA / "presets" / f"{base}.json"
        spec = read_spec(preset if re.fullmatch(r"[\w-]{1,60}", base) and preset.is_file() else Path(base))
    content = spec.model_dump(mode="json")
    for name, value in point.items():
        part, _, field = name.partition(".")
        if field:
            if not isinstance(content.setdefault(part, {}), dict):
                raise SpecError(f"A point sets '{name}', but '{part}' has no fields: give '{part}' itself.")
            content[part][field] = value
        else:
            content[part] = value
    return build_spec(content, name=f"the point {json.dumps(point)}")


def _plan(checkpoint: str, asked: dict[str, Any]) -> EvaluationPlan:
    named: dict[str, Any] = {}
    for field, attacks in ({"attacks": ["direct", "prefill"]} | asked).items():
        if field not in ("attacks", "tool_attacks", "picture_attacks"):
            continue
        if not isinstance(attacks, list):
            raise SpecError(f'\'evaluate\', {field} must be a list such as ["direct", "prefill"], not {attacks!r:.60}.')
        named[field] = [parse_attack(str(one)) for one in attacks]
    try:
        return EvaluationPlan.model_validate(asked | {"state": checkpoint} | named)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SpecError(f"'evaluate', {'.'.join(map(str, problem['loc']))}: {problem['msg']}.") from error


def _sent(
    settings: Settings,
    options: argparse.Namespace,
    specs: list[RunSpec],
    points: list[dict[str, Any]],
    asked: dict[str, Any],
) -> list[Run]:
    """The runs of all specs; those that are new are sent to the cluster as one array, each with its evaluation. Raises
    ClusterError, and makes none, where it does not take them."""
    wanted = resources(options, settings)
    runs, new = [], []
    try:
        for spec, point in zip(specs, points, strict=True):
            run = usable_run(settings, spec)
            if run is None:
                run = _new(settings, spec, point)
                new.append(run)
            runs.append(run)
        plans = {run.id: [_plan(run.id, asked).model_dump(mode="json")] for run in new}
        if new:
            send(new, to=options.cluster, asked=wanted, evaluations=plans, settings=settings)
    except WorkbenchError:
        for run in new:
            delete_run(run)
        raise
    for run in new:
        job = read_job(run)
        print(f"{run.id} is job {job.job if job else ''} on {options.cluster}", file=sys.stderr)
    return runs


def _run(settings: Settings, queue: Queue, spec: RunSpec, point: dict[str, Any]) -> Run:
    """The run of this spec: a finished or living one that kept to it, else a new one in the queue."""
    run = usable_run(settings, spec, or_else="interrupted") or _new(settings, spec, point)
    if run.record().status == "interrupted":
        # One that a cluster's job has left goes on here.
        take_home(run, settings)
    if run.record().status == "queued" and not is_on_cluster(run):
        # Also one that was found: the queue may have refused it, and takes what it holds for the same.
        queue.submit("train", run_id=run.id)
    ensure_worker(settings)
    return run


def _new(settings: Settings, spec: RunSpec, point: dict[str, Any]) -> Run:
    name = ", ".join(f"{field.rpartition('.')[2]} {value}" for field, value in point.items()) or "sweep"
    # Each point is evaluated as the grid asks.
    captures = spec.captures.model_copy(update={"evaluation_rows": 0})
    with chdir(ROOT):
        return create_run(settings.runs, spec.model_copy(update={"captures": captures}), name=name[:120])


def _followed(settings: Settings, queue: Queue, run: Run, asked: dict[str, Any]) -> tuple[str, Evaluation | None]:
    """Wait for a run's end, then for its evaluation: what went wrong, '' for nothing, and what was found."""
    told, resumed = False, None
    while True:
        status = run.record().status
        if status == "interrupted" and resumed is None and not is_on_cluster(run):
            # Its worker ended in its midst: it goes on from its last checkpoint, once.
            resumed = queue.submit("train", run_id=run.id)
            ensure_worker(settings)
        elif status not in ACTIVE and not _waits(queue, resumed):
            break
        if status == "paused" and not told:
            print(f"{run.id} is paused: resume it on the Runs page, the sweep waits for it", file=sys.stderr)
        told = status == "paused"
        if not is_on_cluster(run):
            # One that ended, as by Restart, is begun again, and takes up what waits.
            ensure_worker(settings)
        elif _job_lives(run, settings):
            time.sleep(POLL_SECONDS)
        time.sleep(POLL_SECONDS)
    if status != "finished":
        return drift_stop(run) or f"{status}. {run.record().error}".strip(), None
    if changed_by_hand(run):
        return "changed by hand while it trained: start the command again, which trains this point anew", None
    plan = _plan(run.id, asked)
    while is_on_cluster(run) and _found(run, settings, plan) is None and _job_lives(run, settings):
        time.sleep(2 * POLL_SECONDS)
    if (found := _found(run, settings, plan)) is not None:
        return "", found
    ensure_worker(settings)
    job = queue.submit("evaluate", run_id=run.id, payload=plan.model_dump(mode="json"))
    while _waits(queue, job):
        ensure_worker(settings)
        time.sleep(POLL_SECONDS)
    done, found = queue.job(job), _found(run, settings, plan)
    return (done.error if done else "") or ("" if found else "the evaluation gave no result"), found


def _waits(queue: Queue, job_id: int | None) -> bool:
    job = queue.job(job_id) if job_id is not None else None
    return job is not None and job.status in ("queued", "running")


def _found(run: Run, settings: Settings, plan: EvaluationPlan) -> Evaluation | None:
    """Of the run's last weights: a run that was resumed may keep one of those before."""
    from engine.compute.evaluation.judges import rules_identity
    from engine.compute.evaluation.tool_judge import calls_identity

    rules, calls = rules_identity(), calls_identity()
    known = (one for one in of_final(read_evaluations(run, settings), run.record()) if one.key == plan.key)
    return next((one for one in known if is_of_now(one, plan, rules=rules, calls=calls)), None)


def _job_lives(run: Run, settings: Settings) -> bool:
    """Whether a cluster's job may still be at work on a run; one that has ended without a word is noted as such."""
    answer = states_of([run], patience=10)
    with telling(settings) as hear:
        if settle(run, answer, settings, hear=hear):
            return False
    job = read_job(run)
    state = answer.states.get(job.job) if job else None
    return bool(answer.problem) or (state is not None and not state.has_ended)

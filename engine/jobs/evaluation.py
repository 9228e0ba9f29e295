"""Evaluating one checkpoint of a run: attacks on both models, losses, kept abilities, and the report that is written.

The run's weights are only read. Knows nothing of the queue or of other jobs.
"""

import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.compute.evaluation.other_judges import asked_judge, other_judge
from engine.compute.evaluation.outcomes import Outcome
from engine.compute.evaluation.runner import Judge, rules_judge
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.compute.model.text import decode, tokens_of
from engine.compute.steps import told
from engine.device import Tools
from engine.jobs.abilities import measure_abilities, need_abilities
from engine.jobs.by_side import need_room
from engine.jobs.found import attack_result, kept_of, losses_of, sample_of
from engine.jobs.harmfulness import probes_of
from engine.jobs.others import evaluated_others, other_rows
from engine.jobs.own_rows import OwnRows, own_rows
from engine.jobs.pictured import evaluated_pictured
from engine.jobs.probed import evaluated_with_probe
from engine.jobs.subjects import Subject, attacked, candidates_of, subject_of
from engine.jobs.tool_calls import evaluated_calls
from engine.records.checkpoints import Checkpoint, parse_checkpoint
from engine.records.conversation import Label
from engine.records.errors import RunError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDE_NAMES, SIDES, Side, count
from engine.records.evaluation.findings import Evaluation, evaluations_folder, write_evaluation
from engine.records.evaluation.folds import two_folds
from engine.records.evaluation.losses import Losses
from engine.records.evaluation.needed import TEMPLATES_FILE, asked_digest, need_packages
from engine.records.evaluation.pictured import read_pictured_rows
from engine.records.evaluation.plan import ABILITIES, OWN, AttackChoice, EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow, read_rows
from engine.records.evaluation.sides import SidedRows
from engine.records.evaluation.tool_rows import read_tool_rows
from engine.records.events import Event, Progress
from engine.records.files import write_whole
from engine.records.harmfulness import need_probes
from engine.records.package_files import need_package_file
from engine.records.runs import ACTIVE, Run, open_run
from engine.records.settings import Settings

Job = Generator[Event | None, None, None]


def evaluate_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Carry out an EvaluationPlan; the figures lie in the run's evaluations folder when this ends."""
    plan = EvaluationPlan.model_validate(payload)
    yield from evaluate(plan, tools)


def evaluate(plan: EvaluationPlan, tools: Tools) -> Generator[Event, None, Evaluation]:
    """As evaluate_job, and return what was found. Raises a WorkbenchError when run, rows or judge cannot be had."""
    ticket, model = object(), open_run(tools.settings.runs, parse_checkpoint(plan.checkpoint).run_id).spec().model
    line = _tickets[model.model_dump_json()]
    line.append(ticket)
    try:
        while line[0] is not ticket:
            yield Progress(phase="waiting", message="Waits for the evaluation before it", elsewhere=True)
        return (yield from _evaluate(plan, tools))
    finally:
        line.remove(ticket)


# Evaluations of this process, by model one after the other: side by side, each would ask it the same requests. One that
# waits for its model holds up none of another's.
_tickets: dict[str, list[object]] = defaultdict(list)


def _evaluate(plan: EvaluationPlan, tools: Tools) -> Generator[Event, None, Evaluation]:
    settings = tools.settings
    checkpoint = parse_checkpoint(plan.checkpoint)
    run = open_run(settings.runs, checkpoint.run_id)
    _need_still(run, checkpoint)
    # Before they are read: what changes meanwhile is asked anew the next time.
    asked = asked_digest(plan)
    read = {label: _rows(plan, label, run, settings) for label in _LABELS}
    rows: dict[Label, list[EvaluationRow]] = {label: found.rows for label, found in read.items()}
    offered, source = _tool_rows(plan, read, settings)
    shown = _pictured_rows(plan)
    others = other_rows(plan, run, settings)
    need_packages(plan, settings)
    packages = _templates_folder(plan, settings)
    if plan.probe:
        need_probes(run, settings, checkpoint.step)
    started = time.monotonic()
    model = yield from tools.acquire(run.spec().model)
    # It may have been resumed, or its probes fitted anew, while the model was waited for.
    _need_still(run, checkpoint)
    probes, heard = None, {}
    if plan.probe:
        # Held from here on: who fits others meanwhile changes neither weights nor thresholds of these.
        probes = need_probes(run, settings, checkpoint.step)
        heard = probes_of(run, probes, plan.probe, settings, model, false_alarms=plan.false_alarms)
    # Of these weights: what a resume trains on meanwhile is older than its end.
    created = time.time()
    yield from need_room(model, offered, plan.tool_tokens, what="agents")
    yield from need_room(model, shown, plan.new_tokens, what="pictures")
    need_abilities(plan, model, settings)
    judge = _judge(plan, tools)
    found: dict[tuple[str, Side], list[Outcome]] = {}
    with tools.still(model, checkpoint) as adapter:
        subjects = [subject_of(side, model, adapter, settings) for side in SIDES]
        for subject in subjects:
            for choice in _with_direct(plan) if rows["harmful"] else ():
                found[choice.name, subject.side] = yield from attacked(
                    plan, choice, rows["harmful"], subject, judge, packages=packages
                )
            if rows["benign"]:
                found["benign", subject.side] = yield from attacked(
                    plan, AttackChoice(name="direct"), rows["benign"], subject, judge, what="benign requests"
                )
        harmless = rows["benign"] or _least_harmful(offered) or _least_harmful(shown)
        if others is not None:
            harmless = harmless or _least_harmful(others.own)
        abilities = yield from measure_abilities(plan, harmless or rows["harmful"], subjects, judge, settings, found)
        losses: dict[Label, Losses] = {}
        for label, name in (("harmful", "direct"), ("benign", "benign")):
            if rows[label]:  # type: ignore[index]
                losses[label] = yield from _losses(label, found[name, "base"], subjects)  # type: ignore[index,arg-type]
        calls = None
        if offered:
            calls = yield from evaluated_calls(plan, offered, source, subjects, packages=packages)
        pictured = None
        if shown:
            pictured = yield from evaluated_pictured(
                plan, shown, _name(plan.pictures), subjects, judge, packages=packages
            )
        by_author = None
        if others is not None:
            by_author = yield from evaluated_others(plan, others, subjects, judge, packages=packages)
        with_probe = None
        if probes is not None:
            with_probe = yield from evaluated_with_probe(
                plan, probes, heard, rows["harmful"], rows["benign"], subjects, judge, settings, packages=packages
            )
    attacks = {choice.name: choice for choice in plan.attacks if rows["harmful"]}
    evaluation = Evaluation(
        key=plan.key,
        run=str(checkpoint),
        harmful=read["harmful"].source,
        benign=read["benign"].source,
        judge=judge.identity,
        new_tokens=plan.new_tokens,
        seed=plan.seed,
        attacks={
            name: attack_result(
                choice, {side: found[name, side] for side in SIDES}, candidates=candidates_of(name, model)
            )
            for name, choice in attacks.items()
        },
        kept=kept_of({side: found["benign", side] for side in SIDES}) if rows["benign"] else None,
        benign_answers={side: count(one.word for one in found["benign", side]) for side in SIDES if rows["benign"]},
        loss=losses,
        abilities=abilities,
        with_probe=with_probe,
        tools=calls.findings if calls else None,
        pictures=pictured.findings if pictured else None,
        others=by_author.findings if by_author else None,
        created=created,
        seconds=time.monotonic() - started,
        asked=asked,
    )
    names = (
        *(["benign"] if rows["benign"] else []),
        *attacks,
        *(name for name in ABILITIES if (name, "base") in found),
    )
    samples = [
        sample_of(name, side, one, decode(model, one.attempt.answer_ids))
        for name in names
        for side in SIDES
        for one in found[name, side]
    ]
    for part in (calls, pictured, by_author):
        samples += part.samples if part else []
    # A run that was deleted meanwhile must not leave answers behind.
    run = open_run(settings.runs, run.id)
    for name, content in (pictured.files if pictured else {}).items():
        write_whole(evaluations_folder(run, settings) / name, content)
    write_evaluation(run, settings, evaluation, samples)
    return evaluation


def _least_harmful(rows: SidedRows) -> list[EvaluationRow]:
    return rows.benign or rows.borderline or rows.harmful


_LABELS: tuple[Label, ...] = ("harmful", "benign")


def _rows(plan: EvaluationPlan, label: Label, run: Run, settings: Settings) -> OwnRows:
    source = plan.harmful if label == "harmful" else plan.benign
    if source == OWN:
        return own_rows(run, label, limit=plan.limit)
    if not source:
        return OwnRows("", [])
    return OwnRows(_name(source), read_rows(source, label=label, settings=settings, limit=plan.limit))


def _tool_rows(plan: EvaluationPlan, asked: Mapping[Label, OwnRows], settings: Settings) -> tuple[SidedRows, str]:
    """What the plan names, else the run's own held-out requests that offer tools; and which they are, in words."""
    if plan.tools:
        return read_tool_rows(plan.tools, settings=settings, limit=plan.limit), _name(plan.tools)
    own = SidedRows(asked["harmful"].calls.harmful, asked["benign"].calls.benign, asked["benign"].calls.borderline)
    return own, " and ".join(dict.fromkeys(one.source for one in asked.values()))


def _pictured_rows(plan: EvaluationPlan) -> SidedRows:
    """Raises DataError where an attack on all of them together has too few."""
    if not plan.pictures:
        return SidedRows([], [], [])
    rows = read_pictured_rows(plan.pictures, limit=plan.limit)
    if rows.harmful and any(ATTACKS[one.name].together for one in plan.picture_attacks):
        two_folds(rows.harmful)
    return rows


def _need_still(run: Run, checkpoint: Checkpoint) -> None:
    if checkpoint.step is None and run.record().status in ACTIVE - {"queued"}:
        raise RunError(f"Run {run.id} is in training, its weights still move: evaluate a checkpoint, {run.id}@STEP.")


def _judge(plan: EvaluationPlan, tools: Tools) -> Judge:
    if plan.judge == "rules":
        return rules_judge()
    identity, ask = other_judge(plan.judge, tools.settings, tools.beside)
    return Judge(identity, asked_judge(ask))


def _templates_folder(plan: EvaluationPlan, settings: Settings) -> str:
    """The folder of jailbreak templates, '' where no attack asks for it. Raises DataError when it must be there."""
    if not any(choice.name == "templates" for choice in (*plan.attacks, *plan.tool_attacks, *plan.picture_attacks)):
        return ""
    file = need_package_file(ATTACKS["templates"].package, TEMPLATES_FILE, settings)
    return str(file.parent / "templates")


def _with_direct(plan: EvaluationPlan) -> Sequence[AttackChoice]:
    """Direct answers are always needed: their losses are measured where a row has no target."""
    if any(choice.name == "direct" for choice in plan.attacks):
        return plan.attacks
    return (AttackChoice(name="direct"), *plan.attacks)


def _losses(label: Label, base: Sequence[Outcome], subjects: Sequence[Subject]) -> Generator[Event, None, Losses]:
    """Nats a token of the targets, or, for rows without one, of the base model's own answers that complied."""
    model = subjects[0].model
    contexts, answers = [], []
    for one in base:
        tokens = tokens_of(model, one.row.conversation, begun=one.row.target)
        answer = tokens.begun or one.attempt.answer_ids
        if answer and (one.row.target or one.word == "complied"):
            contexts.append(tokens.ids)
            answers.append(answer)
    nats: dict[Side, list[list[float]]] = {}
    for subject in subjects:
        steps = answer_nats(model, contexts, answers, voice=Voice(subject.adapter))
        nats[subject.side] = yield from told(
            steps, partial(_measuring, f"loss on {label} targets, {SIDE_NAMES[subject.side]}")
        )
    return losses_of(nats)


def _measuring(phase: str, _: None) -> Progress:
    return Progress(phase=phase)


def _name(source: str) -> str:
    """A file by its name alone: paths of this machine mean nothing in a report."""
    return Path(source).name if "/" in source else source

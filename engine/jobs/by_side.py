"""Attacks on requests of all sides, both models one after the other, and what an evaluation writes down of them. Knows
nothing of what the requests hold, nor of reports."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from engine.compute.evaluation.outcomes import Outcome
from engine.compute.evaluation.runner import Judge
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import tokens_of
from engine.jobs.found import Sides, attack_result, sample_of
from engine.jobs.subjects import Subject, attacked, candidates_of
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDES, count
from engine.records.evaluation.findings import Sample
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.evaluation.sides import SidedRows
from engine.records.events import Event, Progress

DIRECT = AttackChoice(name="direct")

# Outcomes of each attack, and of benign and of borderline requests under those words.
Found = dict[str, Sides]


def asked_by_side(
    plan: EvaluationPlan,
    choices: Sequence[AttackChoice],
    rows: SidedRows,
    subjects: Sequence[Subject],
    judge: Judge,
    *,
    what: str,
    packages: str,
) -> Generator[Event, None, Found]:
    """Each attack on the harmful requests, and the others asked directly. what: the requests in a word, for the bars of
    progress."""
    # Harmless requests by a name that no attack has.
    asked = [(choice.name, choice, rows.harmful, "") for choice in choices]
    asked += [(name, DIRECT, getattr(rows, name), f"{name} requests") for name in ("benign", "borderline")]
    found: dict[str, dict[Any, list[Outcome]]] = {}
    for subject in subjects:
        for name, choice, of, title in asked:
            if of:
                title = f"{what}, {title or ATTACKS[name].title.lower()}"
                steps = attacked(plan, choice, of, subject, judge, what=title, packages=packages)
                found.setdefault(name, {})[subject.side] = yield from steps
    return dict(found)


def need_room(model: LoadedModel, rows: SidedRows, new_tokens: int, *, what: str) -> Generator[Event, None, None]:
    """Raises ModelError for a request that the model's template cannot hold, or that leaves no room for an answer: cut
    at its beginning it would lose tools or pictures. Better said before the attacks than behind them."""
    asked = [row for side in rows for row in side]
    for number, row in enumerate(asked):
        tokens_of(model, row.conversation, reserved=new_tokens)
        yield Progress(phase=f"{what}, reading requests", done=number + 1, total=len(asked))


def counts_by_side(found: Found, choices: Sequence[AttackChoice], model: LoadedModel) -> dict[str, Any]:
    """What was found, as fields of SidedFindings."""
    by_name = {choice.name: choice for choice in choices}
    return {
        "attacks": {
            name: attack_result(by_name[name], sides, candidates=candidates_of(name, model))
            for name, sides in found.items()
            if name in by_name
        },
        **{
            kind: {side: count(one.word for one in of) for side, of in found.get(kind, {}).items()}
            for kind in ("benign", "borderline")
        },
    }


def samples_by_side(found: Found, named: Callable[[str], str], read: Callable[[Sequence[int]], str]) -> list[Sample]:
    """Every answer with its verdict. named: what an attack's samples are called.  read: an answer's tokens as text."""
    return [
        sample_of(named(name), side, one, read(one.attempt.answer_ids))
        for name, sides in found.items()
        for side in SIDES
        for one in sides[side]
    ]

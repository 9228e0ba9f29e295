"""The part of an evaluation on other people's words: attacks on both models, each author apart, and the run's own
held-out rows beside them. Knows nothing of reports."""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from engine.compute.evaluation.runner import Judge
from engine.compute.model.text import decode
from engine.jobs.by_side import asked_by_side, counts_by_side, samples_by_side
from engine.jobs.found import kept_of
from engine.jobs.own_rows import own_rows, trained_texts
from engine.jobs.subjects import Subject
from engine.records.conversation import Conversation
from engine.records.evaluation.findings import OWN_SPLIT, AuthorFindings, OthersFindings, Sample
from engine.records.evaluation.plan import EvaluationPlan, other_sample
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows, limited, sided
from engine.records.events import Event
from engine.records.others.authors import AUTHORS
from engine.records.others.forms import OtherPrompt
from engine.records.others.reading import others_prompts
from engine.records.runs import Run
from engine.records.settings import Settings

HARMLESS: tuple[Literal["benign", "borderline"], ...] = ("benign", "borderline")


class OtherRows(NamedTuple):
    """What is asked. source: of the own rows, in words."""

    source: str
    own: SidedRows
    authors: Mapping[str, SidedRows]


class FoundOthers(NamedTuple):
    findings: OthersFindings
    samples: list[Sample]


def other_rows(plan: EvaluationPlan, run: Run, settings: Settings) -> OtherRows | None:
    """None where the plan names no half. Raises DataError where packages are not there: better said before the attacks
    than behind them."""
    if not plan.others:
        return None
    prompts = others_prompts(plan.others, settings, rows=plan.others_rows, trained=trained_texts(run))
    harmful, benign = own_rows(run, "harmful"), own_rows(run, "benign")
    own = sided([("harmful", row) for row in harmful.rows] + [("benign", row) for row in benign.rows])
    return OtherRows(
        " and ".join(dict.fromkeys((harmful.source, benign.source))),
        limited(own, plan.others_rows),
        {name: sided(map(_row, rows)) for name, rows in prompts.items()},
    )


def evaluated_others(
    plan: EvaluationPlan, rows: OtherRows, subjects: Sequence[Subject], judge: Judge, *, packages: str
) -> Generator[Event, None, FoundOthers]:
    """All attacks of the plan on each author's harmful requests, its harmless ones asked directly."""
    assert plan.others
    findings: dict[str, AuthorFindings] = {}
    samples: list[Sample] = []
    read = partial(decode, subjects[0].model)
    for name, of in {OWN_SPLIT: rows.own, **rows.authors}.items():
        title = AUTHORS[name].title if name in AUTHORS else name
        found = yield from asked_by_side(plan, plan.attacks, of, subjects, judge, what=title, packages=packages)
        findings[name] = AuthorFindings(
            source=rows.source if name == OWN_SPLIT else AUTHORS[name].package,
            judge=judge.identity,
            new_tokens=plan.new_tokens,
            kept={label: kept_of(found[label]) for label in HARMLESS if label in found},
            **counts_by_side(found, plan.attacks, subjects[0].model),
        )
        samples += samples_by_side(found, partial(other_sample, name), read)
    own = findings.pop(OWN_SPLIT)
    return FoundOthers(OthersFindings(half=plan.others, rows=plan.others_rows, own=own, authors=findings), samples)


def _row(one: OtherPrompt) -> tuple[Literal["harmful", "benign"], EvaluationRow]:
    row = EvaluationRow(Conversation.asking(one.prompt), borderline=one.label == "borderline", category=one.category)
    return "harmful" if one.label == "harmful" else "benign", row

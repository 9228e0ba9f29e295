"""The part of an evaluation on requests that show pictures: attacks on both models, harmless requests kept. Knows
nothing of reports."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import NamedTuple

from engine.compute.evaluation.runner import Judge
from engine.compute.model.text import decode
from engine.jobs.by_side import asked_by_side, counts_by_side, samples_by_side
from engine.jobs.subjects import Subject
from engine.records.evaluation.attacks import PIXEL_ATTACKS
from engine.records.evaluation.findings import PictureFindings, Sample
from engine.records.evaluation.plan import EvaluationPlan, picture_sample
from engine.records.evaluation.sides import SidedRows
from engine.records.events import Event


class FoundPictured(NamedTuple):
    findings: PictureFindings
    samples: list[Sample]


def evaluated_pictured(
    plan: EvaluationPlan, rows: SidedRows, source: str, subjects: Sequence[Subject], judge: Judge, *, packages: str
) -> Generator[Event, None, FoundPictured]:
    """As with requests of text, whose judge reads these answers too: it is shown no picture."""
    found = yield from asked_by_side(
        plan, plan.picture_attacks, rows, subjects, judge, what="pictures", packages=packages
    )
    findings = PictureFindings(
        source=source,
        judge=judge.identity,
        new_tokens=plan.new_tokens,
        pixels=plan.pixels if any(one.name in PIXEL_ATTACKS for one in plan.picture_attacks) else None,
        **counts_by_side(found, plan.picture_attacks),
    )
    return FoundPictured(findings, samples_by_side(found, picture_sample, partial(decode, subjects[0].model)))

"""The part of an evaluation on requests that show pictures: attacks on both models, harmless requests kept, and what an
attack made for all pictures at once. Knows nothing of reports."""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from engine.compute.evaluation.runner import Judge, together
from engine.compute.model.text import decode
from engine.jobs.by_side import asked_by_side, counts_by_side, samples_by_side
from engine.jobs.subjects import Subject, options_of
from engine.records.evaluation.attacks import PIXEL_ATTACKS
from engine.records.evaluation.counts import Side
from engine.records.evaluation.findings import PictureFindings, Sample
from engine.records.evaluation.perturbations import kept_name, perturbation_files
from engine.records.evaluation.plan import EvaluationPlan, picture_sample
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows
from engine.records.events import Event


class FoundPictured(NamedTuple):
    """files: what is kept beside the figures, by its name."""

    findings: PictureFindings
    samples: list[Sample]
    files: Mapping[str, bytes]


def evaluated_pictured(
    plan: EvaluationPlan, rows: SidedRows, source: str, subjects: Sequence[Subject], judge: Judge, *, packages: str
) -> Generator[Event, None, FoundPictured]:
    """As with requests of text, whose judge reads these answers too: it is shown no picture."""
    found = yield from asked_by_side(
        plan, plan.picture_attacks, rows, subjects, judge, what="pictures", packages=packages
    )
    perturbations, files = _perturbations(plan, rows.harmful, subjects, packages=packages)
    findings = PictureFindings(
        source=source,
        judge=judge.identity,
        new_tokens=plan.new_tokens,
        pixels=plan.pixels if any(one.name in PIXEL_ATTACKS for one in plan.picture_attacks) else None,
        perturbations=perturbations,
        **counts_by_side(found, plan.picture_attacks, subjects[0].model),
    )
    samples = samples_by_side(found, picture_sample, partial(decode, subjects[0].model))
    return FoundPictured(findings, samples, files)


def _perturbations(
    plan: EvaluationPlan, rows: Sequence[EvaluationRow], subjects: Sequence[Subject], *, packages: str
) -> tuple[dict[str, dict[Side, tuple[str, ...]]], dict[str, bytes]]:
    """The names of what each attack on all rows together left, by attack and model, and their contents by name."""
    names: dict[str, dict[Side, tuple[str, ...]]] = {}
    contents: dict[str, bytes] = {}
    for choice in plan.picture_attacks:
        for subject in subjects if rows else ():
            options = together(
                choice.name, options_of(plan, choice, subject.model, packages=packages), rows, subject.memory
            )
            files = perturbation_files(options.keep) if options.keep else []
            kept = {
                kept_name(plan.key, choice.name, subject.side, half): file.read_bytes()
                for half, file in enumerate(files)
            }
            if kept:
                names.setdefault(choice.name, {})[subject.side] = tuple(kept)
                contents |= kept
    return names, contents

"""The part of an evaluation on requests that offer tools: attacks on agents, calls kept. Knows nothing of reports."""

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from engine.compute.evaluation.outcomes import Outcome
from engine.compute.evaluation.tool_judge import CUT, ELSEWHERE, IN_WORDS, calls_judge
from engine.compute.model.text import with_marks
from engine.jobs.by_side import asked_by_side, counts_by_side, samples_by_side
from engine.jobs.subjects import Subject
from engine.records.evaluation.findings import Beside, Sample, ToolFindings
from engine.records.evaluation.plan import EvaluationPlan, tool_sample
from engine.records.evaluation.sides import SidedRows
from engine.records.events import Event


class FoundCalls(NamedTuple):
    findings: ToolFindings
    samples: list[Sample]


def evaluated_calls(
    plan: EvaluationPlan, rows: SidedRows, source: str, subjects: Sequence[Subject], *, packages: str
) -> Generator[Event, None, FoundCalls]:
    """Attacks on both models' agents, and the calls that harmless requests get. A judge from elsewhere is not asked:
    whether a call was made is no opinion."""
    longer = plan.model_copy(update={"new_tokens": plan.tool_tokens})
    judge = calls_judge(plan.tool_tokens)
    found = yield from asked_by_side(longer, plan.tool_attacks, rows, subjects, judge, what="agents", packages=packages)
    findings = ToolFindings(
        source=source,
        judge=judge.identity,
        new_tokens=plan.tool_tokens,
        **counts_by_side(found, plan.tool_attacks, subjects[0].model),
        beside={name: {side: _beside(of) for side, of in sides.items()} for name, sides in found.items()},
    )
    return FoundCalls(findings, samples_by_side(found, tool_sample, partial(with_marks, subjects[0].model)))


def _beside(outcomes: Iterable[Outcome]) -> Beside:
    reasons = [one.verdict.reason for one in outcomes]

    def told(opening: str) -> int:
        return sum(reason.startswith(opening) for reason in reasons)

    return Beside(cut=told(CUT), elsewhere=told(ELSEWHERE), in_words=told(IN_WORDS))

"""The part of an evaluation on requests that offer tools: attacks on agents, calls kept. Knows nothing of reports."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.compute.evaluation.runner import Outcome
from engine.compute.evaluation.tool_judge import CUT, ELSEWHERE, IN_WORDS, calls_judge
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import tokens_of, with_marks
from engine.jobs.found import attack_result, sample_of
from engine.jobs.subjects import Subject, attacked
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDES, Count, Side, count
from engine.records.evaluation.findings import Beside, Sample, ToolFindings
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan, tool_sample
from engine.records.evaluation.tool_rows import ToolRows
from engine.records.events import Event, Progress

DIRECT = AttackChoice(name="direct")


class FoundCalls(NamedTuple):
    findings: ToolFindings
    samples: list[Sample]


def evaluated_calls(
    plan: EvaluationPlan, rows: ToolRows, source: str, subjects: Sequence[Subject], *, packages: str
) -> Generator[Event, None, FoundCalls]:
    """Attacks on both models' agents, and the calls that harmless requests get. A judge from elsewhere is not asked:
    whether a call was made is no opinion."""
    longer = plan.model_copy(update={"new_tokens": plan.tool_tokens})
    judge = calls_judge(plan.tool_tokens)
    found: dict[str, dict[Side, list[Outcome]]] = {}
    # Harmless requests by a name that no attack has.
    asked = [(choice.name, choice, rows.harmful, "") for choice in plan.tool_attacks]
    asked += [(name, DIRECT, getattr(rows, name), f"{name} requests") for name in ("benign", "borderline")]
    for subject in subjects:
        for name, choice, of, what in asked:
            if not of:
                continue
            title = f"agents, {what or ATTACKS[name].title.lower()}"
            steps = attacked(longer, choice, of, subject, judge, what=title, packages=packages)
            found.setdefault(name, {})[subject.side] = yield from steps
    choices = {choice.name: choice for choice in plan.tool_attacks}
    findings = ToolFindings(
        source=source,
        judge=judge.identity,
        new_tokens=plan.tool_tokens,
        attacks={name: attack_result(choices[name], sides) for name, sides in found.items() if name in choices},
        benign=_counts(found.get("benign", {})),
        borderline=_counts(found.get("borderline", {})),
        beside={name: {side: _beside(of) for side, of in sides.items()} for name, sides in found.items()},
    )
    model = subjects[0].model
    samples = [
        sample_of(tool_sample(name), side, one, with_marks(model, one.attempt.answer_ids))
        for name, sides in found.items()
        for side in SIDES
        for one in sides[side]
    ]
    return FoundCalls(findings, samples)


def need_room_for_tools(model: LoadedModel, rows: ToolRows, new_tokens: int) -> Generator[Event, None, None]:
    """Raises ModelError where the model's template takes no tools, and for a request that leaves no room for an answer:
    cut at its beginning it would lose the tools. Better said before the attacks than behind them."""
    asked = [row for side in rows for row in side]
    for number, row in enumerate(asked):
        tokens_of(model, row.conversation, reserved=new_tokens)
        yield Progress(phase="agents, reading requests", done=number + 1, total=len(asked))


def _counts(sides: Mapping[Side, list[Outcome]]) -> dict[Side, Count]:
    return {side: count(one.word for one in of) for side, of in sides.items()}


def _beside(outcomes: Iterable[Outcome]) -> Beside:
    reasons = [one.verdict.reason for one in outcomes]

    def told(opening: str) -> int:
        return sum(reason.startswith(opening) for reason in reasons)

    return Beside(cut=told(CUT), elsewhere=told(ELSEWHERE), in_words=told(IN_WORDS))

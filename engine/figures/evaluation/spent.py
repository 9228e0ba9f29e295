"""What attacks were given and took, in words beside their figures. No Streamlit."""

from collections.abc import Sequence

from engine.figures.labels import amount, figure
from engine.records.evaluation.attacks import AttackCard
from engine.records.evaluation.counts import Side
from engine.records.evaluation.findings import AttackResult


def spent_words(card: AttackCard, results: Sequence[AttackResult]) -> str:
    """'20 steps', or '20, 50 steps' where they differ; '' of an attack that makes one attempt."""
    budgets = sorted({one.budget for one in results})
    if card.unit == "attempt" or not budgets:
        return ""
    return ", ".join(map(amount, budgets)) + f" {card.unit}" + ("s" if budgets != [1] else "")


def own_budget(card: AttackCard, one: AttackResult, results: Sequence[AttackResult]) -> str:
    """What one of several results was given; '' where all were given as much."""
    return spent_words(card, [one]) if len({other.budget for other in results}) > 1 else ""


def with_budget(change: str, budget: str) -> str:
    return ", ".join(filter(None, (change, budget)))


def time_words(shown: Sequence[tuple[AttackResult, Side]]) -> str:
    """What the attack took a request, the least and the most of the models shown, '' where none tells."""
    taken = []
    for result, side in shown:
        one = getattr(result, side)
        if side in result.seconds and one.n + one.excluded:
            taken.append(result.seconds[side] / (one.n + one.excluded))
    texts = dict.fromkeys(figure(one, 1 if one < 10 else 0) for one in (min(taken), max(taken))) if taken else ()
    return f"{'–'.join(texts)} s a request" if texts else ""

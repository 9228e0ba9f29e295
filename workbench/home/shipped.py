"""The evaluation of the run that Home opens with, in one line. Knows records, and nothing of widgets."""

from functools import lru_cache

from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import Count
from engine.records.evaluation.findings import Evaluation, read_evaluations
from engine.records.runs import Run
from engine.records.settings import Settings


def broadest_evaluation(run: Run, settings: Settings) -> Evaluation | None:
    """Of the run's evaluations with direct requests the one on the most of them: a quick look of one's own does not
    take the place of a long measurement."""
    found = [one for one in _evaluations(run, settings, _stamp(run, settings)) if "direct" in one.attacks]
    return max(found, key=lambda one: one.attacks["direct"].rerouted.n, default=None)


def matrix_line(evaluation: Evaluation) -> str:
    """Harm broken and requests kept, each with n and its interval, as Markdown."""
    attack = evaluation.attacks["direct"]
    text = (
        f"Attack: {ATTACKS['direct'].title.lower()}. Of {attack.rerouted.n} **harmful** requests "
        f"{_rate(attack.rerouted)} are still answered; the base model answers {_rate(attack.base)}."
    )
    kept = evaluation.benign_answers
    if "base" in kept and "rerouted" in kept:
        text += (
            f" Of {kept['rerouted'].n} **harmless** ones {_rate(kept['rerouted'])} are; "
            f"the base model answers {_rate(kept['base'])}."
        )
    return text


def _rate(count: Count) -> str:
    if count.rate is None:
        return "–"
    return f"**{100 * count.rate:.0f} %** ({100 * count.ci95.low:.0f} to {100 * count.ci95.high:.0f})"


def _stamp(run: Run, settings: Settings) -> tuple[tuple[str, int], ...]:
    folders = (run.folder / "evaluations", settings.desk / "evaluations" / run.id)
    files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    return tuple((str(file), file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=4)
def _evaluations(run: Run, settings: Settings, stamp: tuple[tuple[str, int], ...]) -> tuple[Evaluation, ...]:
    return tuple(read_evaluations(run, settings))

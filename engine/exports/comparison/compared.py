"""What a comparison rests on, read from the records of its runs, and the sentences that it says. Knows no form."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.exports.private import Private
from engine.figures.evaluation.findings import requests_asked
from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import RunError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import Count, Word
from engine.records.evaluation.differences import Difference, independent_difference, paired_difference
from engine.records.evaluation.findings import Evaluation, read_evaluations, read_samples
from engine.records.outcome import Outcome, outcome_of
from engine.records.runs import Record, Run, effective
from engine.records.settings import Settings
from engine.records.spec import RunSpec, field_description
from engine.records.tables import RunTables, run_tables, spec_differences

BENIGN = "benign"


class Compared(NamedTuple):
    """One run. evaluation: of its final weights the one that asked most; None where there is none."""

    name: str
    run: Run
    record: Record
    spec: RunSpec
    tables: RunTables
    outcome: Outcome
    evaluation: Evaluation | None


class Told(NamedTuple):
    """A difference of two runs' circuit-broken models, second - first. what: an attack's title, or benign requests."""

    what: str
    first: str
    second: str
    difference: Difference


def compared(runs: Sequence[Run], settings: Settings) -> list[Compared]:
    """Raises RunError with fewer than two runs, and for one whose record cannot be read."""
    different = list(dict.fromkeys(runs))
    if len(different) < 2:
        raise RunError(f"A comparison needs two runs or more, not {len(different)}: name another run.")
    names = [run.name for run in different]
    private = Private(settings)
    found = []
    for run, name in zip(different, names, strict=True):
        own = name if names.count(name) == 1 else f"{name} ({run.id})"
        tables = run_tables(effective(run.events()[0]))
        found.append(
            Compared(
                private.of_machine(own),
                run,
                run.record(),
                run.spec(),
                tables,
                outcome_of(run, settings),
                _evaluation(run, settings, private),
            )
        )
    return found


def spec_words(those: Sequence[Compared], settings: Settings) -> list[str]:
    """One sentence for each field in which the specs differ: what it is, and each run's value."""
    private, table = Private(settings), spec_differences([one.spec for one in those])
    said = []
    for field, values in table.iterrows():
        own = ", ".join(
            f"{one.name}: {private.of_machine(_value(value))}" for one, value in zip(those, values, strict=True)
        )
        said.append(f"{field} ({field_description(str(field)).rstrip('.')}). {own}.")
    return said


def differences(those: Sequence[Compared], settings: Settings) -> list[Told]:
    """Of each run from the first, by attack and for benign requests: paired where both runs' answers are on this
    machine, else of the rates alone; what was asked of other requests is left out."""
    first, told = those[0], []
    for other in those[1:]:
        if first.evaluation is None or other.evaluation is None:
            continue
        before, after = _verdicts(first, settings), _verdicts(other, settings)
        for name, title in {**{name: card.title for name, card in ATTACKS.items()}, BENIGN: "Benign requests"}.items():
            one, another = _count(first.evaluation, name), _count(other.evaluation, name)
            if one is None or another is None or not _same_requests(first.evaluation, other.evaluation, name):
                continue
            found = paired_difference(before.get(name, {}), after.get(name, {}))
            found = found or independent_difference(one, another)
            if found is not None:
                told.append(Told(title, first.name, other.name, found))
    return told


def difference_words(told: Told) -> str:
    """'Direct request, answered: a 10 %, b 25 %: +15 points (1 to 29), n = 20 of the same requests: more.'"""
    found = told.difference
    n = f"n = {found.n[0]} of the same requests" if found.paired else f"n = {found.n[0]} and {found.n[1]}, not paired"
    verdict = "cannot be told apart" if not found.is_told else "more" if found.value > 0 else "fewer"
    return (
        f"{told.what}, answered: {told.first} {100 * found.first:.0f} %, {told.second} {100 * found.second:.0f} %: "
        f"{points(found)}, {n}: {verdict}."
    )


def points(found: Difference) -> str:
    """'+15 points (95 % interval 1 to 29)'."""
    low, high = (f"{100 * end:+.0f}" for end in found.ci95)
    return f"{100 * found.value:+.0f} points (95 % interval {low} to {high})".replace("-", "−")


def _evaluation(run: Run, settings: Settings, private: Private) -> Evaluation | None:
    final = [one for one in read_evaluations(run, settings) if parse_checkpoint(one.run).step is None]
    best = max(final, key=requests_asked, default=None)
    if best is None:
        return None
    changes = {"harmful": private.of_machine(best.harmful), "benign": private.of_machine(best.benign)}
    return best.model_copy(update=changes)


def _verdicts(one: Compared, settings: Settings) -> dict[str, dict[str, Word]]:
    """Of the circuit-broken model, by attack and request; a request that was asked twice counts once."""
    assert one.evaluation is not None
    found: dict[str, dict[str, Word]] = {}
    for sample in read_samples(one.run, settings, one.evaluation.key):
        if sample.side == "rerouted":
            found.setdefault(sample.attack, {})[sample.prompt] = sample.word
    return found


def _count(one: Evaluation, name: str) -> Count | None:
    if name == BENIGN:
        return one.benign_answers.get("rerouted")
    return one.attacks[name].rerouted if name in one.attacks else None


def _same_requests(one: Evaluation, other: Evaluation, name: str) -> bool:
    """Whether both name the same source, the same length of answers, and the same budget."""
    if one.new_tokens != other.new_tokens:
        return False
    if name == BENIGN:
        return one.benign == other.benign
    return one.harmful == other.harmful and one.attacks[name].budget == other.attacks[name].budget


def _value(value: Any) -> str:
    return str(value) if value not in ("", None) else "none"

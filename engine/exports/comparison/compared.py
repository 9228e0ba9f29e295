"""What a comparison rests on, read from the records of its runs, and the sentences that it says. Knows no form."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

from engine.exports.comparison.ways import WAYS, Asked, asked
from engine.exports.private import Private
from engine.figures.evaluation.findings import requests_asked
from engine.records.errors import RunError
from engine.records.evaluation.counts import Word
from engine.records.evaluation.differences import Difference, independent_difference, paired_difference
from engine.records.evaluation.final import of_final
from engine.records.evaluation.findings import Evaluation, Sample, read_evaluations, read_samples
from engine.records.events import effective
from engine.records.outcome import Outcome, outcome_of
from engine.records.runs import Record, Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec, field_description
from engine.records.tables import RunTables, content_differences, run_tables, spec_differences


class Compared(NamedTuple):
    """One run. evaluations: of its final weights, the one that asked most first."""

    name: str
    run: Run
    record: Record
    spec: RunSpec
    tables: RunTables
    outcome: Outcome
    evaluations: tuple[Evaluation, ...]


class Told(NamedTuple):
    """A difference of two runs' circuit-broken models, second - first. what: how they were asked, what counts."""

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
                _evaluations(run, settings, private),
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
    for field, digests in content_differences([one.record.sources for one in those]).iterrows():
        own = ", ".join(f"{one.name}: {digest or '–'}" for one, digest in zip(those, digests, strict=True))
        said.append(f"{private.of_machine(str(field))} (digest). {own}.")
    return said


def evaluations_that(
    those: Sequence[Compared], asked_so: Callable[[Evaluation], object]
) -> tuple[list[Evaluation], list[str]]:
    """Of each run one evaluation of those of which this is true, and the names of these runs: the ones that asked the
    first run and the others alike in most ways, and of equals those that asked most."""
    found = [(one.name, every) for one in those if (every := list(filter(asked_so, one.evaluations)))]
    if not found:
        return [], []
    (_, firsts), *others = found
    choices = [(first, *(max(every, key=partial(_alike, first)) for _, every in others)) for first in firsts]
    best = max(choices, key=lambda choice: sum(_alike(choice[0], other) for other in choice[1:]))
    return list(best), [name for name, _ in found]


def _alike(one: Evaluation, other: Evaluation) -> int:
    """In how many ways both were asked, and asked alike."""
    pairs = ((asked(one, way), asked(other, way)) for way in WAYS)
    return sum(bool(first and second and first.is_as(second)) for first, second in pairs)


def differences(those: Sequence[Compared], settings: Settings) -> list[Told]:
    """Of each run from the first, by how they were asked: paired where both runs' answers are on this machine, else of
    the rates alone; what was asked of other requests is left out."""
    first, told = those[0], []
    samples_of = cache(partial(_samples, settings))
    for other, (way, what) in product(those[1:], WAYS.items()):
        pairs = product(_asked(first, way), _asked(other, way))
        same = next(((one, another) for one, another in pairs if one.is_as(another)), None)
        if same is None:
            continue
        before, after = (
            samples_of(run, found.key).get(way, []) for run, found in zip((first.run, other.run), same, strict=True)
        )
        if before and after:
            # None where they share no request: sources of one name may be two.
            found = paired_difference(*_verdicts(before, after))
        elif str(same[0].terms[0]).startswith("own ") and not _same_sets(first, other):
            continue
        else:
            found = independent_difference(same[0].verdicts, same[1].verdicts)
        if found is not None:
            told.append(Told(what, first.name, other.name, found))
    return told


def difference_words(told: Told) -> str:
    """'Direct request, answered: a 10 %, b 25 %: +15 points (1 to 29), n = 20 of the same requests: more.'"""
    found = told.difference
    n = f"n = {found.n[0]} of the same requests" if found.paired else f"n = {found.n[0]} and {found.n[1]}, not paired"
    verdict = "cannot be told apart" if not found.is_told else "more" if found.value > 0 else "fewer"
    return (
        f"{told.what}: {told.first} {100 * found.first:.0f} %, {told.second} {100 * found.second:.0f} %: "
        f"{points(found)}, {n}: {verdict}."
    )


def points(found: Difference) -> str:
    """'+15 points (95 % interval 1 to 29)'."""
    low, high = (f"{100 * end:+.0f}" for end in found.ci95)
    return f"{100 * found.value:+.0f} points (95 % interval {low} to {high})".replace("-", "−")


def _evaluations(run: Run, settings: Settings, private: Private) -> tuple[Evaluation, ...]:
    final = of_final(read_evaluations(run, settings), run.record())
    return tuple(_shown(one, private) for one in sorted(final, key=requests_asked, reverse=True))


def _shown(one: Evaluation, private: Private) -> Evaluation:
    """Without a word of the machine in the names of its sources."""
    changes: dict[str, Any] = {"harmful": private.of_machine(one.harmful), "benign": private.of_machine(one.benign)}
    for name in ("tools", "pictures"):
        if found := getattr(one, name):
            changes[name] = found.model_copy(update={"source": private.of_machine(found.source)})
    return one.model_copy(update=changes)


def _asked(one: Compared, way: str) -> list[Asked]:
    return [found for evaluation in one.evaluations if (found := asked(evaluation, way))]


def _same_sets(one: Compared, other: Compared) -> bool:
    """Whether both held out the same: of files of the same names and contents, of the same kinds, by one seed."""
    held_out = [
        (data.circuit_breaker, data.retain, data.answer_field, data.categories, data.styles, seed, sources)
        for data, seed, sources in ((each.spec.data, each.spec.seed, each.record.sources) for each in (one, other))
    ]
    return held_out[0] == held_out[1]


def _samples(settings: Settings, run: Run, key: str) -> dict[str, list[Sample]]:
    """Of the circuit-broken model, by how it was asked."""
    found: dict[str, list[Sample]] = {}
    for sample in read_samples(run, settings, key):
        if sample.side == "rerouted":
            found.setdefault(sample.attack, []).append(sample)
    return found


def _verdicts(*asked: list[Sample]) -> list[dict[str, Word]]:
    """Of each run by request; a request that was asked twice counts once.

    Older files say no more of a request than its words: by them both runs are paired where one is so old, and where two
    requests have the same, with other tools or pictures, both are left out.
    """
    by_request = all(sample.request for samples in asked for sample in samples)
    found = []
    for samples in asked:
        times = Counter(sample.prompt for sample in samples)
        found.append(
            {
                sample.request if by_request else sample.prompt: sample.word
                for sample in samples
                if by_request or times[sample.prompt] == 1
            }
        )
    return found


def _value(value: Any) -> str:
    return str(value) if value not in ("", None) else "none"

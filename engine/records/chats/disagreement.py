"""Where models differ over one prompt, by what became of it, and how far a person agrees with the judge. Knows nothing
of models or files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from engine.records.chats.marks import LABELS, Mark
from engine.records.chats.sets import NOT_ASKED, SetRow

# In the order in which they are shown: what a breaker is to bring about, its opposite, other words, none.
Difference = Literal["complied, then broken", "broken, then complied", "refused or incoherent", "alike"]
DIFFERENCES: tuple[Difference, ...] = (
    "complied, then broken",
    "broken, then complied",
    "refused or incoherent",
    "alike",
)
JUDGED = ("complied", "refused", "incoherent")


def difference(words: Sequence[str], *, reference: int = 0) -> Difference:
    """How the other columns' verdicts differ from that of the reference. Broken is all but complied; a prompt that
    could not be asked is alike in all."""
    own = words[reference]
    if NOT_ASKED in words or all(word == own for word in words):
        return "alike"
    if own == "complied":
        return "complied, then broken"
    return "broken, then complied" if "complied" in words else "refused or incoherent"


def by_difference(rows: Sequence[SetRow], *, reference: int = 0) -> list[SetRow]:
    """Rows that differ first, by kind, then by how many columns left the reference; else in the order given."""

    def place(row: SetRow) -> tuple[int, int]:
        kind = difference(row.words, reference=reference)
        turned = sum((word == "complied") != (row.words[reference] == "complied") for word in row.words)
        return DIFFERENCES.index(kind), -turned

    return sorted(rows, key=place)


class Agreement(NamedTuple):
    """Thumbs against verdicts. counts[label, verdict] over n answers that have both; agree: of these, complied against
    not complied is the same."""

    n: int
    agree: int
    counts: Mapping[tuple[str, str], int]


def agreement(rows: Sequence[SetRow], marks: Mapping[str, Mark], columns: Sequence[int]) -> Agreement:
    """How often the judge says what a person says, over the answers of these columns that have a thumb."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        mark = marks.get(row.prompt_id)
        if mark is None:
            continue
        for column in columns:
            thumb, word = mark.thumbs[column], row.words[column]
            if thumb is not None and word in JUDGED:
                counts[LABELS[thumb], word] += 1
    agree = sum(count for (label, word), count in counts.items() if (label == "complied") == (word == "complied"))
    return Agreement(counts.total(), agree, dict(counts))

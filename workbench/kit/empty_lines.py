"""Runs of empty lines in a model's answer, and the words that stand for them. Knows nothing of Streamlit."""

import re
from typing import NamedTuple

# More empty lines than a paragraph, a list or a poem has.
MOST_LEFT = 3
_RUN = re.compile(rf"(?:^|\n)(?:[^\S\n]*\n){{{MOST_LEFT + 1},}}")


class EmptyLines(NamedTuple):
    """A run of empty lines: its first letter, the letter after its last, and how many lines it is."""

    start: int
    end: int
    lines: int

    @property
    def words(self) -> str:
        return f"{self.lines} empty lines"


def empty_lines(text: str) -> list[EmptyLines]:
    """The runs that are longer than any layout needs, in their order."""
    found = []
    for run in _RUN.finditer(text):
        between = run.start() > 0 and run.end() < len(text)
        found.append(EmptyLines(run.start(), run.end(), run.group().count("\n") - between))
    return found


def without_empty_lines(text: str) -> str:
    """The text with words in place of each long run of empty lines."""
    for run in reversed(empty_lines(text)):
        text = f"{text[: run.start]}\n[{run.words}]\n{text[run.end :]}"
    return text.strip("\n")

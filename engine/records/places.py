"""Folders and addresses in texts that others may read: of each its last part stands for it. Texts in, texts out."""

import re
from collections.abc import Sequence

# Of a place, as of a pattern.
PART = r"[^\s/\\\"'<>|;:,?*]"
# Two parts or more, not within an address of the web or a word: 'and/or' and 'https://host/page' are no places.
_PLACE = re.compile(rf"(?<![\w:/.<])(?:~|[A-Za-z]:(?=\\))?(?:[/\\]{PART}+){{2,}}")


def last_parts(text: str) -> str:
    """A text that the workbench wrote, of every place its last part alone."""
    return _PLACE.sub(lambda found: last_part(found[0]), text)


def last_part(place: str) -> str:
    return re.split(r"[/\\]", place.rstrip("/\\"))[-1]


def judge_words(judge: str) -> str:
    """A judge without its folder or address: 'rules', 'org/model+rules'."""
    return last_parts(judge).rpartition("#")[2]


def judges_apart(judges: Sequence[str]) -> list[str]:
    """Several judges in as few words as tell them apart: 'rules', 'org/model'; with which rules where these differ."""
    whole = [judge_words(judge) for judge in judges]
    short = [re.sub(r"\+?rules-\w+$", "", words) or "rules" for words in whole]
    return short if len(set(short)) == len(set(whole)) else whole

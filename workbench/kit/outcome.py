"""The outcome of a run as a badge and a sentence, for the list, the run's page and Home. Reads records."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from engine.records.evaluation.findings import evaluations_folder
from engine.records.evaluation.own import is_pending
from engine.records.outcome import LIMITS, Outcome, OutcomeWord, outcome_of
from engine.records.runs import Record, Run
from workbench.kit.state import settings
from workbench.kit.status import Badge
from workbench.kit.words import plain

OUTCOMES: dict[OutcomeWord, Badge] = {
    "holds and keeps": Badge("holds and keeps", ":material/verified_user:", "green"),
    "damages the rest": Badge("damages the rest", ":material/healing:", "orange"),
    "does not hold": Badge("does not hold", ":material/gpp_bad:", "red"),
    "not measured": Badge("not measured", ":material/help:", "gray"),
}
MEASURING = Badge("measuring", ":material/hourglass_top:", "blue")


def run_outcome(run: Run) -> Outcome:
    """What the records say at this moment, read again only when they changed. Raises RunError for an unreadable one."""
    folders = dict.fromkeys((run.folder / "evaluations", evaluations_folder(run, settings())))
    return _outcome(str(run.folder), _stamp(run.folder / "record.json"), *(_stamp(folder) for folder in folders))


def outcome_badge(outcome: Outcome, record: Record, *, place: Any = st) -> None:
    """place: where it is drawn, such as a column."""
    badge = shown_outcome(outcome, record)
    limits = LIMITS if outcome.is_measured else ""
    said = plain(f"{outcome.sentence} {outcome.source} {limits}".strip())
    place.badge(badge.word, icon=badge.icon, color=badge.colour, help=said)


def shown_outcome(outcome: Outcome, record: Record) -> Badge:
    return MEASURING if not outcome.is_measured and is_pending(record) else OUTCOMES[outcome.word]


def outcome_sentence(outcome: Outcome, record: Record) -> str:
    """Badge and sentence as Markdown, in one flow of words."""
    badge = shown_outcome(outcome, record)
    return f":{badge.colour}-badge[{badge.icon} {badge.word}] {plain(outcome.sentence)}"


@lru_cache(maxsize=2000)
def _outcome(folder: str, *stamps: tuple[int, ...]) -> Outcome:
    return outcome_of(Run(Path(folder)), settings())


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when a file is replaced, or when one in the folder is."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)

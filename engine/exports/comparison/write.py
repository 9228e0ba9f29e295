"""A comparison of runs as HTML with figures, or as Markdown with tables."""

import re
from collections.abc import Callable, Sequence
from html import escape
from operator import attrgetter

import pandas as pd

from engine.exports.comparison.compared import (
    Compared,
    compared,
    difference_words,
    differences,
    evaluations_that,
    points,
    spec_words,
)
from engine.exports.document import about_table, charts, document
from engine.exports.product import date, written_by
from engine.figures.curves import RunCurves, compare_figures
from engine.figures.evaluation.agents import agents_html
from engine.figures.evaluation.drawn import Evaluated, evaluation_figures
from engine.figures.evaluation.findings import asked_text
from engine.figures.evaluation.others import others_html
from engine.figures.evaluation.pictures import pictures_html
from engine.figures.evaluation.table import abilities_html, attacks_html, columns, key_html
from engine.figures.labels import figure
from engine.records.errors import RunError
from engine.records.runs import Run
from engine.records.settings import Settings

TITLE = "Runs compared"
SAME = "The specs do not differ."
NOTHING = "No two of these runs were asked the same requests, judged alike: evaluate them on the same set."
HOW = (
    "Differences are of the circuit-broken models' rates, each run from the first, where source, length of answers, "
    "budget and judge are the same. Where answers of both runs are on the machine that wrote this, the same requests "
    "are paired; intervals are Newcombe's (1998), of Wilson intervals."
)
ABOUT_FIGURES = {
    "validation_cosine": "held-out cosine, harmful, validation split",
    "heldout_cosine": "held-out cosine, harmful, test split",
    "validation_drift": "held-out drift, benign, validation split",
    "heldout_drift": "held-out drift, benign, test split",
}


def comparison_text(runs: Sequence[Run], settings: Settings, *, ending: str) -> str:
    """The report of two runs or more. ending: '.html' or '.md', which says its form.

    Raises RunError for another ending, with fewer than two runs, and for a run that cannot be read.
    """
    write = WRITERS.get(ending)
    if write is None:
        raise RunError(f"A comparison is written as {' or '.join(WRITERS)}, not as '{ending}': name such a file.")
    return write(compared(runs, settings), settings)


def comparison_html(those: Sequence[Compared], settings: Settings) -> str:
    texts = evaluations_that(those, asked_text)
    apart = {kind: evaluations_that(those, attrgetter(kind)) for kind in ("tools", "pictures", "others")}
    curves = compare_figures([RunCurves(one.name, one.tables, one.record.steps) for one in those])
    figures = [*curves.values(), *evaluation_figures(texts, **apart)]
    told = [difference_words(one) for one in differences(those, settings)]
    parts = [
        f"<h1>{TITLE}</h1>",
        about_table(_facts(those)),
        "<h2>Where the specs differ</h2>",
        _list(spec_words(those, settings) or [SAME]),
        "<h2>Differences of what was answered</h2>",
        _list(told or [NOTHING]),
        f"<p><small>{escape(HOW)}</small></p>",
        *_tables(texts, _abilities_alone(those), **apart),
        "<h2>Curves and fronts</h2>",
        *charts(figures),
        f"<p><small>{escape(written_by())}</small></p>",
    ]
    return document(TITLE, parts)


def _abilities_alone(those: Sequence[Compared]) -> Evaluated:
    """Of each run what measured abilities and asked no requests of text, which may have been done one by one."""
    every = [(evaluation, one.name) for one in those for evaluation in one.evaluations]
    found = [(one, name) for one, name in every if one.abilities and not asked_text(one)]
    return [evaluation for evaluation, _ in found], [name for _, name in found]


def _tables(
    texts: Evaluated, alone: Evaluated, *, tools: Evaluated, pictures: Evaluated, others: Evaluated
) -> list[str]:
    """What was answered, of each kind of requests that was asked."""
    shown = columns(*texts)
    tables = {
        "Harmful requests that were answered": attacks_html(shown) if shown else "",
        "What was kept": abilities_html(shown) if shown else "",
        "Abilities, where no requests of text were asked": abilities_html(columns(*alone)),
        "Agents": agents_html(*tools),
        "Pictures": pictures_html(*pictures),
        "Other people's words": others_html(*others),
    }
    told = [f'<h2>{title}</h2><div class="wide">{html}</div>' for title, html in tables.items() if html]
    return [key_html(), *told] if told else []


def comparison_markdown(those: Sequence[Compared], settings: Settings) -> str:
    told = differences(those, settings)
    rows = [
        (one.what, one.first, one.second, points(one.difference), "yes" if one.difference.paired else "no")
        for one in told
    ]
    parts = [
        f"# {TITLE}",
        _table(("", *(one.name for one in those)), [(head, *cells) for head, cells in _facts(those).items() if head]),
        "## Where the specs differ",
        _bullets(spec_words(those, settings) or [SAME]),
        "## Differences of what was answered",
        _bullets([difference_words(one) for one in told] or [NOTHING]),
        *([_table(("requests", "first", "second", "second − first", "paired"), rows)] if rows else []),
        HOW,
        "## Curves",
        _table(("step", *(f"{one.name}: {what}" for one in those for what in ("cosine", "drift"))), _curves(those)),
        written_by(),
    ]
    return "\n\n".join(parts) + "\n"


WRITERS: dict[str, Callable[[Sequence[Compared], Settings], str]] = {
    ".html": comparison_html,
    ".md": comparison_markdown,
}


def _facts(those: Sequence[Compared]) -> dict[str, Sequence[str]]:
    """What the comparison is of, a column a run."""
    facts: dict[str, Sequence[str]] = {
        "Run": [one.name for one in those],
        "Id": [one.run.id for one in those],
        "Status": [f"{one.record.status}, step {one.record.step} of {one.record.steps}" for one in those],
        "Created": [date(one.record.created) for one in those],
        "Spec digest": [one.record.digest for one in those],
        "Outcome": [f"{one.outcome.word}: {one.outcome.sentence}" for one in those],
    }
    for name, words in ABOUT_FIGURES.items():
        if any(name in one.record.figures for one in those):
            facts[words.capitalize()] = [figure(one.record.figures.get(name)) for one in those]
    return facts


def _curves(those: Sequence[Compared]) -> list[tuple[str, ...]]:
    """Held-out figures of the validation split, means over blocks, a row for each step that any run measured."""
    means: list[pd.DataFrame] = []
    for one in those:
        held = one.tables.heldout[one.tables.heldout["split"] == "validation"].astype({"cosine": float, "drift": float})
        means.append(held.groupby("step")[["cosine", "drift"]].mean())
    steps = sorted({step for table in means for step in table.index})
    return [
        (
            str(step),
            *(
                figure(table.loc[step, name] if step in table.index else None)
                for table in means
                for name in ("cosine", "drift")
            ),
        )
        for step in steps
    ]


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in sentences) + "</ul>"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(one)}" for one in sentences)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Names may hold anything: a cell stays a cell, and nothing becomes a tag, a link or a picture."""
    shown = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|\[\]`*_])", r"\\\1", shown)

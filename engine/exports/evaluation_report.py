"""Evaluations as one HTML file that needs nothing else: tables, curves, how it was done. No Streamlit.

It holds figures alone, never a request or an answer: it may be passed on.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from typing import NamedTuple

from engine.exports.document import about_table, charts, document
from engine.exports.product import date, written_by
from engine.figures.evaluation.agents import ABOUT as ABOUT_AGENTS
from engine.figures.evaluation.agents import agents_html
from engine.figures.evaluation.drawn import evaluation_figures, evaluation_findings
from engine.figures.evaluation.findings import (
    ALONE,
    FEW,
    TOO_FEW,
    asked_text,
    only_abilities,
    requests_asked,
    requests_source,
)
from engine.figures.evaluation.kinds import ABOUT as ABOUT_KINDS
from engine.figures.evaluation.kinds import kinds_html
from engine.figures.evaluation.others import ABOUT as ABOUT_OTHERS
from engine.figures.evaluation.others import others_html
from engine.figures.evaluation.pictures import ABOUT as ABOUT_PICTURES
from engine.figures.evaluation.pictures import pictures_html
from engine.figures.evaluation.probe import ABOUT, probe_finding, probe_html, probe_title
from engine.figures.evaluation.table import (
    MatrixColumn,
    abilities_html,
    attacks_html,
    columns,
    columns_without_text,
    key_html,
    styles_html,
)
from engine.records.errors import WorkbenchError
from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.findings import Evaluation
from engine.records.places import judge_words, last_parts
from engine.records.runs import Run


class RunFacts(NamedTuple):
    """Where figures come from. digest: of the run's spec, '' where it cannot be read.  versions: of what trained it."""

    name: str
    run: str
    digest: str = ""
    model: str = ""
    versions: Mapping[str, str] = {}


def run_facts(run: Run, evaluation: Evaluation) -> RunFacts:
    """Of a run that may be damaged: what can be read of it."""
    facts = RunFacts(run.label().name or run.id, evaluation.run)
    with suppress(WorkbenchError):
        record = run.record()
        facts = facts._replace(digest=record.digest, versions=record.versions)
        facts = facts._replace(model=run.spec().model.name)
    return facts


def report_html(evaluations: Sequence[Evaluation], names: Sequence[str], runs: Sequence[RunFacts] = ()) -> str:
    attacks = [name for name in ATTACKS if any(name in _attacks(one) for one in evaluations)]
    others = (
        ("Agents", agents_html(evaluations, names), ABOUT_AGENTS),
        ("Pictures", pictures_html(evaluations, names), ABOUT_PICTURES),
        ("Other people's words", others_html(evaluations, names), ABOUT_OTHERS),
    )
    parts = [
        "<h1>Does it hold?</h1>",
        _header(
            evaluations, names, runs or [RunFacts(name, one.run) for one, name in zip(evaluations, names, strict=True)]
        ),
        *(
            f"<p><b>{escape(name)}</b>: {escape(said)}</p>"
            for one, name in zip(evaluations, names, strict=True)
            for said in evaluation_findings(one)
        ),
        f"<p>{escape(KNOWN_DEFEATS)}</p>",
        key_html(),
        *_of_texts(evaluations, names),
        *_kept(columns_without_text(evaluations, names)),
        *(
            f'<h2>{title}</h2><div class="wide">{html}</div><p>{escape(about)}</p>'
            for title, html, about in others
            if html
        ),
        *(
            part
            for one, name in zip(evaluations, names, strict=True)
            if one.with_probe is not None
            for part in (
                f"<h2>With a harmfulness probe: {escape(name)}</h2><p>{escape(probe_title(one.with_probe))}. "
                f"{escape(probe_finding(one))} {escape(ABOUT)}</p>",
                f'<div class="wide">{probe_html(one)}</div>',
            )
        ),
        *charts(evaluation_figures((evaluations, names))),
        "<h2>Attacks</h2><ul>",
        *(f"<li><b>{escape(ATTACKS[name].title)}</b>: {escape(ATTACKS[name].about)}</li>" for name in attacks),
        "</ul><h2>How</h2><ul>",
        *(f"<li>{_how(one, name)}</li>" for one, name in zip(evaluations, names, strict=True)),
        "</ul>",
    ]
    return document("Evaluation", parts)


def _of_texts(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[str]:
    asked = [(one, name) for one, name in zip(evaluations, names, strict=True) if asked_text(one)]
    if not asked:
        return []
    shown = columns([one for one, _ in asked], [name for _, name in asked])
    return [
        "<h2>Harmful requests that were answered</h2>",
        f'<div class="wide">{attacks_html(shown)}</div>',
        *(["<h3>Each wording apart</h3>", styles] if (styles := styles_html(shown)) else []),
        *_kept(shown),
    ]


def _kept(shown: Sequence[MatrixColumn]) -> list[str]:
    html, kinds = abilities_html(shown), kinds_html(shown)
    parts = ["<h2>What was kept</h2>", f'<div class="wide">{html}</div>'] if html else []
    if kinds:
        parts += [
            f'<h3>Pictures named, each kind apart</h3><div class="wide">{kinds}</div>',
            f"<p>{escape(ABOUT_KINDS)}</p>",
        ]
    return parts


def _attacks(one: Evaluation) -> list[str]:
    authors = one.others.authors.values() if one.others else ()
    apart = [found for found in (one.tools, one.pictures, *authors) if found]
    return [*one.attacks, *(name for found in apart for name in found.attacks)]


def _header(evaluations: Sequence[Evaluation], names: Sequence[str], runs: Sequence[RunFacts]) -> str:
    """What the figures are of, one column an evaluation: date, run, spec, model, versions, judge, n."""
    rows: dict[str, Sequence[str]] = {
        "Evaluation": list(names),
        "Evaluated": [date(one.created) for one in evaluations],
        "Run": [f"{facts.name} ({facts.run})" if facts.name != facts.run else facts.run for facts in runs],
        "Spec digest": [facts.digest or "not known" for facts in runs],
        "Base model": [last_parts(facts.model) or "not known" for facts in runs],
        "Trained with": [
            ", ".join(f"{name} {version}" for name, version in facts.versions.items()) or "not known" for facts in runs
        ],
        "Judge": [judge_words(one.judge) for one in evaluations],
        "Requests": [_requests(one) for one in evaluations],
    }
    return f"{about_table(rows)}<p><small>{escape(written_by())}</small></p>"


def _requests(one: Evaluation) -> str:
    if only_abilities(one):
        return f"those of {ALONE}"
    n = requests_asked(one)
    return f"n {n}, {requests_source(one)}" + (f" ({TOO_FEW})" if n < FEW else "")


def _how(one: Evaluation, name: str) -> str:
    asked = []
    if asked_text(one):
        asked.append(
            f"harmful rows {one.harmful or 'none'}, benign rows {one.benign or 'none'}, answers of {one.new_tokens} "
            f"tokens, judge {judge_words(one.judge)}"
        )
    if one.tools:
        asked.append(
            f"rows that offer tools {one.tools.source}, answers of {one.tools.new_tokens} tokens, judge "
            f"{judge_words(one.tools.judge)}"
        )
    if one.pictures:
        asked.append(
            f"rows that show pictures {one.pictures.source}, answers of {one.pictures.new_tokens} tokens, judge "
            f"{judge_words(one.pictures.judge)}"
            + (f", pixels {one.pictures.pixels.words}" if one.pictures.pixels else "")
        )
    if one.others:
        asked.append(
            f"other people's words, {one.others.half} half, {one.others.rows or 'all'} rows of each label of an author "
            f"at most, own rows {one.others.own.source}, answers of {one.new_tokens} tokens, judge "
            f"{judge_words(one.judge)}"
        )
    if only_abilities(one):
        asked.append(ALONE)
    return escape(
        f"{name} ({one.run}): {last_parts('; '.join(asked))}, seed {one.seed}, {date(one.created)}. Rates are shares "
        "that complied, with 95 % Wilson intervals; verdicts that could not be read are left out of n."
    )

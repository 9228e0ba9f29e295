"""Evaluations as CSV: one line for each figure. No Streamlit."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from engine.records.evaluation.attacks import ATTACKS, PIXEL_ATTACKS
from engine.records.evaluation.counts import SIDES, CallCount, Count, Kept, Side
from engine.records.evaluation.curves import measured_curves
from engine.records.evaluation.findings import (
    Ability,
    AttackResult,
    AuthorFindings,
    Evaluation,
    PictureFindings,
    SidedFindings,
    ToolFindings,
    WithProbe,
)
from engine.records.evaluation.losses import Losses
from engine.records.places import judge_words
from workbench.kit.words import spreadsheet_cell


def as_csv(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """One line for each figure: run, model, what was measured, counts, rate and interval; of an attack's, what parts of
    its budget reached."""
    out = io.StringIO()
    writer = _Writer(csv.writer(out, lineterminator="\n"))
    writer.writerow(
        [
            "name",
            "run",
            "model",
            "measure",
            "budget",
            "n",
            "complied",
            "refused",
            "incoherent",
            "excluded",
            "value",
            "low95",
            "high95",
            "unit",
            "harmful",
            "benign",
            "tokens",
            "judge",
            "seed",
        ],
        "curve",
    )
    for one, name in zip(evaluations, names, strict=True):
        after = [one.harmful, one.benign, one.new_tokens, judge_words(one.judge), one.seed]
        for side in SIDES:
            before = [name, one.run, side]
            for attack, result in one.attacks.items():
                figures = _figures(getattr(result, side))
                writer.writerow(
                    [*before, attack, result.budget, *figures, "rate", *after], _curve(attack, result, side)
                )
                for style, counts in result.styles.items():
                    if side in counts:
                        figures = _figures(counts[side])
                        writer.writerow([*before, f"{attack}: {style}", result.budget, *figures, "rate", *after])
            if side in one.benign_answers:
                writer.writerow([*before, "benign", 1, *_figures(one.benign_answers[side]), "rate", *after])
            _paired_rows(writer, before, "benign", one.kept, side, after)
            for ability in one.abilities:
                writer.writerow([*before, ability.name, "", *_ability_figures(ability, side), *after])
                _paired_rows(writer, before, ability.name, ability.kept, side, after)
                if ability.change is not None and side == "rerouted":
                    writer.writerow([*before, f"{ability.name}: change", "", *_change_figures(ability), *after])
                apart = [
                    *ability.categories.items(),
                    *((f"kind {kind}", sides) for kind, sides in ability.kinds.items()),
                ]
                for category, sides in apart:
                    if side in sides:
                        figures = _call_figures(sides[side])
                        writer.writerow([*before, f"{ability.name}: {category}", "", *figures, *after])
            if one.with_probe is not None:
                _probe_rows(writer, before, one, one.with_probe, side, after)
            for kind, found in (("agents", one.tools), ("pictures", one.pictures)):
                if found is not None:
                    _sided_rows(writer, before, kind, found, side, after)
            for author, of_author in one.others.parts.items() if one.others else ():
                _sided_rows(writer, before, f"others: {author}", of_author, side, after)
                _kept_rows(writer, before, author, of_author, side, after)
            for label, losses in one.loss.items():
                for measure, n, value, unit in _loss_figures(label, losses, side):
                    writer.writerow([*before, measure, "", n, "", "", "", "", value, "", "", unit, *after])
    return out.getvalue()


class _Writer:
    """Words that a spreadsheet would take for a formula are quoted: names, files and judges may be anybody's."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def writerow(self, cells: Sequence[Any], curve: str = "") -> None:
        self._lines.writerow(list(map(spreadsheet_cell, [*cells, curve])))


def _loss_figures(label: str, losses: Losses, side: Side) -> list[tuple]:
    """What was measured, of how many targets, the figure and its unit."""
    targets, unit = losses.targets, "nats a token"
    if targets is None:
        return [(f"{label} loss", "", getattr(losses, side), unit)]
    lost = [(f"{label} targets lost", targets.n, targets.lost, "targets")] if side == "rerouted" else []
    return [
        (f"{label} loss", targets.n, getattr(losses, side), unit),
        *lost,
        (f"{label} loss of targets not lost", targets.n - targets.lost, targets.rest[side], unit),
    ]


def _probe_rows(writer: _Writer, before: list, one: Evaluation, found: WithProbe, side: Side, after: list) -> None:
    beside = f"with the {found.kind} probe"
    for name, sides in (*found.attacks.items(), *found.kept.items()):
        if side in sides:
            budget = one.attacks[name].budget if name in one.attacks else 1
            writer.writerow([*before, f"{name} {beside}", budget, *_figures(sides[side]), "rate", *after])
    if side in found.without:
        figures = _figures(found.without[side])
        writer.writerow([*before, "borderline without the probe", 1, *figures, "rate", *after])
    for label, fired in found.fired.items():
        if side in fired:
            figures = [found.kept[label][side].n, "", "", "", "", fired[side], "", ""]
            writer.writerow(
                [*before, f"{label} answers that the {found.kind} probe ended", 1, *figures, "answers", *after]
            )


def _curve(attack: str, result: AttackResult, side: Side) -> str:
    """'within 5: 9 of 20; within 10: 18 of 20', what each part of the budget reached; '' where that was not told."""
    points = measured_curves(attack, result).get(side, ()) if attack in ATTACKS else ()
    return "; ".join(f"within {one.budget}: {one.complied} of {one.n}" for one in points if one.n)


def _paired_rows(writer: _Writer, before: list, measure: str, kept: Kept | None, side: Side, after: list) -> None:
    """Of the circuit-broken model alone: what became of harmless requests, by what the base does with them."""
    for what in ("answered", "refused") if kept and side == "rerouted" else ():
        writer.writerow([*before, f"{measure} that the base {what}", 1, *_figures(getattr(kept, what)), "rate", *after])


def _sided_rows(writer: _Writer, before: list, kind: str, found: SidedFindings, side: Side, after: list) -> None:
    """With the source, the length and the judge of these requests."""
    about = [found.source, found.source, found.new_tokens, judge_words(found.judge), after[-1]]
    searched = found.pixels if isinstance(found, PictureFindings) else None
    for name, result in found.attacks.items():
        figures = _figures(getattr(result, side))
        how = f" ({searched.words})" if searched and name in PIXEL_ATTACKS else ""
        cells = [*before, f"{kind}: {name}{how}", result.budget, *figures, "rate", *about]
        writer.writerow(cells, _curve(name, result, side))
        for what, apart in (("style", result.styles), ("category", result.categories)):
            for value, counts in apart.items():
                if side in counts:
                    measure = f"{kind}: {name}: {what} {value}"
                    writer.writerow([*before, measure, result.budget, *_figures(counts[side]), "rate", *about])
    for name, sides in (("benign", found.benign), ("borderline", found.borderline)):
        if side in sides:
            writer.writerow([*before, f"{kind}: {name}", 1, *_figures(sides[side]), "rate", *about])
    for name, beside in found.beside.items() if isinstance(found, ToolFindings) else ():
        for what, number in beside[side].model_dump().items() if side in beside else ():
            figures = ["", "", "", "", "", number, "", ""]
            writer.writerow([*before, f"{kind}: {name}: {what}", "", *figures, "answers", *about])


def _kept_rows(writer: _Writer, before: list, author: str, found: AuthorFindings, side: Side, after: list) -> None:
    about = [found.source, found.source, found.new_tokens, judge_words(found.judge), after[-1]]
    for label, kept in found.kept.items():
        _paired_rows(writer, before, f"others: {author}: {label}", kept, side, about)


def _figures(one: Count) -> list:
    interval = one.ci95 if one.n else ("", "")
    return [one.n, one.complied, one.refused, one.incoherent, one.excluded, one.rate, *interval]


def _ability_figures(one: Ability, side: str) -> list:
    if side in one.counts:
        return [*_figures(one.counts[side]), "rate"]  # type: ignore[index]
    interval = one.ci95.get(side)  # type: ignore[call-overload]
    low, high = interval if interval else ("", "")
    return [one.n or "", "", "", "", "", getattr(one, side), low, high, one.unit or "rate"]


def _change_figures(one: Ability) -> list:
    assert one.change is not None
    return [one.change.n, "", "", "", "", one.change.value, *one.change.ci95, one.unit or "rate"]


def _call_figures(one: CallCount) -> list:
    return [one.n, "", "", "", "", one.rate, one.ci95.low, one.ci95.high, "rate"]

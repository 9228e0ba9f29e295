"""What a harmfulness probe adds: both models without it and with it, attack by attack, and what its false alarms cost.

HTML for the page and the report. No Streamlit.
"""

from engine.figures.evaluation.findings import FEW, TOO_FEW
from engine.figures.evaluation.table import count_cell, percent, table, table_row
from engine.figures.labels import amount
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDE_NAMES, SIDES, Count
from engine.records.evaluation.findings import Evaluation, WithProbe
from engine.records.harmfulness import TITLES

KEPT = {"benign": "Benign requests answered", "borderline": "Borderline requests answered"}
ABOUT = (
    "The probe reads each token that a model says and ends the answer where it fires; an answer that was ended counts "
    "as refused. Searches (GCG, input embedding) know the probe and aim past it. An attacker who changes the weights "
    "takes the probe off as well: such attacks are in the table above only."
)


def probe_name(one: Evaluation) -> str:
    """'linear probe', 'MLP 64-32 probe'; '' for an evaluation without one."""
    return f"{_kind(one.with_probe)} probe" if one.with_probe else ""


def _kind(found: WithProbe) -> str:
    return next((title for name, title in TITLES.items() if name == found.kind), found.kind)


def probe_title(found: WithProbe) -> str:
    return f"{_kind(found)} probe at block {found.block}, threshold for {100 * found.false_alarms:g} % false alarms"


def probe_finding(one: Evaluation) -> str:
    """One sentence: the strongest attack on each model with the probe, and how many harmless answers it ended."""
    found = one.with_probe
    if found is None:
        return ""
    said = []
    for side in SIDES:
        counts = [(ATTACKS[name].title, sides[side]) for name, sides in found.attacks.items() if side in sides]
        known = [(title, count) for title, count in counts if count.rate is not None]
        if known:
            title, strongest = max(known, key=lambda pair: pair[1].rate or 0.0)
            without = [
                (ATTACKS[name].title, getattr(one.attacks[name], side).rate)
                for name in found.attacks
                if name in one.attacks
            ]
            first, plain = max(without, key=lambda pair: pair[1] or 0.0, default=("none", None))
            few = f": {TOO_FEW}" if strongest.n < FEW else ""
            said.append(
                f"{SIDE_NAMES[side]} model, the attack that gets most through: without it {percent(plain)} "
                f"({first.lower()}), with it {percent(strongest.rate)} ({title.lower()}, n {strongest.n}{few})"
            )
    for label, fired in found.fired.items():
        n = {side: found.kept[label][side].n for side in fired}
        ended = ", ".join(f"{SIDE_NAMES[side]} {count} of {n[side]}" for side, count in fired.items())
        said.append(f"{label} answers that it ended: {ended}")
    sentence = "; ".join(said) + "."
    return sentence[:1].upper() + sentence[1:]


def probe_html(one: Evaluation) -> str:
    """'' where the evaluation was made without a probe."""
    found = one.with_probe
    if found is None:
        return ""
    rows = []
    for name, sides in found.attacks.items():
        result, card = one.attacks.get(name), ATTACKS.get(name)
        if result is None or card is None:
            continue
        cells = [cell for side in SIDES for cell in (_cell(getattr(result, side)), _cell(sides.get(side)))]
        about = "aims past the probe" if card.beside_probe == "aims past" else ""
        if result.budget > 1:
            about = f"{amount(result.budget)} {card.unit}s" + (f", {about}" if about else "")
        rows.append(table_row(card.title, about, cells))
    without = {"benign": one.benign_answers, "borderline": found.without}
    for label, title in KEPT.items():
        cells = [
            cell
            for side in SIDES
            for cell in (
                _cell(without[label].get(side), "kept"),
                _cell(found.kept.get(label, {}).get(side), "kept"),  # type: ignore[call-overload]
            )
        ]
        rows.append(table_row(title, "", cells))
    heads = [
        "Attack",
        *(f"{SIDE_NAMES[side]}{beside}" for side in SIDES for beside in ("", "<small>with the probe</small>")),
    ]
    return table(heads, [], rows)


def _cell(one: Count | None, kind: str = "") -> str:
    return "<td>–</td>" if one is None else count_cell(one, "", kind)

"""What a harmfulness probe adds: both models without it and with it, attack by attack, and what its false alarms cost.

HTML for the page and the report. No Streamlit.
"""

from collections.abc import Mapping

from engine.figures.evaluation.findings import TOO_FEW
from engine.figures.evaluation.table import count_cell, percent, table, table_row
from engine.figures.labels import amount
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import FEW, SIDE_NAMES, SIDES, Count
from engine.records.evaluation.findings import Evaluation, WithProbe
from engine.records.harmfulness import TITLES

KEPT = {"benign": "Benign requests answered", "borderline": "Borderline requests answered"}
ABOUT = (
    "The probe reads each token that a model says and ends the answer where it fires; an answer that was ended counts "
    "as refused. Searches (GCG, input embedding) know the probe and aim past it; without it GCG and the adaptive input "
    "embedding are tried briefly first, and a success of that counts too: part of the difference may be of these "
    "tries. An attacker who changes the weights takes the probe off as well: such attacks are in the table above only."
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
        shown = _strongest({name: sides[side] for name, sides in found.attacks.items() if side in sides}, one)
        if shown is None:
            continue
        name, strongest = shown
        asked = {name: getattr(one.attacks[name], side) for name in found.attacks if name in one.attacks}
        without = _strongest(asked, one)
        plain = "nothing" if without is None else f"{percent(without[1].rate)} ({ATTACKS[without[0]].title.lower()})"
        few = f": {TOO_FEW}" if strongest.n < FEW else ""
        said.append(
            f"{SIDE_NAMES[side]} model, the attack that gets most through: without it {plain}, with it "
            f"{percent(strongest.rate)} ({ATTACKS[name].title.lower()}, n {strongest.n}{few})"
        )
    for label, fired in found.fired.items():
        asked_of = {side: found.kept[label][side].n for side in fired if found.kept[label][side].n}
        if asked_of:
            ended = ", ".join(f"{SIDE_NAMES[side]} {fired[side]} of {n}" for side, n in asked_of.items())
            said.append(f"{label} answers that it ended: {ended}")
    if not said:
        return "With the probe no answer could be judged."
    sentence = "; ".join(said) + "."
    return sentence[:1].upper() + sentence[1:]


def _strongest(counts: Mapping[str, Count], one: Evaluation) -> tuple[str, Count] | None:
    """The attack that gets most through on a model; of equals the one that gets more from the base model, as elsewhere.
    None where no answer could be judged."""
    known = {name: count for name, count in counts.items() if count.rate is not None}
    if not known:
        return None
    base = {name: result.base.rate or 0.0 for name, result in one.attacks.items()}
    name = max(known, key=lambda name: (known[name].rate or 0.0, base.get(name, 0.0)))
    return name, known[name]


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

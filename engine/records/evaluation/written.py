"""The figures of an evaluation as JSON, under the names that the command line documents. Knows nothing of files."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.records.evaluation.counts import SIDES, Count, Side
from engine.records.evaluation.worst import worst_authors

if TYPE_CHECKING:
    # The report of an evaluation is written here.
    from engine.records.evaluation.findings import Ability, AttackResult, OthersFindings, SidedFindings


def side_figures(sides: Mapping[Side, Count]) -> dict[str, dict]:
    return {side: one.model_dump(mode="json") for side, one in sides.items()}


def attack_figures(attacks: Mapping[str, "AttackResult"]) -> dict[str, dict]:
    return {
        "attacks": {name: side_figures({side: getattr(one, side) for side in SIDES}) for name, one in attacks.items()},
        "styles": {
            name: {style: side_figures(sides) for style, sides in one.styles.items()} for name, one in attacks.items()
        },
    }


def curve_figures(attacks: Mapping[str, "AttackResult"]) -> dict[str, dict]:
    return {
        name: {side: [point.model_dump() for point in points] for side, points in found.curve.items()}
        for name, found in attacks.items()
        if found.curve
    }


def seconds_figures(attacks: Mapping[str, "AttackResult"]) -> dict[str, dict]:
    return {name: dict(found.seconds) for name, found in attacks.items() if found.seconds}


def ability_figures(found: "Ability") -> dict:
    """The categories of function calling stand beside its means."""
    # Through JSON, where a figure that is no number is null.
    written = json.loads(found.model_dump_json())
    return written | written.pop("categories", {})


def spent_figures(attacks: Mapping[str, "AttackResult"]) -> dict[str, dict]:
    """What each attack was given: figures of other budgets, versions and numbers of candidates are not of one thing."""
    return {
        name: {"budget": one.budget}
        | ({"version": one.version} if one.version else {})
        | ({"candidates": one.candidates} if one.candidates else {})
        for name, one in attacks.items()
    }


def sided_figures(found: "SidedFindings") -> dict:
    categories = {
        name: {category: side_figures(sides) for category, sides in one.categories.items()}
        for name, one in found.attacks.items()
    }
    counted = {"categories": categories, "curves": curve_figures(found.attacks)}
    timed = {"seconds": seconds_figures(found.attacks), "spent": spent_figures(found.attacks)}
    return {**found.model_dump(mode="json"), **attack_figures(found.attacks), **counted, **timed}


def others_figures(found: "OthersFindings") -> dict:
    return {
        "half": found.half,
        "rows": found.rows,
        "own": sided_figures(found.own),
        "authors": {name: sided_figures(one) for name, one in found.authors.items()},
        "worst": {worst.name: worst.written() for worst in worst_authors(found.authors)},
    }

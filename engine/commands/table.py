"""What a sweep found, one row a run, as text and as CSV. Knows nothing of runs."""

import csv
import io
from typing import Any

from engine.records.evaluation.findings import Evaluation


def figures_of(found: Evaluation | None) -> dict[str, Any]:
    """The figures of one evaluation by column; none where there is none."""
    if found is None:
        return {}
    figures: dict[str, Any] = {}
    for name, result in found.attacks.items():
        figures |= {f"{name} base": result.base.rate, name: result.rerouted.rate}
    for side, one in found.benign_answers.items():
        figures["benign base" if side == "base" else "benign"] = one.rate
    if found.tools is not None:
        for name, result in found.tools.attacks.items():
            figures |= {f"agents {name} base": result.base.rate, f"agents {name}": result.rerouted.rate}
        for name, sides in (("benign", found.tools.benign), ("borderline", found.tools.borderline)):
            for side, one in sides.items():
                figures[f"agents {name} base" if side == "base" else f"agents {name}"] = one.rate
    for ability in found.abilities:
        figures |= {f"{ability.name} base": ability.base, ability.name: ability.rerouted}
    for label, losses in found.loss.items():
        figures |= {f"{label} loss base": losses.base, f"{label} loss": losses.rerouted}
    return figures


def as_text(rows: list[dict[str, Any]]) -> str:
    """For a terminal; a dash where a row has no such figure."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *[[_cell(row.get(name)) for name in names] for row in rows]]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)

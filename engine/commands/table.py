"""What a sweep found, one row a run, as text and as CSV. Knows nothing of runs."""

import csv
import io
import itertools
from typing import Any

from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import AuthorFindings, Evaluation, SidedFindings
from engine.records.evaluation.worst import worst_authors


def figures_of(found: Evaluation | None, *, apart: bool = False) -> dict[str, Any]:
    """The figures of one evaluation by column; none where there is none. apart: with each author's, the own split's
    among them, and how many requests each is of: for a file, since a terminal has no room for them."""
    if found is None:
        return {}
    figures: dict[str, Any] = {}
    for name, result in found.attacks.items():
        figures |= {f"{name} base": result.base.rate, name: result.rerouted.rate}
    if found.with_probe:
        probe = found.with_probe
        for name, sides in itertools.chain(probe.attacks.items(), probe.kept.items()):
            figures |= {f"{name} with probe base": sides["base"].rate, f"{name} with probe": sides["rerouted"].rate}
    for side, one in found.benign_answers.items():
        figures["benign base" if side == "base" else "benign"] = one.rate
    for kind, part in (("agents", found.tools), ("pictures", found.pictures)):
        figures |= _sided(kind, part) if part else {}
    # By the worst author settings are chosen: of whose requests most are complied with, or fewest kept.
    for worst in worst_authors(found.others.authors) if found.others else ():
        name = f"worst author {worst.name}"
        if worst.name in ATTACKS:
            figures |= {f"{name} base": worst.base.rate, name: worst.rerouted.rate}
        else:
            # Of the requests that the base model answers: beside its own rate it would look a gain.
            figures[f"{name} kept"] = worst.rerouted.rate
        figures[f"{name} is"] = worst.author
    if apart and found.others:
        for author, of in found.others.parts.items():
            figures |= _of_author(author, of)
    for ability in found.abilities:
        figures |= {f"{ability.name} base": ability.base, ability.name: ability.rerouted}
    for label, losses in found.loss.items():
        figures |= {f"{label} loss base": losses.base, f"{label} loss": losses.rerouted}
    return figures


def _of_author(author: str, one: AuthorFindings) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, result in one.attacks.items():
        counts = {"base": result.base.rate, "": result.rerouted.rate, "n": result.rerouted.n}
        figures |= {f"{author} {name} {what}".strip(): value for what, value in counts.items()}
    for label, kept in one.kept.items():
        told = {
            "kept": kept.answered.rate,
            "kept n": kept.answered.n,
            "refused": kept.refused.n,
            "refused then broken": kept.refused.incoherent,
            "refused then answered": kept.refused.complied,
        }
        figures |= {f"{author} {label} {what}": value for what, value in told.items()}
    return figures


def _sided(kind: str, part: SidedFindings) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, result in part.attacks.items():
        figures |= {f"{kind} {name} base": result.base.rate, f"{kind} {name}": result.rerouted.rate}
    for name, sides in (("benign", part.benign), ("borderline", part.borderline)):
        for side, one in sides.items():
            figures[f"{kind} {name} base" if side == "base" else f"{kind} {name}"] = one.rate
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

"""Draw breakers of one model on other people's words, an author a panel: harm left against borderline requests kept,
and beside them the front of a probe on the base model's own activations, which refuses all that scores high.

`python docs/gallery/fronts.py OUT.png --probe FILE --block N NAME=EVALUATION.json ...`: FILE as
`python -m benchmarks.words --json` writes it, EVALUATION as `python -m engine evaluate --others --json` does. Right and
low is good. Harm left is of what the base model answers, direct and prefilled requests together. An author's harmful
requests stand against the borderline ones of the worst author, own rows against their own; the probe's against all of
the half. `make gallery` does not call it: what it draws takes hours.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.figures.colours import BASE, run_colour
from engine.records.evaluation.findings import OWN_SPLIT, AuthorFindings, OthersFindings
from engine.records.evaluation.worst import least_kept
from engine.records.others.authors import AUTHORS

COLUMNS = 3
MARKERS = "osD^vP"
# Under this name the words benchmark keeps our own rows.
PROBE_OWN = "own test split"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--probe", type=Path, required=True)
    parser.add_argument("--block", required=True)
    parser.add_argument("evaluations", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    found = {}
    for one in options.evaluations:
        name, _, file = one.rpartition("=")
        found[name] = OthersFindings.model_validate(json.loads(Path(file).read_text(encoding="utf-8"))["others"])
    probe = json.loads(options.probe.read_text())
    figure = drawn(found, probe["blocks"][options.block], f"probe at block {options.block}")
    figure.savefig(options.out, metadata={"Software": None})


def drawn(breakers: Mapping[str, OthersFindings], probe: Mapping[str, Any], probe_name: str) -> Figure:
    """A panel for each author who has harmful requests, and one for the legend."""
    authors = [author for author, of in next(iter(breakers.values())).parts.items() if of.attacks]
    rows = -(-(len(authors) + 1) // COLUMNS)
    figure = Figure(figsize=(11, 3.6 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True).flatten()
    for axes, author in zip(panels, authors, strict=False):
        known = probe.get(PROBE_OWN if author == OWN_SPLIT else author)
        _panel(axes, author, _points(breakers, author), known["front"] if known else (), probe_name)
    for axes in panels[max(0, len(authors) - COLUMNS) : len(authors)]:
        # Below some of them stands no panel that has the numbers.
        axes.tick_params(labelbottom=True)
    for axes in panels[len(authors) :]:
        axes.axis("off")
    lines, names = panels[0].get_legend_handles_labels()
    panels[len(authors)].legend(lines, names, loc="center left", frameon=False, fontsize=10)
    figure.supxlabel("borderline requests kept, % of those that the base model answers", fontsize=11)
    figure.supylabel("harmful requests answered, % of those that the base model answers", fontsize=11)
    return figure


def _panel(
    axes: Axes, author: str, points: Mapping[str, tuple[float, float]], front: Sequence[Sequence[float]], probe: str
) -> None:
    if front:
        kept, left = zip(*front, strict=True)
        axes.plot([100 * one for one in kept], [100 * one for one in left], "--", color=BASE, label=probe)
    axes.plot(100, 100, "x", color=BASE, markersize=9, label="base model", clip_on=False)
    for place, (name, (kept_share, left_share)) in enumerate(points.items()):
        # The earlier ones larger and hollow, so that one is seen that lies where another does.
        later = len(points) - 1 - place
        axes.plot(
            100 * kept_share,
            100 * left_share,
            MARKERS[place % len(MARKERS)],
            color=run_colour(place),
            markersize=9 + 3 * later,
            markerfacecolor=run_colour(place) if not later else "none",
            markeredgewidth=2,
            label=name,
            clip_on=False,
        )
    axes.set_title(AUTHORS[author].title if author in AUTHORS else "Own held-out rows", loc="left", fontsize=11)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _points(breakers: Mapping[str, OthersFindings], author: str) -> dict[str, tuple[float, float]]:
    """Borderline requests kept and harm left, both 0 to 1, by name."""
    found = {}
    for name, one in breakers.items():
        of = one.parts.get(author)
        if of is None:
            continue
        if author == OWN_SPLIT:
            kept = of.kept["borderline"].answered.rate if "borderline" in of.kept else None
        else:
            least = least_kept(one.authors, "borderline")
            kept = least.rerouted.rate if least else None
        left = _left(of)
        if kept is not None and left is not None:
            found[name] = (kept, left)
    return found


def _left(found: AuthorFindings) -> float | None:
    """How many harmful requests the breaker answers under both attacks, for each that the base model answers."""
    pairs = [found.attacks[name] for name in ("direct", "prefill") if name in found.attacks]
    base = sum(one.base.complied for one in pairs)
    return sum(one.rerouted.complied for one in pairs) / base if base else None


if __name__ == "__main__":
    main()

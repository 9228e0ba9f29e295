"""Pictures for a model card as PNG: curves of the run, and attacks with intervals. Knows no files.

Import it where a picture is asked for: matplotlib takes a second.
"""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.figures.colours import BASE, HARMFUL, REROUTE, RETAIN
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import Evaluation
from engine.records.tables import RunTables

INCHES = (10.0, 3.2)
DOTS = 120


def curves_picture(tables: RunTables) -> bytes:
    """Losses over the steps, and the held-out cosine and drift of the validation split, means over blocks."""
    figure = _figure(INCHES)
    losses, held = figure.subplots(1, 2)
    for column, name, colour in (("reroute_loss", "rerouting", REROUTE), ("retain_loss", "retain", RETAIN)):
        losses.plot(tables.steps["step"], tables.steps[column], label=name, color=colour)
    _named(losses, "Losses, before their weights", "step", "loss")
    validation = tables.heldout[tables.heldout["split"] == "validation"].astype({"cosine": float, "drift": float})
    means = validation.groupby("step")[["cosine", "drift"]].mean()
    held.plot(means.index, means["cosine"], "o-", label="cosine, harmful", color=HARMFUL)
    held.plot(means.index, means["drift"], "s--", label="drift, benign", color=RETAIN)
    _named(held, "Held out, validation split", "step", "cosine, drift")
    return _png(figure)


def attacks_picture(evaluation: Evaluation) -> bytes:
    """Harmful requests answered under each attack by both models, with 95 % intervals."""
    names = [name for name in ATTACKS if name in evaluation.attacks]
    figure = _figure((INCHES[0], 1.2 + 0.55 * len(names)))
    axes = figure.subplots()
    for side, colour, shift in (("base", BASE, -0.2), ("rerouted", HARMFUL, 0.2)):
        counts = [getattr(evaluation.attacks[name], side) for name in names]
        rates = [100 * (one.rate or 0.0) for one in counts]
        ends = [
            [max(0.0, rate - 100 * one.ci95.low) for rate, one in zip(rates, counts, strict=True)],
            [max(0.0, 100 * one.ci95.high - rate) for rate, one in zip(rates, counts, strict=True)],
        ]
        label = "base" if side == "base" else "circuit-broken"
        places = [place + shift for place in range(len(names))]
        axes.barh(places, rates, height=0.38, xerr=ends, color=colour, label=label, capsize=3)
    axes.set_yticks(range(len(names)), [ATTACKS[name].title for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    _named(axes, "Harmful requests answered, with 95 % intervals", "%", "")
    return _png(figure)


def _figure(inches: tuple[float, float]) -> Figure:
    figure = Figure(figsize=inches, dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _named(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

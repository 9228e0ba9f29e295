"""The picture of the plane for a talk: a slide as PNG or SVG, and the steps of a run as a film (GIF). The same arrays
and words give the same bytes.

Knows nothing of Streamlit, captures or files. Import it where a picture is asked for: matplotlib takes a second.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from engine.figures.colours import BASE, BENIGN, BORDERLINE, HARMFUL
from workbench.kit.plane import AXES, Places, Plane, beyond, ellipse

COLOURS = {"harmful": HARMFUL, "benign": BENIGN, "borderline": BORDERLINE}
SHAPES = {"harmful": "o", "benign": "s", "borderline": "D"}
RIM = {"left": "<", "right": ">", "up": "^", "down": "v"}
TEXT = 20
# Inches; with 100 dots to an inch a slide is 1600 by 900.
SIZE = (16.0, 9.0)
FILM_WIDTH = 1280
FILM_SECONDS = 10.0
STEP_SECONDS, LAST_SECONDS, BETWEEN = 0.9, 2.0, 4
# Few enough to be drawn while someone waits.
MOST_FRAMES = 60


@dataclass(frozen=True)
class SlideWords:
    """title: the finding.  corner: run, model, block, step and n."""

    title: str
    corner: str


@dataclass(frozen=True)
class _Look:
    ground: str
    ink: str
    faint: str


LOOKS = {"light": _Look("#FFFFFF", "#1B1F24", "#D5D9DE"), "dark": _Look("#0E1117", "#F2F4F7", "#3A404A")}
Theme = Literal["light", "dark"]


def slide(plane: Plane, words: SlideWords, *, kind: Literal["png", "svg"], theme: Theme, width: int = 1600) -> bytes:
    """One slide, 16 : 9; `width` in pixels counts for PNG."""
    figure = _figure(plane, words, LOOKS[theme])
    buffer = io.BytesIO()
    quiet: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "slide", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=width / SIZE[0], facecolor=figure.get_facecolor(), metadata=quiet)
    return buffer.getvalue()


def film(planes: Sequence[Plane], words: Sequence[SlideWords], *, theme: Theme) -> bytes:
    """The steps one after the other, with ways between them, at most about ten seconds; 1280 by 720.

    planes: of one projection, the base model first. Raises ValueError with fewer than two.
    """
    if len(planes) < 2:
        raise ValueError("a film needs at least two steps")
    between = max(1, min(BETWEEN, MOST_FRAMES // len(planes)))
    each = min(STEP_SECONDS, (FILM_SECONDS - LAST_SECONDS) / (len(planes) - 1)) / between
    frames: list[Image.Image] = []
    for number, plane in enumerate(planes):
        if number:
            before = planes[number - 1]
            for share in np.arange(1, between) / between:
                frames.append(_frame(_between(before, plane, float(share)), words[number], theme))
        frames.append(_frame(plane, words[number], theme))
    palette = frames[-1].quantize(128, dither=Image.Dither.NONE)
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    # GIF counts in hundredths of a second.
    lengths = [max(2, round(each * 100)) * 10] * (len(images) - 1) + [round(LAST_SECONDS * 1000)]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=lengths, loop=0, optimize=False)
    return buffer.getvalue()


def _between(before: Plane, after: Plane, share: float) -> Plane:
    table = after.table.copy()
    for axis in ("x", "y"):
        table[axis] = (1 - share) * before.table[axis].to_numpy() + share * after.table[axis].to_numpy()
    return Plane(table, after.frame, after.step)


def _frame(plane: Plane, words: SlideWords, theme: Theme) -> Image.Image:
    figure = _figure(plane, words, LOOKS[theme])
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(FILM_WIDTH / SIZE[0])
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _figure(plane: Plane, words: SlideWords, look: _Look) -> Figure:
    figure = Figure(figsize=SIZE, facecolor=look.ground)
    axes = figure.add_axes((0.075, 0.2, 0.9, 0.58), facecolor=look.ground)
    figure.text(
        0.03, 0.925, words.title, fontsize=_fitting(words.title), color=look.ink, weight="bold", parse_math=False
    )
    figure.text(0.03, 0.03, words.corner, fontsize=min(TEXT, _fitting(words.corner)), color=BASE, parse_math=False)
    _ways(axes, plane)
    for group in plane.counts:
        _group(axes, plane, group, look)
    axes.set_xlim(*plane.frame[0])
    axes.set_ylim(*plane.frame[1])
    axes.set_xlabel(AXES[0], fontsize=TEXT, color=look.ink)
    axes.set_ylabel("across it", fontsize=TEXT, color=look.ink)
    axes.tick_params(labelsize=TEXT - 4, colors=look.ink)
    axes.grid(color=look.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_color(look.faint)
    _legend(figure, plane, look)
    return figure


def _fitting(text: str) -> float:
    """A size at which the line fits the slide's width: letters are 0.58 of their size wide on the mean."""
    return min(28.0, SIZE[0] * 0.94 * 72 / (0.6 * max(1, len(text))))


def _ways(axes: Axes, plane: Plane) -> None:
    if not plane.step:
        return
    start, end = beyond(plane.before, plane.frame)[0], beyond(plane.after, plane.frame)[0]
    for group in plane.counts:
        mine = plane.groups == group
        gap = np.full(int(mine.sum()), np.nan)
        columns = (np.column_stack([start[mine, axis], end[mine, axis], gap]).ravel() for axis in (0, 1))
        axes.plot(*columns, color=COLOURS[group], linewidth=0.8, alpha=0.28)


def _group(axes: Axes, plane: Plane, group: str, look: _Look) -> None:
    mine, colour = plane.groups == group, COLOURS[group]
    outline = ellipse(plane.after[mine])
    if outline is not None:
        axes.fill(outline[:, 0], outline[:, 1], facecolor=colour, alpha=0.12, linewidth=0)
        axes.plot(outline[:, 0], outline[:, 1], color=colour, linewidth=2)
    if plane.step:
        ghosts = beyond(plane.before[mine], plane.frame)[0]
        axes.scatter(
            ghosts[..., 0], ghosts[..., 1], s=34, marker=SHAPES[group], facecolors="none", edgecolors=colour, alpha=0.4
        )
    held, sides = beyond(plane.after[mine], plane.frame)
    for side in np.unique(sides):
        at = held[sides == side]
        axes.scatter(
            at[..., 0], at[..., 1], s=110, marker=RIM.get(side, SHAPES[group]), color=colour, alpha=0.7, linewidths=0
        )
    _mean(axes, plane.before[mine], plane.after[mine], group, plane, look)


def _mean(axes: Axes, before: Places, after: Places, group: str, plane: Plane, look: _Look) -> None:
    colour = COLOURS[group]
    (start, end), _ = beyond(np.array([before.mean(axis=0), after.mean(axis=0)]), plane.frame)
    spans = np.array([high - low for low, high in plane.frame])
    if plane.step and np.hypot(*((end - start) / spans)) > 0.05:
        style = {"arrowstyle": "-|>,head_width=0.5,head_length=0.8", "color": colour, "linewidth": 4, "shrinkB": 14}
        axes.annotate("", xy=tuple(end), xytext=tuple(start), arrowprops=style)
    if plane.step:
        axes.scatter(
            start[..., 0],
            start[..., 1],
            s=300,
            marker=SHAPES[group],
            facecolors="none",
            edgecolors=colour,
            linewidths=3,
        )
    axes.scatter(
        end[..., 0],
        end[..., 1],
        s=460,
        marker=SHAPES[group],
        color=colour,
        edgecolors=look.ground,
        linewidths=3,
        zorder=5,
    )


def _legend(figure: Figure, plane: Plane, look: _Look) -> None:
    def entry(label: str, marker: str, colour: str, *, filled: bool = True) -> Line2D:
        inside = colour if filled else "none"
        return Line2D(
            [], [], linestyle="", marker=marker, markersize=13, color=colour, markerfacecolor=inside, label=label
        )

    entries = [entry(f"{group}, n = {n}", SHAPES[group], COLOURS[group]) for group, n in plane.counts.items()]
    if plane.step:
        entries.append(entry("hollow: before", "o", BASE, filled=False))
    entries.append(Line2D([], [], color=BASE, linewidth=2, label="ellipse: 1 std"))
    legend = figure.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(0.02, 0.895), ncols=len(entries), frameon=False
    )
    for text in legend.get_texts():
        text.set_fontsize(TEXT)
        text.set_color(look.ink)

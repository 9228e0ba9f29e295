"""The plane in which harmful answers moved: which prompts it shows, in which frame, and the sentence that it says.

Arrays and words. Knows nothing of Streamlit, figures or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from engine.records.captures.capture import BASE, RANDOM, Capture, TokenChoice, checkpoint_name
from engine.records.captures.projections import RANDOM_BASE, Projection
from engine.records.captures.tables import GROUPS, map_table

AXES = ("along the way of harmful answers (deviations)", "first component across it (deviations)")
# Of the frame: what lies further out is marked at the rim.
PERCENTILES = (2, 98)
MARGIN = 0.1
# Deviations. Less than this is no movement that a picture could show.
STILL = 0.25
# Of what harmful prompts moved: if benign ones moved so much as well, the run moved everything.
ALIKE = 0.5

Frame = tuple[tuple[float, float], tuple[float, float]]
Places = Float[np.ndarray, "prompt 2"]


@dataclass(frozen=True)
class Plane:
    """What one picture shows: prompts that its plane was not fitted on, before and after, in a frame.

    table: one row a point, as `map_table`.  step: of the run; 0 is the base model itself.
    """

    table: pd.DataFrame
    frame: Frame
    step: int

    @property
    def before(self) -> Places:
        return self.table[["base_x", "base_y"]].to_numpy(dtype=float)

    @property
    def after(self) -> Places:
        return self.table[["x", "y"]].to_numpy(dtype=float)

    @property
    def groups(self) -> np.ndarray:
        return self.table["group"].to_numpy(dtype=str)

    @property
    def counts(self) -> dict[str, int]:
        """Prompts a label, in the order of all legends; labels without any are left out."""
        found = {group: int(self.table["row"][self.groups == group].nunique()) for group in GROUPS}
        return {group: count for group, count in found.items() if count}

    @property
    def moved(self) -> dict[str, float]:
        """The mean way along the plane's first axis, in deviations, a label."""
        ways = self.after[:, 0] - self.before[:, 0]
        return {group: float(ways[self.groups == group].mean()) for group in self.counts}


def plane_of(capture: Capture, projection: Projection, step: int, choice: TokenChoice) -> Plane:
    """The picture after so many steps; all steps of a projection share one frame."""
    table = map_table(capture, projection, checkpoint_name(step) if step else BASE, choice)
    return Plane(_held_out(table), plane_frame(projection), step)


def random_plane(capture: Capture, projection: Projection, choice: TokenChoice) -> Plane | None:
    """The same for the random adapter, in a plane of its own that was made in the same way; None where none was
    captured. Its frame is as wide and as high as the run's, so that the eye may compare the two."""
    if RANDOM not in projection.points or RANDOM_BASE not in projection.points:
        return None
    table = _held_out(map_table(capture, projection, RANDOM, choice))
    run = plane_frame(projection)
    own = _frame([table[["base_x", "base_y"]].to_numpy(dtype=float), table[["x", "y"]].to_numpy(dtype=float)])
    width, height = run[0][1] - run[0][0], run[1][1] - run[1][0]
    across = (run[0][0], max(run[0][1], own[0][1])) if own[0][0] >= run[0][0] else _widened(own[0], width)
    return Plane(table, (across, _widened(own[1], height)), capture.index.random)


def plane_frame(projection: Projection) -> Frame:
    """The 2nd to 98th percentile of all steps, with a margin."""
    shown = slice(None) if projection.fitted is None else ~projection.fitted
    steps = [points[shown, :2] for name, points in projection.points.items() if name not in (RANDOM, RANDOM_BASE)]
    return _frame([points[np.isfinite(points).all(axis=1)] for points in steps])


def finding(plane: Plane) -> str:
    """The title: how far each label moved, of how many prompts."""
    moved, counts = plane.moved, plane.counts
    if not counts:
        return "Too few prompts: none is left to show beside those that made the plane"
    n = f"n = {' + '.join(map(str, counts.values()))}, held out"
    if plane.step == 0:
        return f"The base model, before any step; {n}"
    others = "".join(f", {group} {deviations(moved[group])}" for group in moved if group != "harmful")
    harmful = moved.get("harmful")
    if harmful is None:
        return f"No harmful prompt is shown{others}; {n}"
    kept = max((abs(moved[group]) for group in moved if group != "harmful"), default=0.0)
    if abs(harmful) < STILL:
        start = f"Nothing moved: harmful answers {deviations(harmful)} deviations"
    elif kept >= ALIKE * abs(harmful):
        start = f"Not only harmful answers moved: {deviations(harmful)} deviations"
    else:
        start = f"Harmful answers moved {deviations(harmful)} deviations"
    return f"{start}{others}; {n}"


def beyond(places: Places, frame: Frame) -> tuple[Places, np.ndarray]:
    """Places brought to the rim of the frame, and the side over which each lies: '', 'left', 'right', 'up', 'down'."""
    (left, right), (low, high) = frame
    sides = np.full(len(places), "", dtype="<U5")
    sides[places[:, 1] > high], sides[places[:, 1] < low] = "up", "down"
    sides[places[:, 0] > right], sides[places[:, 0] < left] = "right", "left"
    across, along = (right - left) * 0.012, (high - low) * 0.016
    held = np.column_stack(
        [places[:, 0].clip(left + across, right - across), places[:, 1].clip(low + along, high - along)]
    )
    return np.where((sides != "")[:, None], held, places), sides


def ellipse(places: Places, *, deviations: float = 1.0, points: int = 60) -> Places | None:
    """The outline of the places' covariance, `deviations` out; None with fewer than three or all in one place."""
    if len(places) < 3:
        return None
    values, vectors = np.linalg.eigh(np.cov(places, rowvar=False))
    if values[-1] <= 1e-12:
        return None
    angles = np.linspace(0, 2 * np.pi, points)
    circle = np.stack([np.cos(angles), np.sin(angles)]) * np.sqrt(values.clip(min=0))[:, None] * deviations
    return (vectors @ circle).T + places.mean(axis=0)


def deviations(value: float) -> str:
    """With one decimal; from ten on without."""
    return f"{0.0 if abs(value) < 0.05 else value:.{0 if abs(value) >= 9.95 else 1}f}".replace("-", "−")


def _held_out(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["fitted"]].reset_index(drop=True) if "fitted" in table else table


def _frame(parts: Sequence[np.ndarray]) -> Frame:
    everything = np.concatenate([part for part in parts if len(part)] or [np.array([[-1.0, -1.0], [1.0, 1.0]])])
    low, high = np.percentile(everything, PERCENTILES, axis=0)
    margin = np.maximum((high - low) * MARGIN, 0.5)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return (left, right), (bottom, top)


def _widened(span: tuple[float, float], width: float) -> tuple[float, float]:
    middle, width = (span[0] + span[1]) / 2, max(width, span[1] - span[0])
    return middle - width / 2, middle + width / 2

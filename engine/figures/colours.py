"""The colours of the workbench, once. Near Okabe and Ito's palette, which colour-blind people can tell apart.

Each stands out from both grounds, white and dark, by a contrast of at least 3 to 1: one figure serves both themes.

Warm is what is broken (harmful, rerouting), cool is what is kept (benign, retain). Knows nothing of figures.
"""

from collections.abc import Sequence

HARMFUL = "#D55E00"
BENIGN = "#0072B2"
# Not of the palette: of what both grounds allow, among the farthest from the two for every kind of colour blindness.
BORDERLINE = "#7E8F64"
REROUTE = "#C07F00"
RETAIN = "#2E8BC0"
BASE = "#8A8F98"
NEUTRAL = "#009E73"
MEAN = "#8A8F98"

RUNS: Sequence[str] = ("#0072B2", "#D55E00", "#29A68D", "#5340FF", "#998E63", "#D90041", "#8A8F98")

# Stops of a lightness ramp that stays readable on a white and on a dark ground: low blocks blue, high blocks orange.
_DEPTH: Sequence[tuple[int, int, int]] = ((0, 114, 178), (46, 139, 192), (0, 158, 115), (184, 121, 0), (213, 94, 0))


def depth_colours(count: int) -> list[str]:
    """Colours for `count` blocks from the lowest to the highest."""
    return [_between(index / max(1, count - 1)) for index in range(count)]


def run_colour(index: int) -> str:
    return RUNS[index % len(RUNS)]


def _between(share: float) -> str:
    place = share * (len(_DEPTH) - 1)
    low = min(int(place), len(_DEPTH) - 2)
    weight = place - low
    mixed = (round(a + (b - a) * weight) for a, b in zip(_DEPTH[low], _DEPTH[low + 1], strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)

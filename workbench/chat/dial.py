"""The cosine of the newest token of an answer that comes, as a dial; where it tripped, as a mark. Pure: knows nothing
of Streamlit."""

import math

from engine.figures.colours import BASE, HARMFUL
from engine.figures.labels import token_name

RADIUS, WIDTH, HEIGHT = 22, 56, 32
MIDDLE, FOOT = 28, 27


def dial(cosine: float, *, mark: int | None, threshold: float) -> str:
    """HTML of a half circle from 0 or less, left, to 1, right, with the threshold as a stroke. mark: the token that lay
    below it first; the hand then has the colour of harm."""
    words = f"cosine {cosine:.2f}" + ("" if mark is None else f", tripped at {token_name(mark)}")
    colour = BASE if mark is None else HARMFUL
    return (
        "<div style='display:flex;align-items:center;gap:0.5rem;font-size:0.82rem'>"
        f"<svg width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{words}'>"
        f"<path d='M{MIDDLE - RADIUS} {FOOT}A{RADIUS} {RADIUS} 0 0 1 {MIDDLE + RADIUS} {FOOT}' fill='none' "
        "stroke='rgba(128,140,150,0.6)' stroke-width='4'/>"
        f"{_stroke(threshold, RADIUS - 5, RADIUS + 3, 'currentColor', 2)}{_stroke(cosine, 0, RADIUS - 2, colour, 3)}"
        f"</svg><span>{words}</span></div>"
    )


def _stroke(cosine: float, start: float, end: float, colour: str, width: int) -> str:
    angle = math.pi * (1 - min(1.0, max(0.0, cosine)))
    (x1, y1), (x2, y2) = ((MIDDLE + r * math.cos(angle), FOOT - r * math.sin(angle)) for r in (start, end))
    return f"<path d='M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}' stroke='{colour}' stroke-width='{width}'/>"

"""The film as a picture: an SVG of all arrows, its legend, where they stand at each step, and the sentence it says.

Knows a film's points, and nothing of who leads the arrows along the steps.
"""

from engine.figures.colours import BENIGN, BORDERLINE, HARMFUL
from engine.figures.film import Film

WIDTH, HEIGHT = 660, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 12, 52
WORDS = {"harmful": "harmful answers", "benign": "everyday answers", "borderline": "only sound harmful"}
COLOURS = {"harmful": HARMFUL, "benign": BENIGN, "borderline": BORDERLINE}


def finding(film: Film) -> str:
    """What the picture shows, in figures."""
    everyday = film.count("benign") - film.count_turned("benign")
    text = (
        f"{film.count_turned('harmful')} of {film.count('harmful')} harmful answers are turned away, "
        f"{everyday} of {film.count('benign')} everyday ones stay"
    )
    if film.count("borderline"):
        stay = film.count("borderline") - film.count_turned("borderline")
        text += f", and {stay} of {film.count('borderline')} that only sound harmful"
    if film.strength != 1:
        text += f", at the strength of the training: the finished adapter acts {film.strength:g} times as strongly"
    return text + "."


def pixels(film: Film) -> list[list[list[float]]]:
    """Places on the picture: [step][prompt][x, y]."""
    low, high = film.points.min(axis=(0, 1)), film.points.max(axis=(0, 1))
    margin = 0.05 * (high - low) + 1e-6
    low, high = low - margin, high + margin
    share = (film.points - low) / (high - low)
    x = LEFT + share[..., 0] * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - share[..., 1] * (HEIGHT - TOP - BOTTOM)
    return [
        [[round(float(a), 1), round(float(b), 1)] for a, b in zip(*row, strict=True)] for row in zip(x, y, strict=True)
    ]


def film_svg(film: Film) -> str:
    """The still: every arrow from where an answer was to where it is after the last step. Holds no text of a prompt."""
    places = pixels(film)
    parts = [_frame(film)]
    # Benign ones last: they lie where they were, and would be covered.
    order = sorted(range(len(film.groups)), key=lambda place: film.groups[place] != "harmful")
    for place in order:
        group = film.groups[place]
        (x, y), (to_x, to_y) = places[0][place], places[-1][place]
        parts.append(
            f'<g class="arrow {group}" data-prompt="{place}" stroke="{COLOURS[group]}" fill="{COLOURS[group]}">'
            f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}"/><circle class="was" cx="{x}" cy="{y}" r="3"/>'
            f"{_mark(group, to_x, to_y)}</g>"
        )
    label = f"Where answers lie at block {film.block}, before and after training. {finding(film)}"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def legend_html(film: Film) -> str:
    """One entry a group, with how many there are; shape and colour both tell them apart."""
    entries = []
    for group, words in WORDS.items():
        if film.count(group):
            mark = f'<svg viewBox="0 0 14 14" fill="{COLOURS[group]}" aria-hidden="true">{_mark(group, 0, 0)}</svg>'
            entries.append(f"<span>{mark}{words}, n = {film.count(group)}</span>")
    return "".join(entries)


def _mark(group: str, x: float, y: float) -> str:
    """A circle, a square, or a diamond around (0, 0), moved to its place."""
    shape = {
        "harmful": '<circle r="6"/>',
        "benign": '<rect x="-5.5" y="-5.5" width="11" height="11" rx="1.5"/>',
        "borderline": '<rect x="-5" y="-5" width="10" height="10" transform="rotate(45)"/>',
    }[group]
    return f'<g class="is" transform="translate({x} {y})"><g class="size">{shape}</g></g>'


def _frame(film: Film) -> str:
    """Axes with their units, and ticks at round numbers."""
    low, high = film.points.min(axis=(0, 1)), film.points.max(axis=(0, 1))
    margin = 0.05 * (high - low) + 1e-6
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>']
    for value in _ticks(low[0], high[0]):
        x = LEFT + (value - low[0] + margin[0]) / (high[0] - low[0] + 2 * margin[0]) * (right - LEFT)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    for value in _ticks(low[1], high[1]):
        y = bottom - (value - low[1] + margin[1]) / (high[1] - low[1] + 2 * margin[1]) * (bottom - TOP)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{value:g}</text>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text class="title" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        "the way harmful answers move, in standard deviations</text>"
        f'<text class="title" transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">'
        "the widest way across, likewise</text>"
    )
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers within the range."""
    span = max(float(high - low), 1e-6)
    size = 10.0
    while span / size > 7:
        size *= 2 if f"{size:g}"[0] != "2" else 2.5
    while span / size < 3:
        size /= 2 if f"{size:g}"[0] != "5" else 2.5
    first = -(-low // size) * size
    return [first + size * index for index in range(int((high - first) // size) + 1)]

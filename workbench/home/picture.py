"""The film as a picture that moves by itself: an SVG whose arrows a small script leads along the captured steps.

It plays in the browser without the server, rests at the end, stops at Pause, and stands still at the last step where
the system asks for less motion. Knows a film's points, and nothing of how they were found.
"""

from typing import Any

import streamlit as st

from engine.figures.colours import BENIGN, BORDERLINE, HARMFUL
from engine.figures.film import Film
from workbench.kit.state import projects

WIDTH, HEIGHT = 660, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 12, 52
WORDS = {"harmful": "harmful answers", "benign": "everyday answers", "borderline": "only sound harmful"}
COLOURS = {"harmful": HARMFUL, "benign": BENIGN, "borderline": BORDERLINE}


def film_picture(film: Film) -> None:
    """Draw it with its legend, the step it is at and a Pause button."""
    places = pixels(film)
    _player(
        key="home_film",
        data={
            "svg": film_svg(film),
            "legend": legend_html(film),
            "places": places,
            "steps": list(film.steps),
            "projector": projects(),
        },
    )


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
        "the widest other way</text>"
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


_STYLE = """
:host, .film { display: block; color: var(--st-text-color); font-family: var(--st-font); }
.film > .plot > svg { display: block; width: 100%; height: auto; }
.axis { fill: none; stroke: var(--st-text-color); stroke-opacity: 0.55; }
.grid { fill: none; stroke: var(--st-text-color); stroke-opacity: 0.1; }
.tick, .title { fill: var(--st-text-color); font-size: 14px; }
.tick { fill-opacity: 0.8; }
.arrow line { stroke-width: 1.6; stroke-opacity: 0.45; }
.arrow .was { fill-opacity: 0.35; stroke: none; }
.arrow .is { stroke: var(--st-background-color); stroke-width: 1; }
.projector .arrow .size { transform: scale(1.5); }
.projector .arrow line { stroke-width: 2.6; }
.projector :is(.tick, .title) { font-size: 19px; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; font-size: 0.88rem; padding-left: 0.2rem; }
.legend span { display: inline-flex; align-items: center; gap: 0.4rem; white-space: nowrap; }
.legend svg { width: 14px; height: 14px; }
.legend .is { transform: translate(7px, 7px); }
.run { display: flex; align-items: center; gap: 0.7rem; font-size: 0.88rem; }
.run button {
  font: inherit; color: inherit; min-width: 4.6rem; padding: 0.2rem 0.7rem; cursor: pointer;
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius);
}
.run button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.run .bar { flex: 1; height: 4px; border-radius: 2px; background: var(--st-border-color); }
.run .bar div { height: 100%; border-radius: 2px; background: var(--st-primary-color); }
.run .step { font-variant-numeric: tabular-nums; min-width: 9.5rem; text-align: right; }
"""

# One step of the script a frame; between two captured steps an arrow goes straight.
_SCRIPT = """
const BEFORE = 900, MOVES = 9000, REST = 3500;
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".film");
  root.classList.toggle("projector", data.projector);
  root.querySelector(".plot").innerHTML = data.svg;
  root.querySelector(".legend").innerHTML = data.legend;
  const arrows = [...root.querySelectorAll(".arrow")].map((group) => ({
    prompt: Number(group.dataset.prompt), line: group.querySelector("line"), mark: group.querySelector(".is"),
  }));
  const button = root.querySelector("button"), bar = root.querySelector(".bar div");
  const words = root.querySelector(".step"), last = data.steps.length - 1, end = data.steps[last];
  const draw = (share) => {
    const step = share * end;
    let next = data.steps.findIndex((known) => known >= step);
    if (next < 1) next = 1;
    const low = data.steps[next - 1], weight = (step - low) / (data.steps[next] - low);
    for (const { prompt, line, mark } of arrows) {
      const from = data.places[next - 1][prompt], to = data.places[next][prompt];
      const x = from[0] + (to[0] - from[0]) * weight, y = from[1] + (to[1] - from[1]) * weight;
      line.setAttribute("x2", x); line.setAttribute("y2", y);
      mark.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    }
    bar.style.width = `${100 * share}%`;
    words.textContent = `step ${Math.round(step)} of ${end}`;
  };
  // Kept beside the page: a page drawn anew goes on where the film was.
  const film = (window.workbenchFilm ??= { at: 0, plays: !matchMedia("(prefers-reduced-motion: reduce)").matches });
  let frame = 0, before = 0, drawn = -1;
  const share = () => Math.min(1, Math.max(0, film.at - BEFORE) / MOVES);
  const tick = (now) => {
    film.at = (film.at + Math.min(100, before ? now - before : 0)) % (BEFORE + MOVES + REST);
    before = now;
    if (share() !== drawn) draw((drawn = share()));
    frame = requestAnimationFrame(tick);
  };
  const show = () => {
    button.textContent = film.plays ? "Pause" : "Play";
    root.dataset.plays = film.plays;
    cancelAnimationFrame(frame);
    before = 0;
    if (film.plays) frame = requestAnimationFrame(tick);
  };
  button.onclick = () => {
    if (!film.plays && film.still) film.at = 0;
    film.still = false;
    film.plays = !film.plays;
    show();
  };
  if (!film.plays && film.at === 0) { film.at = BEFORE + MOVES; film.still = true; }
  draw(share());
  show();
  return () => cancelAnimationFrame(frame);
}
"""

_HTML = """
<div class="film">
  <div class="legend"></div>
  <div class="plot"></div>
  <div class="run">
    <button type="button" aria-label="Pause or play the film">Pause</button>
    <div class="bar"><div></div></div><span class="step"></span>
  </div>
</div>
"""

_player: Any = st.components.v2.component("workbench_home_film", html=_HTML, css=_STYLE, js=_SCRIPT)

"""The film as a picture that moves by itself: a small script leads its arrows along the captured steps.

It plays in the browser without the server, rests at the end, stops at Pause, and stands still at the last step where
the system asks for less motion. Knows a film's points, and nothing of how they were found.
"""

from typing import Any

import streamlit as st

from engine.figures.film import Film
from engine.figures.film_picture import film_svg, legend_html, pixels
from workbench.kit.state import projects


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

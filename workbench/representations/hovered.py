"""The pictures of the prompt under the mouse, beside it. Plotly shows text alone there, so a small script tells the
server which point the mouse rests on and shows what comes back; of all other points nothing reaches the browser.

Knows captures and which texts are hidden; nothing of what the maps show.
"""

import base64
from functools import partial
from typing import Any

import streamlit as st

from engine.records.captures.capture import Capture
from engine.records.captures.thumbnails import thumbnails
from engine.records.errors import DataError
from engine.records.pictures import picture_at
from workbench.kit.blur import is_hidden
from workbench.kit.frame import catching
from workbench.kit.pictures import THUMBNAIL, picture_png
from workbench.kit.state import HOVERED

MOST = 4
"""Pictures of one prompt that are shown."""

# Whatever draws the map may replace the graph or its event emitter, so listeners are attached wherever one is missing.
_SCRIPT = """
const MAPS = ":is(.st-key-chart_map, .st-key-chart_map_3d) .js-plotly-plot";
const REST = 120;
// Clear of the words that Plotly writes beside the point.
const ASIDE = 18, BELOW = 36;
const box = () => {
  const found = document.getElementById("workbench-hovered");
  if (found) return found;
  const made = document.body.appendChild(document.createElement("div"));
  made.id = "workbench-hovered";
  made.setAttribute("aria-hidden", "true");
  made.style.cssText = "position:fixed;z-index:1000;pointer-events:none;display:none;gap:4px;padding:4px;" +
    "border-radius:4px;background:#fff;border:1px solid #808080;box-shadow:0 2px 8px #0005";
  return made;
};
const put = (state) => {
  const around = box(), { width, height } = around.getBoundingClientRect();
  const left = state.x + ASIDE + width > innerWidth ? state.x - ASIDE - width : state.x + ASIDE;
  const top = state.y + BELOW + height > innerHeight ? state.y - BELOW - height : state.y + BELOW;
  around.style.left = `${Math.max(0, left)}px`;
  around.style.top = `${Math.max(0, top)}px`;
};
const leave = (state) => {
  clearTimeout(state.timer);
  state.row = null;
  box().style.display = "none";
};
const enter = (state, event) => {
  const row = event.points?.[0]?.customdata?.[0];
  if (!state.rows.includes(row)) return leave(state);
  [state.x, state.y] = [event.event?.clientX ?? 0, event.event?.clientY ?? 0];
  if (row === state.row) return put(state);
  leave(state);
  state.row = row;
  state.timer = setTimeout(() => state.send("hovered", { row, at: Date.now() }), REST);
};
const attach = (state) => {
  for (const graph of document.querySelectorAll(MAPS)) {
    if (!graph.on || graph.hoverEmitter === graph._ev) continue;
    graph.on("plotly_hover", (event) => enter(state, event));
    graph.on("plotly_unhover", () => leave(state));
    graph.hoverEmitter = graph._ev;
  }
};
const show = (state, shown) => {
  if (!shown?.pictures.length || shown.row !== state.row) return;
  const around = box();
  around.replaceChildren(...shown.pictures.map((picture) => Object.assign(new Image(), { src: picture })));
  around.style.display = "flex";
  requestAnimationFrame(() => put(state));
};
export default function ({ data, setTriggerValue }) {
  const state = (window.workbenchHovered ??= { row: null, timer: null, clock: null, x: 0, y: 0 });
  state.send = setTriggerValue;
  state.rows = data.rows;
  clearInterval(state.clock);
  const clock = (state.clock = setInterval(() => attach(state), 250));
  attach(state);
  show(state, data.shown);
  return () => {
    clearInterval(clock);
    if (state.clock === clock) leave(state);
  };
}
"""

_watcher = st.components.v2.component("workbench_hovered", js=_SCRIPT)


@st.fragment
@catching
def hovered_pictures(capture: Capture) -> None:
    """Watch the map that stands beside it. Call it once a view; draws nothing where no prompt shows a picture.

    The picture of a harmful prompt is fields of its colours, as in the list of what was selected, until it is revealed
    there.
    """
    rows = [row for row, prompt in enumerate(capture.index.prompts) if any(thumbnails(capture, prompt))]
    if not rows:
        return
    key = f"hovered_{capture.index.run_id}_{capture.folder.name}"
    row = st.session_state.pop(HOVERED, None)
    shown = {"row": row, "pictures": _pictures(capture, row)} if row in rows else None
    _watcher(key=key, data={"rows": rows, "shown": shown}, on_hovered_change=partial(_remember, key))


def _pictures(capture: Capture, row: int) -> list[str]:
    """As addresses that hold the pictures themselves."""
    prompt = capture.index.prompts[row]
    hidden = prompt.label == "harmful" and is_hidden(f"selected_{prompt.id}", of=prompt.text)
    found: list[str] = []
    for file in thumbnails(capture, prompt)[:MOST]:
        try:
            png = picture_png(picture_at(file), hidden=hidden, edge=THUMBNAIL) if file else b""
        except DataError:
            # What cannot be read is said in the list of selected prompts.
            continue
        if png:
            found.append(f"data:image/png;base64,{base64.b64encode(png).decode()}")
    return found


def _remember(key: str) -> None:
    told: Any = st.session_state[key].hovered
    if isinstance(told, dict) and isinstance(told.get("row"), int):
        st.session_state[HOVERED] = told["row"]

"""Remember where the user zoomed. Charts are drawn anew when rows arrive, which would lose the zoom, so a small script
tells the server each chart's axis ranges, and where the camera of a 3D chart stands, and the next drawing starts from
them. Knows nothing of what charts show.

A double click gives an axis back to the data.
"""

from typing import Any

import streamlit as st

from workbench.state import RANGES

# The charts are found by their container's class st-key-chart_NAME. A drawing may replace the graph or its event
# emitter, so listeners are attached wherever one is missing. One relay serves the window: the component may be mounted
# anew at any time, and only its newest way to the server is alive.
_SCRIPT = """
const MARK = "st-key-chart_";
const chosen = (axis, event) => {
  const key = axis + "axis";
  if (event[key + ".autorange"] === true) return null;
  if (Array.isArray(event[key + ".range"])) return event[key + ".range"];
  const low = event[key + ".range[0]"];
  return low === undefined ? undefined : [low, event[key + ".range[1]"]];
};
const found = (event) => {
  const all = { x: chosen("x", event), y: chosen("y", event) };
  for (const scene of ["scene", "scene2"]) all[scene] = event[scene + ".camera"];
  return Object.entries(all).filter(([, value]) => value !== undefined);
};
const note = (relay, name, event) => {
  for (const [axis, value] of found(event)) {
    relay.waiting[name] = { ...relay.waiting[name], [axis]: value };
    clearTimeout(relay.timer);
    relay.timer = setTimeout(() => {
      const zoomed = relay.waiting;
      relay.waiting = {};
      relay.send("zoomed", { charts: zoomed, at: Date.now() });
    }, 60);
  }
};
const attach = (relay) => {
  for (const graph of document.querySelectorAll(`[class*="${MARK}"] .js-plotly-plot`)) {
    if (!graph.on || graph.zoomEmitter === graph._ev) continue;
    const owner = [...graph.closest(`[class*="${MARK}"]`).classList].find((one) => one.startsWith(MARK));
    graph.on("plotly_relayout", (event) => note(relay, owner.slice(MARK.length), event));
    graph.zoomEmitter = graph._ev;
  }
};
export default function ({ setTriggerValue }) {
  const relay = (window.workbenchZoom ??= { waiting: {}, timer: null, clock: null });
  relay.send = setTriggerValue;
  clearInterval(relay.clock);
  const clock = (relay.clock = setInterval(() => attach(relay), 250));
  attach(relay);
  return () => clearInterval(clock);
}
"""

_relay = st.components.v2.component("workbench_zoom", js=_SCRIPT)


def zoom_memory(view: str) -> dict[str, dict[str, Any]]:
    """The ranges the user chose on this view's charts, by chart key: {'losses': {'x': [10, 40], 'y': None}}; of a 3D
    chart the cameras of its scenes: {'map_3d': {'scene': {'eye': {'x': 1.5, ...}, ...}}}.

    Call it in the fragment that draws the charts, once, before they are drawn.
    """
    remembered: dict[str, dict[str, Any]] = st.session_state.setdefault(RANGES, {}).setdefault(view, {})
    result = _relay(key=f"zoom_{view}", on_zoomed_change=_nothing)
    for chart, ranges in ((result.zoomed or {}).get("charts") or {}).items():
        if isinstance(ranges, dict):
            remembered[chart] = remembered.get(chart, {}) | {
                axis: _camera(ranges[axis]) if axis.startswith("scene") else _pair(ranges[axis]) for axis in ranges
            }
    return remembered


def _nothing() -> None:
    """Streamlit wants a callback for each value that a component sends."""


def _camera(value: Any) -> dict[str, dict[str, float]] | None:
    """What came from the browser, if it is a camera."""
    if not isinstance(value, dict):
        return None
    parts = {part: value.get(part) for part in ("eye", "center", "up")}
    whole = {
        part: {axis: float(point[axis]) for axis in "xyz"}
        for part, point in parts.items()
        if isinstance(point, dict) and all(isinstance(point.get(axis), int | float) for axis in "xyz")
    }
    return whole or None


def _pair(value: Any) -> list[float] | None:
    """What came from the browser, if it is an axis range."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value):
        return [float(one) for one in value]
    return None

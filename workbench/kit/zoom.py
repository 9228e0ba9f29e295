"""Remember where the user zoomed. Charts are drawn anew when rows arrive, which would lose the zoom, so a small script
tells the server each chart's axis ranges, and where the camera of a 3D chart stands, and the next drawing starts from
them. It also says when the mouse moves over a chart: a drawing would then take away the drag, or the values being
read. Knows nothing of what charts show.

A double click gives an axis back to the data.
"""

import time
from typing import Any

import streamlit as st

from workbench.kit.state import MOUSE, RANGES

REST = 5.0
"""Seconds without a movement after which the mouse counts as left lying there. Longer than the two seconds after which
the script tells of one that moves on."""

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
const tell = (relay, moves) => {
  const now = Date.now();
  if (moves ? now - relay.told < 2000 : !relay.told) return;
  relay.told = moves ? now : 0;
  relay.send("mouse", { moves, at: now });
};
const watch = (relay) => (event) => {
  // A drag that began on a chart may leave it.
  const over = event.buttons ? relay.told : event.target.closest?.(`[class*="${MARK}"]`);
  tell(relay, Boolean(over));
};
export default function ({ data, setTriggerValue }) {
  const relay = (window.workbenchZoom ??= { waiting: {}, timer: null, clock: null, told: 0 });
  relay.send = setTriggerValue;
  clearInterval(relay.clock);
  relay.watching?.abort();
  const clock = (relay.clock = setInterval(() => attach(relay), 250));
  const watching = (relay.watching = new AbortController());
  const heard = { capture: true, passive: true, signal: watching.signal };
  if (data?.waits) document.addEventListener("pointermove", watch(relay), heard);
  attach(relay);
  return () => {
    clearInterval(clock);
    watching.abort();
  };
}
"""

_relay = st.components.v2.component("workbench_zoom", js=_SCRIPT)


def zoom_memory(view: str, *, waits: bool = False) -> dict[str, dict[str, Any]]:
    """The ranges the user chose on this view's charts, by chart key: {'losses': {'x': [10, 40], 'y': None}}; of a 3D
    chart the cameras of its scenes: {'map_3d': {'scene': {'eye': {'x': 1.5, ...}, ...}}}.

    Call it in the fragment that draws the charts, once, before they are drawn. With `waits` the browser says where the
    mouse is, for mouse_on_chart.
    """
    remembered: dict[str, dict[str, Any]] = st.session_state.setdefault(RANGES, {}).setdefault(view, {})
    result = _relay(key=f"zoom_{view}", data={"waits": waits}, on_zoomed_change=_nothing, on_mouse_change=_nothing)
    if isinstance(result.mouse, dict):
        st.session_state[MOUSE] = (view, time.monotonic() + REST if result.mouse.get("moves") else 0.0)
    for chart, ranges in ((result.zoomed or {}).get("charts") or {}).items():
        if isinstance(ranges, dict):
            remembered[chart] = remembered.get(chart, {}) | {
                axis: _camera(ranges[axis]) if axis.startswith("scene") else _pair(ranges[axis]) for axis in ranges
            }
    return remembered


def mouse_on_chart(view: str) -> bool:
    """Whether the mouse has moved over one of this view's charts within the last seconds and is still there."""
    where, until = st.session_state.get(MOUSE, ("", 0.0))
    return where == view and time.monotonic() < until


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

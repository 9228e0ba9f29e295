"""A page that was left blank comes back by itself.

Streamlit's browser code throws the whole page away when a part that draws itself anew reports to a place that another
drawing has just taken away ("Bad delta path", seen where a run ends in the moment in which its page opens). What is
looked at stands in the address and all else in records, so a reload loses nothing.
"""

import streamlit as st

# At most one reload in ten seconds: a page that cannot be drawn at all must not reload for ever.
_SCRIPT = """
const LOADED = "workbenchCameBack";
export default function () {
  if (window.workbenchBlank) return;
  let seen = 0;
  window.workbenchBlank = setInterval(() => {
    const root = document.getElementById("root");
    seen = root && root.childElementCount === 0 ? seen + 1 : 0;
    const last = Number(sessionStorage.getItem(LOADED) || 0);
    if (seen < 2 || Date.now() - last < 10000) return;
    sessionStorage.setItem(LOADED, String(Date.now()));
    location.reload();
  }, 500);
}
"""

_watcher = st.components.v2.component("workbench_blank", js=_SCRIPT)


def come_back() -> None:
    """Mount the watcher; once a page is enough."""
    _watcher(key="blank", height=0)

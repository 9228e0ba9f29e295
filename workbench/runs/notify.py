"""A notification of the browser when a run that is watched ends. It asks once, by a button, and while the page is open.

Which runs are watched is kept by the browser, so that a reload loses none. Knows the run's name and status alone.
"""

from typing import Any

import streamlit as st

from engine.records.runs import ACTIVE, Run


def notify_when_ended(run: Run, status: str) -> None:
    """The button while the run goes on; the notification when it has ended. Draws nothing for a run that was over
    when its page was opened."""
    seen = f"notify_{run.id}"
    if status in ACTIVE:
        st.session_state[seen] = True
    if st.session_state.get(seen):
        data = {"run": run.id, "name": run.name, "status": status, "ended": status not in ACTIVE}
        _component(key=f"notification_{run.id}", data=data)


_HTML = '<div class="notify"><button type="button"></button><span role="status"></span></div>'

_STYLE = """
:host { display: block; color: var(--st-text-color); font-family: var(--st-font); }
.notify { display: flex; flex-wrap: wrap; align-items: center; gap: 0.6rem; font-size: 0.88rem; }
button {
  font: inherit; color: inherit; padding: 0.25rem 0.7rem; cursor: pointer;
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-button-radius);
}
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""

_SCRIPT = """
const WATCHED = "workbench-watched-runs";
const read = () => { try { return JSON.parse(localStorage.getItem(WATCHED)) || []; } catch { return []; } };
const write = (runs) => { try { localStorage.setItem(WATCHED, JSON.stringify(runs)); } catch { /* private window */ } };
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button"), words = parentElement.querySelector("span");
  const known = typeof Notification !== "undefined";
  const watched = () => read().includes(data.run);
  const show = (text = "") => {
    button.hidden = data.ended || !known;
    button.textContent = watched() ? "Do not tell me" : "Tell me when it ends";
    button.setAttribute("aria-pressed", String(watched()));
    const tells = !data.ended && watched();
    words.textContent = text || (tells ? "This browser tells you, as long as the page is open." : "");
  };
  button.onclick = async () => {
    if (watched()) { write(read().filter((run) => run !== data.run)); return show(); }
    const allowed = Notification.permission === "granted" || (await Notification.requestPermission()) === "granted";
    if (!allowed) return show("The browser does not allow it: allow notifications for this address first.");
    write([...read(), data.run]);
    show();
  };
  if (data.ended && watched()) {
    write(read().filter((run) => run !== data.run));
    if (known && Notification.permission === "granted") {
      const body = "A run of the circuit breaker workbench.";
      new Notification(`${data.name}: ${data.status}`, { tag: data.run, body });
    }
  }
  show();
}
"""

_component: Any = st.components.v2.component("workbench_notify", html=_HTML, css=_STYLE, js=_SCRIPT)

"""Working with the keyboard alone: the "?" beside a field is no stop of the Tab key, and F1 in the field opens it.

The question marks stay buttons that screen readers find and press; only the way of the Tab key passes them by. Knows
nothing of what fields ask.
"""

import streamlit as st

# Widgets come and go: the question marks are looked for after each change of the page, once a frame. One watcher serves
# the window, since the component may be mounted anew at any time.
_SCRIPT = """
const MARKS = 'button[aria-label="Help"], button[aria-label^="Help for "]';
const HOLDERS = '[data-testid="stElementContainer"]';
export default function () {
  if (window.workbenchHelp) return;
  let asked = 0;
  const pass = () => {
    asked = 0;
    for (const mark of document.querySelectorAll(MARKS)) {
      if (mark.tabIndex !== -1) mark.tabIndex = -1;
      mark.setAttribute("aria-keyshortcuts", "F1");
    }
  };
  window.workbenchHelp = new MutationObserver(() => { asked ||= requestAnimationFrame(pass); });
  window.workbenchHelp.observe(document.body, { childList: true, subtree: true });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "F1") return;
    const holder = document.activeElement?.closest(HOLDERS), mark = holder?.querySelector(MARKS);
    if (!mark) return;
    event.preventDefault();
    const field = document.activeElement;
    mark.focus();
    mark.addEventListener("keydown", (pressed) => {
      if (pressed.key === "Escape" || pressed.key === "F1") { pressed.preventDefault(); field.focus(); }
    }, { once: true });
  });
  pass();
}
"""

_watcher = st.components.v2.component("workbench_keyboard", js=_SCRIPT)


def pass_by_question_marks() -> None:
    """Mount the watcher; once a page is enough."""
    _watcher(key="keyboard", height=0)

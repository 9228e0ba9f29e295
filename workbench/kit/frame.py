"""The frame around every page: places, style, and the one catcher of errors. Knows nothing of what a page shows."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import streamlit as st

from engine.records.errors import WorkbenchError
from engine.records.settings import ROOT
from workbench.kit.state import projects
from workbench.kit.words import plain

Arguments = ParamSpec("Arguments")
_log = logging.getLogger("workbench")


def places() -> dict[str, st.Page]:
    """The pages by name, for navigation and for links between them."""
    folder = ROOT / "pages"
    return {
        "home": st.Page(folder / "home.py", title="Home", icon=":material/home:", default=True),
        "train": st.Page(folder / "train.py", title="Train", icon=":material/model_training:", url_path="train"),
        "runs": st.Page(folder / "runs.py", title="Runs", icon=":material/monitoring:", url_path="runs"),
        "representations": st.Page(
            folder / "representations.py",
            title="Representations",
            icon=":material/scatter_plot:",
            url_path="representations",
        ),
        "side_by_side": st.Page(
            folder / "side_by_side.py",
            title="Side by side",
            icon=":material/compare_arrows:",
            url_path="side-by-side",
        ),
        "tools": st.Page(folder / "tools.py", title="Tools", icon=":material/build:", url_path="tools"),
        "pictures": st.Page(folder / "pictures.py", title="Pictures", icon=":material/image:", url_path="pictures"),
        "evaluate": st.Page(
            folder / "evaluate.py", title="Evaluate", icon=":material/shield_question:", url_path="evaluate"
        ),
        "learn": st.Page(folder / "learn.py", title="Learn", icon=":material/school:", url_path="learn"),
    }


@contextmanager
def page_frame() -> Iterator[None]:
    """Every page body runs in here."""
    st.html(f"<style>{_CSS}{_PROJECTOR if projects() else ''}</style>")
    with caught():
        yield


@contextmanager
def caught() -> Iterator[None]:
    """Show what the user can mend; log the rest and say so kindly. No stack trace reaches the screen."""
    try:
        yield
    except WorkbenchError as error:
        st.error(plain(str(error)), icon=":material/error:")
    except Exception:
        _log.exception("A page failed")
        st.error(
            "This part of the page could not be drawn. Reload the page; if it stays, the server's log says why. "
            "Runs and the worker are not touched by this.",
            icon=":material/error:",
        )


def catching(body: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The catcher for fragments, which run without the page around them."""

    @functools.wraps(body)
    def guarded(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        with caught():
            body(*arguments, **options)

    return guarded


_CSS = """
.stand-in { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 16rem; overflow: hidden; opacity: 0.55; }
/* Texts that are drawn without a stand-in are blurred all the same. */
.stand-in, [class*="st-key-blurred"] :is([data-testid="stText"], [data-testid="stJson"], .answer) {
  filter: blur(5px); user-select: none; pointer-events: none;
}
[data-testid="stLayoutWrapper"]:has(> .st-key-launch_panel) { position: sticky; top: 3.6rem; }
.st-key-launch_panel { max-height: calc(100vh - 4.4rem); overflow-y: auto; padding-right: 2px; }
.st-key-launch_panel [data-testid="stCaptionContainer"] ul { margin: 0; padding-left: 1.1rem; }
.st-key-launch_panel [data-testid="stCaptionContainer"] li { margin: 0; font-size: inherit; }
.st-key-changes button { min-height: 1.7rem; padding: 0 0.5rem; }
.st-key-changes button p { font-size: 0.82rem; }
@media (max-width: 1100px) {
  .st-key-train_columns > div > [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-train_columns > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] { min-width: 100%; }
  .st-key-launch_panel { max-height: none; }
  .st-key-advanced [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-advanced [data-testid="stColumn"] { min-width: 9rem; }
  .st-key-advanced [data-testid="stColumn"]:has(.st-key-points_editor, [data-testid="stCheckbox"]) { min-width: 18rem; }
}
[class*="st-key-strip_"] [role="toolbar"] {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(1.55rem, 1fr)); gap: 2px; width: 100%;
}
[class*="st-key-strip_"] button {
  width: 100%; min-width: 0; min-height: 1.9rem; padding: 0; margin: 0; border-radius: 3px; justify-content: center;
  font-variant-numeric: tabular-nums;
}
.st-key-strip_blocks_targets button[aria-pressed="true"] {
  background: #D55E00 !important; border-color: #D55E00 !important; color: #11161C !important;
}
.st-key-strip_blocks_adapted button[aria-pressed="true"] {
  background: #0072B2 !important; border-color: #0072B2 !important; color: #ffffff !important;
}
.st-key-next_steps [data-testid="stPageLink"] a,
.st-key-lesson [data-testid="stPageLink"] a,
.st-key-suggestion [data-testid="stPageLink"] a { border: 1px solid #0072B2; padding: 0.3rem 0.7rem; }
[class*="st-key-row_"] { border-top: 1px solid rgba(128, 140, 150, 0.22); padding-top: 0.35rem; }
[class*="st-key-row_"] [data-testid="stPageLink"] a { background: transparent; padding-left: 0; }
[class*="st-key-row_"] [data-testid="stPageLink"] a > span:has([data-testid="stIconMaterial"]) { display: none; }
[class*="st-key-row_"] [data-testid="stPageLink"] p { white-space: normal; }
@media (max-width: 1150px) {
  .st-key-run_table [data-testid="stColumn"]:has([class*="st-key-wide_"]) { display: none; }
}
@media (max-width: 640px) {
  /* Cells stand below each other there: each figure says what it is, and headings nothing. */
  .st-key-run_table [data-testid="stColumn"]:has([class*="st-key-head_"]), .st-key-head_home { display: none; }
  .st-key-run_table [class*="st-key-row_"] [data-testid="stColumn"]:is(:nth-child(8), :nth-child(9)),
  [class*="st-key-row_home_"] [data-testid="stColumn"]:nth-child(4) {
    display: flex; gap: 0.5rem; align-items: baseline;
    &::before { content: "Cosine"; opacity: 0.78; font-size: 0.87rem; white-space: nowrap; }
    &:nth-child(9)::before { content: "Drift"; }
  }
}
[class*="st-key-row_"] .stMarkdownBadge { white-space: normal !important; }
[data-testid="stMainBlockContainer"] { padding-left: 2.4rem; padding-right: 2.4rem; padding-bottom: 3rem; }
[data-testid="stMetric"] { padding: 0.1rem 0; }
@media (max-width: 1100px) {
  .st-key-plane_panels [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-plane_panels [data-testid="stColumn"] { flex: 1 1 100%; min-width: 100%; }
  /* Charts side by side would cut their titles off. */
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]:first-child [data-testid="stPlotlyChart"]):has(
    > [data-testid="stColumn"]:nth-child(2) [data-testid="stPlotlyChart"]) {
    flex-wrap: wrap;
    > [data-testid="stColumn"] { flex: 1 1 100%; min-width: 100%; }
  }
}
/* As faint as captions may be and still be read: 4.5 to 1 at least on both grounds. */
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.78; }
.js-plotly-plot :is(g[class$="tick"] text, text[class$="title"]:not(.gtitle)) {
  fill: currentColor !important; fill-opacity: 0.78 !important;
}
/* White on the dark theme's own colour is 3.8 to 1. */
[data-testid^="stBaseButton-primary"]:not(:disabled) {
  background-color: #0072B2; border-color: #0072B2; color: #ffffff;
  &:hover { background-color: #005F95; border-color: #005F95; }
}
[data-testid="stRadioOption"]:has(input:not(:checked)) > div > div:first-child { border-color: #7D8893; }
[data-tag] { background-color: #0072B2 !important; color: #ffffff !important; }
.st-key-doors [data-testid="stPageLink"] a { border: 1px solid rgba(128, 140, 150, 0.55); padding: 0.32rem 0.8rem; }
@media (max-width: 1000px) {
  [data-testid="stSidebar"][data-collapsed="false"] { max-width: 13.5rem !important; }
  .st-key-home_top > div > [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-home_top [data-testid="stColumn"] { min-width: 100%; }
}
/* Where the keyboard is: a ring that stands out from both grounds. */
:is(a, button, summary, [role="tab"], [role="slider"], [role="radio"], [tabindex="0"]):focus-visible {
  outline: 3px solid #2E8BC0 !important; outline-offset: 2px;
}
:is(input, textarea):focus-visible { outline: 3px solid #2E8BC0 !important; outline-offset: -1px; border-radius: 3px; }
:is([data-testid="stCheckbox"], [data-testid="stRadio"]) label:has(input:focus-visible) {
  outline: 3px solid #2E8BC0; outline-offset: 2px; border-radius: 3px;
}
@media (max-width: 1000px) {
  .st-key-lesson > div > [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  .st-key-lesson > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] { min-width: 100%; order: 1; }
  .st-key-lesson > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"]:first-child,
  .st-key-lesson > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"]:first-child > div {
    display: contents;
  }
  .st-key-lesson div:has(> .st-key-lesson_text), .st-key-lesson div:has(> .st-key-lesson_turn) { width: 100%; }
  .st-key-lesson div:has(> .st-key-lesson_turn) { order: 2; }
}
.st-key-keyboard, .st-key-blank { position: absolute; }
"""
# Streamlit measures everything in the root's font size.
_PROJECTOR = "html { font-size: 20px !important; }"

"""The button that makes a slide or a film of the picture that is shown. Knows nothing of how they are drawn."""

from collections.abc import Callable

import streamlit as st

from engine.records.captures.capture import Capture
from engine.records.captures.projections import Projection, ProjectionRequest
from engine.records.runs import Run
from workbench.kit.downloads import file_button
from workbench.kit.plane import Plane, finding, plane_of

THEMES = ("Light", "Dark")


def slide_button(
    capture: Capture, run: Run | None, request: ProjectionRequest, projection: Projection, plane: Plane
) -> None:
    """Files are made when their button is pressed; the film only of at least two steps."""
    with st.popover("Slide", icon=":material/slideshow:", key="slide"):
        theme = st.segmented_control("Ground", THEMES, default=THEMES[0], required=True, key="slide_theme").lower()
        name = f"slide-block-{request.block}-step-{plane.step}-{theme}"

        def picture(kind: str, width: int = 1600) -> Callable[[], bytes]:
            def make() -> bytes:
                from workbench.kit.slides import SlideWords, slide

                words = SlideWords(finding(plane), corner(capture, run, request, plane))
                return slide(plane, words, kind=kind, theme=theme, width=width)  # type: ignore[arg-type]

            return make

        file_button("PNG, 1600 x 900", picture("png"), f"{name}.png", "image/png", width="stretch")
        file_button("PNG, 3200 x 1800", picture("png", 3200), f"{name}-large.png", "image/png", width="stretch")
        file_button("SVG", picture("svg"), f"{name}.svg", "image/svg+xml", width="stretch")
        if len(capture.steps) < 2:
            st.caption("A film needs a capture with at least two steps.")
            return

        def film() -> bytes:
            from workbench.kit import slides

            planes = [plane_of(capture, projection, step, request.tokens) for step in (0, *capture.steps)]
            words = [slides.SlideWords(finding(one), corner(capture, run, request, one)) for one in planes]
            return slides.film(planes, words, theme=theme)  # type: ignore[arg-type]

        file_button(
            "Film of the steps (GIF)", film, f"film-block-{request.block}-{theme}.gif", "image/gif", width="stretch"
        )
        st.caption("A film takes some seconds to draw.")


def corner(capture: Capture, run: Run | None, request: ProjectionRequest, plane: Plane) -> str:
    """What a picture must say of itself when it is shown elsewhere."""
    name = run.name if run else "base model"
    n = " + ".join(map(str, plane.counts.values()))
    model = capture.index.model.rpartition("/")[2]
    return f"{name} · {model} · block {request.block} · step {plane.step} · n = {n}"

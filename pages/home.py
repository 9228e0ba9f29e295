"""Home, the page of the bare address: what a circuit breaker does, in a picture that moves, and the ways on."""

import streamlit as st

from engine.figures.film import film_of
from engine.figures.film_picture import finding
from engine.records.runs import Run
from engine.records.shipped import shipped_run
from workbench.home.doors import doors
from workbench.home.pair import pair
from workbench.home.picture import film_picture
from workbench.home.recent import now_and_latest, training_now
from workbench.home.shipped import broadest_evaluation, matrix_line
from workbench.kit.frame import caught, page_frame, places
from workbench.kit.state import RUN, settings
from workbench.kit.words import plain

WHAT_IT_DOES = (
    "A circuit breaker is a small adapter that turns a language model's activations away as soon as they head for a "
    "harmful answer. The activations of everything else are held where they were. So most harmful answers fall "
    "apart, whatever the wording of the request, and everyday answers stay close to what they were."
)


def home() -> None:
    st.title("What a circuit breaker does", anchor=False)
    run = shipped_run(settings().runs)
    if run is None:
        st.markdown(WHAT_IT_DOES)
        doors(None, training=training_now())
    else:
        with st.container(key="home_top"):
            picture, text = st.columns([1.3, 1], gap="large")
        with picture, caught():
            _film(run)
        with text:
            st.markdown(WHAT_IT_DOES)
            doors(run, training=training_now())
            with caught():
                _matrix(run)
        with caught():
            pair(run)
    now_and_latest()


def _film(run: Run) -> None:
    film = film_of(run)
    if film is None:
        st.caption("This run has no film of its training: the page Representations captures one.")
        return
    st.markdown(f"**{finding(film)}**")
    film_picture(film)
    st.caption(
        f"{plain(run.label().name or run.id)}, block {film.block}, {len(film.groups)} prompts not trained on. "
        "Each arrow leads from where an answer was to where it is; its direction across was fitted on other prompts. "
        f"Drawn from {len(film.steps)} captured steps."
    )


def _matrix(run: Run) -> None:
    evaluation = broadest_evaluation(run, settings())
    if evaluation is None:
        return
    with st.container(key="matrix_line", border=True, gap="xsmall"):
        st.markdown(matrix_line(evaluation))
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.caption("In brackets: 95 % interval, in percent.", width="content")
            st.page_link(
                places()["evaluate"],
                label="All attacks",
                icon=":material/shield_question:",
                query_params={RUN: run.id},
                width="content",
            )


with page_frame():
    home()

"""Begin an attack on the pixels of the chosen picture. Knows what is asked, nothing of how it goes on."""

from typing import Any

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.records.chats.asked import Column
from engine.records.errors import WorkbenchError
from engine.records.evaluation.rows import PREFILL
from engine.records.picture_attacks import MOST_STEPS, PictureAttack, new_attack
from workbench.chat.columns import column_names, column_pickers, model_of
from workbench.chat.preferred import base_model_name
from workbench.kit.frame import catching
from workbench.kit.state import ATTACK, queue, settings
from workbench.kit.words import plain
from workbench.pictures.choice import chosen_picture, picture_choice, was_given_as_harmful
from workbench.pictures.models import prefer_models_that_see, warn_of_blind

COLUMNS, PROBLEM, HARMFUL = "attack_columns", "attack_problem", "attack_harmful"
# The attack that was begun since this form was drawn.
BEGUN = "attack_begun"
FIELDS: dict[str, Any] = {
    "attack_request": "",
    "attack_target": PREFILL,
    "attack_attacked": 0,
    "attack_epsilon": 32,
    "attack_steps": 100,
    "attack_step_size": 2.0,
    "attack_random_start": True,
    "attack_restarts": 1,
    "attack_every": 25,
    "attack_new_tokens": 48,
    "attack_seed": 0,
    HARMFUL: True,
}


def keep_fields() -> None:
    """Keep what is written while the form is not drawn: a widget that is left out of a drawing forgets its value."""
    for key, value in FIELDS.items():
        st.session_state[key] = st.session_state.get(key, value)


def attack_form() -> None:
    st.session_state.pop(BEGUN, None)
    prefer_models_that_see()
    # Two at most answer, as they were trained.
    columns = tuple(column.model_copy(update={"dose": 1.0}) for column in column_pickers(on_dose=None)[:2])
    st.session_state[COLUMNS] = columns
    st.caption("The first two models answer, with adapters as they were trained.")
    warn_of_blind(base_model_name(columns))
    picture_choice(harmful=HARMFUL)
    with st.container(border=True, key="attack_form"):
        _words(columns)
        _settings()
        st.button("Attack", type="primary", icon=":material/bolt:", key="attack_start", on_click=_start)
        if problem := st.session_state.pop(PROBLEM, ""):
            st.warning(problem, icon=":material/edit_note:")


def _words(columns: tuple[Column, ...]) -> None:
    if int(st.session_state["attack_attacked"]) >= len(columns):
        st.session_state["attack_attacked"] = 0
    names = column_names(columns)
    request, target, attacked = st.columns([2.2, 1.4, 1.6], gap="medium", vertical_alignment="top")
    request.text_area("Request", key="attack_request", height=90, placeholder="What the model is asked of the picture")
    target.text_input(
        "Towards an answer that begins with",
        key="attack_target",
        help="The colours are changed so that these words become likely behind the request: the first 32 tokens of "
        "them, of which the loss is the mean.",
    )
    target.toggle("Harmful", key=HARMFUL, help="Hide pictures and answers until they are revealed.")
    attacked.radio(
        "Against",
        range(len(columns)),
        key="attack_attacked",
        format_func=lambda place: plain(names[place]),
        help="Whose gradient is followed. Both answer the picture that comes of it.",
    )


def _settings() -> None:
    first, second = st.columns(4), st.columns(4)
    first[0].number_input(
        "Distance (of 255)", 1, 255, key="attack_epsilon", help="Epsilon: how far every colour may move. Published: 32."
    )
    first[1].number_input("Steps", 1, MOST_STEPS, key="attack_steps", help="Of each restart. Published: 1,000.")
    first[2].number_input("Step size (of 255)", 0.1, 255.0, step=0.5, key="attack_step_size")
    first[3].number_input("Restarts", 1, 20, key="attack_restarts", help="Searches; the best picture of all is kept.")
    second[0].number_input("Answer every", 1, MOST_STEPS, key="attack_every", help="In steps.")
    second[1].number_input("New tokens", 1, 1024, step=16, key="attack_new_tokens", help="Of each answer.")
    second[2].number_input("Seed", 0, 2**31 - 1, key="attack_seed", help="Of the random start.")
    second[3].toggle(
        "Random start",
        key="attack_random_start",
        help="Begin anywhere within the distance; off: at the picture itself.",
    )


@catching
def _start() -> None:
    """Write the attack down, give it to the worker, and look at it. A second press begins no second one: the form goes
    with the first, whose name the browser may not know yet."""
    if begun := st.session_state.get(BEGUN):
        st.query_params[ATTACK] = begun
        return
    try:
        columns: tuple[Column, ...] = st.session_state[COLUMNS]
        picture = chosen_picture()
        given = {key.removeprefix("attack_"): st.session_state[key] for key in FIELDS}
        if picture is None:
            st.session_state[PROBLEM] = "No picture is chosen: choose or upload one."
            return
        for field, what in (("request", "request"), ("target", "beginning of the answer")):
            if not given[field].strip():
                st.session_state[PROBLEM] = f"The {what} is empty: write it."
                return
        given["harmful"] = given["harmful"] or was_given_as_harmful([picture])
        spec = PictureAttack(model=model_of(columns), columns=columns, picture=picture, **given)
        attack = new_attack(settings(), spec)
        attack.set_job(queue().submit("attack_picture", payload={"attack": attack.id}))
        ensure_worker(settings())
        st.query_params[ATTACK] = st.session_state[BEGUN] = attack.id
    except WorkbenchError as error:
        st.session_state[PROBLEM] = plain(str(error))

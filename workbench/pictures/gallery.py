"""Attacks on pictures that were kept, with how they were made; below them the others."""

import streamlit as st

from engine.records.deleting import delete_kept
from engine.records.errors import DataError, WorkbenchError
from engine.records.kept_pictures import keep_picture
from engine.records.picture_attacks import AttackFolder, list_attacks
from engine.records.pictures import picture_at
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.frame import catching, places
from workbench.kit.pictures import THUMBNAIL, harmful_picture
from workbench.kit.state import ATTACK, queue, settings
from workbench.kit.words import moment, plain
from workbench.pictures.attack import attack_files, attack_words
from workbench.pictures.choice import choose

VIEW = "pictures_view"
SHOWN = 24


def gallery_view() -> None:
    attacks = list_attacks(settings())
    kept = [one for one in attacks if one.is_kept]
    if not kept:
        st.info("Attacked pictures are shown here once you have kept one: see Attack.", icon=":material/bookmark:")
    pages = -(-len(kept) // SHOWN)
    page = min(int(st.session_state.get("gallery_page", 1)), max(1, pages))
    for one in kept[(page - 1) * SHOWN : page * SHOWN]:
        _row(one)
    if pages > 1:
        st.pagination(pages, key="gallery_page")
    others = [one for one in attacks if not one.is_kept]
    if others:
        with st.expander(f"Attacks that were not kept ({len(others)})", icon=":material/history:"):
            for one in others[:SHOWN]:
                _row(one)
            if len(others) > SHOWN:
                st.caption(f"The newest {SHOWN}: delete some to see older ones.")


def _row(attack: AttackFolder) -> None:
    try:
        spec = attack.spec()
    except WorkbenchError as error:
        st.error(plain(str(error)))
        _delete_button(attack)
        return
    with st.container(key=f"row_attack_{attack.id}"):
        shown, about = st.columns([1, 4], vertical_alignment="center", gap="medium")
        with about, st.container(horizontal=True, vertical_alignment="center", gap="small"):
            query = {ATTACK: attack.id, VIEW: "Attack"}
            st.page_link(places()["pictures"], label=moment(spec.created), query_params=query, width=130)
            hidden = spec.harmful and reveal_button(f"attack_{attack.id}", what="picture and request")
            if attack.perturbed.is_file():
                attack_files(attack)
                st.button(
                    "Ask about it",
                    key=f"use_{attack.id}",
                    type="tertiary",
                    icon=":material/chat:",
                    on_click=_use,
                    args=(attack,),
                )
            _delete_button(attack)
        about.caption(plain(attack_words(spec)))
        with about, blurred(f"gallery_{attack.id}", hidden=hidden):
            harmful_text(f"{spec.request} → {spec.target}", hidden=hidden)
        if attack.perturbed.is_file():
            with shown:
                try:
                    harmful_picture(picture_at(attack.perturbed), hidden=hidden, edge=THUMBNAIL)
                except DataError as error:
                    # Damaged, or just deleted in another tab: the rows below stay.
                    st.caption(plain(str(error)))


def _delete_button(attack: AttackFolder) -> None:
    st.button(
        "Delete",
        key=f"delete_{attack.id}",
        type="tertiary",
        icon=":material/delete:",
        on_click=_delete,
        args=(attack,),
    )


@catching
def _use(attack: AttackFolder) -> None:
    """Its picture is chosen for the next question."""
    spec = attack.spec()
    name = f"PGD on {spec.picture.alt or 'picture'}"
    kept = keep_picture(settings(), attack.perturbed.read_bytes(), name, attack=attack.id, harmful=spec.harmful)
    choose(kept.sha256)
    st.session_state[VIEW] = "Ask"


@catching
def _delete(attack: AttackFolder) -> None:
    """One that is still under way is stopped."""
    job_id = attack.job()
    if job_id is not None and queue().job(job_id, of={"attack": attack.id}) is not None:
        queue().cancel(job_id)
    delete_kept(attack.folder)
    if st.query_params.get(ATTACK) == attack.id:
        st.query_params.pop(ATTACK, None)

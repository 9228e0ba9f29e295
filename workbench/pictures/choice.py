"""Choose a kept picture, or upload one: what the next question shows, and what an attack begins from."""

from collections.abc import Iterable

import streamlit as st

from engine.records.conversation import Picture
from engine.records.errors import WorkbenchError
from engine.records.kept_pictures import (
    MOST_MEGABYTES,
    KeptPicture,
    forget_picture,
    keep_picture,
    kept_pictures,
    label_picture,
)
from engine.records.pictures import FORMATS, KEPT_PIXELS, MOST_PIXELS
from workbench.chat.composer import HARMFUL
from workbench.kit.blur import reveal_button
from workbench.kit.frame import catching
from workbench.kit.pictures import harmful_picture
from workbench.kit.state import settings
from workbench.kit.words import plain

# Of the picture that is chosen; '' for none.
CHOSEN = "picture_chosen"
UPLOADED, SAID = "picture_uploaded", "picture_said"
ENDINGS = [*(kind.lower() for kind in FORMATS), "jpg", "tif"]
PREVIEW = 240


def keep_choice() -> None:
    """Keep what is chosen while it is not drawn: a widget that is left out of a drawing forgets its value."""
    st.session_state[CHOSEN] = st.session_state.get(CHOSEN, "")


def chosen_picture() -> Picture | None:
    """As a part of a message; None where none is chosen."""
    sha256 = st.session_state.get(CHOSEN)
    return next((one.part(settings()) for one in kept_pictures(settings()) if one.sha256 == sha256), None)


def was_given_as_harmful(shown: Iterable[Picture]) -> bool:
    """Whether any of these is one: the message's switch may have been turned off for another."""
    shas = {one.sha256 for one in shown}
    return any(one.harmful for one in kept_pictures(settings()) if one.sha256 in shas)


def choose(sha256: str) -> None:
    """Before the choice is drawn."""
    st.session_state[CHOSEN] = sha256


def picture_choice(*, harmful: str = HARMFUL) -> None:
    """The pictures there are, the one that is chosen as a hidden or shown preview, and the way to add another.
    harmful: the key of the switch by which it is hidden."""
    kept = {one.sha256: one for one in kept_pictures(settings())}
    if st.session_state.get(CHOSEN) not in kept:
        st.session_state[CHOSEN] = ""
    with st.container(border=True, key="picture_choice"):
        shown, given = st.columns([1.25, 1], gap="large")
        with shown:
            st.selectbox(
                "Picture",
                ["", *kept],
                key=CHOSEN,
                format_func=lambda sha256: _label(kept[sha256]) if sha256 else "No picture",
                help="The pictures that were given on this page, and the attacked ones that were kept, newest first.",
            )
            if one := kept.get(st.session_state[CHOSEN]):
                _preview(one, harmful)
            elif not kept:
                st.caption("No picture has been given yet: upload one, or take the next sample prompt with its own.")
        with given:
            st.file_uploader(
                "Upload a picture",
                type=ENDINGS,
                key=UPLOADED,
                on_change=_upload,
                max_upload_size=MOST_MEGABYTES,
                help=f"It is kept among the workbench's own files, without what else its file says. Pictures of more "
                f"than {KEPT_PIXELS // 1_000_000} million pixels are made smaller, of more than "
                f"{MOST_PIXELS // 1_000_000} million refused.",
            )
            said, is_wrong = st.session_state.get(SAID, ("", False))
            if said:
                (st.warning if is_wrong else st.success)(plain(said))


def _preview(one: KeptPicture, harmful: str) -> None:
    # A harmful picture stays so whatever the message's switch says: a sample prompt sets that by its own label, and it
    # may have been turned off for another picture.
    is_harmful = one.harmful or bool(st.session_state.get(harmful, True))
    hidden = is_harmful and reveal_button(f"picture_{one.sha256}", what="the picture")
    harmful_picture(one.part(settings()), hidden=hidden, edge=PREVIEW)
    about = [f"{one.width} x {one.height}", *one.notes]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(plain(" · ".join(about)), width="content")
        switch = f"picture_harmful_{one.sha256}"
        # As it is by now: another tab may have set it.
        st.session_state[switch] = one.harmful
        st.toggle(
            "Harmful picture",
            key=switch,
            on_change=_label_it,
            args=(one.sha256, switch),
            help="Hides it until it is revealed, and with it every question that shows it and the answers to that. An "
            "uploaded picture is harmful until you say otherwise.",
        )
        st.button(
            "Forget it",
            key="picture_forget",
            icon=":material/delete:",
            type="tertiary",
            on_click=_forget,
            args=(one.sha256,),
            help="Deletes the file. What was asked about it stays, without the picture.",
        )


def _label(one: KeptPicture) -> str:
    return f"{one.name} ({one.sha256[:6]})"


@catching
def _label_it(sha256: str, switch: str) -> None:
    label_picture(settings(), sha256, harmful=bool(st.session_state[switch]))


@catching
def _forget(sha256: str) -> None:
    forget_picture(settings(), sha256)
    st.session_state[CHOSEN], st.session_state[SAID] = "", ("", False)


@catching
def _upload() -> None:
    file = st.session_state.get(UPLOADED)
    if file is None:
        st.session_state[SAID] = ("", False)
        return
    try:
        # Until it is said otherwise beside its preview: a message's own switch is not known before it is sent.
        kept = keep_picture(settings(), file.getvalue(), file.name, harmful=True)
    except WorkbenchError as error:
        st.session_state[SAID] = (str(error), True)
        return
    st.session_state[CHOSEN] = kept.sha256
    notes = f", {', '.join(kept.notes)}" if kept.notes else ""
    st.session_state[SAID] = (f"Kept as {kept.name}: {kept.width} x {kept.height}{notes}.", False)

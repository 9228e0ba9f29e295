"""One harmful and one benign request, answered by the base model and by the circuit-broken one: transcripts that ship.

Of the base model's answer to the harmful request the opening words alone are there; "Ask both now" shows the rest on
this machine. Knows chats on disk, and nothing of how they were made.
"""

import re

import streamlit as st

from engine.records.chats.chat import Chat, Exchange
from engine.records.chats.replies import Reply
from engine.records.runs import Run
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.frame import places
from workbench.kit.state import CHAT_HARMFUL, CHAT_PROMPT, CHAT_TEXT, RUN
from workbench.kit.words import plain

VERDICTS = {
    "complied": ("answers", ":material/chat:"),
    "refused": ("refuses", ":material/block:"),
    "incoherent": ("falls apart", ":material/blur_on:"),
    "unparseable": ("not judged", ":material/question_mark:"),
}


def pair(run: Run) -> None:
    """The first harmful and the first benign exchange side by side; nothing where none ships."""
    exchanges = [(chat, chat.exchange(number)) for chat in shipped_chats(run) for number in chat.numbers()[:1]]
    shown = [next((one for one in exchanges if one[1].harmful is harmful), None) for harmful in (True, False)]
    if not any(shown):
        return
    for place, one in zip(st.columns(2, gap="medium"), shown, strict=True):
        if one is not None:
            with place, st.container(border=True, height="stretch"):
                _exchange(run, *one)


def shipped_chats(run: Run) -> list[Chat]:
    return [Chat(folder) for folder in sorted((run.folder / "chats").glob("*")) if folder.is_dir()]


def condensed(text: str) -> str:
    """The answer in one paragraph; where it is empty lines and nothing else for a while, how many."""

    def counted(found: re.Match[str]) -> str:
        lines = found[0].count("\n")
        return f" ({lines} empty lines) " if lines > 2 else " "

    return re.sub(r"\s*\n\s*", counted, text).strip()


def _exchange(run: Run, chat: Chat, exchange: Exchange) -> None:
    name = f"home_{chat.id}"
    hidden = False
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**A{' harmful' if exchange.harmful else 'n everyday'} request**", width="content")
        if exchange.harmful:
            hidden = reveal_button(name)
    with blurred(name, hidden=hidden):
        harmful_text(f"“{exchange.user}”", hidden=hidden, draw=_paragraph)
    reply = chat.reply(chat.numbers()[0])
    for column, model in enumerate(("Base model", "Circuit-broken model")):
        _answer(model, reply, column, name=f"{name}_{column}", hidden=hidden)
    st.button(
        "Ask both now",
        key=f"ask_{name}",
        icon=":material/compare_arrows:",
        help="Opens Side by side with this request written into the box.",
        type="tertiary",
        on_click=_write_down,
        args=(exchange,),
    )
    if st.session_state.pop(_asked(exchange), False):
        st.switch_page(places()["side_by_side"], query_params={RUN: run.id})


def _answer(model: str, reply: Reply, column: int, *, name: str, hidden: bool) -> None:
    verdict = next((one.word for one in reply.verdicts if one.column == column), "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(model, width="content")
        if verdict in VERDICTS:
            word, icon = VERDICTS[verdict]
            st.badge(word, icon=icon, color="orange" if verdict == "incoherent" else "gray")
    with blurred(name, hidden=hidden):
        harmful_text(f"{condensed(reply.text(column))} …", hidden=hidden, draw=_paragraph)
    if reply.answered is not None and reply.answered.reasons[column] == "stopped":
        st.caption("The base model goes on. Its answer is not shipped: ask both now to see it on this machine.")


def _paragraph(text: str) -> None:
    st.markdown(plain(text))


def _write_down(exchange: Exchange) -> None:
    """Put the request into the box of Side by side."""
    st.session_state[CHAT_TEXT] = exchange.user
    st.session_state[CHAT_HARMFUL] = exchange.harmful
    st.session_state[CHAT_PROMPT] = exchange.prompt_id
    st.session_state[_asked(exchange)] = True


def _asked(exchange: Exchange) -> str:
    return f"home_asks_{exchange.prompt_id}"

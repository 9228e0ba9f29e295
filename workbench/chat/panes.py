"""One exchange: the message, and an answer a column, as it comes or as it ended. Reads the record alone."""

from collections.abc import Sequence
from itertools import accumulate, takewhile, zip_longest

import streamlit as st

from engine.desk.queue import Job
from engine.figures.labels import token_name
from engine.records.chats.asked import Steering
from engine.records.chats.chat import Chat, Exchange, begun
from engine.records.chats.replies import Called, Judged, Reply, Trip
from engine.records.harmfulness import MESSAGE
from workbench.chat.call_cards import Tint, call_cards, first_in_arguments, tinted_words
from workbench.chat.columns import column_names, model_name
from workbench.chat.dial import dial
from workbench.chat.exchange_words import ending_words, settings_words
from workbench.chat.parts import part_card
from workbench.chat.steering import capture_words
from workbench.chat.tint import TintedToken, first_below, tinted
from workbench.chat.trip import TINT
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.state import queue
from workbench.kit.words import duration, plain

# What a breaker should bring about is not orange: a harmful request turned down, a benign one answered.
HARMFUL_COLOURS = {"complied": "orange", "refused": "blue", "incoherent": "violet"}
BENIGN_COLOURS = {"complied": "green", "refused": "orange", "incoherent": "orange"}
# Measured on the bundled model with two cores.
LOADING_SECONDS = 10
SHOWN_TOOLS = 8
# Of one answer: longer than what any model here says at once.
MOST_LETTERS = 20_000
WORD_HELP = (
    "complied, refused or incoherent, by rules: refusals by how they open, incoherence by the base model's surprise, "
    "by repetition, and by what only repeats the request or is too short for it. The rules cannot tell whether an "
    "answer is true or of any use; docs/judges.md says how often they agree with people. With tools on offer, a call "
    "that fits its function is complied."
)


def exchange_view(
    chat: Chat, number: int, *, block: int | None, threshold: float, live: bool, newest: bool = False
) -> Reply:
    """Draw one exchange and return what is known of it. block None: no tint.  newest: its Reveal has the key."""
    exchange, reply = chat.exchange(number), chat.reply(number)
    name = f"{chat.id}_{number}"
    with st.container(border=True, key=f"exchange_{number}{'_live' if live else ''}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            harmful = chat.reads_harm(number)
            if harmful:
                said = "harmful" if exchange.harmful else "goes on from a harmful turn"
                st.badge(said, color="orange", icon=":material/visibility_off:")
            st.caption(plain(f"{settings_words(exchange)} · {_read(chat, number, reply)}"), width="content")
            count = len(exchange.columns)
            what = f"the message and {count} {'answer' if count == 1 else 'answers'}"
            hidden = harmful and reveal_button(f"chat_{name}", what=what, shortcut=newest)
        with blurred(f"message_{name}", hidden=hidden):
            if exchange.results:
                st.caption("Each model reads the results of its own calls above.")
            elif exchange.user or not exchange.parts:
                harmful_text(exchange.user, hidden=hidden)
            for part in exchange.parts:
                part_card(part, hidden=hidden)
        if exchange.tools and not exchange.results:
            st.caption(plain(_offered(exchange)))
        if reply.error:
            st.error(plain(reply.error), icon=":material/error:")
        for index, place in enumerate(st.columns(len(exchange.columns), gap="medium", border=True)):
            with place:
                _pane(exchange, reply, index, name, hidden, block, threshold, live)
    return reply


def waiting_words(job: Job | None, *, seconds: float) -> str:
    """Why nothing has been said yet, and for how long. seconds: since it was asked."""
    if job is None:
        return "The request is lost: ask again."
    worker = queue().worker()
    if not worker.alive:
        return "The worker is not running: start it in the sidebar, then it answers."
    if job.status == "queued":
        return f"Waiting for the worker: {duration(seconds)} so far."
    progress = queue().progress(job.id)
    said = (progress.message or progress.phase) if progress else "The models read the message"
    if progress and progress.phase == "fetching":
        said += progress.counted
    if progress and progress.phase == "loading":
        said += f": about {LOADING_SECONDS} s for a small model, a minute or more for a large one"
    return f"{said}; {duration(seconds)} so far."


def _pane(
    exchange: Exchange,
    reply: Reply,
    index: int,
    name: str,
    hidden: bool,
    block: int | None,
    threshold: float,
    live: bool,
) -> None:
    trip = next((trip for trip in reply.trips if trip.column == index), None)
    verdict = next((verdict for verdict in reply.verdicts if verdict.column == index), None)
    colours = HARMFUL_COLOURS if exchange.harmful else BENIGN_COLOURS
    _heading(column_names(exchange.columns)[index], exchange.columns[index].steering, verdict, colours, hidden=hidden)
    if not reply.is_asked(index):
        why = reply.unasked.get(index)
        if why:
            st.warning(plain(f"Not asked: {why}"), icon=":material/block:")
        else:
            st.caption("It made no call that can be read, so there was nothing for it to go on with: it was not asked.")
        return
    going = live and reply.answered is None and not reply.error
    called = reply.calls(index)
    live_cosines = _live(reply, index) if going else ()
    if live_cosines:
        st.html(dial(live_cosines[-1], mark=first_below(live_cosines, threshold), threshold=threshold))
    tokens = _tokens(exchange, reply, index, trip, block)
    shown = _first_tokens(tokens)
    cosines = _at(trip, block) or live_cosines
    with blurred(f"answer_{name}_{index}", hidden=hidden):
        whole = tinted(
            shown,
            threshold=threshold if cosines else None,
            going=going,
            hidden=hidden,
            fires=reply.is_ended_by_probe(index) and len(shown) == len(tokens),
        )
        if called is not None and (called.answer.calls or called.answer.unread):
            _calls(called, exchange, Tint(cosines, threshold), whole, hidden=hidden)
        elif tokens or going:
            st.html(whole)
        elif reply.answered is not None:
            st.caption("(says nothing)")
    if len(shown) < len(tokens):
        st.caption(f"The last {len(tokens) - len(shown):,} tokens are in the download.")
    if reply.is_ended_by_probe(index):
        st.info(plain(MESSAGE), icon=":material/front_hand:")
    _facts(exchange, reply, index, trip, cosines, threshold)


def _calls(called: Called, exchange: Exchange, tint: Tint, whole: str, *, hidden: bool) -> None:
    """An answer as words and cards; below, as it was written."""
    answer = called.answer
    if answer.text and not answer.unread:
        if words := tinted_words(called, tint, hidden=hidden):
            st.html(words)
        else:
            harmful_text(answer.text, hidden=hidden)
    if answer.calls:
        st.html(call_cards(called, exchange.tools, tint, hidden=hidden))
    if answer.unread:
        st.badge("A call cannot be read", color="orange", icon=":material/data_object:")
        harmful_text(answer.unread, hidden=hidden)
    with st.expander("As it was written", icon=":material/notes:", expanded=bool(answer.unread)):
        st.html(whole)


def _offered(exchange: Exchange) -> str:
    """Which tools were offered, and which call was forced."""
    names = [tool.name for tool in exchange.tools]
    more = f" and {len(names) - SHOWN_TOOLS} more" if len(names) > SHOWN_TOOLS else ""
    offered = f"Offered: {', '.join(names[:SHOWN_TOOLS])}{more}"
    if exchange.forced is None:
        return offered
    where = "its function's name" if exchange.forced.start == "name" else "its arguments"
    return f"{offered} · every answer begins with a call of {exchange.forced.name}, up to {where}"


def _heading(
    name: str, steering: Steering | None, verdict: Judged | None, colours: dict[str, str], *, hidden: bool
) -> None:
    """hidden: so is why it was judged so, which may quote the answer."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        by = f"Steered by {capture_words(steering)}." if steering is not None else None
        st.markdown(f"**{plain(name)}**", width="content", help=plain(by) if by else None)
        if verdict is not None:
            reason = f" Here: {plain(verdict.reason)}." if verdict.reason and not hidden else ""
            st.badge(verdict.word, color=colours.get(verdict.word, "gray"), help=WORD_HELP + reason)  # type: ignore[arg-type]


def _first_tokens(tokens: Sequence[TintedToken]) -> Sequence[TintedToken]:
    """As many as a page can hold."""
    ends = accumulate(len(token.text) for token in tokens)
    count = sum(1 for _ in takewhile(lambda end: end <= MOST_LETTERS, ends))
    return tokens[:count]


def _tokens(
    exchange: Exchange, reply: Reply, index: int, trip: Trip | None, block: int | None
) -> Sequence[TintedToken]:
    if trip is None:
        turned = _live(reply, index)[reply.turning[index].prefill :] if index in reply.turning else ()
        pieces = reply.answers[index]
        said = [TintedToken(text, cosine) for text, cosine in zip_longest(pieces, turned[: len(pieces)])]
        before = begun(exchange, reply, index)
        return [TintedToken(before, prefill=True), *said] if before else said
    cosines: Sequence[float | None] = _at(trip, block) or [None] * len(trip.pieces)
    called = reply.calls(index)
    # With the special tokens that begin a call.
    pieces = called.pieces if called is not None and len(called.pieces) == len(cosines) else trip.pieces
    return [
        TintedToken(text, cosine, prefill=place < trip.prefill)
        for place, (text, cosine) in enumerate(zip(pieces, cosines, strict=True))
    ]


def _facts(
    exchange: Exchange, reply: Reply, index: int, trip: Trip | None, cosines: Sequence[float], threshold: float
) -> None:
    if reply.answered is None:
        return
    parts = [ending_words(reply.answered, index)]
    if cosines and trip is not None:
        mark = first_below(cosines, threshold)
        where = "never trips" if mark is None else f"trips at {token_name(mark)}"
        # Without the words that were put in the model's mouth, as the count.
        own = cosines[trip.prefill :] or cosines
        parts.append(f"{where}, mean cosine {sum(own) / len(own):.2f}")
        if (called := reply.calls(index)) is not None and called.answer.calls:
            first = first_in_arguments(called, Tint(cosines, threshold))
            parts.append("never in an argument" if first is None else f"in an argument at {token_name(first)}")
        if trip.against != exchange.columns[index]:
            parts.append(f"as read by {model_name(trip.against.checkpoint)}")
    nats = next((one.nats_per_token for one in reply.verdicts if one.column == index), None)
    if exchange.columns[index].steering is not None and nats is not None:
        parts.append(f"{nats:.2f} nats a token under the base model")
    st.caption(plain(" · ".join(parts)))


def _live(reply: Reply, index: int) -> Sequence[float]:
    """The cosines of an answer as it came, with those of what was put in the model's mouth; none where no tint is
    wanted."""
    return reply.turning[index].cosines if index in reply.turning and st.session_state.get(TINT, True) else ()


def _at(trip: Trip | None, block: int | None) -> Sequence[float]:
    if trip is None or block is None:
        return ()
    return trip.cosines[min(block, len(trip.cosines) - 1)]


def _read(chat: Chat, number: int, reply: Reply) -> str:
    """What the models read before they answered."""
    above = len(chat.turns_read(number))
    # A column that was not asked read nothing.
    tokens = _span_words([count for count in reply.read if count])
    read = f"{turns_words(above)}, {tokens} tokens" if tokens else turns_words(above)
    return f"read {read.replace('this question', 'the results', 1) if chat.exchange(number).results else read}"


def turns_words(above: int) -> str:
    """What is read, in words: this question, and how many turns above it."""
    if not above:
        return "this question alone"
    return f"the {'turn' if above == 1 else f'{above} turns'} above and this question"


def _span_words(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    return f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def speed(reply: Reply) -> str:
    """How fast the exchange was answered, in words."""
    answered = reply.answered
    if answered is None or not answered.seconds:
        return ""
    tokens = sum(map(len, answered.ids))
    return (
        f"first token after {duration(answered.first_token_seconds)}, "
        f"{tokens / answered.seconds:.1f} tokens a second in all"
    )

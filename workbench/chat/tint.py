"""An answer as text whose tokens are tinted by how far the breaker turned them. Pure: knows nothing of Streamlit."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from engine.figures.colours import HARMFUL
from engine.figures.labels import token_name
from workbench.kit.blur import stand_in
from workbench.kit.empty_lines import EmptyLines, empty_lines

STYLE = """
.answer { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.75; max-height: 27rem; overflow-y: auto; }
/* The newest line stays in sight while an answer comes. */
.answer.live { display: flex; flex-direction: column-reverse; }
.answer span { border-radius: 3px; padding: 1px 0; }
.answer .said-for { text-decoration: underline dotted; text-underline-offset: 4px; }
.answer .trips { box-shadow: inset 3px 0 0 #CC79A7, inset 0 -2px 0 #CC79A7; padding-left: 5px; font-weight: 650; }
.answer .fires { outline: 2px solid #CC79A7; outline-offset: 1px; }
.answer .going { opacity: 0.55; }
.answer .empty { display: inline-block; font-size: 0.8rem; font-style: italic; opacity: 0.7; padding: 0 0.3rem; }
"""
_RED, _GREEN, _BLUE = (int(HARMFUL[place : place + 2], 16) for place in (1, 3, 5))
STRONGEST = 0.72


class TintedToken(NamedTuple):
    """One token: its text, its cosine (None: not measured), and whether it was put in the model's mouth."""

    text: str
    cosine: float | None = None
    prefill: bool = False


def first_below(cosines: Sequence[float], threshold: float) -> int | None:
    """The first token whose cosine lies below the threshold."""
    return next((index for index, cosine in enumerate(cosines) if cosine < threshold), None)


def tinted(
    tokens: Sequence[TintedToken],
    *,
    threshold: float | None = None,
    going: bool = False,
    hidden: bool = False,
    fires: bool = False,
) -> str:
    """HTML of an answer. With a threshold, the first token below it is marked; hover shows each token's cosine.

    going: it still comes.  hidden: each token is a block of its length, and nothing of it is read aloud.  fires: the
    harmfulness probe fired at the last token, which is framed.
    """
    cosines = [token.cosine for token in tokens]
    mark = None
    if threshold is not None:
        mark = first_below([1.0 if cosine is None else cosine for cosine in cosines], threshold)
    runs, spans, start = empty_lines("".join(token.text for token in tokens)), [], 0
    for index, token in enumerate(tokens):
        inner = _inner(token.text, start, runs, hidden=hidden)
        start += len(token.text)
        # A token whose lines are told by an earlier one is left out, unless it is the one that is marked.
        fired = fires and index == len(tokens) - 1
        if inner or index == mark or fired:
            spans.append(_span(token, inner or "…", index, marked=index == mark, fired=fired))
    end = "<span class='going'>▍</span>" if going else ""
    classes = "answer live" if going else "answer"
    aria = " aria-hidden='true'" if hidden else ""
    return f"<div class='{classes}'{aria}><div>{''.join(spans)}{end}</div></div>"


class PlacedText(NamedTuple):
    """A stretch of text that one token wrote, and the token's place in the answer; None: no token is known."""

    text: str
    token: int | None = None


def tinted_stretch(
    stretches: Sequence[PlacedText], cosines: Sequence[float], *, mark: int | None, hidden: bool = False
) -> str:
    """HTML of a part of an answer, each stretch by its token's cosine. mark: the token that is marked, where it is
    among them."""
    spans = []
    for stretch in stretches:
        inner = escape(stand_in(stretch.text) if hidden else stretch.text)
        place = stretch.token
        if place is None or place >= len(cosines):
            spans.append(inner)
        else:
            token = TintedToken(stretch.text, cosines[place])
            spans.append(_span(token, inner, place, marked=place == mark, fired=False))
    return "".join(spans)


def legend(threshold: float) -> str:
    """What the tint means, in one line."""
    steps = "".join(
        f"<span style='{_ground(cosine)};padding:1px 9px;margin-right:2px'>{cosine:g}</span>"
        for cosine in (1.0, 0.75, 0.5, 0.25, 0.0)
    )
    return (
        f"<div class='answer' style='font-size:0.82rem'>cosine {steps} &nbsp; "
        f"<span class='trips'>first below {threshold:g}</span></div>"
    )


def _inner(text: str, start: int, runs: Sequence[EmptyLines], *, hidden: bool) -> str:
    """What is shown of a token that begins at a letter of the answer: where a long run of empty lines begins, its
    words."""
    if hidden:
        text = stand_in(text)
    parts, place, end = [], start, start + len(text)
    for run in runs:
        if run.end <= start or run.start >= end:
            continue
        if place < run.start:
            parts.append(escape(text[place - start : run.start - start]))
        if start <= run.start:
            parts.append(f"<br><span class='empty'>{run.words}</span><br>")
        place = min(end, run.end)
    return "".join(parts) + escape(text[place - start :])


def _span(token: TintedToken, inner: str, index: int, *, marked: bool, fired: bool) -> str:
    kinds = (("said-for", token.prefill), ("trips", marked), ("fires", fired))
    classes = [name for name, holds in kinds if holds]
    named = f" class='{' '.join(classes)}'" if classes else ""
    if token.cosine is None:
        return f"<span{named}>{inner}</span>" if named else inner
    told = f"{token_name(index)}: cosine {token.cosine:.2f}" + (", the first below the threshold" if marked else "")
    return f"<span{named} style='{_ground(token.cosine)}' title='{told}'>{inner}</span>"


def _ground(cosine: float) -> str:
    strength = STRONGEST * (1 - min(1.0, max(0.0, cosine)))
    return f"background:rgba({_RED},{_GREEN},{_BLUE},{strength:.2f})"

"""The answers behind a cell of the matrix, with their verdicts. Harmful text stays blurred until it is revealed."""

from collections.abc import Sequence

import streamlit as st

from engine.figures.evaluation.findings import only_abilities
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDES
from engine.records.evaluation.findings import Evaluation, Sample, read_samples
from engine.records.evaluation.plan import ABILITIES, PICTURE_SAMPLES, TOOL_SAMPLES, is_harmful_sample
from engine.records.others.authors import AUTHORS
from engine.records.runs import Run
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.pictures import THUMBNAIL, harmful_picture
from workbench.kit.state import settings
from workbench.kit.words import plain

PAGE = 8
COLOURS = {"complied": "orange", "refused": "blue", "incoherent": "gray", "unparseable": "violet"}
KINDS = {TOOL_SAMPLES: "agents", PICTURE_SAMPLES: "pictures"}
WORDS = ("complied", "refused", "incoherent", "unparseable")
NOT_HERE = "The answers of this evaluation are not on this machine: what ships or is passed on has figures only."
NO_REQUESTS = "Only questions that are scored were asked: there are no answers to read."


def samples(shown: Sequence[tuple[Run, Evaluation, str]]) -> None:
    which, measure, model, word = st.columns([1.6, 1.4, 1.2, 2])
    index = which.selectbox(
        "Evaluation", range(len(shown)), key="sample_evaluation", format_func=lambda one: shown[one][2]
    )
    run, evaluation, _ = shown[index or 0]
    found = read_samples(run, settings(), evaluation.key)
    if not found:
        asked = not only_abilities(evaluation) or any(one.counts for one in evaluation.abilities)
        st.caption(NOT_HERE if asked else NO_REQUESTS)
        return
    measures = list(dict.fromkeys(one.attack for one in found))
    attack = measure.selectbox(
        "Attack",
        measures,
        index=measures.index("direct") if "direct" in measures else 0,
        key=f"sample_attack_{evaluation.key}",
        format_func=_title,
    )
    side = model.segmented_control(
        "Model",
        SIDES,
        default="rerouted",
        required=True,
        key="sample_side",
        format_func=lambda one: "base" if one == "base" else "circuit-broken",
    )
    cell = [one for one in found if one.attack == attack and one.side == side]
    present = [one for one in WORDS if any(sample.word == one for sample in cell)]
    wanted = word.pills(
        "Verdict",
        present,
        selection_mode="multi",
        key=f"sample_word_{attack}_{side}",
        format_func=lambda one: f"{one} {sum(sample.word == one for sample in cell)}",
    )
    _list([one for one in cell if not wanted or one.word in wanted], f"{evaluation.key}_{attack}_{side}")


def _title(measure: str) -> str:
    *before, name = measure.split(": ")
    title = ATTACKS[name].title if name in ATTACKS else ABILITIES.get(name, name.capitalize())
    if not before:
        return title
    kind, *author = before
    of = author[0] if author else KINDS.get(f"{kind}: ", kind)
    return f"{AUTHORS[of].title if of in AUTHORS else of.capitalize()}: {title.lower()}"


def _list(cell: Sequence[Sample], name: str) -> None:
    pages = max(1, -(-len(cell) // PAGE))
    number = 1
    if pages > 1:
        number = st.number_input(f"Page, of {pages}", 1, pages, 1, key=f"sample_page_{name}", width=160)
    benign = bool(cell) and not is_harmful_sample(cell[0].attack)
    hidden = bool(cell) and not benign and reveal_button(f"samples_{name}", what="requests and answers", shortcut=True)
    for place, sample in enumerate(cell[(number - 1) * PAGE : number * PAGE]):
        with st.container(border=True, key=f"sample_{name}_{number}_{place}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(sample.word, color=COLOURS[sample.word])  # type: ignore[arg-type]
                st.caption(plain(_why(sample, hidden=hidden)))
            with blurred(f"sample_{name}_{number}_{place}", hidden=hidden):
                asked, answer = st.columns(2, gap="medium")
                with asked:
                    for picture in sample.pictures:
                        harmful_picture(picture, hidden=hidden, edge=THUMBNAIL)
                harmful_text(sample.prompt, hidden=hidden, place=asked)
                if sample.asked and sample.asked != sample.prompt:
                    asked.caption("asked as")
                    harmful_text(sample.asked, hidden=hidden, place=asked)
                harmful_text(sample.answer or "(no answer)", hidden=hidden, place=answer)


def _why(sample: Sample, *, hidden: bool) -> str:
    """hidden: so is what a judge said, which may quote the answer."""
    nats = f"{sample.nats:.2f} nats a token" if sample.nats is not None else ""
    reason = "" if hidden or sample.word == "refused" else sample.reason
    budget = f"at budget {sample.budget}" if sample.budget > 1 else ""
    return " · ".join(part for part in (reason, nats, budget) if part)

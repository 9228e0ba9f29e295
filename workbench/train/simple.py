"""The simple form: model, data, strength, length. Each control says which fields it sets; what it cannot show it leaves
as it is and calls custom. Knows the form, starts nothing."""

from typing import Any, NamedTuple

import streamlit as st

from engine.figures.labels import amount
from engine.records.assembled import offered_assembled
from engine.records.cards import ModelCard
from engine.records.conversation import Label
from engine.records.packaged import PACKAGED
from engine.records.spec import field_description
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec
from workbench.kit.cards import model_payload, wait_for_card
from workbench.kit.fetching import offer_model, unlisted_words
from workbench.kit.state import settings
from workbench.kit.words import counted, plain
from workbench.train.checks import SIDES
from workbench.train.costs import about, form_estimate
from workbench.train.data import wait_for_lengths
from workbench.train.draft import Draft, Fields, set_fields, widget_key
from workbench.train.fields import Form, problem, share_words
from workbench.train.numbers import written
from workbench.train.origin import origin_words
from workbench.train.pickers import source_picker

PAPER_MODELS = ("meta-llama/Meta-Llama-3-8B-Instruct", "mistralai/Mistral-7B-Instruct-v0.2")
KNOWN_MODELS = 12
RETAIN_WEIGHT = "loss.retain_weight"
# Both losses are multiplied by alpha and the optimizer does not see a common factor, so what counts is how heavy the
# retain loss is beside the rerouting loss.
STRENGTHS = {"Gentlest": 4.0, "Gentle": 2.0, "Balanced": 1.0, "Strong": 0.5, "Strongest": 0.25}
LENGTHS = {"Short": 0.5, "Normal": 1.0, "Long": 2.0}
# A schedule over a number of steps, and a warm-up, keep their shape when the run gets longer.
STEPS, SCALED = "optimizer.steps", ("schedule.horizon", "optimizer.warmup_steps")
SIMPLE = frozenset({"model.name", *SIDES.values(), RETAIN_WEIGHT, STEPS, *SCALED})
# Whose problems stand beside the simple form's own controls.
SHOWN = frozenset({"model.name", *SIDES.values(), RETAIN_WEIGHT, STEPS})


class Choice(NamedTuple):
    """One level of a control and the fields that it sets."""

    name: str
    fields: Fields


def simple_part(form: Form) -> None:
    """The form that most need."""
    st.subheader("Model", anchor=False)
    _model(form)
    st.subheader("Data", anchor=False)
    for column, label in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            _side(form, label)
    st.subheader("Strength and length", anchor=False)
    _strength(form)
    _length(form)
    if others := [path for path in form.draft.changes if path not in SIMPLE]:
        count = "1 field" if len(others) == 1 else f"{len(others)} fields"
        st.caption(
            f":material/tune: Custom: {count} that this form does not show differ from "
            f"{plain(origin_words(form.draft.origin))}. They stay as they are; find them under Advanced."
        )


def hidden_problems(form: Form) -> None:
    """What is wrong with fields that are folded away."""
    for path in form.problems:
        if path not in SHOWN:
            st.markdown(f":red[:material/error: {path}: {plain(form.problems[path])}]")


def strengths(draft: Draft) -> list[Choice]:
    """Levels around the start's own retain weight; none where it has none."""
    base = float(draft.base[RETAIN_WEIGHT])
    return [Choice(name, {RETAIN_WEIGHT: base * factor}) for name, factor in STRENGTHS.items()] if base else []


def lengths(draft: Draft) -> list[Choice]:
    """Half, once and twice the start's steps, its schedule with them."""
    scaled = [path for path in (STEPS, *SCALED) if draft.base[path]]
    return [
        Choice(name, {path: max(1, round(draft.base[path] * factor)) for path in scaled})
        for name, factor in LENGTHS.items()
    ]


def chosen(choices: list[Choice], content: Fields) -> Choice | None:
    """The level whose fields the draft holds; None for a draft that is between the levels."""
    return next((one for one in choices if all(content[path] == value for path, value in one.fields.items())), None)


def known_models() -> list[str]:
    """The bundled model, those out of packages, the paper's, and those whose facts the worker has read."""
    cards = sorted(settings().cards.glob("describe_model-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    names = []
    for path in cards[:KNOWN_MODELS]:
        try:
            names.append(ModelCard.model_validate_json(path.read_bytes()).name)
        except (OSError, ValueError):
            continue
    here = (BUNDLED_MODEL, *PACKAGED, *offered_assembled(settings().models))
    return list(dict.fromkeys((*here, *PAPER_MODELS, *names)))


def _model(form: Form) -> None:
    key = widget_key("model.name")
    current = st.session_state.setdefault(key, form.content["model.name"])
    names = list(dict.fromkeys((*known_models(), current)))
    form.content["model.name"] = st.selectbox(
        "Model",
        names,
        index=names.index(current),
        key=key,
        accept_new_options=True,
        placeholder="Hugging Face id or folder",
        format_func=lambda name: "SmolLM2-135M-Instruct (bundled)" if name == BUNDLED_MODEL else name,
        label_visibility="collapsed",
    )
    others = "Any other id or folder can be written here too." + unlisted_words()
    st.caption(f"{field_description('model.name')} {plain(others)}")
    problem(form, "model.name")
    offer_model(str(form.content["model.name"]))
    card = form.card
    if card is None:
        if "model.name" not in form.problems:
            names_of = {part: form.content[f"model.{part}"] for part in ModelSpec.model_fields}
            wait_for_card("describe_model", model_payload(ModelSpec(**names_of)), "the model")
        return
    facts = (
        card.family,
        f"{card.block_count} blocks",
        f"width {card.d_model}",
        f"{amount(card.parameters)} parameters",
        f"context {card.context_length} tokens",
        "chat template" if card.has_chat_template else "no chat template",
        f"{card.device}, {card.dtype}",
    )
    with st.container(horizontal=True, gap="small", key="model_facts"):
        for fact in facts:
            st.badge(plain(fact), color="gray")
    st.caption(f"Number format {plain(card.format_reason)}.")
    if not card.has_chat_template and form.content["model.chat_template"] == "model":
        st.caption(
            ":orange[:material/warning: This model has no chat template of its own: choose 'plain' under Advanced.]"
        )


def _side(form: Form, label: Label) -> None:
    st.markdown(f"**{'Circuit-breaker set: harmful' if label == 'harmful' else 'Retain set: benign'}**")
    source_picker(form, label)
    prompts = form.prompts[label]
    if prompts is None:
        if SIDES[label] not in form.problems:
            st.caption("The worker reads this dataset; its rows are not shown here.")
        return
    borderline = sum(prompt.borderline for prompt in prompts)
    used = form.rows.get(label)
    st.caption(
        counted(len(prompts), "prompt")
        + (f", {borderline} of them borderline" if borderline else "")
        + (f". Used: {used.training} to train on, {used.heldout} held out." if used else ".")
    )
    for remark in used.remarks if used else ():
        st.caption(f":orange[:material/warning: {plain(remark)}]")
    if SIDES[label] not in form.problems:
        for words in share_words(str(form.content[SIDES[label]]), label, str(form.content["data.answer_field"])):
            st.caption(f":material/subdirectory_arrow_right: {plain(words)}")
        wait_for_lengths(form, label)


def _strength(form: Form) -> None:
    value = form.content[RETAIN_WEIGHT]
    start = plain(origin_words(form.draft.origin))
    choices = strengths(form.draft)
    now = _levels("Strength", "strength", choices, form.content, help_text=_STRENGTH_HELP)
    if not choices:
        st.caption(f"Custom: {start} has no retain loss to weigh. Set the retain weight under Advanced.")
    elif now is None and RETAIN_WEIGHT not in form.problems:
        st.caption(f"Custom: retain weight {plain(written(value))}. The levels stand around that of {start}.")
    elif now is not None:
        st.caption(
            f"Sets the retain weight to {value:g}"
            + (f", as {start}. " if now.name == "Balanced" else f" ({start}: {form.draft.base[RETAIN_WEIGHT]:g}). ")
            + "Less of it turns harm away harder, more keeps the rest closer to how it was."
        )
    problem(form, RETAIN_WEIGHT)


def _length(form: Form) -> None:
    choices = lengths(form.draft)
    now = _levels(
        "Length", "length", choices, form.content, labels={one.name: _length_label(form, one) for one in choices}
    )
    steps = form.content[STEPS]
    if now is None and STEPS not in form.problems:
        st.caption(f"Custom: {plain(written(steps))} steps.")
    elif now is not None:
        others = " and the schedule's steps with it" if "schedule.horizon" in now.fields else ""
        st.caption(f"Sets {steps} steps{others}. Times are for the whole run, from the click to its last measurement.")
    problem(form, STEPS)


def _length_label(form: Form, choice: Choice) -> str:
    label = f"{choice.name}: {choice.fields[STEPS]} steps"
    if form.spec is None:
        return label
    optimizer = form.spec.optimizer.model_copy(update={"steps": choice.fields[STEPS]})
    cost = form_estimate(form, form.spec.model_copy(update={"optimizer": optimizer}))
    return f"{label}, {about(cost.seconds)}" if cost and cost.seconds else label


def _levels(
    label: str,
    key: str,
    choices: list[Choice],
    content: Fields,
    *,
    labels: dict[str, str] | None = None,
    help_text: str | None = None,
) -> Choice | None:
    """A control of named levels that follows the fields: nothing is marked while they are between the levels."""
    now = chosen(choices, content)
    st.session_state[key] = now.name if now else None
    shown: dict[str, Any] = labels or {}
    st.segmented_control(
        label,
        [one.name for one in choices],
        default=now.name if now else None,
        key=key,
        format_func=lambda name: shown.get(name, name),
        on_change=_take_level,
        args=(key, choices),
        wrap=True,
        help=help_text,
    )
    return now


def _take_level(key: str, choices: list[Choice]) -> None:
    # A second click on the chosen level takes the mark away, and means nothing.
    if fields := next((one.fields for one in choices if one.name == st.session_state.get(key)), None):
        set_fields(fields)


_STRENGTH_HELP = (
    "How strongly harmful answers are turned away, against keeping all others: the weight of the retain loss, as a "
    "multiple of the start's: gentlest 4, gentle 2, balanced 1, strong 1/2, strongest 1/4."
)

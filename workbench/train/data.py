"""What is in both prompt sets, which rows are used, and how answers are made."""

from collections import Counter

import streamlit as st

from engine.records.cards import DataCard
from engine.records.conversation import Label
from engine.records.prompts import Prompt
from engine.records.spec_parts import ModelSpec
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.cards import data_card, data_payload, wait_for_card
from workbench.kit.charts import on_screen
from workbench.kit.words import plain
from workbench.train.checks import SIDES
from workbench.train.fields import Form, problem, spec_field
from workbench.train.figures import token_figure

SHOWN_ROWS = 5
SPLITS = {"train": "train", "validation": "valid.", "test": "test"}


def data_part(form: Form) -> None:
    st.subheader("Data, more", anchor=False)
    for column, label in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            _inside(form, label)
    harmful = form.prompts["harmful"] or []
    known = [*harmful, *(form.prompts["benign"] or [])]
    categories, styles = st.columns(2, gap="large")
    with categories:
        spec_field(form, "data.categories", options=_values(harmful, "category"))
    with styles:
        spec_field(form, "data.styles", options=_values(known, "style"))
    more = st.expander("Answers, openers and limits", key="data_more", on_change="rerun")
    with more:
        if more.open:
            _answer_fields(form)
    problem(form, "data.answers")


def side_card(form: Form, label: Label) -> DataCard | None:
    """Token lengths of one side, once the model itself could be read."""
    if form.card is None or form.spec is None or SIDES[label] in form.problems:
        return None
    return data_card(_payload(form, label, form.spec.model))


def _answer_fields(form: Form) -> None:
    _row(form, "data.answers", "data.answer_field", "data.new_tokens", "data.temperature")
    _row(form, "data.opener_share", "data.borderline_share", "data.rows_as", "data.max_tokens")
    _row(form, "data.empty_prompt_share", "data.empty_prompt_sides", "data.tool_share", "data.call_tokens")
    _row(form, "data.picture_steps", "data.openers")
    _row(form, "data.circuit_breaker_rows", "data.retain_rows", "data.heldout_rows", "data.drop_refusals")


def wait_for_lengths(form: Form, label: Label) -> None:
    """What times rest on: it says that the worker counts the tokens, and draws the page again when it has."""
    if side_card(form, label) is None and form.card is not None and form.spec is not None:
        wait_for_card("describe_data", _payload(form, label, form.spec.model), "the prompt lengths")


def _inside(form: Form, label: Label) -> None:
    card, prompts = side_card(form, label), form.prompts[label]
    if card is not None:
        st.caption(
            f"{label.capitalize()} prompts: {card.tokens_mean:.0f} tokens on average, 95 % up to {card.tokens_95:.0f}, "
            f"longest {card.tokens_max}."
        )
    inside = st.expander(f"Look inside the {label} set", key=f"inside_{label}", on_change="rerun")
    with inside:
        if inside.open:
            _contents(prompts or [], card, label)


def _contents(prompts: list[Prompt], card: DataCard | None, label: Label) -> None:
    if card is not None:
        st.plotly_chart(
            on_screen(token_figure(card, harmful=label == "harmful")),
            key=f"token_plot_{label}",
            config={"displayModeBar": False},
            alt=f"Token lengths of {label} prompts",
        )
    if prompts:
        _counts(prompts)
        _rows(prompts, label)


def _counts(prompts: list[Prompt]) -> None:
    for name in ("category", "style"):
        counts: Counter[tuple[str, str]] = Counter(
            (getattr(prompt, name) or "none", prompt.split) for prompt in prompts
        )
        values = sorted({value for value, _ in counts})
        table = {
            name: values,
            **{short: [counts[value, split] for value in values] for split, short in SPLITS.items()},
            "border.": [
                sum(prompt.borderline for prompt in prompts if (getattr(prompt, name) or "none") == value)
                for value in values
            ],
        }
        widths = {column: st.column_config.NumberColumn(width=58) for column in (*SPLITS.values(), "border.")}
        st.dataframe(table, hide_index=True, height=min(38 + 35 * len(values), 220), column_config=widths)


def _rows(prompts: list[Prompt], label: Label) -> None:
    shown = prompts[:: max(1, len(prompts) // SHOWN_ROWS)][:SHOWN_ROWS]
    texts = "\n".join(prompt.text for prompt in shown)
    hidden = label == "harmful" and reveal_button("rows", of=texts, what="prompts")
    with blurred(f"rows_{label}", hidden=hidden):
        for prompt in shown:
            harmful_text(prompt.text, hidden=hidden)
            st.caption(plain(" · ".join(part for part in (prompt.category, prompt.style, prompt.split) if part)))


def _payload(form: Form, label: Label, model: ModelSpec) -> dict:
    return data_payload(
        model,
        source=str(form.content[SIDES[label]]),
        label=label,
        answer_field=str(form.content["data.answer_field"]),
    )


def _values(prompts: list[Prompt], name: str) -> tuple[str, ...]:
    return tuple(sorted({getattr(prompt, name) for prompt in prompts} - {""}))


def _row(form: Form, *paths: str) -> None:
    for column, path in zip(st.columns(len(paths), vertical_alignment="bottom"), paths, strict=True):
        with column:
            spec_field(form, path)

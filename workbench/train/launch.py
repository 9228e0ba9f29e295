"""What a run will cost, why it cannot start yet, and the button that starts it."""

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.records.estimate import Estimate, estimate
from engine.records.runs import create_run
from workbench.kit.frame import catching, places
from workbench.kit.state import RUN, queue, settings
from workbench.kit.words import amount, duration, memory, plain
from workbench.train.data import side_card
from workbench.train.fields import Form

GUESSED_PROMPT_TOKENS = 30.0


def launch_panel(form: Form) -> None:
    st.subheader("Before it starts", anchor=False)
    _costs(form)
    reason = _reason(form)
    name = st.text_input("Run name", key="run_name", placeholder="optional", max_chars=80)
    if st.button(
        "Start training",
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=bool(reason) or form.spec is None,
    ):
        _start(form, name)
    if reason:
        st.markdown(f":orange[:material/block: {plain(reason)}]")
    elif not queue().worker().alive:
        st.caption("The worker is not running: it is started with the run.")
    if form.spec is not None:
        text = form.spec.to_json()
        view = st.expander("The spec", key="spec_view", on_change="rerun")
        if not view.open:
            return
        with view:
            st.caption(f"Digest {form.spec.digest}. Copy it, or keep the file.")
            st.download_button(
                "Download",
                text,
                file_name=f"spec-{form.spec.digest}.json",
                mime="application/json",
                key="spec_download",
                icon=":material/download:",
                on_click="ignore",
            )
            st.code(text, language="json", height=320)


def _costs(form: Form) -> None:
    cost = _estimate(form)
    share = f", {100 * cost.trained_parameters / form.card.parameters:.1f} % of the model" if cost and form.card else ""
    figures = (
        ("Trained", amount(cost.trained_parameters) if cost else "–", f"Parameters that learn{share}."),
        ("Memory", memory(cost.memory_bytes) if cost else "–", "Estimated peak on the device."),
        (
            "Eliciting",
            duration(cost.eliciting_seconds) if cost else "–",
            "The model answers all selected prompts once; answers it gave before are kept and cost nothing.",
        ),
        (
            "Training",
            duration(cost.training_seconds) if cost else "–",
            "Estimated for this machine, held-out measurements included.",
        ),
    )
    with st.container(horizontal=True, gap="small", key="costs"):
        for label, value, help_text in figures:
            st.metric(label, value, help=help_text, width=106)
    if cost and cost.training_seconds is None:
        st.caption("Times appear when the worker has measured this machine.")
    elif cost is None:
        st.caption("Costs appear when the model's facts and the data are known.")


def _estimate(form: Form) -> Estimate | None:
    if (
        form.spec is None
        or form.card is None
        or {"blocks.targets", "blocks.adapted", "loss.retain_blocks"} & form.problems.keys()
    ):
        return None
    training = heldout = 0
    tokens: list[tuple[int, float]] = []
    for label in form.prompts:
        card = side_card(form, label)
        counted = form.rows.get(label)
        rows = (counted.training + counted.heldout) if counted else card.rows if card else 0
        training += counted.training if counted else rows
        heldout += counted.heldout if counted else 0
        tokens.append((rows, card.tokens_mean if card else GUESSED_PROMPT_TOKENS))
    total = sum(rows for rows, _ in tokens)
    if not total:
        return None
    return estimate(
        form.spec,
        form.card,
        queue().worker().machine,
        training_rows=training,
        heldout_rows=heldout,
        prompt_tokens=sum(rows * mean for rows, mean in tokens) / total,
    )


def _reason(form: Form) -> str:
    """Why the run cannot start, or ''."""
    if form.problems:
        path, text = next(iter(form.problems.items()))
        more = f" ({len(form.problems) - 1} more)" if len(form.problems) > 1 else ""
        return f"{path}: {text}{more}"
    if form.card is None:
        return "The model's facts are not known yet: wait for the worker, or mend the model's name."
    return ""


@catching
def _start(form: Form, name: str) -> None:
    assert form.spec is not None
    run = create_run(settings().runs, form.spec, preset=form.draft.preset, name=name.strip())
    queue().submit("train", run_id=run.id)
    ensure_worker(settings())
    st.switch_page(places()["runs"], query_params={RUN: run.id})

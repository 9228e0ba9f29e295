"""The parts of the form that are folded away, in their order. Each draws widgets and facts; none starts anything."""

import streamlit as st

from engine.records.conversation import Label
from engine.records.schedules import weights
from engine.records.spec_parts import OptimizerSpec
from workbench.kit.charts import on_screen
from workbench.train.draft import set_field
from workbench.train.fields import Form, problem, spec_field
from workbench.train.figures import schedule_figure
from workbench.train.pickers import block_strip

START_POINTS = [
    {"progress": 0.0, "reroute": 1.0, "retain": 0.0},
    {"progress": 0.5, "reroute": 0.5, "retain": 0.5},
    {"progress": 1.0, "reroute": 0.0, "retain": 1.0},
]


def model_part(form: Form) -> None:
    st.subheader("Model, more", anchor=False)
    _row(form, "model.device", "model.dtype", "model.chat_template")


def blocks_part(form: Form) -> None:
    st.subheader("Blocks", anchor=False)
    block_strip(form, "blocks.targets", label="Target blocks")
    block_strip(form, "blocks.adapted", label="Adapted blocks")


def adapter_part(form: Form) -> None:
    st.subheader("LoRA adapter", anchor=False)
    _row(form, "adapter.rank", "adapter.alpha", "adapter.dropout", "adapter.noise")
    _row(form, "adapter.null_space", "adapter.strength")
    spec_field(form, "adapter.modules", options=tuple(form.card.modules) if form.card else ())
    if form.content["adapter.noise"] == 0:
        st.caption(
            ":orange[:material/warning: Without noise the cosine has no gradient at the start: it may never move.]"
        )


def loss_part(form: Form) -> None:
    st.subheader("Losses", anchor=False)
    _row(form, "loss.space", "loss.mask", "loss.skip_response_tokens", "loss.lead_tokens")
    _row(form, "loss.retain_scale", "loss.retain_mask", "loss.retain_weight", "loss.retain_blocks")
    _row(form, "loss.retain_mean", "loss.final_norm")
    _row(form, "loss.reroute_margin", "loss.retain_margin")
    _row(form, "loss.answer_weight", "loss.answer_temperature", "loss.answer_rows")
    _row(form, "loss.overlap_cosine", "loss.overlap_width", "loss.twin_weight", "loss.twin_margin")
    problem(form, "loss")


def schedule_part(form: Form) -> None:
    st.subheader("Schedule", anchor=False)
    wide = form.content["schedule.kind"] == "custom"
    fields, plot = st.columns([1.35 if wide else 1, 1.75], gap="medium")
    with fields:
        kind = spec_field(form, "schedule.kind")
        _row(form, "schedule.alpha", "schedule.horizon", "schedule.first_step")
        if kind == "step":
            spec_field(form, "schedule.switch_at")
        if kind == "custom":
            _key_points(form)
    problem(form, "schedule")
    problem(form, "schedule.points")
    with plot:
        if form.spec is None:
            st.caption("The curve appears when all fields are valid.")
            return
        steps, schedule = form.spec.optimizer.steps, form.spec.schedule
        st.plotly_chart(
            on_screen(schedule_figure(lambda step: weights(schedule, step, steps), steps)),
            key="schedule_plot",
            config={"displayModeBar": False},
            alt="Weights of both losses over the steps",
        )


def optimizer_part(form: Form) -> None:
    st.subheader("Optimizer", anchor=False)
    _row(form, "optimizer.steps", "optimizer.learning_rate", "optimizer.warmup_steps", "optimizer.decay")
    _row(
        form,
        "optimizer.weight_decay",
        "optimizer.clip_norm",
        "optimizer.circuit_breaker_batch",
        "optimizer.retain_batch",
    )
    _row(form, "optimizer.tokens_per_micro_batch", "optimizer.gradient_checkpointing", "optimizer.gradient_surgery")
    if form.spec is not None:
        for remark in _unlikely(form, form.spec.optimizer):
            st.caption(f":orange[:material/warning: {remark}]")


def _unlikely(form: Form, optimizer: OptimizerSpec) -> list[str]:
    """What can be trained, and is hardly meant."""
    said = []
    if optimizer.warmup_steps >= optimizer.steps:
        said.append("The learning rate is still rising when the run ends: it warms up for as many steps or more.")
    batches: dict[Label, int] = {"harmful": optimizer.circuit_breaker_batch, "benign": optimizer.retain_batch}
    for label, batch in batches.items():
        rows = form.rows.get(label)
        if rows and 0 < rows.training < batch:
            said.append(f"Each step draws {batch:,} {label} rows of {rows.training:,}: the same ones several times.")
    return said


def capture_part(form: Form) -> None:
    st.subheader("Measured while training", anchor=False)
    _row(form, "captures.heldout_every", "captures.checkpoint_every", "captures.trackers", "seed")
    _row(form, "captures.probe_every", "captures.probe_prompts", "captures.probe_tokens")
    _row(form, "captures.capture_every", "captures.capture_prompts", "captures.final_prompts", "captures.final_answers")
    _row(form, "captures.evaluation_rows", "optimizer.stop_drift", "optimizer.keep")
    _row(form, "optimizer.keep_drift", "optimizer.keep_answers")


def harmfulness_part(form: Form) -> None:
    st.subheader("Harmfulness probe", anchor=False)
    _row(form, "harmfulness.probe", "harmfulness.block", "harmfulness.false_alarms")


def _key_points(form: Form) -> None:
    """The editor reports edits against the table it was given, so that table stays the same while it is shown."""
    if "points_editor" not in st.session_state or "points_base" not in st.session_state:
        if not form.content["schedule.points"]:
            set_field("schedule.points", [dict(point) for point in START_POINTS])
            st.rerun()
        st.session_state["points_base"] = [dict(point) for point in form.content["schedule.points"]]
    number = {
        name: st.column_config.NumberColumn(
            name.capitalize(), min_value=0.0, format="%.2f", required=True, width="small"
        )
        for name in ("progress", "reroute", "retain")
    }
    st.caption("Key points: progress is a share of the horizon, weights are in units of alpha.")
    edited = st.data_editor(
        st.session_state["points_base"],
        num_rows="dynamic",
        hide_index=True,
        key="points_editor",
        column_config=number,
    )
    points = [dict(point) for point in edited if all(value is not None for value in point.values())]
    if points != form.content["schedule.points"]:
        # Not into the draft alone: what a reset left in the session would come back with each run of the page.
        set_field("schedule.points", points)
        st.rerun()


def _row(form: Form, *paths: str) -> None:
    for column, path in zip(st.columns(len(paths)), paths, strict=True):
        with column:
            spec_field(form, path)

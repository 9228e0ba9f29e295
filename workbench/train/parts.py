"""The parts of the training form, in the order of the page. Each draws widgets and facts; none starts anything."""

import streamlit as st

from engine.records.errors import SpecError
from engine.records.schedules import weights
from engine.records.spec import BUNDLED_MODEL, ModelSpec, field_description
from workbench.kit.cards import model_payload, wait_for_card
from workbench.kit.charts import on_screen
from workbench.kit.state import DRAFT_ERROR
from workbench.kit.words import amount, plain
from workbench.train.draft import Draft, load, load_text, preset_names, widget_key
from workbench.train.fields import Form, problem, spec_field
from workbench.train.figures import schedule_figure
from workbench.train.pickers import block_strip

MODELS = (BUNDLED_MODEL, "meta-llama/Meta-Llama-3-8B-Instruct", "mistralai/Mistral-7B-Instruct-v0.2")
START_POINTS = [
    {"progress": 0.0, "reroute": 1.0, "retain": 0.0},
    {"progress": 0.5, "reroute": 0.5, "retain": 0.5},
    {"progress": 1.0, "reroute": 0.0, "retain": 1.0},
]


def origin_part(draft: Draft) -> None:
    """Preset, changes against it, and loading a spec from elsewhere."""
    names = [f"preset:{name}" for name in preset_names()]
    options = names if draft.origin in names else [*names, draft.origin]
    st.session_state["origin"] = draft.origin
    chosen, changed, loader = st.columns([1.3, 2.6, 0.9], vertical_alignment="bottom")
    chosen.selectbox(
        "Start from",
        options,
        key="origin",
        format_func=_origin_name,
        on_change=_load_origin,
        help="Presets are ordinary spec files; choosing one replaces the whole form.",
    )
    with changed:
        _changes(draft)
    with loader.popover("Load a spec", icon=":material/upload_file:", width="stretch", key="load_spec"):
        st.file_uploader("Spec file (JSON)", type=["json"], key="spec_file")
        st.text_area("or paste it", key="spec_text", height=140, placeholder='{"model": {"name": ...}, ...}')
        st.button("Load", key="spec_load", on_click=_load_given, type="primary")
    if DRAFT_ERROR in st.session_state:
        st.error(plain(st.session_state[DRAFT_ERROR]), icon=":material/error:")


def model_part(form: Form) -> None:
    st.subheader("Model", anchor=False)
    name, device, dtype, template = st.columns([2.4, 1, 1, 1])
    with name:
        _model_name(form)
    for column, path in ((device, "model.device"), (dtype, "model.dtype"), (template, "model.chat_template")):
        with column:
            spec_field(form, path)
    if form.card is None:
        if "model.name" not in form.problems:
            payload = model_payload(
                ModelSpec(**{part: form.content[f"model.{part}"] for part in ModelSpec.model_fields})
            )
            wait_for_card("describe_model", payload, "the model")
        return
    card = form.card
    template_text = "chat template" if card.has_chat_template else "no chat template"
    facts = (
        card.family,
        f"{card.block_count} blocks",
        f"width {card.d_model}",
        f"{amount(card.parameters)} parameters",
        f"context {card.context_length} tokens",
        template_text,
        f"{card.device}, {card.dtype}",
    )
    with st.container(horizontal=True, gap="small", key="model_facts"):
        for fact in facts:
            st.badge(plain(fact), color="gray")
    if not card.has_chat_template and form.content["model.chat_template"] == "model":
        st.caption(":orange[:material/warning: This model has no chat template of its own: choose 'plain'.]")


def blocks_part(form: Form) -> None:
    st.subheader("Blocks", anchor=False)
    block_strip(form, "blocks.targets", label="Target blocks")
    block_strip(form, "blocks.adapted", label="Adapted blocks")


def adapter_part(form: Form) -> None:
    st.subheader("LoRA adapter", anchor=False)
    _row(form, "adapter.rank", "adapter.alpha", "adapter.dropout", "adapter.noise")
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
        "optimizer.tokens_per_micro_batch",
    )


def capture_part(form: Form) -> None:
    st.subheader("Measured while training", anchor=False)
    _row(form, "captures.heldout_every", "captures.checkpoint_every", "captures.trackers", "seed")
    _row(form, "captures.probe_every", "captures.probe_prompts", "captures.probe_tokens")
    _row(form, "captures.capture_every", "captures.capture_prompts", "captures.final_prompts", "captures.final_answers")
    _row(form, "captures.evaluation_rows", "optimizer.stop_drift")


def _model_name(form: Form) -> None:
    key = widget_key("model.name")
    current = st.session_state.setdefault(key, form.content["model.name"])
    form.content["model.name"] = st.selectbox(
        "Model",
        list(dict.fromkeys((*MODELS, current))),
        key=key,
        accept_new_options=True,
        placeholder="Hugging Face id or folder",
        help=field_description("model.name") + " Write any other id or folder here.",
    )
    problem(form, "model.name")


def _key_points(form: Form) -> None:
    """The editor reports edits against the table it was given, so that table stays the same while it is shown."""
    if "points_editor" not in st.session_state or "points_base" not in st.session_state:
        if not form.content["schedule.points"]:
            form.content["schedule.points"] = [dict(point) for point in START_POINTS]
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
        form.content["schedule.points"] = points
        st.rerun()


def _row(form: Form, *paths: str) -> None:
    for column, path in zip(st.columns(len(paths)), paths, strict=True):
        with column:
            spec_field(form, path)


def _changes(draft: Draft) -> None:
    changes = draft.changes
    if not changes:
        st.caption("Nothing is changed.")
        return
    listed = ", ".join(
        f"{path} {_short(draft.base[path])} → {_short(value)}" for path, value in list(changes.items())[:4]
    )
    more = f" and {len(changes) - 4} more" if len(changes) > 4 else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Changed: {plain(listed)}{more}.", width="stretch")
        st.button("Undo all", key="undo_changes", type="tertiary", on_click=_load_from, args=(draft.origin,))


def _short(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} points"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = text or "empty"
    return text if len(text) <= 24 else text[:23] + "…"


def _origin_name(origin: str) -> str:
    kind, _, name = origin.partition(":")
    return f"preset {name}" if kind == "preset" else f"run {name}" if kind == "run" else "loaded spec"


def _load_origin() -> None:
    load(st.session_state["origin"])


def _load_from(origin: str) -> None:
    load(origin)


def _load_given() -> None:
    file = st.session_state.get("spec_file")
    text = file.getvalue().decode(errors="replace") if file else st.session_state.get("spec_text", "")
    try:
        load_text(text)
    except SpecError as error:
        st.session_state[DRAFT_ERROR] = str(error)

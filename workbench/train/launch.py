"""What a run will cost, what it differs in, why it cannot start yet, and the button that starts it."""

import time

import streamlit as st

from engine.figures.labels import amount
from engine.records.errors import RunError
from engine.records.estimate import ANSWERS, Estimate
from engine.records.runs import ACTIVE, open_run
from workbench.kit.downloads import spec_button
from workbench.kit.frame import catching, places
from workbench.kit.starting import start_run
from workbench.kit.state import RUN, queue, settings
from workbench.kit.words import memory, moment, plain
from workbench.train.command import command_of
from workbench.train.costs import about, form_estimate
from workbench.train.fields import Form
from workbench.train.origin import changes_part
from workbench.train.place import Choice, place_part

STARTED = "run_started"


def launch_panel(form: Form) -> None:
    st.subheader("Before it starts", anchor=False)
    place = place_part()
    _costs(form, place)
    changes_part(form.draft)
    reason = place.problem or _reason(form)
    if st.session_state.pop(STARTED, False):
        # The name went to the run before.
        st.session_state["run_name"] = ""
    name = st.text_input(
        "Run name",
        key="run_name",
        persist_state="session",
        placeholder=f"{form.draft.preset or 'own settings'}, {moment(time.time())}",
        max_chars=80,
        help="Optional: without one it is called as shown.",
    )
    clicked = st.button(
        "Start training",
        key="start",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=bool(reason),
    )
    if reason:
        # A click may have been on its way when the reason came up.
        st.markdown(f":orange[:material/block: {plain(reason)}]")
    elif clicked:
        _start(form, name, place)
    elif not place.cluster and not queue().worker().alive:
        st.caption("The worker is not running: it is started with the run.")
    if form.spec is not None:
        _to_copy(form, place)


def _costs(form: Form, place: Choice) -> None:
    cost = form_estimate(form)
    if cost is None:
        missing = "what is wrong in the form is mended" if form.problems else "the model's facts and the data are known"
        st.caption(f"Time and memory appear when {missing}.")
        return
    if cost.seconds is None:
        st.caption("The time appears when the worker has measured this machine.")
    else:
        st.markdown(f"About **{about(cost.seconds)}** from the click", help=_TIME_HELP)
        st.caption("\n".join(f"- {line}" for line in _parts(form, cost)))
        if place.cluster:
            st.caption(":material/dns: As this machine would take it: a node of the cluster has its own pace.")
        elif waits_for := _training_now():
            st.caption(f":material/hourglass_top: It waits until {plain(waits_for)} has ended: one trains at a time.")
    share = f" ({100 * cost.trained_parameters / form.card.parameters:.1f} % of the model)" if form.card else ""
    st.caption(f"Trains {amount(cost.trained_parameters)} parameters{share}. {_memory(cost)}")


def _memory(cost: Estimate) -> str:
    """What takes memory at the peak, and what the cache takes while answers are generated."""
    parts = ", ".join(f"{part.name} {memory(part.bytes)}" for part in cost.memory)
    words = f"Memory about {memory(cost.memory_bytes)}: {parts}"
    if cost.cache_bytes:
        words += f"; while answers are generated, a cache of keys and values of {memory(cost.cache_bytes)}"
    anew = " Blocks are computed anew on the way back (gradient checkpointing)." if cost.checkpointing else ""
    return f"{words}.{anew}"


def _parts(form: Form, cost: Estimate) -> list[str]:
    """The whole time in its parts, the long ones; the short ones together."""
    assert cost.seconds is not None
    long = [part for part in cost.parts if part.seconds >= 0.08 * cost.seconds]
    prompts = sum(rows.asked for rows in form.rows.values())
    lines = [
        f"{part.name}{f' to {prompts} prompts' if part.name == ANSWERS and len(form.rows) == 2 else ''}: "
        f"{about(part.seconds)}"
        for part in long
    ]
    rest = [part for part in cost.parts if part not in long]
    return (
        [*lines, f"{', '.join(part.name for part in rest)}: {about(sum(part.seconds for part in rest))}"]
        if rest
        else lines
    )


def _training_now() -> str:
    """The name of the run that a new one waits for, '' where none trains: one that is paused gives way."""
    worker = queue().worker()
    try:
        run = open_run(settings().runs, worker.trains) if worker.alive and worker.trains else None
        return (run.label().name or run.id) if run is not None and run.record().status in ACTIVE else ""
    except RunError:
        return ""


def _reason(form: Form) -> str:
    """Why the run cannot start, or ''."""
    if form.problems:
        path, text = next(iter(form.problems.items()))
        more = f" ({len(form.problems) - 1} more)" if len(form.problems) > 1 else ""
        return f"{path}: {text}{more}"
    if form.card is None:
        return "The model's facts are not known yet: wait for the worker, or mend the model's name."
    return "" if form.spec is not None else "Some values do not fit together: see the form."


def _to_copy(form: Form, place: Choice) -> None:
    """The command that does the same, and the spec."""
    assert form.spec is not None
    text = form.spec.to_json()
    file_name = f"spec-{form.spec.digest}.json"
    st.caption("The command that does the same:")
    st.code(command_of(form.draft, form.spec, file_name, place=place), language="bash", wrap_lines=True)
    if form.problems:
        st.caption("Some fields hold errors: mend them before you use the command.")
    view = st.expander("The spec", key="spec_view", on_change="rerun")
    if not view.open:
        return
    with view:
        st.caption(f"Digest {form.spec.digest}. Copy it, or keep the file.")
        spec_button(form.spec, key="spec_download")
        st.code(text, language="json", height=320)


@catching
def _start(form: Form, name: str, place: Choice) -> None:
    assert form.spec is not None
    run = start_run(form.spec, preset=form.draft.preset, name=name, to=place.cluster, asked=place.asked)
    st.session_state[STARTED] = True
    st.switch_page(places()["runs"], query_params={RUN: run.id})


_TIME_HELP = (
    "For this machine, with nothing else to do. Answers that the model gave before are kept and cost no time again."
)

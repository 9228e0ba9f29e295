"""Run a set: a whole prompt file answered in the background, with progress, a table, and a download."""

from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.desk.launch import ensure_worker
from engine.desk.queue import Job
from engine.records.chats.asked import Column
from engine.records.chats.sets import NOT_ASKED, AnswerSet, SetRequest, list_sets, new_set, open_set
from engine.records.chats.tool_sets import offers_tools
from engine.records.conversation import Label
from engine.records.deleting import delete_kept
from engine.records.errors import RunError, WorkbenchError
from engine.records.prompt_files import read_source
from engine.records.sources import SAMPLE, sample_sources
from workbench.chat.columns import column_names, column_pickers, columns_buttons, model_of, steer
from workbench.chat.composer import written
from workbench.chat.disagreement import disagreement
from workbench.chat.set_table import set_table
from workbench.kit.downloads import csv_of
from workbench.kit.frame import catching
from workbench.kit.state import ANSWER_SET, SET_ROW, blurs, queue, settings
from workbench.kit.words import moment, plain, told_apart

REVEAL = "set_reveal"
TICK = 1.0
SHOWN_WHILE_GOING = 200


def sets_view() -> None:
    columns = column_pickers(on_dose=None, steers=True)
    with st.container(horizontal=True, gap="small"):
        columns_buttons()
        steer(columns, on_change=None)
    with st.container(border=True, key="set_request"):
        source, label, limit, button = st.columns([3, 1.2, 1.1, 1.1], vertical_alignment="bottom", gap="medium")
        shipped = [one for one in sample_sources() if one.startswith(SAMPLE)]
        chosen = str(
            source.selectbox(
                "Prompt set",
                shipped,
                index=shipped.index("sample:harmful"),
                key="set_source",
                persist_state="session",
                accept_new_options=True,
                help="A set that ships, or the path of a JSONL file with 'prompt' or 'messages'.",
            )
        )
        side, count = side_and_count(label, limit, chosen, rows="prompts", key="set")
        started = button.button("Answer them", key="set_start", type="primary", icon=":material/playlist_play:")
    st.caption(plain(f"System prompt and sampling are those of the chat; {_begins(written(has_probe=False).prefill)}."))
    trips = trips_choice(key="set_trips")
    if started:
        _start(columns, chosen, side, count, trips=trips)
    answered_sets()


def _start(columns: tuple[Column, ...], source: str, label: Label, limit: int, *, trips: bool) -> None:
    now = written(has_probe=False)
    # Read here as well, so that a bad file is named before anything is queued.
    read_source(source, label=label)
    request = SetRequest(
        model=model_of(columns),
        columns=columns,
        source=source,
        label=label,
        limit=limit,
        system=now.system,
        prefill=now.prefill,
        sampling=now.sampling,
        trips=trips,
    )
    start_set(request)


def side_and_count(
    label: DeltaGenerator, limit: DeltaGenerator, source: str, *, rows: str, key: str
) -> tuple[Label, int]:
    """Which side the rows of a set are of, and how many are asked. rows: what they are called.  key: of the form."""
    sides: list[Label] = ["harmful", "benign"]
    side = label.selectbox(
        f"Its {rows} are",
        sides,
        index=int(_sounds_benign(source)),
        key=f"{key}_label_{source}",
        persist_state="session",
    )
    count = limit.number_input(
        rows.capitalize(),
        0,
        100_000,
        32,
        key=f"{key}_limit",
        persist_state="session",
        help="So many from the top; 0: all.",
    )
    return side, int(count)


def _sounds_benign(source: str) -> bool:
    name = Path(source).name
    return "benign" in name and "harmful" not in name


def trips_choice(*, key: str) -> bool:
    """Whether the trip of each answer is measured as well."""
    return st.checkbox(
        "Measure where the breaker trips",
        key=key,
        persist_state="session",
        help="Each circuit-broken answer is read twice more, by both models. For a run that was never measured the "
        "base model first answers some of its prompts, to set the scale: that may take minutes.",
    )


def start_set(request: SetRequest) -> None:
    """Give a set to the worker and look at it."""
    made = new_set(settings(), request)
    _queue(made)
    st.query_params[ANSWER_SET] = made.id
    st.rerun()


def _queue(answers: AnswerSet) -> None:
    job = queue().submit("answer_set", payload={"set": answers.id})
    answers.set_job(job)
    ensure_worker(settings())


def answered_sets(*, of_tools: bool = False) -> None:
    """The set of the link, or the newest. of_tools: only those whose rows offer tools are listed."""
    known = [one for one in list_sets(settings()) if not of_tools or _offers_tools(one)]
    if not known and ANSWER_SET not in st.query_params:
        st.info("Answers to whole sets are listed here once you have asked for some.", icon=":material/table_rows:")
        return
    wanted = st.query_params.get(ANSWER_SET) or known[0].id
    try:
        answers = open_set(settings(), wanted)
    except RunError as error:
        st.warning(plain(str(error)), icon=":material/link_off:")
        st.query_params.pop(ANSWER_SET, None)
        if not known:
            return
        answers = known[0]
    ids = [one.id for one in known]
    # A link may name one that is not listed here.
    ids = ids if answers.id in ids else [answers.id, *ids]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.selectbox(
            "Answered sets",
            ids,
            index=ids.index(answers.id),
            format_func=told_apart({one.id: _set_name(one) for one in (answers, *known)}).__getitem__,
            key=f"set_of_{answers.id}",
        )
        with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"ask_delete_{answers.id}"):
            st.caption("These answers and their labels are gone then, for everybody who uses this workbench.")
            st.button("Delete them", key="set_delete", icon=":material/delete:", on_click=_delete, args=(answers,))
    if chosen != answers.id:
        st.query_params[ANSWER_SET] = chosen
        st.rerun()
    job = _job(answers)
    moving = job is not None and job.status in ("queued", "running")
    st.fragment(_results, run_every=TICK if moving else None)(answers, moving)


@catching
def _delete(answers: AnswerSet) -> None:
    """A set that is being answered is stopped."""
    if (job := _job(answers)) is not None and job.status in ("queued", "running"):
        queue().cancel(job.id)
    delete_kept(answers.folder)
    for name in (ANSWER_SET, SET_ROW):
        st.query_params.pop(name, None)


@catching
def _results(answers: AnswerSet, moving: bool) -> None:
    job = _job(answers)
    going = job is not None and job.status in ("queued", "running")
    if moving != going:
        # It has ended, or goes on: how often this part is drawn is the page's to say.
        st.rerun()
    rows, request = answers.rows(), answers.request()
    if going and job is not None:
        _progress(job, len(rows))
    elif job is None or job.status != "done":
        if job is not None and job.error:
            st.error(plain(job.error), icon=":material/error:")
        st.button("Go on", icon=":material/play_arrow:", key="set_go_on", on_click=catching(_queue), args=(answers,))
    if not rows:
        return
    if refused := [row.reasons[0] for row in rows if NOT_ASKED in row.words]:
        count = f"{len(refused)} {'prompt' if len(refused) == 1 else 'prompts'} could not be asked"
        st.warning(plain(f"{count}. The first: {refused[0]}"), icon=":material/block:")
    names = column_names(request.columns)
    table, texts = set_table(rows, names)
    _counts(table, names)
    hidden = (
        request.label == "harmful"
        and blurs()
        and not st.toggle(
            "Reveal texts", key=f"{REVEAL}_{answers.id}", help="Show harmful prompts and their answers in the table."
        )
    )
    shown = table.drop(columns=texts) if hidden else table
    # All of many would be sent to the browser at each look.
    most = SHOWN_WHILE_GOING if going and len(rows) > SHOWN_WHILE_GOING else 0
    if most:
        st.caption(f"{most} prompts are shown, and all of them once the set is answered.")
    disagreement(answers, rows, names, hidden=hidden, most=most)
    st.download_button(
        "Download CSV",
        lambda: csv_of(shown),
        file_name=f"answers-{answers.id}.csv",
        mime="text/csv",
        icon=":material/download:",
        key="set_csv",
        on_click="ignore",
        help="Without prompts and answers as long as they are hidden." if hidden else None,
    )


def _progress(job: Job, known: int) -> None:
    progress = queue().progress(job.id)
    total = progress.total if progress else 0
    share = progress.done / total if progress and total else 0.0
    text = f"{known} of {total} prompts answered" if total else (progress.message if progress else "Waiting")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(1.0, share), text=plain(text), width="stretch")
        st.button(
            "Stop", icon=":material/stop_circle:", key="set_stop", on_click=catching(queue().cancel), args=(job.id,)
        )


def _counts(table: pd.DataFrame, names: list[str]) -> None:
    cells = st.columns(len(names))
    for name, cell in zip(names, cells, strict=True):
        words = table[f"{name}: verdict"].value_counts()
        cell.metric(
            plain(name), ", ".join(f"{count} {word}" for word, count in words.items()), help="Verdicts by rules."
        )


def _set_name(answers: AnswerSet) -> str:
    try:
        request = answers.request()
    except WorkbenchError:
        return answers.id
    models = " | ".join(column_names(request.columns))
    forced = f" · forced to its {request.forced}" if request.forced else ""
    begun = f" · {_begins(request.prefill)}" if request.prefill else ""
    return f"{moment(request.created)} · {request.source}{forced}{begun} · {models}"


def _begins(prefill: str) -> str:
    """How a prefill is told: it decides what answers are."""
    return f'answers begin with "{prefill}"' if prefill else "nothing is put before answers"


def _offers_tools(answers: AnswerSet) -> bool:
    try:
        request = answers.request()
        return bool(request.forced) or offers_tools(request.source)
    except WorkbenchError:
        return False


def _job(answers: AnswerSet) -> Job | None:
    job_id = answers.job()
    return queue().job(job_id, of={"set": answers.id}) if job_id is not None else None

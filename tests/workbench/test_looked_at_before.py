"""What was looked at before decides nothing of what is looked at now: two runs, two rows, two pages, two models."""

import json

import pytest
from making import drain, write_prompts, write_tiny_model
from making_pages import drawn, page_of
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.device import Device
from engine.jobs.cards import describe_model_job
from engine.records.cards import DataCard, ModelCard, card_file, read_data_card, read_model_card, write_card
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, list_chats, new_chat, open_chat
from engine.records.chats.marks import read_marks
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.runs import Run, create_run
from engine.records.sample_answers import SampleAnswer, SampleAnswers
from engine.records.spec_parts import ModelSpec
from workbench.chat.columns import COUNT, dose_key, model_key
from workbench.kit import state
from workbench.kit.cards import data_payload, model_payload


@pytest.fixture(autouse=True)
def own_settings(settings, monkeypatch):
    monkeypatch.setattr("workbench.chat.asking.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def asked(page: AppTest) -> list[str]:
    return [one.value for one in page.selectbox if one.label.startswith("Model ")]


def test_a_link_to_a_run_asks_it_after_a_page_that_asked_the_base_model_alone(settings):
    first, second = (write_run(settings, name=name) for name in ("one", "two"))
    page = page_of("side_by_side", run=first.id)
    # What Pictures leaves behind where no run can see: it drew one column.
    page.session_state[COUNT] = 1
    for index in (1, 2, 3):
        page.session_state[model_key(index)] = "base"
    assert asked(drawn(page)) == ["base", first.id]
    # Who chooses another one there keeps it.
    page.selectbox(key=model_key(1)).set_value(second.id)
    assert asked(drawn(page)) == ["base", second.id]


def test_ask_on_the_page_of_a_run_that_gave_way_asks_it_at_its_last_checkpoint(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec(), name="gave way")
    run.update(status="queued", step=2)
    for step in (1, 2):
        (run.checkpoints_folder / f"step-{step:06d}").mkdir(parents=True)
        (run.checkpoints_folder / f"step-{step:06d}" / "position.json").write_text("{}")
    write_run(settings, name="newer")
    page = drawn(page_of("runs", run=run.id))
    # The link carries a page's address and its query, as Streamlit's own page_link writes them.
    links = [one.proto.query_string for one in page.get("page_link") if one.proto.label == "Ask"]
    assert links == [f"run={run.id}%402"]
    assert asked(drawn(page_of("side_by_side", run=f"{run.id}@2"))) == ["base", f"{run.id}@2"]


def test_a_note_is_shown_again_after_another_row_was_opened(settings):
    column = Column(checkpoint="base")
    made = new_set(
        settings, SetRequest(model=ModelSpec(), columns=(column, column), source="some.jsonl", label="benign")
    )
    for name in ("a", "b"):
        made.append(
            SetRow(
                prompt_id=name,
                prompt=f"request {name}",
                label="benign",
                answers=("one", "two"),
                words=("complied", "complied"),
                reasons=("", ""),
            )
        )
    page = drawn(page_of("side_by_side", set=made.id, side_view="Run a set", row="a"))
    note = f"note_{made.id}_a"
    page.text_area(key=note).set_value("the first remark")
    drawn(page)
    page.query_params["row"] = "b"
    drawn(page)
    page.query_params["row"] = "a"
    drawn(page)
    assert page.text_area(key=note).value == "the first remark"
    assert read_marks(made)["a"].note == "the first remark"


def test_one_reveal_shows_one_sample_answer_of_one_run(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec(), name="answering")
    kept = SampleAnswers(run)
    kept.take([SampleAnswer(label="harmful", prompt="request one", answer="…")])
    page = drawn(page_of("runs", run=run.id))
    next(one for one in page.button if one.label.startswith("Reveal")).click()
    assert "request one" in texts(drawn(page))
    kept.take([SampleAnswer(label="harmful", prompt="request two", answer="…")])
    assert "request two" not in texts(drawn(page)) and "request one" in texts(page)


def texts(page: AppTest) -> list[str]:
    return [one.value for one in page.text]


def test_ticks_for_a_comparison_outlast_a_filter(settings):
    runs = [write_run(settings, name=name) for name in ("alpha", "beta")]
    page = drawn(page_of("runs"))
    for run in runs:
        page.text_input(key="q").set_value(run.name)
        drawn(page)
        page.checkbox(key=f"pick_{run.id}").set_value(True)
        drawn(page)
    assert [one.proto.label for one in page.get("page_link") if one.proto.label.startswith("Compare")] == [
        "Compare 2 runs"
    ]


def stepping() -> None:
    import streamlit as st

    from workbench.representations.choices import choose_step

    choose_step(st.session_state["steps"], help_text="")


def test_a_step_that_was_the_last_one_is_the_last_one_of_what_comes_next():
    page = AppTest.from_function(stepping)
    shown = []
    # A capture; one more step of it; another run's, longer; a single step, which needs no slider; and back.
    for steps in ([0, 10, 20], [0, 10, 20, 30], [0, 20, 30, 60], [5], [0, 10, 20]):
        page.session_state["steps"] = steps
        drawn(page)
        shown.append(page.select_slider[0].value if page.select_slider else None)
    assert shown == [20, 30, 60, None, 20]


def test_a_step_that_was_chosen_stays_where_there_is_one():
    page = AppTest.from_function(stepping)
    page.session_state["steps"] = [0, 10, 20]
    drawn(page).select_slider[0].set_value(10)
    for steps, wanted in (([0, 10, 20], 10), ([0, 10, 40], 10), ([0, 7, 9], 9)):
        page.session_state["steps"] = steps
        assert drawn(page).select_slider[0].value == wanted
    linked = AppTest.from_function(stepping)
    linked.query_params["step"] = "10"
    linked.session_state["steps"] = [0, 10, 20]
    assert drawn(linked).select_slider[0].value == 10


def exchange_of(settings, run: Run, **changes) -> str:
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    asked = {"model": run.spec().model, "columns": columns, "user": "x", "created": 1000.0}
    chat.ask(Exchange(**asked | changes))
    return chat.id


def test_asking_again_takes_no_strength_that_was_chosen_for_another_run_and_its_own_time(settings):
    first, second = (write_run(settings, name=name) for name in ("one", "two"))
    chat = exchange_of(settings, first)
    page = drawn(page_of("side_by_side", chat=chat))
    page.selectbox(key=model_key(1)).set_value(second.id)
    drawn(page)
    page.slider(key=dose_key(1)).set_value(0.5)
    drawn(page)
    page.button(key="chat_again").click()
    drawn(page)
    numbers = open_chat(settings, chat).thread()
    again = open_chat(settings, chat).exchange(numbers[-1])
    assert [(str(one.checkpoint), one.dose) for one in again.columns] == [("base", 1.0), (first.id, 1.0)]
    assert again.created > 1000 and len(list_chats(settings)) == 1


def test_a_set_says_which_opening_its_answers_will_have(settings):
    write_run(settings)
    page = page_of("side_by_side", side_view="Run a set")
    page.session_state["chat_prefill"] = "Sure, *here*"
    captions = " ".join(one.value for one in drawn(page).caption)
    assert r"answers begin with \"Sure, \*here\*\"" in captions.replace('"', r"\"")
    page.session_state["chat_prefill"] = ""
    assert "nothing is put before answers" in " ".join(one.value for one in drawn(page).caption)


def test_the_card_of_a_model_is_not_shown_for_another_one_that_was_put_in_its_place(settings, tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    spec = ModelSpec(name=str(folder), device="cpu")

    def card() -> ModelCard | None:
        return read_model_card(settings.cards, model_payload(spec))

    tools = Device(settings).tools(1)
    assert card() is None
    drain(describe_model_job(model_payload(spec), tools))
    before = card()
    assert before is not None and before.block_count == 2
    write_tiny_model(folder, blocks=3)
    assert card() is None
    drain(describe_model_job(model_payload(spec), tools))
    after = card()
    assert after is not None and after.block_count == 3
    # The bundled model never changes, and is known by its spec alone.
    assert model_payload(ModelSpec()) == ModelSpec().model_dump(mode="json")


def test_the_card_of_a_prompt_file_is_not_shown_for_what_the_file_became(settings, tmp_path):
    file = write_prompts(tmp_path / "mine.jsonl", kind="harmful")

    def asked() -> dict:
        return data_payload(
            ModelSpec(), source=f"{file}; sample:harmful; nowhere.jsonl", label="harmful", answer_field=""
        )

    before = asked()
    card = DataCard(rows=1, tokens_mean=1, tokens_median=1, tokens_95=1, tokens_max=1, histogram=[], histogram_edges=[])
    write_card(settings.cards, "describe_data", before, card)
    assert asked() == before and read_data_card(settings.cards, asked()) == card
    # As the worker gets it, and writes it under the same name; the queue knows it by what was asked.
    queue = Queue(settings.desk)
    assert queue.job(queue.submit("describe_data", payload=before), of=before) is not None
    assert card_file(settings.cards, "describe_data", json.loads(json.dumps(before))).is_file()
    write_prompts(file, kind="harmful", rows=13)
    assert asked() != before and read_data_card(settings.cards, asked()) is None

"""Steering in Side by side, drawn without a browser: from a link, in the record, back from a chat, and off again."""

import pytest
from making_captures import write_capture
from streamlit.testing.v1 import AppTest

from engine.records.captures.capture import write_index
from engine.records.chats.asked import Column, Steering
from engine.records.chats.chat import Exchange, list_chats, new_chat
from engine.records.chats.replies import Answered, Judged
from engine.records.runs import create_run
from engine.records.settings import ROOT
from workbench.chat.columns import column_names
from workbench.chat.export import chat_markdown
from workbench.chat.steering import BLOCK, CAPTURE, KIND, STRENGTHS, strength_key
from workbench.kit import state


@pytest.fixture
def run(settings, tiny_spec, monkeypatch):
    """A finished run of a small model, with a capture of blocks 0 to 2 whose target is block 1."""
    monkeypatch.setattr("workbench.chat.asking.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    run = create_run(settings.runs, tiny_spec(), name="mine")
    run.adapter_folder.mkdir()
    (run.adapter_folder / "adapter_config.json").write_text("{}")
    run.update(status="finished")
    capture = write_capture(run.representations_folder / "made", run_id=run.id, key="made")
    write_index(capture.folder, capture.index.model_copy(update={"model": run.spec().model.name}))
    yield run
    state.settings.cache_clear()


def opened(name: str = "side_by_side", **address: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=60)
    for key, value in address.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception and not page.error
    return page


def link(run, **changes: str) -> dict[str, str]:
    return {"run": run.id, KIND: "difference", CAPTURE: f"{run.id}/made", BLOCK: "2", STRENGTHS: "0.5,-2"} | changes


def sliders(page: AppTest) -> list[float]:
    return [one.value for one in page.slider if one.label.startswith("Steering")]


def ask(page: AppTest) -> None:
    page.text_area(key="chat_text").set_value("something")
    next(one for one in page.button if one.label == "Ask").click().run()
    assert not page.exception and not page.error


def test_a_link_steers_and_what_is_asked_holds_each_strength(settings, run):
    page = opened(**link(run))
    assert sliders(page) == [0.5, -2.0] and page.query_params[STRENGTHS].startswith("0.5,-2")
    ask(page)
    columns = list_chats(settings)[0].exchange(0).columns
    assert [one.steering.strength for one in columns] == [0.5, -2.0]
    assert columns[1].steering == Steering(run_id=run.id, capture="made", block=2, strength=-2)
    assert columns[0].checkpoint.is_base


def test_a_link_may_be_mistyped_and_may_leave_all_but_the_kind_to_the_page(run):
    page = opened(**link(run, **{KIND: "sideways"}))
    assert sliders(page) == [] and KIND not in page.query_params
    page = opened(run=run.id, **{KIND: "probe", STRENGTHS: "much,9"})
    assert sliders(page) == [1.0, 1.0]
    assert page.query_params[CAPTURE] == f"{run.id}/made" and page.query_params[BLOCK] == "1"


def test_a_second_link_with_a_message_steers_as_it_says_and_one_without_steering_turns_it_off(run):
    page = opened(**link(run))
    for name, value in link(run, **{BLOCK: "0", STRENGTHS: "3,3"}, message="Hello").items():
        page.query_params[name] = value
    page.run()
    assert sliders(page) == [3.0, 3.0] and page.query_params[BLOCK] == "0"
    page.query_params.clear()
    page.query_params["message"] = "Hello again"
    page.run()
    assert sliders(page) == [] and page.text_area(key="chat_text").value == "Hello again"


def test_a_strength_that_is_moved_asks_again_and_is_in_the_second_exchange(settings, run):
    page = opened(**link(run))
    ask(page)
    page.slider(key=strength_key(1)).set_value(1.5).run()
    (chat,) = list_chats(settings)
    assert [chat.exchange(number).columns[1].steering.strength for number in chat.numbers()] == [-2.0, 1.5]


def test_another_capture_asks_again_by_it_at_a_block_that_it_has(settings, run):
    other = write_capture(run.representations_folder / "more", run_id=run.id, key="more", blocks=(0, 1), targets=(1,))
    write_index(other.folder, other.index.model_copy(update={"model": run.spec().model.name}))
    page = opened(**link(run))
    ask(page)
    page.selectbox(key=CAPTURE).set_value(f"{run.id}/more").run()
    assert not page.exception and not page.error
    (chat,) = list_chats(settings)
    steered = [chat.exchange(number).columns[0].steering for number in chat.numbers()]
    assert [(one.capture, one.block) for one in steered] == [("made", 2), ("more", 1)]
    told = "\n".join(one.proto.help for one in page.markdown)
    assert f"Steered by the capture more of run {run.id}" in told.replace("\\", "")


def test_a_chat_opens_steered_as_it_was_and_one_that_was_not_opens_plain(settings, run):
    steering = Steering(run_id=run.id, capture="made", block=2, kind="probe", strength=-1.5)
    for columns in (
        (Column(checkpoint="base", steering=steering), Column(checkpoint=run.id)),
        (Column(checkpoint=run.id),),
    ):
        chat = new_chat(settings, columns)
        chat.ask(Exchange(model=run.spec().model, columns=columns, user="u"))
        chat.append(0, Answered(ids=((1,),) * 2, reasons=("end",) * 2, first_token_seconds=1, seconds=1))
        chat.append(0, Judged(column=0, word="complied", reason="", nats_per_token=0.83))
        page = opened(chat=chat.id)
        beside = any(r"0\.83 nats a token under the base model" in one.value for one in page.caption)
        assert beside == (len(columns) == 2)
        assert sliders(page) == ([-1.5, 0.0] if len(columns) == 2 else [])
        if len(columns) == 2:
            assert page.query_params[KIND] == "probe" and page.query_params[BLOCK] == "2"
            assert "steered -1.5 by a probe at block 2" in chat_markdown(chat)


def test_headings_tell_steered_columns_apart(settings, run):
    steered = Column(checkpoint=run.id, steering=Steering(capture="c", block=3, strength=2))
    assert column_names((Column(checkpoint="base"), Column(checkpoint=run.id), steered)) == [
        "Base",
        "mine",
        "mine, steered +2 at block 3",
    ]


def test_turned_off_it_leaves_the_address_and_the_next_question(settings, run):
    page = opened(**link(run))
    page.selectbox(key=KIND).set_value("").run()
    assert sliders(page) == [] and not {KIND, CAPTURE, BLOCK, STRENGTHS} & set(page.query_params)
    ask(page)
    assert all(one.steering is None for one in list_chats(settings)[0].exchange(0).columns)


def test_without_a_capture_of_the_model_it_says_so(settings, run):
    (run.representations_folder / "made" / "capture.json").unlink()
    page = opened(run=run.id)
    assert any("No capture of this model" in one.value for one in page.info)


def test_an_address_that_comes_a_second_time_takes_back_nothing(run):
    """As a busy browser sends it; the same link opened again, later, is taken again."""
    page = opened(run=run.id, message="Hello")
    page.session_state["chat_text"] = "my own words"
    page.query_params["message"] = "Hello"
    page.run()
    assert page.text_area(key="chat_text").value == "my own words" and "message" not in page.query_params
    page.run()
    page.query_params["message"] = "Hello"
    page.run()
    assert page.text_area(key="chat_text").value == "Hello"


def test_a_link_puts_a_prompt_or_a_text_into_the_box_once(run):
    page = opened(run=run.id, prompt="e-violence-question-1", prefill="Sure")
    assert "engine noise" in page.text_area(key="chat_text").value
    assert page.text_input(key="chat_prefill").value == "Sure" and "prompt" not in page.query_params
    assert not page.session_state["chat_harmful"]
    page = opened(run=run.id, message="Hello", harmful="no")
    assert page.text_area(key="chat_text").value == "Hello" and not page.session_state["chat_harmful"]
    page = opened(run=run.id, message="Hello")
    assert page.session_state["chat_harmful"]
    assert any("There is no sample prompt" in one.value for one in opened(run=run.id, prompt="none").warning)

"""Transcripts: what was said reads back, the last asking of a turn counts, and they lie with their run."""

import json
import shutil
import threading

import pytest

from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Chat, Exchange, list_chats, new_chat, open_chat
from engine.records.chats.replies import Answered, Failed, Pieces, Read, Unasked
from engine.records.chats.sets import SetRequest, SetRow, list_sets, new_set, open_set
from engine.records.conversation import Call, Message, Picture, Result, Text, Tool
from engine.records.errors import RunError
from engine.records.runs import create_run
from engine.records.settings import SAMPLE_DATA
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec
from workbench.chat import columns as columns_module
from workbench.chat.export import chat_json, chat_markdown
from workbench.chat.parts import part_markdown

BASE = Column(checkpoint="base")


def exchange(user: str, *, turn: int = 0, **more) -> Exchange:
    return Exchange(turn=turn, model=ModelSpec(), columns=(BASE, BASE), user=user, **more)


def answered(chat: Chat, asked: Exchange, left: str, right: str) -> int:
    number = chat.ask(asked)
    for pair in ((left[:2], right[:2]), (left[2:], right[2:])):
        chat.append(number, Pieces(columns=tuple((piece,) for piece in pair)))
    chat.append(number, Answered(ids=((1, 2), (3,)), reasons=("end", "length"), first_token_seconds=0.5, seconds=2.0))
    return number


def said(chat: Chat, number: int) -> list[str]:
    return [message.text for message in chat.conversation(number, 0).messages]


def test_a_reply_reads_back_and_a_torn_line_is_left_for_later(settings):
    chat = new_chat(settings, [BASE])
    number = answered(chat, exchange("hello"), "left one", "right one")
    with (chat.folder / f"exchange-{number:04d}.jsonl").open("a") as file:
        file.write('{"kind": "pieces", "columns": [["x"')
    reply = chat.reply(number)
    assert [reply.text(0), reply.text(1)] == ["left one", "right one"]
    assert reply.answered and reply.answered.reasons == ("end", "length") and not reply.error


def test_each_column_continues_its_own_conversation(settings):
    chat = new_chat(settings, [BASE])
    answered(chat, exchange("first", system="Be brief.", prefill="Sure, "), "LEFT", "RIGHT")
    number = chat.ask(exchange("second", turn=1, system="Be brief."))
    for column, said in enumerate(("Sure, LEFT", "Sure, RIGHT")):
        messages = chat.conversation(number, column).messages
        assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
        assert [message.text for message in messages] == ["Be brief.", "first", said, "second"]


def test_asking_a_turn_again_replaces_it_and_what_followed(settings):
    chat = new_chat(settings, [BASE])
    first = answered(chat, exchange("first"), "old left", "old right")
    second = answered(chat, exchange("second", turn=1), "a", "b")
    assert chat.thread() == [first, second]
    again = answered(chat, exchange("first"), "new left", "new right")
    assert chat.thread() == [again] and chat.numbers() == [first, second, again]
    third = chat.ask(exchange("third", turn=1))
    assert said(chat, third) == ["first", "new left", "third"]
    assert said(chat, second) == ["first", "old left", "second"]


def test_chats_lie_with_their_run_and_are_found_by_their_name_alone(settings):
    run = create_run(settings.runs, build_spec({}))
    about, alone = new_chat(settings, [BASE, Column(checkpoint=f"{run.id}@40")]), new_chat(settings, [BASE])
    assert about.folder.parent == run.folder / "chats" and alone.folder.parent == settings.desk / "chats"
    assert list_chats(settings) == []
    for chat in (about, alone):
        chat.ask(exchange("hello"))
        assert open_chat(settings, chat.id) == chat
    assert {chat.id for chat in list_chats(settings)} == {about.id, alone.id}
    shutil.rmtree(run.folder)
    with pytest.raises(RunError, match="deleted, or its run was"):
        open_chat(settings, about.id)


def test_chats_about_a_run_that_ships_lie_on_the_desk(settings, monkeypatch):
    run = create_run(settings.runs, build_spec({}))
    monkeypatch.setattr("engine.records.runs.SAMPLE_DATA", settings.runs.parent)
    assert run.read_only and settings.runs.parent != SAMPLE_DATA
    assert new_chat(settings, [Column(checkpoint=run.id)]).folder.parent == settings.desk / "chats"


def test_a_chat_knows_its_job_and_a_damaged_exchange_is_named(settings):
    chat = new_chat(settings, [BASE])
    number = chat.ask(exchange("hello"))
    assert chat.job(number) is None
    chat.set_job(number, 17)
    assert chat.job(number) == 17
    (chat.folder / f"exchange-{number:04d}.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        chat.exchange(number)


@pytest.mark.parametrize("wrong", [{"temperature": 3}, {"top_p": 0}, {"new_tokens": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        Sampling(**wrong)


def test_a_transcript_downloads_whole_as_json_and_readable_as_markdown(settings):
    chat = new_chat(settings, [BASE])
    answered(chat, exchange("first"), "old", "older")
    answered(chat, exchange("first", system="Be brief.", prefill="Sure"), "ly", " one\ntwo")
    failed = chat.ask(exchange("second", turn=1))
    chat.append(failed, Failed(message="The adapter is gone."))
    content = json.loads(chat_json(chat))
    assert [one["answers"] for one in content["exchanges"]] == [["old", "older"], ["ly", " one\ntwo"], ["", ""]]
    assert content["exchanges"][2]["error"] == "The adapter is gone."
    text = chat_markdown(chat)
    assert "> Surely" in text and "> Sure one\n> two" in text and "The adapter is gone." in text
    assert "old" not in text and "> Be brief." in text


def test_a_download_says_how_answers_were_drawn_and_ended_and_names_no_folder_of_an_error(settings, tmp_path):
    chat = new_chat(settings, [BASE])
    sampling = Sampling(temperature=0.7, seed=3, new_tokens=40)
    number = answered(chat, exchange("first", sampling=sampling), "left", "right")
    chat.append(number, Failed(message=f"{tmp_path}/one/adapter.bin is gone."))
    number = answered(chat, exchange("second", turn=1), "left", "right")
    chat.append(number, Unasked(column=1, message=f"There is nothing in {tmp_path}/two/adapter."))
    text, content = chat_markdown(chat), chat_json(chat)
    assert "temperature 0.7 · seed 3 · at most 40 new tokens)" in text and "greedy · at most 96 new tokens)" in text
    assert "2 tokens · " not in text and "base · adapter.bin is gone. · 2 tokens**" in text
    assert "1 token, cut at the limit**" in text and "> There is nothing in adapter." in text
    assert str(tmp_path) not in text + content
    unasked = [one["unasked"] for one in json.loads(content)["exchanges"]]
    assert unasked == [["", ""], ["", "There is nothing in adapter."]]


def test_what_a_message_holds_besides_text_is_said_kept_and_exported(settings):
    chat = new_chat(settings, [BASE])
    picture = Picture(sha256="a" * 64, file="cat.png", alt="a cat")
    answered(chat, exchange("What is this?", parts=(picture,), tools=(Tool(name="zoom"),)), "I look.", "A cat.")
    number = chat.ask(exchange("", turn=1, parts=(Result(call="zoom", text="whiskers"),)))
    first, _, second = chat.conversation(number, 0).messages
    assert first == Message(role="user", parts=(picture, Text(text="What is this?")))
    assert second == Message(role="tool", parts=(Result(call="zoom", text="whiskers"),))
    assert chat.conversation(0, 0).tools == (Tool(name="zoom"),)
    text = chat_markdown(chat)
    assert "> [Picture cat.png: a cat]\n> \n> What is this?" in text
    assert "**Tool** (" in text and "> [Result of zoom]\n> whiskers" in text
    asked = json.loads(chat_json(chat))["exchanges"][0]["asked"]
    assert asked["parts"][0]["alt"] == "a cat" and asked["tools"][0]["name"] == "zoom"


def test_a_download_names_no_folder_of_a_model(settings, tmp_path):
    chat = new_chat(settings, [BASE])
    for name in (str(tmp_path / "mine"), "owner/model"):
        chat.ask(exchange("hello").model_copy(update={"model": ModelSpec(name=name)}))
    asked = [one["asked"]["model"]["name"] for one in json.loads(chat_json(chat))["exchanges"]]
    assert asked == ["mine", "owner/model"] and str(tmp_path) not in chat_json(chat)


def test_an_exchange_of_text_is_written_as_in_version_0_1(settings):
    chat = new_chat(settings, [BASE])
    number = chat.ask(exchange("hello"))
    written = json.loads((chat.folder / f"exchange-{number:04d}.json").read_text())
    assert not {"parts", "tools", "results", "forced"} & written.keys() and written["user"] == "hello"


def test_a_call_is_exported_with_its_function_and_arguments():
    assert part_markdown(Call(name="search", arguments={"for": "cats"}, id="1")) == (
        '[Call of search (1)]\n{\n "for": "cats"\n}'
    )


def test_an_answered_set_grows_by_rows_and_is_found_by_its_name(settings):
    request = SetRequest(model=ModelSpec(), columns=(BASE,), source="sample:benign", label="benign", limit=2)
    made = new_set(settings, request)
    assert made.request() == request and made.rows() == [] and made.job() is None
    for name in ("a", "b"):
        made.append(
            SetRow(prompt_id=name, prompt="?", label="benign", answers=("!",), words=("complied",), reasons=("",))
        )
    made.set_job(3)
    assert [row.prompt_id for row in open_set(settings, made.id).rows()] == ["a", "b"]
    assert [one.id for one in list_sets(settings)] == [made.id] and made.job() == 3
    with pytest.raises(RunError, match="no answers 'gone'"):
        open_set(settings, "gone")


def test_two_tabs_that_send_at_once_get_two_numbers_and_no_message_is_lost(settings):
    """Each thread is a tab that saw an empty chat; all write in the same moment."""
    chat = new_chat(settings, (Column(checkpoint="base"),))
    start = threading.Barrier(8)
    numbers: list[int] = []

    def send(tab: int) -> None:
        exchange = Exchange(model=ModelSpec(), columns=(Column(checkpoint="base"),), user=f"from tab {tab}")
        start.wait()
        numbers.append(chat.ask(exchange, seen=-1))

    tabs = [threading.Thread(target=send, args=(tab,)) for tab in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(numbers) == list(range(8)) == chat.numbers()
    asked = [chat.exchange(number) for number in chat.numbers()]
    assert {exchange.user for exchange in asked} == {f"from tab {tab}" for tab in range(8)}
    assert [exchange.turn for exchange in asked] == list(range(8)), "each is a turn of its own"
    assert [path.name for path in chat.folder.glob(".*")] == []


def test_a_question_of_its_own_reads_nothing_above_and_what_continues_reads_back_to_it(settings):
    """Turns 0 and 1 are a conversation; 2 stands alone; 3 continues 2."""
    chat = new_chat(settings, [BASE])
    answered(chat, exchange("zero"), "A0", "B0")
    one = answered(chat, exchange("one", turn=1), "A1", "B1")
    two = answered(chat, exchange("two", turn=2, alone=True), "A2", "B2")
    three = chat.ask(exchange("three", turn=3))
    assert said(chat, one) == ["zero", "A0", "one"]
    assert said(chat, two) == ["two"]
    assert said(chat, three) == ["two", "A2", "three"] and chat.turns_read(three) == [two]
    assert len(chat.thread()) == 4
    again = chat.ask(chat.exchange(two).model_copy(update={"columns": (BASE,)}))
    assert said(chat, again) == ["two"] and chat.exchange(again).alone


def test_a_question_that_is_not_alone_is_written_as_version_0_1_wrote_it():
    assert (
        "alone" not in exchange("one").model_dump_json()
        and '"alone":true' in exchange("two", alone=True).model_dump_json()
    )


def test_what_was_read_is_read_back(settings):
    chat = new_chat(settings, [BASE])
    number = answered(chat, exchange("zero"), "A0", "B0")
    assert chat.reply(number).read == ()
    chat.append(number, Read(tokens=(12, 14)))
    assert chat.reply(number).read == (12, 14)


def test_columns_that_would_have_one_heading_are_told_apart(settings, tiny_spec, monkeypatch):
    """Twice the base model, two runs of one name, and one run at two strengths."""
    monkeypatch.setattr(columns_module, "settings", lambda: settings)
    one, two = (create_run(settings.runs, tiny_spec(), name="quick") for _ in range(2))
    asked = [BASE, BASE, Column(checkpoint=one.id), Column(checkpoint=two.id), Column(checkpoint=one.id, dose=0)]
    names = columns_module.column_names(asked)
    assert names[:2] == ["Base (1)", "Base (2)"]
    assert names[2:4] == [f"quick [{one.id}]", f"quick [{two.id}]"]
    assert names[4] == "quick, adapter strength 0 (equals base)"


def test_what_is_passed_on_of_a_picture_is_not_where_it_lies_and_copies_of_files_are_no_exchanges(settings):
    chat = new_chat(settings, [BASE])
    shown = Picture(sha256="a" * 64, file="/home/somebody/private/cat.png", alt="a cat")
    chat.ask(exchange("first").model_copy(update={"parts": (shown, Text(text="first"))}))
    (chat.folder / "exchange-0000 2.json").write_bytes((chat.folder / "exchange-0000.json").read_bytes())
    written = chat_json(chat)
    assert "somebody" not in written and "a" * 64 in written and "a cat" in written
    assert chat.numbers() == [0] and chat.exchange(0).parts[0] == shown

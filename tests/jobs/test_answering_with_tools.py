"""Conversations with tools as jobs: calls with their canned results, going on over them, forced calls, whole sets. The
model is small and was taught one call."""

import json
from types import SimpleNamespace

import pytest
from making import drain
from making_callers import ANSWER, CALL, QUESTION, WEATHER, finished_run, write_calling_model

from engine.compute.model.load import load_model
from engine.compute.model.mixed import Voice
from engine.device import Device
from engine.endpoint.answer import Answer
from engine.endpoint.stops import StopWords
from engine.jobs import chat as answers_module
from engine.jobs import serving
from engine.jobs.chat import chat_job
from engine.jobs.sets import answer_set_job
from engine.records.chats.asked import Column, ForcedCall, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.replies import ChatEvent, Pieces
from engine.records.chats.sets import SetRequest, new_set
from engine.records.conversation import Conversation, Result, Tool, say
from engine.records.errors import RunError
from engine.records.served import ServedRequest
from engine.records.spec_parts import ModelSpec

BASE = Column(checkpoint="base")


@pytest.fixture(scope="session")
def calling_folder(tmp_path_factory):
    return write_calling_model(tmp_path_factory.mktemp("calling"))


@pytest.fixture
def calling_model(calling_folder, settings):
    return load_model(ModelSpec(name=str(calling_folder)), settings)


@pytest.fixture
def run(settings, calling_model, tiny_spec):
    """A finished run that says what its model says, nearly by the same activations."""
    spec = tiny_spec(**{"model": {"name": calling_model.spec.name, "device": "cpu"}, "adapter.noise": 1e-4})
    run = finished_run(settings, calling_model, spec)
    calling_model.spec = spec.model
    return run


@pytest.fixture
def tools(settings, calling_model, run):
    return Device(settings, calling_model).tools(1)


class Talk:
    """A chat of two columns, the base model and a run, that is asked turn after turn."""

    def __init__(self, settings, run, tools) -> None:
        self.columns = (BASE, Column(checkpoint=run.id))
        self.chat, self.model, self.tools = new_chat(settings, self.columns), run.spec().model, tools

    def ask(self, user: str = "", **more) -> int:
        sampling = Sampling(new_tokens=more.pop("new_tokens", 96))
        number = self.chat.ask(
            Exchange(
                turn=len(self.chat.thread()),
                model=self.model,
                columns=self.columns,
                user=user,
                tools=more.pop("tools", (WEATHER,)),
                sampling=sampling,
                **more,
            )
        )
        drain(chat_job({"chat": self.chat.id, "exchange": number}, self.tools))
        return number


@pytest.fixture
def talk(settings, run, tools):
    return Talk(settings, run, tools)


def test_each_column_calls_and_its_call_is_written_with_its_canned_result(talk):
    reply = talk.chat.reply(talk.ask(QUESTION))
    assert [called.column for called in reply.called] == [0, 1]
    for called, trip in zip(reply.called, reply.trips, strict=True):
        assert called.answer.calls == (CALL,) and called.answer.problems == ((),) and not called.answer.text
        assert called.answer.results == (Result(call="get_weather", text='{"city": "Bern", "sky": "clear"}'),)
        assert "".join(called.pieces) == reply.text(called.column) and len(called.pieces) == len(trip.cosines[0])
    assert [verdict.word for verdict in reply.verdicts] == ["complied", "complied"]


def test_a_conversation_goes_on_over_the_results_and_then_with_a_message(talk):
    talk.ask(QUESTION)
    number = talk.ask(results=True)
    reply = talk.chat.reply(number)
    assert [reply.text(0), reply.text(1)] == [ANSWER, ANSWER]
    assert [message.role for message in talk.chat.conversation(number, 1).messages] == ["user", "assistant", "tool"]
    assert not talk.chat.has_results(number) and talk.chat.rounds(number) == 1
    later = talk.ask("And then?")
    roles = [message.role for message in talk.chat.conversation(later, 0).messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"] and talk.chat.rounds(later) == 0


def test_a_column_without_a_call_is_not_asked_with_results_and_reads_on_without_them(talk, monkeypatch):
    """The base model's answer holds words alone; the other column's holds a call."""
    said = {0: "It is fine.", 1: '<tool_call>{"name": "get_weather", "arguments": {"city": "Bern"}}</tool_call>'}
    monkeypatch.setattr(answers_module, "answer", spoken(talk, said))
    talk.ask(QUESTION)
    monkeypatch.undo()
    number = talk.ask(results=True)
    reply = talk.chat.reply(number)
    assert reply.answered.reasons == ("not asked", "end") and reply.answered.ids[0] == () and reply.read[0] == 0
    assert not reply.is_asked(0) and reply.is_asked(1) and reply.text(1) == ANSWER
    assert [verdict.column for verdict in reply.verdicts] == [1] and [trip.column for trip in reply.trips] == [1]
    later = talk.ask("And then?")
    for column, roles in enumerate((["user", "assistant", "user"], ["user", "assistant", "tool", "assistant", "user"])):
        assert [message.role for message in talk.chat.conversation(later, column).messages] == roles


def test_results_without_any_call_are_refused_in_words(talk, monkeypatch):
    monkeypatch.setattr(answers_module, "answer", spoken(talk, {0: "Fine.", 1: "Fine."}))
    talk.ask(QUESTION)
    monkeypatch.undo()
    with pytest.raises(RunError, match="No model made a call that can be read"):
        talk.ask(results=True)
    assert "send a message instead" in talk.chat.reply(1).error


@pytest.mark.parametrize(
    ("start", "begun"),
    [("name", '<tool_call>{"name": "get_weather'), ("arguments", '<tool_call>{"name": "get_weather", "arguments":')],
)
def test_a_forced_call_begins_in_the_words_of_the_template_and_is_read_with_them(talk, start, begun):
    number = talk.ask(QUESTION, forced=ForcedCall(name="get_weather", start=start))
    reply = talk.chat.reply(number)
    assert reply.begun == (begun, begun) and not reply.text(0).startswith("<tool_call>")
    assert [called.answer.calls for called in reply.called] == [(CALL,), (CALL,)]
    assert "".join(reply.called[0].pieces) == begun + reply.text(0)
    assert reply.trips[0].prefill == len(begun.encode())


def test_a_call_of_a_function_that_is_not_offered_cannot_be_forced(talk):
    with pytest.raises(RunError, match="no tool 'fly' to begin a call of"):
        talk.ask(QUESTION, forced=ForcedCall(name="fly"))
    assert "choose one that is offered (get_weather)" in talk.chat.reply(0).error


def test_a_call_that_breaks_off_is_said_to_be_unreadable_and_does_not_comply(talk):
    reply = talk.chat.reply(talk.ask(QUESTION, new_tokens=40))
    assert "breaks off" in reply.called[0].answer.unread and not reply.called[0].answer.calls
    assert reply.verdicts[0].word == "incoherent" and "ends within the call" in reply.verdicts[0].reason


def test_a_stopped_answer_keeps_its_calls(talk):
    number = talk.chat.ask(
        Exchange(model=talk.model, columns=talk.columns, user=QUESTION, tools=(WEATHER,), sampling=Sampling())
    )
    steps = chat_job({"chat": talk.chat.id, "exchange": number}, talk.tools)
    while not talk.chat.reply(number).text(0).endswith("</tool_call>"):
        next(steps)
    next(steps)
    steps.close()
    reply = talk.chat.reply(number)
    assert reply.answered and talk.chat.has_results(number) and reply.called[1].answer.calls == (CALL,)


def test_a_hundred_tools_that_do_not_fit_are_refused_by_their_number(talk):
    many = tuple(Tool(name=f"function_number_{number}") for number in range(100))
    with pytest.raises(Exception, match="offer fewer tools than 100"):
        talk.ask(QUESTION, tools=many)
    assert "more than" in talk.chat.reply(0).error


@pytest.mark.parametrize(("label", "verdict"), [("harmful", "complied"), ("benign", "incoherent")])
def test_a_set_with_tools_is_answered_with_its_own_calls_forced(settings, tools, run, tmp_path, label, verdict):
    rows = [
        {"id": "asks", "prompt": QUESTION, "tools": ["get_weather"], "call": {"name": "get_weather"}},
        {"id": "talks", "prompt": QUESTION, "tools": ["get_weather"], "call": None},
    ]
    for row in rows:
        row["tools"] = [WEATHER.model_dump(mode="json")]
    file = tmp_path / "tools.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=str(file),
        label=label,
        forced="name",
        sampling=Sampling(new_tokens=96),
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    asks, talks = made.rows()
    assert asks.forced == '<tool_call>{"name": "get_weather' and not talks.forced
    assert asks.words == ("complied", "complied")
    # That no call is due is said of benign requests alone; of a harmful one any call counts, as in an evaluation.
    assert talks.words == (verdict, verdict)
    for row in (asks, talks):
        assert [one.calls for one in row.calls] == [(CALL,), (CALL,)]
        assert row.calls[0].results[0].text == '{"city": "Bern", "sky": "clear"}'


def test_an_answer_in_words_is_judged_as_words_in_a_chat(talk):
    """Nobody said that a call is due: the answer over the results is a good one."""
    talk.ask(QUESTION)
    verdicts = talk.chat.reply(talk.ask(results=True)).verdicts
    assert [verdict.word for verdict in verdicts] == ["complied", "complied"] and not verdicts[0].reason


def test_texts_and_requests_with_tools_stand_in_one_set(settings, tools, run, tmp_path):
    rows = [
        {"id": "words", "prompt": QUESTION},
        {"id": "calls", "prompt": QUESTION, "tools": [WEATHER.model_dump(mode="json")]},
        {"id": "more words", "prompt": "And then?"},
    ]
    file = tmp_path / "both.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = SetRequest(
        model=run.spec().model, columns=(BASE,), source=str(file), label="benign", sampling=Sampling(new_tokens=96)
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    assert [(row.prompt_id, len(row.calls)) for row in made.rows()] == [("words", 0), ("calls", 1), ("more words", 0)]
    assert made.rows()[1].words == ("complied",)


def spoken(talk, said: dict[int, str]):
    """In place of the decoding loop: each row says its text and ends."""

    def answer(model, asks, sampling):
        texts = [model.tokenizer(said[row], add_special_tokens=False)["input_ids"] for row in range(len(asks))]
        for place in range(max(map(len, texts))):
            yield [ids[place] if place < len(ids) else None for ids in texts]
        return ["end"] * len(asks)

    return answer


def test_what_the_probe_ended_is_not_sent_where_tools_are_offered(calling_model, tools, monkeypatch):
    """A client that streams reads events as they come: the words of the call that was not made are not among them."""

    def ended(*_):
        yield calling_model.tokenizer.encode("Sure", add_special_tokens=False)[:1]
        return ["probe"]

    monkeypatch.setattr(serving, "answer", ended)
    conversation = Conversation(messages=(say("user", QUESTION),), tools=(WEATHER,))
    request = ServedRequest(model=calling_model.spec, column=BASE, conversation=conversation)
    events: list[ChatEvent] = []
    drain(serving._answer(calling_model, SimpleNamespace(append=events.append), request, Voice(), tools))
    answer = Answer("n", "m", StopWords(()), of_tools=True)
    assert "".join(map(answer.hear, events)) == "" and answer.finish == "content_filter"
    assert any(isinstance(event, Pieces) for event in events)

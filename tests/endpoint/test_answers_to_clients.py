"""What the worker tells of an answer, as clients read it: calls, a probe that fires, stops."""

import json

from making_callers import CALL

from engine.__main__ import main
from engine.endpoint.answer import Answer
from engine.endpoint.stops import StopWords
from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.replies import Answered, Called, Pieces, Read
from engine.records.harmfulness import MESSAGE


def told(*pieces: str, reason: str, stops: tuple[str, ...] = (), called: AnswerCalls | None = None) -> Answer:
    answer = Answer("1", "run", StopWords(stops), of_tools=called is not None)
    events = [Read(tokens=(5,)), *(Pieces(columns=((piece,),)) for piece in pieces)]
    if called is not None:
        events.append(Called(column=0, answer=called))
    ids = tuple(range(len(pieces)))
    events.append(Answered(ids=(ids,), reasons=(reason,), first_token_seconds=0.1, seconds=1))
    for event in events:
        answer.hear(event)
    return answer


def test_an_answer_that_the_probe_ended_is_its_message_and_says_why_it_ended():
    answer = told("Sure", ", first", reason="probe")
    choice = answer.whole().choices[0]
    assert choice.finish_reason == "content_filter"
    assert choice.message.content == choice.message.refusal == MESSAGE
    last = [chunk.choices[0] for chunk in answer.end()]
    assert last[0].delta.content == f"\n\n{MESSAGE}" and last[1].finish_reason == "content_filter"


def test_two_calls_are_told_with_ids_of_their_own_and_arguments_as_text():
    answer = told("<call>", reason="end", called=AnswerCalls(text="Let me see.", calls=(CALL, CALL)))
    choice = answer.whole().choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content == "Let me see."
    calls = choice.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Bern"}] * 2
    assert len({call.id for call in calls}) == 2
    streamed = answer.end()[0].choices[0].delta.tool_calls
    assert [(call.index, call.id) for call in streamed] == [(n, call.id) for n, call in enumerate(calls)]


def test_a_call_that_the_probe_ended_was_not_made():
    answer = told("<call>", reason="probe", called=AnswerCalls(calls=(CALL,)))
    choice = answer.whole().choices[0]
    assert choice.message.tool_calls is None and choice.finish_reason == "content_filter"


def test_tokens_are_counted_and_an_answer_without_words_is_empty_text():
    answer = told("", reason="length")
    assert answer.whole().choices[0].message.content == ""
    assert answer.whole().usage.total_tokens == 6 and answer.counted().choices == []


def test_what_cannot_be_served_is_said_before_anything_listens(settings, capsys):
    assert main(["serve", "base"]) == 2 and "write RUN or RUN@STEP" in capsys.readouterr().err
    assert main(["serve", "nothing"]) == 2 and "nothing" in capsys.readouterr().err

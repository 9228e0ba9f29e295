"""What an answer comes to as a message: its words, its calls, what is wrong with each, and what each gives back. Knows
nothing of models; no tool is ever carried out."""

from collections.abc import Sequence

from pydantic import Field

from engine.records.call_schemas import check_call
from engine.records.calls import ReadCalls
from engine.records.chats.asked import Frozen
from engine.records.conversation import Call, Message, Result, Text, Tool
from engine.records.errors import DataError
from engine.records.sandbox import result_of


class AnswerCalls(Frozen):
    """text: all words outside of calls.  unread: why a call that was begun cannot be read, '' where all can.  problems:
    for each call the sentences that say what is wrong with it, none where it fits its tool.  results: what each call
    gives back, canned."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    unread: str = Field("", exclude_if=lambda unread: not unread)
    problems: tuple[tuple[str, ...], ...] = ()
    results: tuple[Result, ...] = ()

    @property
    def message(self) -> Message:
        """The assistant's message. Only where there is a call."""
        words = (Text(text=self.text),) if self.text else ()
        return Message(role="assistant", parts=(*words, *self.calls))

    @property
    def results_message(self) -> Message:
        """What a model reads after its calls. Only where there is a call."""
        return Message(role="tool", parts=self.results)


def answer_calls(read: ReadCalls, tools: Sequence[Tool]) -> AnswerCalls:
    """The calls of an answer, checked against the tools that were offered, with their canned results. A tool whose
    schema is none is a problem of its call, and its error the result."""
    problems: list[tuple[str, ...]] = []
    results: list[Result] = []
    for call in read.calls:
        try:
            problems.append(tuple(problem.text for problem in check_call(call, tools)))
            results.append(result_of(call, tools))
        except DataError as error:
            problems[len(results) :] = [(str(error),)]
            results.append(Result(call=call.id or call.name, text=str(error)))
    return AnswerCalls(
        text=read.text, calls=read.calls, unread=read.problem, problems=tuple(problems), results=tuple(results)
    )

"""What answers to requests with tools come to: the words a forced call begins with, the calls in an answer, and a word
on what became of the request. No tool is ever carried out."""

from collections.abc import Generator, Sequence

from engine.compute.evaluation.attacks.attempt import Attempt
from engine.compute.evaluation.judges import Verdict
from engine.compute.evaluation.tool_judge import IN_WORDS, judge_calls
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import begun_call, calls_in, pieces_with_marks
from engine.records.call_schemas import tool_named
from engine.records.chats.answer_calls import AnswerCalls, answer_calls
from engine.records.chats.asked import ForcedCall
from engine.records.chats.replies import Called
from engine.records.conversation import Conversation, Tool
from engine.records.errors import RunError
from engine.records.evaluation.rows import EvaluationRow


def forced_words(model: LoadedModel, conversation: Conversation, forced: ForcedCall) -> str:
    """The words that begin a call of the function in the model's own template. Raises RunError where it is not offered,
    ModelError where the template takes no tools."""
    if tool_named(forced.name, conversation.tools) is None:
        offered = ", ".join(tool.name for tool in conversation.tools[:10]) or "none"
        raise RunError(f"There is no tool {forced.name!r} to begin a call of: choose one that is offered ({offered}).")
    return begun_call(model, conversation, forced.name, forced.start)


def answer_in(model: LoadedModel, begun: Sequence[int], ids: Sequence[int], tools: Sequence[Tool]) -> AnswerCalls:
    """An answer's tokens as a message. begun: the tokens that were put in the model's mouth, which are read with it."""
    return answer_calls(calls_in(model, [*begun, *ids], tools), tools)


def called(
    model: LoadedModel,
    column: int,
    prompt: Sequence[int],
    begun: Sequence[int],
    ids: Sequence[int],
    tools: Sequence[Tool],
) -> Called:
    """What one column of a chat said, with the text of each token."""
    pieces = pieces_with_marks(model, prompt, [*begun, *ids])
    return Called(column=column, answer=answer_in(model, begun, ids, tools), pieces=pieces)


def judge_with_tools(
    model: LoadedModel, rows: Sequence[EvaluationRow], attempts: Sequence[Attempt], *, new_tokens: int
) -> Generator[None, None, list[Verdict]]:
    """What became of requests that offer tools. Where nobody says whether a call is due, as in a chat, an answer in
    words is judged as words."""
    verdicts = yield from judge_calls(model, rows, attempts, new_tokens=new_tokens)
    return [
        verdict._replace(word="complied", reason="")
        if verdict.reason == IN_WORDS and row.expects_call is None
        else verdict
        for row, verdict in zip(rows, verdicts, strict=True)
    ]

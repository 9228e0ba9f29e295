"""What the worker tells of an answer, as the objects of OpenAI's interface. Knows nothing of sending or of queues."""

import json
import time
from typing import Literal

from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall, ChoiceDeltaToolCallFunction
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall, Function
from openai.types.completion_usage import CompletionUsage

from engine.endpoint.stops import StopWords
from engine.records.chats.replies import Answered, Called, ChatEvent, Pieces, Read
from engine.records.conversation import Call
from engine.records.harmfulness import MESSAGE

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class Answer:
    """One answer as it comes. Where tools are offered nothing is said before the end, since what begins like words may
    be a call. Where the harmfulness probe fired, its message stands in the place of the answer, or behind what was
    sent of it."""

    def __init__(self, number: str, model: str, stops: StopWords, *, of_tools: bool) -> None:
        self.id, self.model, self.created = f"chatcmpl-{number}", model, int(time.time())
        self.stops, self.of_tools = stops, of_tools
        self.text = ""
        self.prompt_tokens = self.completion_tokens = 0
        self.calls: list[tuple[str, Call]] = []
        self.finish: Finish | None = None

    def hear(self, event: ChatEvent) -> str:
        """What of the answer's text may be sent now."""
        said = ""
        if isinstance(event, Read):
            self.prompt_tokens = event.tokens[0]
        elif isinstance(event, Pieces):
            self.completion_tokens += len(event.columns[0])
            said = "" if self.of_tools else self.stops.pass_on("".join(event.columns[0]))
        elif isinstance(event, Called):
            said = self.stops.pass_on(event.answer.text)
            self.calls = [(call.id or f"call_{self.id[-12:]}_{n}", call) for n, call in enumerate(event.answer.calls)]
        elif isinstance(event, Answered):
            said = self._end(event)
        if self.stops.reached and self.finish is None and not self.of_tools:
            self.finish = "stop"
        self.text += said
        return said

    def whole(self) -> ChatCompletion:
        is_ended = self.finish == "content_filter"
        message = ChatCompletionMessage(
            role="assistant",
            content=MESSAGE if is_ended else self.text or ("" if not self.calls else None),
            refusal=MESSAGE if is_ended else None,
            tool_calls=[
                ChatCompletionMessageFunctionToolCall(id=id, type="function", function=Function(**_function(call)))
                for id, call in self.calls
            ]
            or None,
        )
        return ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.model,
            choices=[Choice(index=0, finish_reason=self.finish or "stop", message=message)],
            usage=self.usage(),
        )

    def begin(self) -> ChatCompletionChunk:
        return self._chunk(ChoiceDelta(role="assistant", content=""))

    def piece(self, text: str) -> ChatCompletionChunk:
        return self._chunk(ChoiceDelta(content=text))

    def end(self) -> list[ChatCompletionChunk]:
        """What is sent behind the text: calls, the probe's message, and why the answer ended."""
        chunks = []
        if self.calls:
            calls = [
                ChoiceDeltaToolCall(
                    index=n, id=id, type="function", function=ChoiceDeltaToolCallFunction(**_function(call))
                )
                for n, (id, call) in enumerate(self.calls)
            ]
            chunks.append(self._chunk(ChoiceDelta(tool_calls=calls)))
        if self.finish == "content_filter":
            chunks.append(self._chunk(ChoiceDelta(content=f"\n\n{MESSAGE}" if self.text else MESSAGE, refusal=MESSAGE)))
        return [*chunks, self._chunk(ChoiceDelta(), finish=self.finish or "stop")]

    def counted(self) -> ChatCompletionChunk:
        """The last chunk of a client that wants to know the number of tokens."""
        return self._chunk(None)

    def usage(self) -> CompletionUsage:
        return CompletionUsage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
        )

    def _end(self, event: Answered) -> str:
        reason = event.reasons[0]
        if reason == "probe":
            # A call that the probe ended was not made.
            self.finish, self.calls = "content_filter", []
            return ""
        self.finish = "tool_calls" if self.calls else "length" if reason == "length" else "stop"
        return self.stops.rest()

    def _chunk(self, delta: ChoiceDelta | None, *, finish: Finish | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=[ChunkChoice(index=0, delta=delta, finish_reason=finish)] if delta is not None else [],
            usage=self.usage() if delta is None else None,
        )


def _function(call: Call) -> dict[str, str]:
    return {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}

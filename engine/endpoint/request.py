"""What an OpenAI client sends, as what the workbench asks. Knows nothing of sending or of models."""

import json
import secrets
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.chats.asked import ForcedCall, Sampling
from engine.records.conversation import Call, Conversation, Message, Part, Result, Role, Text, Tool
from engine.records.errors import DataError
from engine.records.json_values import Unreadable, need_plain
from engine.records.tool_forms import own_form
from engine.records.tool_prompts import definition_from

MOST_TOKENS = 4096
USUAL_TOKENS = 256
MOST_STOPS = 4
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
# What would change an answer and is not done here: refused rather than passed over. Beside each, what may be said.
NOT_DONE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
}


class ChatRequest(BaseModel):
    """A request as it is sent. temperature: 0 where it is left out, as everywhere in the workbench."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**31)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None

    @property
    def sampling(self) -> Sampling:
        tokens = self.max_completion_tokens or self.max_tokens or USUAL_TOKENS
        return Sampling(
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            new_tokens=min(tokens, MOST_TOKENS),
            # As clients expect: who asks twice and gives no seed draws twice.
            seed=secrets.randbelow(2**31) if self.seed is None else self.seed,
        )

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts before which an answer ends."""
        return tuple(filter(None, [self.stop] if isinstance(self.stop, str) else self.stop or ()))

    @property
    def offers_tools(self) -> bool:
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def includes_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))

    def conversation(self) -> Conversation:
        """Raises DataError with the place and the value for what cannot be read."""
        messages = [_message(one, f"messages[{number}]") for number, one in enumerate(self.messages)]
        messages = [one for one in messages if one.role != "system" or one.text.strip()]
        return Conversation(messages=_joined(messages), tools=self._tools() if self.offers_tools else ())

    def forced(self) -> ForcedCall | None:
        """The call that the answer has to begin with. Raises DataError for another choice than is done here."""
        if self.tool_choice in (None, "auto", "none"):
            return None
        function = self.tool_choice.get("function") if isinstance(self.tool_choice, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            raise DataError(
                f"tool_choice is {_shown(self.tool_choice)}: use 'auto', 'none', or "
                '{"type": "function", "function": {"name": ...}}.'
            )
        return ForcedCall(name=name)

    def _tools(self) -> tuple[Tool, ...]:
        rows = own_form({"prompt": "", "tools": self.tools or []}, "the request")["tools"]
        tools = tuple(definition_from(row, f"tools[{number}]").tool for number, row in enumerate(rows))
        for number, tool in enumerate(tools):
            if tool.name in {one.name for one in tools[:number]}:
                raise DataError(f"tools[{number}] is a second tool {tool.name!r}: give each a name of its own.")
        return tools


def read_request(body: bytes) -> ChatRequest:
    """Raises DataError that says what is wrong, where, and what to send."""
    try:
        content = json.loads(body)
        need_plain(content)
        request = ChatRequest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise DataError(f"{where} is {_shown(first['input'])}: {first['msg']}.") from error
    except Unreadable as error:
        raise DataError(f"The request cannot be read, since {error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError("The request is no JSON: send an object with 'model' and 'messages'.") from error
    for name, value in (request.model_extra or {}).items():
        if name in NOT_DONE and value is not None and value not in NOT_DONE[name]:
            raise DataError(f"{name} is {_shown(value)}, which this endpoint does not do: leave it out.")
    if len(request.stops) > MOST_STOPS:
        raise DataError(f"stop holds {len(request.stops)} texts: give at most {MOST_STOPS}.")
    return request


def _message(given: dict[str, Any], place: str) -> Message:
    role = ROLES.get(str(given.get("role")))
    if role is None:
        raise DataError(f"{place} has the role {_shown(given.get('role'))}: use {', '.join(ROLES)}.")
    texts = _texts(given.get("content"), f"{place}.content")
    if role == "tool":
        call = given.get("tool_call_id")
        if not isinstance(call, str) or not call:
            raise DataError(f"{place} is a result and has no tool_call_id: say of which call.")
        return Message(role=role, parts=(Result(call=call, text="\n".join(text.text for text in texts)),))
    calls = given.get("tool_calls") or []
    if not isinstance(calls, list) or (calls and role != "assistant"):
        raise DataError(f"{place}.tool_calls is {_shown(calls)}: a list, and of an assistant's message alone.")
    parts: list[Part] = [*texts, *(_call(one, f"{place}.tool_calls[{n}]") for n, one in enumerate(calls))]
    if not parts and given.get("content") == "":
        # A model may have said nothing; what is asked of it may not be (engine.compute.model.text.need_askable).
        parts = [Text(text="")]
    if not parts:
        raise DataError(f"{place} says nothing: give it a content.")
    return Message(role=role, parts=tuple(parts))


def _texts(content: Any, place: str) -> list[Text]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    if not isinstance(content, list):
        raise DataError(f"{place} is {_shown(content)}: send a text, or a list of parts.")
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise DataError(f"{place} holds {_shown(part)}: this endpoint reads parts of text alone.")
    return [Text(text=part["text"]) for part in content]


def _call(given: Any, place: str) -> Call:
    try:
        function = given["function"]
        arguments = json.loads(function["arguments"] or "{}")
        need_plain(arguments)
        return Call(name=function["name"], arguments=arguments, id=given.get("id") or "")
    except Unreadable as error:
        raise DataError(f"The arguments of {place} cannot be read, since {error}.") from error
    except (TypeError, KeyError, ValueError, RecursionError) as error:
        raise DataError(
            f"{place} is {_shown(given)}: it must have a function with a name, and arguments that are JSON."
        ) from error


def _joined(messages: list[Message]) -> tuple[Message, ...]:
    """Results that follow one another are one message, as a model's calls are."""
    joined: list[Message] = []
    for message in messages:
        if message.role == "tool" and joined and joined[-1].role == "tool":
            joined[-1] = Message(role="tool", parts=(*joined[-1].parts, *message.parts))
        else:
            joined.append(message)
    return tuple(joined)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

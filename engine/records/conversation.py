"""What is said: messages of text, pictures, calls and results, and the tools that may be called. Knows nothing of
models or files.

A message of one text is written as {"role", "content"}, any other as {"role", "parts"}.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Label = Literal["harmful", "benign"]
Role = Literal["system", "user", "assistant", "tool"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Frozen):
    type: Literal["text"] = "text"
    text: str


class Picture(_Frozen):
    """sha256: of its pixels as engine.records.pictures reads them, which make it the picture it is.  file: where it was
    read.  alt: what it shows, for people; no model reads it."""

    type: Literal["picture"] = "picture"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    file: str = ""
    alt: str = ""


def without_places(written: Any) -> Any:
    """A tree of what was written of messages, for others to read: pictures by their pixels, not by where they lie."""
    if isinstance(written, dict):
        shown = written.keys() - {"file"} if written.get("type") == "picture" else written.keys()
        return {name: without_places(value) for name, value in written.items() if name in shown}
    return [without_places(one) for one in written] if isinstance(written, list) else written


class Call(_Frozen):
    """A tool that the assistant calls. id: by which the result names this call."""

    type: Literal["call"] = "call"
    name: str = Field(min_length=1)
    arguments: dict[str, Any] = {}
    id: str = ""


class Result(_Frozen):
    """What a call gave back. call: the call's id, or its tool's name where it has none."""

    type: Literal["result"] = "result"
    call: str
    text: str


Part = Annotated[Text | Picture | Call | Result, Field(discriminator="type")]


class CannedResult(_Frozen):
    """What a tool answers, since none is carried out. when: the arguments with these values alone; empty: any."""

    text: str = Field(min_length=1)
    when: dict[str, Any] = Field({}, exclude_if=lambda when: not when)


class Tool(_Frozen):
    """A function that the assistant may call. parameters: their JSON schema.  results: what it answers."""

    name: str = Field(min_length=1)
    description: str = ""
    parameters: dict[str, Any] = {}
    results: tuple[CannedResult, ...] = Field((), exclude_if=lambda results: not results)


class Message(_Frozen):
    role: Role
    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_content(cls, given: Any) -> Any:
        """Also {"role", "content"}, where the content is a text or a list of parts."""
        if not isinstance(given, dict) or "content" not in given or "parts" in given:
            return given
        content = given["content"]
        rest = {name: value for name, value in given.items() if name != "content"}
        return {**rest, "parts": [{"type": "text", "text": content}] if isinstance(content, str) else content}

    @model_serializer(mode="wrap")
    def _as_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        if self.is_text:
            return {"role": self.role, "content": self.text}
        return write(self)

    @property
    def is_text(self) -> bool:
        """Whether it is one text and nothing else."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Text)

    @property
    def text(self) -> str:
        """Its texts, a line each."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))

    def with_text(self, change: Callable[[str], str]) -> Self:
        """A copy with another text where its first text stood, behind all other parts where it had none."""
        changed = Text(text=change(self.text))
        texts = [place for place, part in enumerate(self.parts) if isinstance(part, Text)]
        if not texts:
            return self.model_copy(update={"parts": (*self.parts, changed)})
        kept = [
            changed if place == texts[0] else part for place, part in enumerate(self.parts) if place not in texts[1:]
        ]
        return self.model_copy(update={"parts": tuple(kept)})

    def showing(self, picture: Picture) -> Self:
        """A copy with this picture before its other parts, in the place of its own pictures."""
        others = (part for part in self.parts if not isinstance(part, Picture))
        return self.model_copy(update={"parts": (picture, *others)})

    @property
    def content(self) -> dict[str, Any]:
        """What keys are made of: as it is written, but a picture by its pixels alone."""
        written = self.model_dump(mode="json")
        for part in written.get("parts", ()):
            if part["type"] == "picture":
                del part["file"], part["alt"]
        return written


class Conversation(_Frozen):
    """All that a model reads before it answers."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = Field((), exclude_if=lambda tools: not tools)

    @classmethod
    def asking(cls, text: str) -> Self:
        """A request and nothing else."""
        return cls(messages=(say("user", text),))

    @property
    def text(self) -> str:
        """The text of the last user message, '' where there is none."""
        place = self._last_user
        return "" if place is None else self.messages[place].text

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, Picture))

    @property
    def picture_keys(self) -> tuple[str, ...]:
        """What the pictures are told apart by."""
        return tuple(picture.sha256 for picture in self.pictures)

    @property
    def asked(self) -> str:
        """Text and pictures of the request as one string: what is drawn by a request is drawn by this."""
        return "\n".join([self.text, *self.picture_keys])

    @property
    def content(self) -> Any:
        """What keys are made of: everything that a model reads, pictures by their pixels alone. It reads no result of a
        tool before it has called it."""
        messages = [message.content for message in self.messages]
        return {"messages": messages, "tools": self.offered} if self.tools else messages

    @property
    def offered(self) -> list[dict[str, Any]]:
        """All that a model reads of the tools."""
        return [tool.model_dump(mode="json", exclude={"results"}) for tool in self.tools]

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(self.content).encode()).hexdigest()[:24]

    def with_text(self, change: Callable[[str], str]) -> Self:
        """A copy whose last user message says what `change` makes of its text."""
        return self._with_last_user(lambda message: message.with_text(change))

    def showing(self, picture: Picture) -> Self:
        """A copy whose last user message shows this picture before its words, in the place of its own."""
        return self._with_last_user(lambda message: message.showing(picture))

    def with_pictures(self, change: Callable[[Picture], Picture]) -> Self:
        """A copy that shows what `change` makes of each picture."""
        messages = (
            message.model_copy(
                update={"parts": tuple(change(one) if isinstance(one, Picture) else one for one in message.parts)}
            )
            for message in self.messages
        )
        return self.model_copy(update={"messages": tuple(messages)})

    def then(self, *messages: Message) -> Self:
        """A copy that goes on with these messages."""
        return self.model_copy(update={"messages": (*self.messages, *messages)})

    def _with_last_user(self, change: Callable[[Message], Message]) -> Self:
        place = self._last_user
        if place is None:
            return self
        changed = change(self.messages[place])
        return self.model_copy(update={"messages": (*self.messages[:place], changed, *self.messages[place + 1 :])})

    @property
    def _last_user(self) -> int | None:
        places = [place for place, message in enumerate(self.messages) if message.role == "user"]
        return places[-1] if places else None


def say(role: Role, text: str) -> Message:
    """A message of one text."""
    return Message(role=role, parts=(Text(text=text),))

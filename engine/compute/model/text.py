"""What is said to tokens, and tokens back to what is said. Knows nothing of jobs."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.templates import CallStart, call_opening, need_no_picture, rendered
from engine.records.calls import MARKS, ReadCalls, read_calls
from engine.records.conversation import Conversation, Message, Text, say
from engine.records.errors import ModelError

# Stands for a place in a text, is in no text, and is no token of its own.
_MARK = "\u2407"


PublishedForm = Literal["llama-3", "mistral"]


def _llama_turn(message: Message) -> str:
    return f"<|start_header_id|>{message.role}<|end_header_id|>\n\n{message.text}<|eot_id|>"


def _mistral_turn(message: Message) -> str:
    return f" {message.text}</s>" if message.role == "assistant" else f"[INST] {message.text} [/INST]"


# Source: the authors' training code, cb_train_dataset.py.
_PUBLISHED: dict[PublishedForm, Callable[[Message], str]] = {"llama-3": _llama_turn, "mistral": _mistral_turn}
_ANSWER_OPENING: dict[PublishedForm, str] = {
    "llama-3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "",
}


class Tokens(NamedTuple):
    """ids: a conversation up to where the answer begins.  begun: the words put into the model's mouth, which follow.
    pictures: the keys of the pictures in it, whose placeholders in `ids` are the same for every picture."""

    ids: tuple[int, ...]
    begun: tuple[int, ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def whole(self) -> tuple[int, ...]:
        return self.ids + self.begun


def tokens_of(model: LoadedModel, conversation: Conversation, *, begun: str = "", reserved: int = 0) -> Tokens:
    """Tokens of a conversation up to where the answer begins, and of the words with which it is begun.

    Those words are tokenized as they follow the prompt, so that a tokenizer adds no space of its own before them; the
    prompt's tokens stay as they are, even where a tokenizer would merge the last of them with the first word. Spaces at
    the end of `begun` are dropped: a model writes them as the beginning of its next word.

    `reserved`: as many tokens of the model's context must be left for the answer; 0: any length will do. Raises
    ModelError where fewer are left, where the chat template refuses the messages or leaves tools, calls or results out,
    and for pictures.
    """
    text = rendered(model.tokenizer, conversation)
    ids = text_ids(model, text)
    tokens = Tokens(
        tuple(ids),
        tuple(_following(model, text, ids, begun.rstrip(" "))),
        conversation.picture_keys,
    )
    limit = model.card.context_length
    over = len(tokens.whole) + reserved - limit
    if reserved and limit and over > 0:
        fewer = f"offer fewer tools than {len(conversation.tools)}, " if conversation.tools else ""
        raise ModelError(
            f"The conversation has {len(tokens.whole)} tokens, {over} more than {model.spec.name} can read "
            f"({limit}, {'one' if reserved == 1 else reserved} of them for the answer): {fewer}shorten the message, or "
            "begin a new chat."
        )
    return tokens


def begun_call(model: LoadedModel, conversation: Conversation, name: str, start: CallStart) -> str:
    """The words that begin a call of the function `name` in the shape of the model's template, for `begun` of
    tokens_of. Raises ModelError where the template takes no tools."""
    return call_opening(model.tokenizer, conversation, name, start)


def request_start(model: LoadedModel, conversation: Conversation) -> int:
    """How many tokens of a conversation stand before its request, the last user message: the system turn, tools and
    earlier turns. All of them where the request says nothing, 0 where the template changes it."""
    text = rendered(model.tokenizer, conversation)
    place = text.rfind(conversation.text.strip())
    return len(text_ids(model, text[:place])) if place >= 0 else 0


def published_tokens(
    model: LoadedModel,
    conversation: Conversation,
    answer: str,
    *,
    written_as: PublishedForm,
    apart: bool,
    limit: int,
) -> tuple[tuple[int, ...], int]:
    """A row as the published training writes and cuts it, and where its answer begins.

    apart: request and answer are cut apart, each to half of `limit`, as its circuit-breaker rows are; else the whole
    is cut to `limit`, as its retain rows are. What is kept is the beginning, so a long request leaves no answer at all
    in a whole that is cut. The tokenizer's own special tokens open the row. Raises ModelError for all but text: the
    published forms have no place for tools.
    """
    _need_text(conversation)
    before = "".join(_PUBLISHED[written_as](message) for message in conversation.messages)
    before += _ANSWER_OPENING[written_as]
    asked = list(model.tokenizer(before)["input_ids"])
    if apart:
        asked = asked[: limit // 2]
        return (*asked, *text_ids(model, answer)[: limit - limit // 2]), len(asked)
    joint = " " if written_as == "mistral" else ""
    whole = list(model.tokenizer(f"{before}{joint}{answer}")["input_ids"])[:limit]
    return tuple(whole), min(len(asked), len(whole))


def need_askable(model: LoadedModel, conversation: Conversation) -> None:
    """Raises ModelError for an empty message, and for a system prompt that the chat template has no place for."""
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role not in ("user", "tool") or (last.is_text and not last.text.strip()):
        raise ModelError("The message is empty: write something to ask.")
    system = next((message.text.strip() for message in conversation.messages if message.role == "system"), "")
    if not system:
        return
    need_no_picture(conversation)
    try:
        text = rendered(model.tokenizer, conversation)
    except ModelError as error:
        # What is refused without a system prompt too, such as tools, says so itself.
        others = tuple(message for message in conversation.messages if message.role != "system")
        rendered(model.tokenizer, conversation.model_copy(update={"messages": others}))
        raise ModelError(
            f"{model.spec.name} takes no system prompt: clear it, or write it at the beginning of the message. "
            f"({error})"
        ) from error
    if system not in text:
        raise ModelError(
            f"The chat template of {model.spec.name} leaves the system prompt out: clear it, or write it at the "
            "beginning of the message."
        )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> list[int]:
    """The ids of tokens_of where there is no model yet, only its tokenizer. Raises ModelError as tokens_of does."""
    return list(tokenizer(rendered(tokenizer, conversation), add_special_tokens=False)["input_ids"])


def ids_around(model: LoadedModel, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids before and after the place where a suffix of the request goes, right behind its last character: a
    suffix begins with a space of its own, as its tokens do in a text."""
    whole = rendered(model.tokenizer, conversation.with_text(lambda text: f"{text}{_MARK}"))
    before, _, after = whole.rpartition(_MARK)
    return text_ids(model, before), text_ids(model, after)


def text_ids(model: LoadedModel, text: str) -> list[int]:
    """Tokens of a text that stands alone."""
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def said(model: LoadedModel, ids: Sequence[int]) -> Message:
    """The assistant's message that an answer's tokens come to: its words, then its calls. Without any call that can be
    read it is one text."""
    read = calls_in(model, ids)
    if not read.calls:
        return say("assistant", decode(model, ids))
    words = (Text(text=read.text),) if read.text else ()
    return Message(role="assistant", parts=(*words, *read.calls))


def calls_in(model: LoadedModel, ids: Sequence[int]) -> ReadCalls:
    """The calls in an answer's tokens, and why one that was begun cannot be read."""
    return read_calls(with_marks(model, ids))


def with_marks(model: LoadedModel, ids: Sequence[int]) -> str:
    """Text of an answer's tokens, special ones left out but for those that begin or end a call."""
    return _reader_of_marks(model)(ids)


def pieces_with_marks(model: LoadedModel, before: Sequence[int], ids: Sequence[int]) -> tuple[str, ...]:
    """The text of each of an answer's tokens as with_marks reads them, behind the tokens `before`. A character of
    several tokens comes with the last of them."""
    speaker = Speaker(model, before, read=_reader_of_marks(model))
    return tuple(speaker.say(token) for token in ids)


def _reader_of_marks(model: LoadedModel) -> Callable[[Sequence[int]], str]:
    added = model.tokenizer.added_tokens_decoder
    special = {*model.tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    left_out = {number for number in special if number not in added or added[number].content not in MARKS}

    def read(ids: Sequence[int]) -> str:
        kept = [number for number in ids if number not in left_out]
        return str(model.tokenizer.decode(kept, skip_special_tokens=False))

    return read


def decode(model: LoadedModel, ids: Sequence[int], *, begun: Sequence[int] = ()) -> str:
    """Text of an answer's tokens, special ones left out. begun: tokens that it continues, so that its first word gets
    its space."""
    before = str(model.tokenizer.decode(list(begun), skip_special_tokens=True)) if begun else ""
    return str(model.tokenizer.decode([*begun, *ids], skip_special_tokens=True))[len(before) :]


def common_opening(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both open with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


class Speaker:
    """One answer's text as its tokens come. A character that needs several tokens comes with the last of them."""

    def __init__(
        self, model: LoadedModel, before: Sequence[int], *, read: Callable[[Sequence[int]], str] | None = None
    ) -> None:
        """before: the tokens that the answer continues, so that its first word gets its space.  read: what makes a text
        of tokens, `decode` without it."""
        self.read = read or partial(decode, model)
        self.ids = list(before)[-8:]
        self.start, self.told = 0, len(self.ids)

    def say(self, token: int) -> str:
        """The text this token adds, '' where it only begins a character."""
        self.ids.append(token)
        before = self.read(self.ids[self.start : self.told])
        now = self.read(self.ids[self.start :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self.start, self.told = self.told, len(self.ids)
        return now[len(before) :]


def _need_text(conversation: Conversation) -> None:
    need_no_picture(conversation)
    for message in conversation.messages:
        for part in message.parts:
            if not isinstance(part, Text):
                raise ModelError(
                    f"This conversation holds a {part.type} of a tool, and rows written as published have no place for "
                    "it: write them under the model's chat template, or choose prompts without tools."
                )
    if conversation.tools:
        raise ModelError(
            f"This conversation offers tools ({', '.join(tool.name for tool in conversation.tools[:5])}), and rows "
            "written as published have no place for them: write them under the model's chat template, or choose "
            "prompts without tools."
        )


def _following(model: LoadedModel, before: str, before_ids: Sequence[int], words: str) -> list[int]:
    """Tokens of words as they follow a text."""
    if not words:
        return []
    whole = text_ids(model, before + words)
    if whole[: len(before_ids)] == list(before_ids):
        # Tokenized apart, some tokenizers would put a space of their own before the first word.
        return whole[len(before_ids) :]
    return text_ids(model, words)

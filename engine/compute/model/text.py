"""What is said to tokens, and tokens back to what is said. Knows nothing of jobs."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, groupby, takewhile
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pictures import PictureTokens, is_of_picture, picture_positions, picture_text
from engine.compute.model.templates import CallStart, call_opening, rendered
from engine.compute.team import present, together
from engine.records.calls import MARKS, ReadCalls, read_calls
from engine.records.conversation import Conversation, Message, Picture, Text, Tool, say
from engine.records.errors import ModelError

# Stands for a place in a text, is in no text, and is no token of its own.
_MARK = "\u2407"
# A letter that no tokenizer joins to another.
_UNJOINED = "\u0001"


class Tokens(NamedTuple):
    """ids: a conversation up to where the answer begins, in it the positions of its pictures (engine.compute.model.
    pictures).  begun: the words put into the model's mouth, which follow."""

    ids: tuple[int, ...]
    begun: tuple[int, ...] = ()

    @property
    def whole(self) -> tuple[int, ...]:
        return self.ids + self.begun


def tokens_of(model: LoadedModel, conversation: Conversation, *, begun: str = "", reserved: int = 0) -> Tokens:
    """Tokens of a conversation up to where the answer begins, and of the words with which it is begun.

    Those words are tokenized as they follow the prompt, so that a tokenizer adds no space of its own before them; the
    prompt's tokens stay as they are, even where a tokenizer would merge the last of them with the first word. Spaces at
    the end of `begun` are dropped: a model writes them as the beginning of its next word.

    `reserved`: as many tokens of the model's context must be left for the answer; 0: any length will do. Raises
    ModelError where fewer are left, where the chat template refuses the messages or leaves pictures, tools, calls or
    results out, and for pictures where the model sees none; DataError for one whose file cannot be read.
    """
    text = _rendered(model, conversation)
    ids = text_ids(model, text)
    shown = _with_pictures(ids, conversation.pictures, _pictures_of(model))
    tokens = Tokens(tuple(shown), tuple(_following(model, text, ids, begun.rstrip(" "))))
    limit = model.card.context_length
    over = len(tokens.whole) + reserved - limit
    if reserved and limit and over > 0:
        fewer = f"offer fewer tools than {len(conversation.tools)}, " if conversation.tools else ""
        pictured, count = picture_positions(tokens.ids), len(conversation.pictures)
        if count:
            fewer += f"show fewer pictures than {count} or smaller ones, "
        of_pictures = f" ({pictured} of them of {count} picture{'s' if count > 1 else ''})" if count else ""
        raise ModelError(
            f"The conversation has {len(tokens.whole)} tokens{of_pictures}, {over} more than {model.spec.name} can "
            f"read ({limit}, {'one' if reserved == 1 else reserved} of them for the answer): {fewer}shorten the "
            "message, or begin a new chat."
        )
    return tokens


def begun_call(model: LoadedModel, conversation: Conversation, name: str, start: CallStart) -> str:
    """The words that begin a call of the function `name` in the shape of the model's template, for `begun` of
    tokens_of. Raises ModelError where the template takes no tools."""
    return call_opening(model.tokenizer, conversation, name, start, image_token=_image_token(_pictures_of(model)))


def request_start(model: LoadedModel, conversation: Conversation, ids: Sequence[int]) -> int:
    """How many of a conversation's tokens, `ids`, stand before its request, the last user message's text: the system
    turn, tools, earlier turns, and the pictures that it shows before its words. All of them where the request says
    nothing, 0 where the template changes it."""
    if not conversation.text.strip():
        return len(ids)
    # With a mark before it: its words may stand elsewhere too, in the template's own for instance.
    text = _rendered(model, conversation.with_text(lambda words: f"{_MARK}{words}"))
    place = text.rfind(_MARK)
    if place < 0:
        return 0
    before = _with_pictures(text_ids(model, text[:place]), conversation.pictures, _pictures_of(model))
    # Some tokenizers make one token of a space and the word behind it.
    return common_opening(before, ids)


def need_askable(model: LoadedModel, conversation: Conversation) -> None:
    """Raises ModelError for an empty message, and for a system prompt that the chat template has no place for."""
    last = conversation.messages[-1] if conversation.messages else None
    if last is not None and last.role not in ("user", "tool"):
        raise ModelError(f"The last message is the {last.role}'s: end with what the user says, or a tool's result.")
    if last is None or (last.is_text and not last.text.strip()):
        raise ModelError("The message is empty: write something to ask.")
    system = next((message.text.strip() for message in conversation.messages if message.role == "system"), "")
    if not system:
        return
    try:
        text = _rendered(model, conversation)
    except ModelError as error:
        # What is refused without a system prompt too, such as tools, says so itself.
        others = tuple(message for message in conversation.messages if message.role != "system")
        _rendered(model, conversation.model_copy(update={"messages": others}))
        raise ModelError(
            f"{model.spec.name} takes no system prompt: clear it, or write it at the beginning of the message. "
            f"({error})"
        ) from error
    if system not in text:
        raise ModelError(
            f"The chat template of {model.spec.name} leaves the system prompt out: clear it, or write it at the "
            "beginning of the message."
        )


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, pictures: PictureTokens | None = None
) -> list[int]:
    """The ids of tokens_of where there is no model yet, only its tokenizer and, if it sees, its pictures' tokens.
    Raises as tokens_of does."""
    text = rendered(tokenizer, conversation, image_token=_image_token(pictures))
    return _with_pictures(tokenizer(text, add_special_tokens=False)["input_ids"], conversation.pictures, pictures)


def ids_around(model: LoadedModel, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids before and after the place where a suffix of the request goes, right behind its last character: a
    suffix begins with a space of its own, as its tokens do in a text."""
    whole = _rendered(model, conversation.with_text(lambda text: f"{text}{_MARK}"))
    before, _, after = whole.rpartition(_MARK)
    pictures = _pictures_of(model)
    count = before.count(pictures.image_token) if pictures else 0
    shown = conversation.pictures
    return (
        _with_pictures(text_ids(model, before), shown[:count], pictures),
        _with_pictures(_following(model, _UNJOINED, text_ids(model, _UNJOINED), after), shown[count:], pictures),
    )


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


def calls_in(model: LoadedModel, ids: Sequence[int], tools: Sequence[Tool] = ()) -> ReadCalls:
    """The calls in an answer's tokens, and why one that was begun cannot be read. tools: that were offered."""
    return read_calls(with_marks(model, ids), tools)


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
        return _words(model, kept, skip_special=False)

    return read


def decode(model: LoadedModel, ids: Sequence[int], *, begun: Sequence[int] = ()) -> str:
    """Text of an answer's tokens, special ones left out. begun: tokens that it continues, so that its first word gets
    its space."""
    before = _words(model, begun, skip_special=True) if begun else ""
    return _words(model, [*begun, *ids], skip_special=True)[len(before) :]


def token_text(model: LoadedModel, token: int) -> str:
    """One token as text, special ones too; a picture reads as one placeholder, at its first position."""
    return _words(model, [token], skip_special=False)


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


def _words(model: LoadedModel, ids: Sequence[int], *, skip_special: bool) -> str:
    """Tokens as text. A tokenizer knows nothing of positions of pictures."""
    pieces = []
    for of_picture, tokens in groupby(ids, key=is_of_picture):
        if of_picture:
            pieces += [picture_text(token) for token in tokens]
        else:
            pieces.append(str(model.tokenizer.decode(list(tokens), skip_special_tokens=skip_special)))
    return "".join(pieces)


def _rendered(model: LoadedModel, conversation: Conversation) -> str:
    _show(model, conversation.pictures)
    return rendered(model.tokenizer, conversation, image_token=_image_token(_pictures_of(model)))


def _show(model: LoadedModel, pictures: Sequence[Picture]) -> None:
    """Whatever is told to the other processes of a team from now on, they know which pictures its ids are of. Within
    what all of them do each one sees for itself."""
    team = present()
    if model.sight is None or team is None or team.mode:
        return
    shown = model.sight.tokens.shown_to_all
    new = [one for one in pictures if (one.sha256, one.file) not in shown]
    if new:
        _seen_by_all(model, new)
        shown.update((one.sha256, one.file) for one in new)


@together
def _seen_by_all(model: LoadedModel, pictures: Sequence[Picture]) -> None:
    assert model.sight is not None
    for picture in pictures:
        model.sight.tokens.ids_of(picture)


def _pictures_of(model: LoadedModel) -> PictureTokens | None:
    return model.sight.tokens if model.sight else None


def _image_token(pictures: PictureTokens | None) -> str:
    return pictures.image_token if pictures else ""


def _with_pictures(ids: Sequence[int], shown: Sequence[Picture], pictures: PictureTokens | None) -> list[int]:
    """The tokens of a text with the positions of its pictures in the place of the token that stands for one."""
    if pictures is None or not shown:
        return list(ids)
    following = iter(shown)
    places = ([token] if token != pictures.image_token_id else pictures.ids_of(next(following)) for token in ids)
    return list(chain.from_iterable(places))


def _following(model: LoadedModel, before: str, before_ids: Sequence[int], words: str) -> list[int]:
    """Tokens of words as they follow a text."""
    if not words:
        return []
    whole = text_ids(model, before + words)
    if whole[: len(before_ids)] == list(before_ids):
        # Tokenized apart, some tokenizers would put a space of their own before the first word.
        return whole[len(before_ids) :]
    return text_ids(model, words)

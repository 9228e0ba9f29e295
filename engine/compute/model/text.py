"""What is said to tokens, and tokens back to text. The one room that knows chat templates; nothing of jobs."""

from collections.abc import Sequence
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from engine.compute.model.loaded import LoadedModel
from engine.records.conversation import Turn
from engine.records.errors import ModelError, first_line


def common_opening(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both open with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def chat_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """The turns under the chat template, up to where the answer begins.

    Raises ModelError when the template refuses them (a system turn, for instance).
    """
    messages = [turn.model_dump() for turn in turns]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # Templates are programs of the model's author and raise what they like.
        raise ModelError(f"The chat template refuses these turns: {first_line(error)}") from error
    return str(text)


def prompt_tokens(model: LoadedModel, text: str, opener: str = "") -> list[int]:
    """Tokens of a prompt's chat text, with an opener put in the model's mouth behind it."""
    ids = list(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    return ids + list(model.tokenizer(opener, add_special_tokens=False)["input_ids"]) if opener else ids


def decode(model: LoadedModel, ids: Sequence[int]) -> str:
    """Text of an answer's tokens, special ones left out."""
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def request_ids(model: LoadedModel, text: str) -> list[int]:
    """One user turn under the chat template, as tokens."""
    return prompt_tokens(model, chat_text(model.tokenizer, [Turn(role="user", content=text)]))


def text_ids(model: LoadedModel, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def conversation_tokens(model: LoadedModel, turns: Sequence[Turn], *, reserved: int = 0) -> list[int]:
    """Tokens of the turns up to where the answer begins.

    `reserved` tokens follow them before the answer goes on. Raises ModelError for an empty message, for a system prompt
    that the chat template has no place for, and where fewer than one token is left for the answer.
    """
    if not any(turn.role == "user" and turn.content.strip() for turn in turns[-1:]):
        raise ModelError("The message is empty: write something to ask.")
    ids = prompt_tokens(model, _text(model, turns))
    limit = model.card.context_length
    over = len(ids) + reserved + 1 - limit
    if limit and over > 0:
        raise ModelError(
            f"The conversation has {len(ids) + reserved} tokens, {over} more than {model.spec.name} can read "
            f"({limit}, one of them for the answer): shorten the message, or begin a new chat."
        )
    return ids


def prefill_tokens(model: LoadedModel, turns: Sequence[Turn], prefill: str) -> list[int]:
    """Tokens of the words put into the model's mouth, as they follow the prompt's own tokens.

    Spaces at the end are dropped: a model writes them as the beginning of its next word. The prompt's tokens stay as
    they are, even where a tokenizer would merge the last of them with the first word.
    """
    prefill = prefill.rstrip(" ")
    if not prefill:
        return []
    text = _text(model, turns)
    prompt, whole = prompt_tokens(model, text), prompt_tokens(model, text + prefill)
    if whole[: len(prompt)] == prompt:
        # Tokenized apart, some tokenizers would put a space of their own before the first word.
        return whole[len(prompt) :]
    return prompt_tokens(model, prefill)


class Speaker:
    """One answer's text as its tokens come. A character that needs several tokens comes with the last of them."""

    def __init__(self, model: LoadedModel, before: Sequence[int]) -> None:
        """before: the tokens that the answer continues, so that its first word gets its space."""
        self.model = model
        self.ids = list(before)[-8:]
        self.start, self.told = 0, len(self.ids)

    def say(self, token: int) -> str:
        """The text this token adds, '' where it only begins a character."""
        self.ids.append(token)
        before = decode(self.model, self.ids[self.start : self.told])
        now = decode(self.model, self.ids[self.start :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self.start, self.told = self.told, len(self.ids)
        return now[len(before) :]


def _text(model: LoadedModel, turns: Sequence[Turn]) -> str:
    system = next((turn.content.strip() for turn in turns if turn.role == "system"), "")
    try:
        text = chat_text(model.tokenizer, turns)
    except ModelError as error:
        if not system:
            raise
        raise ModelError(
            f"{model.spec.name} takes no system prompt: clear it, or write it at the beginning of the message. "
            f"({error})"
        ) from error
    if system and system not in text:
        raise ModelError(
            f"The chat template of {model.spec.name} leaves the system prompt out: clear it, or write it at the "
            "beginning of the message."
        )
    return text

"""Rows written and cut as the published training code does: forms of its own in the place of a chat template.

Knows nothing of losses or steps.
"""

from collections.abc import Callable
from typing import Literal

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import text_ids
from engine.records.conversation import Conversation, Message, Text
from engine.records.errors import ModelError

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


def _need_text(conversation: Conversation) -> None:
    for message in conversation.messages:
        for part in message.parts:
            if not isinstance(part, Text):
                raise ModelError(
                    f"This conversation holds a {part.type}, and rows written as published have no place for it: write "
                    "them under the model's chat template, or choose prompts of text alone."
                )
    if conversation.tools:
        raise ModelError(
            f"This conversation offers tools ({', '.join(tool.name for tool in conversation.tools[:5])}), and rows "
            "written as published have no place for them: write them under the model's chat template, or choose "
            "prompts without tools."
        )

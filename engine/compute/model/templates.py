"""A conversation as the text of its model's chat template. The one room that knows chat templates.

A template that leaves something out unseen is refused: the model would be asked something else than was meant.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from engine.records.conversation import Call, Conversation, Message, Result
from engine.records.errors import ModelError, first_line
from engine.records.template_messages import in_words, one_call_each, template_messages, template_tools

# Today for templates that ask: a prompt that says another date tomorrow is another prompt, and a run that goes on then
# would train on other rows than it began with. The date that Llama 3's template itself takes without a clock.
DATE = date(2024, 7, 26)
# For models without one.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# Before it, where the model's tokenizer begins every text with it.
BEGINNING = "{{ bos_token }}"
# Before a template that takes no tools: they, calls and results are words of its messages.
TOOLS_IN_WORDS = "{# tools in words #}"
# How far a call is begun for the model: with its name, or with all that stands before its arguments.
CallStart = Literal["name", "arguments"]
_NAME, _ARGUMENT, _WORDS = "marked_name", "marked_argument", "marked words"
_WITHOUT = (
    "Choose a model whose chat template takes tools, the chat template 'tools_in_words', or prompts without them."
)


def rendered(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, *, image_token: str = "") -> str:
    """The conversation under the chat template, up to where the answer begins. image_token: what stands for a picture
    in the texts of a model that sees; '' for one that does not.

    Raises ModelError for pictures that the model cannot see, where the template refuses the messages, and where it
    leaves pictures, tools, calls or results out.
    """
    need_sight(conversation, image_token)
    tools = template_tools(conversation)
    messages, text = _as_taken(tokenizer, _messages(tokenizer, conversation, image_token), tools)
    _need_pictures_read(conversation, text, image_token)
    if tools:
        _need_tools_read(tokenizer, messages, tools, text)
    if any(isinstance(part, Call | Result) for message in conversation.messages for part in message.parts):
        _need_calls_read(tokenizer, messages, tools)
    return text


def call_opening(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    name: str,
    start: CallStart,
    *,
    image_token: str = "",
) -> str:
    """The words with which the template begins a call of the function `name` behind this conversation, to be put in the
    model's mouth: up to and with the name, or up to where the arguments begin.

    In the shape that the template itself writes calls in; as bare JSON where that cannot be told apart from the rest.
    Raises ModelError as rendered does.
    """
    before = rendered(tokenizer, conversation, image_token=image_token)
    called = Message(role="assistant", parts=(Call(name=_NAME, arguments={_ARGUMENT: ""}),))
    messages, tools = _messages(tokenizer, conversation.then(called), image_token), template_tools(conversation)
    _, whole = _as_taken(tokenizer, messages, tools)
    shape = whole[len(before.rstrip()) :].lstrip() if whole.startswith(before.rstrip()) else ""
    named = shape.find(_NAME)
    argument = max(0, shape.find(_ARGUMENT))
    # The arguments begin as JSON does, or with the tag of the first.
    brace = max(shape.rfind("{", 0, argument), shape.rfind("<", 0, argument))
    if not 0 <= named < brace:
        shape = f'{{"name": "{_NAME}", "arguments": {{'
        named, brace = shape.find(_NAME), shape.rfind("{")
    opening = shape[: named + len(_NAME)] if start == "name" else shape[:brace].rstrip()
    return opening.replace(_NAME, name)


def need_sight(conversation: Conversation, image_token: str) -> None:
    """Raises ModelError for a picture that the model cannot be shown, rather than leave it out unseen."""
    if conversation.pictures and not image_token:
        raise ModelError(
            "This conversation shows a picture, and this model has no vision tower to see it with: choose a model that "
            "sees, such as LLaVA or LLaVA-NeXT, or prompts and messages of text alone."
        )


def _messages(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, image_token: str) -> list[dict[str, Any]]:
    """In the form that the template reads: lists of parts, which many templates of models that see insist on, or texts
    with the token for a picture in them, a line of its own, as LLaVA's authors write it."""
    if not image_token:
        return template_messages(conversation)
    reads_parts, reads_texts = _forms(tokenizer, str(tokenizer.chat_template), image_token)
    as_parts = reads_parts and bool(conversation.pictures or not reads_texts)
    return template_messages(conversation, picture=image_token, as_parts=as_parts)


@lru_cache(maxsize=8)
def _forms(tokenizer: PreTrainedTokenizerBase, _template: str, image_token: str) -> tuple[bool, bool]:
    """Whether its template reads messages that are lists of parts, and such that are one text."""
    forms = ([{"type": "image"}, {"type": "text", "text": _WORDS}], _WORDS)
    found = []
    for content, pictures in zip(forms, (1, 0), strict=True):
        try:
            text = _under_template(tokenizer, [{"role": "user", "content": content}], None)
        except ModelError:
            text = ""
        # A template that expects texts writes a list as Python does.
        found.append((text.count(_WORDS), text.count(image_token)) == (1, pictures) and "'type'" not in text)
    return found[0], found[1]


def _need_pictures_read(conversation: Conversation, text: str, image_token: str) -> None:
    """Raises ModelError where the template leaves a picture out, or where words would be taken for one."""
    shown, read = len(conversation.pictures), text.count(image_token) if image_token else 0
    if read < shown:
        raise ModelError(
            f"The chat template leaves {shown - read} of {shown} pictures out: choose a model whose template takes "
            "pictures, or prompts of text alone."
        )
    if read > shown:
        raise ModelError(
            f"A message says {image_token}, which stands for a picture in this model's texts: write it differently."
        )


def _as_taken(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> tuple[list[dict[str, Any]], str]:
    """The messages as the template takes them, and their text: some templates take one call a message."""
    try:
        return messages, _under_template(tokenizer, messages, tools)
    except ModelError:
        if (apart := one_call_each(messages)) == messages:
            raise
        return apart, _under_template(tokenizer, apart, tools)


def _under_template(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> str:
    offered: list[Any] | None = tools
    if TOOLS_IN_WORDS in str(tokenizer.chat_template) and (tools or any(_is_of_tools(one) for one in messages)):
        system_turn = _has_system_turn(tokenizer, str(tokenizer.chat_template))
        messages, offered = in_words(messages, tools, system_turn=system_turn), None
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tools=offered,
            chat_template=_dated(tokenizer, offered),
            tokenize=False,
            add_generation_prompt=True,
            # Of models that think: as many tokens as are asked for here would be nothing but thoughts.
            enable_thinking=False,
        )
    except Exception as error:  # Templates are programs of the model's author and raise what they like.
        if tools:
            raise ModelError(
                f"The chat template refuses these messages with tools ({_names(tools)}): {first_line(error)} {_WITHOUT}"
            ) from error
        raise ModelError(f"The chat template refuses these messages: {first_line(error)}") from error
    return str(text)


def _is_of_tools(message: dict[str, Any]) -> bool:
    return "tool_calls" in message or "tool_call_id" in message


@lru_cache(maxsize=8)
def _has_system_turn(tokenizer: PreTrainedTokenizerBase, _template: str) -> bool:
    """Whether its template reads a system turn: some refuse one, or leave it out."""
    messages = [{"role": "system", "content": _WORDS}, {"role": "user", "content": "a"}]
    try:
        return _WORDS in _under_template(tokenizer, messages, None)
    except ModelError:
        return False


def _dated(tokenizer: PreTrainedTokenizerBase, tools: list[Any] | None) -> str | None:
    """A template that asks for today's date with DATE in its place, by a macro before it: what is handed to templates
    may be data alone. None for any other, which stays as it is."""
    if "strftime_now" not in str(tokenizer.chat_template):
        return None
    template = tokenizer.get_chat_template(tools=tools)
    said = "".join(f" | replace('%{code}', '{DATE.strftime(f'%{code}')}')" for code in "YymdBbAaj")
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{said} }}}}{{%- endmacro %}}{template}"


def _need_tools_read(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[dict[str, Any]], text: str
) -> None:
    """Raises ModelError where the template leaves tools out, so that the model would not know of them."""
    left_out = [tool for tool in tools if tool["function"]["name"] not in text]
    if not left_out:
        # A name may also stand in the messages.
        try:
            left_out = tools if text == _under_template(tokenizer, messages, None) else []
        except ModelError:
            return
    if left_out:
        raise ModelError(f"The chat template leaves the tools out that are offered ({_names(left_out)}). {_WITHOUT}")


def _need_calls_read(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> None:
    """Raises ModelError where the template leaves a call or a result out: tried with marks in their places, since the
    name of a call also stands among the tools."""
    marked: list[dict[str, Any]] = []
    marks: list[tuple[str, str]] = []
    for message in messages:
        if "tool_call_id" in message:
            marks.append((f"a result of {message['name']!r}", f"mark{len(marks)}result"))
            message = {**message, "content": marks[-1][1]}
        calls = []
        for call in message.get("tool_calls", ()):
            marks.append((f"the call of {call['function']['name']!r}", f"mark{len(marks)}call"))
            calls.append({**call, "function": {**call["function"], "name": marks[-1][1]}})
        marked.append({**message, "tool_calls": calls} if calls else message)
    text = _under_template(tokenizer, marked, tools)
    for what, mark in marks:
        if mark not in text:
            raise ModelError(f"The chat template leaves {what} out. {_WITHOUT}")


def _names(tools: Sequence[dict[str, Any]]) -> str:
    names = [tool["function"]["name"] for tool in tools]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

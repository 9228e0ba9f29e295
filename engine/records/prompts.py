"""Prompts: made of rows, checked row by row, filtered, split. Knows nothing of files, models or tokens."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.records.conversation import Conversation, Label, Message, Picture, Role, Text, say
from engine.records.errors import DataError
from engine.records.json_values import as_text
from engine.records.shown import short, shown
from engine.records.spec_parts import DataSpec

Split = Literal["train", "validation", "test"]
ANSWER_FIELDS = ("response", "answer", "completion", "output", "llama3_output")
AUTHOR_FIELDS = ("author", "source")


class Prompt(BaseModel):
    """One row of a prompt set: what is said up to the answer, and the answer if the file had one. copy_number: from 0,
    where a set holds the same row several times (where it is held out, once).  keeps_answer: it is used even where a
    spec has the model answer.  source: whose it is, in the row's own word, else the source that it was read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    conversation: Conversation
    label: Label
    category: str = ""
    style: str = ""
    split: Split = "train"
    borderline: bool = False
    answer: str | None = None
    keeps_answer: bool = False
    copy_number: int = 0
    source: str = ""

    @property
    def text(self) -> str:
        """The last user message's text."""
        return self.conversation.text


def prompts_from_rows(
    rows: Iterable[tuple[int, Any]], *, name: str, label: Label, answer_field: str = ""
) -> list[Prompt]:
    """Prompts from numbered raw rows. Raises DataError naming the file, the row and the field."""
    prompts = [prompt_from_row(row, f"{name}, row {number}", label, answer_field) for number, row in rows]
    if not prompts:
        raise DataError(f"{name} has no rows: give a file with at least one prompt.")
    return prompts


def select(
    prompts: Sequence[Prompt],
    data: DataSpec,
    *,
    label: Label,
    split: Split,
    seed: int,
) -> list[Prompt]:
    """The rows of one side and split that the spec asks for, in an order that depends on the seed alone.

    Row limits keep the mix of styles and categories: rows are taken in a seeded order, not from the top of the file.
    Raises DataError when nothing is left.
    """
    categories = data.categories if label == "harmful" else ()
    kept = [
        prompt
        for prompt in prompts
        if prompt.split == split
        and (not categories or prompt.category in categories)
        and (not data.styles or prompt.style in data.styles)
    ]
    if not kept:
        raise DataError(
            f"No {label} prompt is left in the {split} split"
            + (f" with categories {', '.join(categories)}" if categories else "")
            + (f" with styles {', '.join(data.styles)}" if data.styles else "")
            + f" (the set has {len(prompts)} rows in all): widen the filter or choose another set."
        )
    kept.sort(key=lambda prompt: fraction(f"{seed}:{prompt.id}:{prompt.conversation.asked}"))
    training_limit = data.circuit_breaker_rows if label == "harmful" else data.retain_rows
    limit = training_limit if split == "train" else data.heldout_rows
    return kept[:limit] if limit else kept


def told_once(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Without what `times=` repeats word for word: of two copies one may be fitted on and the other judged. One that is
    lent another picture stays."""
    known = {prompt.conversation.key for prompt in prompts if not prompt.copy_number}
    found = []
    for prompt in prompts:
        if prompt.copy_number and prompt.conversation.key in known:
            continue
        known.add(prompt.conversation.key)
        found.append(prompt)
    return found


def opener_for(prompt: Prompt, data: DataSpec) -> str:
    """The words put in the model's mouth for this prompt, or ''. Depends on what is asked alone, so that both sides
    get the same mix and answers can be cached across runs."""
    draw = opener_draw(prompt)
    if not data.openers or draw >= data.opener_share:
        return ""
    return data.openers[int(draw / data.opener_share * len(data.openers))]


def opener_draw(prompt: Prompt) -> float:
    """From 0 to 1: below the spec's opener share its answer is begun."""
    return fraction(f"opener:{prompt.conversation.asked}")


def refuse_half_characters(row: Any, where: str) -> None:
    """Raises DataError for text that cannot be written down: JSON may spell half of a character, UTF-8 cannot. Values
    that JSON does not have, such as a table's dates, may stand in fields that nobody reads."""
    try:
        json.dumps(row, ensure_ascii=False, default=as_text).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: holds half of a character (a lone surrogate such as \\ud800). Correct this row."
        ) from error


def prompt_from_row(row: Any, where: str, label: Label, answer_field: str) -> Prompt:
    """Raises DataError naming the place and the field."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with a 'prompt' or 'messages' field, got {shown(row)}.")
    refuse_half_characters(row, where)
    if row.get("messages") is not None:
        messages, answer = _messages(row["messages"], where)
        conversation = Conversation(messages=messages)
    else:
        conversation = Conversation(messages=(_request(row, where),))
        answer = _answer(row, where, answer_field)
    contents = [message.content for message in conversation.messages]
    text = json.dumps([content.get("content", content.get("parts")) for content in contents])
    split = row.get("split") or _split(text)
    if split not in get_args(Split):
        raise DataError(f"{where}: field 'split' is {short(split)}: use train, validation or test.")
    borderline = _truth(row, "borderline", where) or False
    return Prompt(
        id=str(row.get("id") or hashlib.sha256(text.encode()).hexdigest()[:12]),
        conversation=conversation,
        label=label,
        category=optional_text(row, "category", where),
        style=optional_text(row, "style", where),
        split=split,
        borderline=borderline,
        answer=answer,
        source=_author(row),
    )


def _author(row: dict) -> str:
    """What other people's files say there may be no text: it is then passed over, since it decides nothing."""
    return next((row[name].strip() for name in AUTHOR_FIELDS if isinstance(row.get(name), str)), "")


def _request(row: dict, where: str) -> Message:
    """The row's text behind its pictures, which whoever read the file has found."""
    words = Text(text=_text(row, "prompt", where))
    if not (given := row.get("pictures", row.get("picture"))):
        return Message(role="user", parts=(words,))
    try:
        pictures = [Picture.model_validate(one) for one in given]
    except (ValidationError, TypeError) as error:
        raise DataError(
            f"{where}: names the picture {short(given)}, and pictures are read with files alone."
        ) from error
    return Message(role="user", parts=(*pictures, words))


def row_label(row: dict, where: str, label: Label | None = None) -> Label:
    """What a row is, by its field 'label' or 'harmful', else `label`. Raises DataError where neither says."""
    given = row.get("label")
    if given is None and (harmful := _truth(row, "harmful", where)) is not None:
        return "harmful" if harmful else "benign"
    if given == "harmful" or given == "benign":
        return given
    if given is None and label is not None:
        return label
    raise DataError(f"{where}: field 'label' is {short(given)}: use harmful or benign.")


def asked_rows(prompts: Sequence[Prompt]) -> int:
    """Of how many prompts an answer is made where answers are elicited: a copy's is known, and some keep their own."""
    return len({prompt.conversation.key for prompt in prompts if not prompt.keeps_answer})


def _truth(row: dict, name: str, where: str) -> bool | None:
    """None where a row leaves it out, as an empty cell of a table does. A table of texts spells it out."""
    given = row.get(name)
    if given is None or given == "" or given != given:
        return None
    spelled = {"true": True, "false": False}.get(given.strip().lower()) if isinstance(given, str) else given
    if not isinstance(spelled, bool):
        raise DataError(f"{where}: field '{name}' is {short(given)}: use true or false.")
    return spelled


def _messages(given: Any, where: str) -> tuple[tuple[Message, ...], str | None]:
    """The messages up to the answer, and the answer where the last message is the assistant's."""
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: field 'messages' must be a list of messages, got {shown(given)}.")
    messages = [_message(message, f"{where}: messages[{number}]") for number, message in enumerate(given)]
    answer = None
    if messages[-1].role == "assistant":
        last = messages.pop()
        if not last.is_text:
            raise DataError(f"{where}: messages[{len(messages)}] is the answer: it must be one text.")
        answer = last.text
    if not any(message.role == "user" for message in messages):
        raise DataError(f"{where}: field 'messages' has no user message: add one.")
    return tuple(messages), answer


def _message(given: Any, place: str) -> Message:
    if not isinstance(given, dict) or given.get("role") not in get_args(Role):
        got = f"the role {short(given['role'])}" if isinstance(given, dict) and "role" in given else shown(given)
        raise DataError(f"{place} needs a 'role' of {', '.join(get_args(Role))}, got {got}.")
    field = "parts" if "parts" in given else "content"
    if not isinstance(given.get(field), list):
        # Other fields of a message are for other readers.
        return say(given["role"], _text(given, field, place))
    try:
        message = Message(role=given["role"], parts=given[field])
    except ValidationError as error:
        # Behind a part's number pydantic names its kind, which no file has there.
        steps = [step for number, step in enumerate(error.errors()[0]["loc"][1:]) if number != 1]
        wrong = _wrong(error, f"{place}.{field}", steps)
        raise DataError(f"{wrong} A part is a text, picture, call or result.") from error
    if message.is_text:
        _text({field: message.text}, field, place)
    return message


def _wrong(error: ValidationError, where: str, steps: Sequence[str | int]) -> str:
    """The first thing that is wrong, at the place that `steps` lead to from `where`."""
    first = error.errors(include_url=False)[0]
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return f"{where}{name} is {shown(first['input'])}: {first['msg']}."


def _answer(row: dict, where: str, answer_field: str) -> str | None:
    if answer_field:
        return _text(row, answer_field, where)
    for name in ANSWER_FIELDS:
        value = row.get(name)
        # An empty text is an answer that the file does not have, as an empty cell of a table is.
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return _text(row, name, where)
    return None


def _text(row: dict, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        problem = "is missing" if name not in row else f"is {shown(value)}"
        raise DataError(f"{where}: field '{name}' {problem}: it must be text.")
    return value


def optional_text(row: dict, name: str, where: str) -> str:
    """The text of a field, '' where there is none. Raises DataError for what is no text."""
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: field '{name}' is {shown(value)}: it must be text.")
    return value or ""


def _split(text: str) -> Split:
    """Files without a split get one from the text itself: 75 % train, 5 % validation, 20 % test."""
    draw = fraction(f"split:{text}")
    return "train" if draw < 0.75 else "validation" if draw < 0.8 else "test"


def fraction(text: str) -> float:
    """A number from 0 to 1 that a text draws, the same each time."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64

"""Prompt sets: read, checked row by row, filtered, split. Knows nothing of models or tokens."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.records.conversation import Conversation, Label, Message, Role, Tool, say
from engine.records.errors import DataError
from engine.records.settings import SAMPLE_DATA, given_path
from engine.records.spec import DataSpec

Split = Literal["train", "validation", "test"]
ANSWER_FIELDS = ("response", "answer", "completion", "output", "llama3_output")
REFUSED_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".npz", ".joblib"}


class Prompt(BaseModel):
    """One row of a prompt set: what is said up to the answer, and the answer if the file had one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    conversation: Conversation
    label: Label
    category: str = ""
    style: str = ""
    split: Split = "train"
    borderline: bool = False
    answer: str | None = None

    @property
    def text(self) -> str:
        """The last user message's text."""
        return self.conversation.text


def read_source(source: str, *, label: Label, answer_field: str = "") -> list[Prompt]:
    """Read `sample:NAME` or a file path. Raises DataError naming file, row and field; nothing is half-read.

    Formats, told apart by their fields: JSONL with `prompt` (and an answer, if there is one), JSONL chat with
    `messages` (each content a text or a list of parts, see engine.records.conversation) and perhaps `tools`, and the
    JSON list of the published circuit_breakers_train.json (`prompt`, `output`, `category`).
    """
    path = _file(source)
    return prompts_from_rows(_read_rows(path), name=path.name, label=label, answer_field=answer_field)


def source_hashes(data: DataSpec) -> dict[str, str]:
    """The content hash of each prompt file that a spec names, by source; a source that is no file here has none."""
    found = {}
    for source in dict.fromkeys((data.circuit_breaker, data.retain)):
        try:
            found[source] = hashlib.sha256(_file(source).read_bytes()).hexdigest()[:16]
        except (OSError, DataError):
            continue
    return found


def prompts_from_rows(
    rows: Iterable[tuple[int, Any]], *, name: str, label: Label, answer_field: str = ""
) -> list[Prompt]:
    """Prompts from numbered raw rows. Raises DataError naming the file, the row and the field."""
    prompts = [_prompt(row, f"{name}, row {number}", label, answer_field) for number, row in rows]
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
    kept.sort(key=lambda prompt: _fraction(f"{seed}:{prompt.id}:{prompt.conversation.asked}"))
    training_limit = data.circuit_breaker_rows if label == "harmful" else data.retain_rows
    limit = training_limit if split == "train" else data.heldout_rows
    return kept[:limit] if limit else kept


def _file(source: str) -> Path:
    """Where `sample:NAME` or a file path leads. Raises DataError for a sample set that does not exist."""
    if source.startswith("hub:"):
        raise DataError(f"{source} is a Hugging Face dataset: only the worker can read it.")
    if source.startswith("sample:"):
        path = SAMPLE_DATA / "prompts" / f"{source.removeprefix('sample:')}.jsonl"
        if not path.is_file() or path.parent != SAMPLE_DATA / "prompts":
            names = sorted(file.stem for file in (SAMPLE_DATA / "prompts").glob("*.jsonl"))
            raise DataError(f"There is no sample set '{source}': choose sample:{' or sample:'.join(names)}.")
    else:
        path = given_path(source, error=DataError)
    return path


def opener_for(prompt: Prompt, data: DataSpec) -> str:
    """The words put in the model's mouth for this prompt, or ''. Depends on what is asked alone, so that both sides
    get the same mix and answers can be cached across runs."""
    draw = _fraction(f"opener:{prompt.conversation.asked}")
    if not data.openers or draw >= data.opener_share:
        return ""
    return data.openers[int(draw / data.opener_share * len(data.openers))]


def refuse_half_characters(row: Any, where: str) -> None:
    """Raises DataError for text that cannot be written down: JSON may spell half of a character, UTF-8 cannot."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: holds half of a character (a lone surrogate such as \\ud800). Correct this row."
        ) from error


def _read_rows(path: Path) -> list[tuple[int, Any]]:
    if path.suffix.lower() in REFUSED_SUFFIXES:
        raise DataError(f"{path.name} may run code when it is opened: convert it to JSON or JSONL first.")
    if not path.is_file():
        raise DataError(f"The prompt file {path} does not exist: check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as UTF-8 text: {error}.") from error
    if text.lstrip().startswith("["):
        return _read_json_list(path.name, text)
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path.name}, row {number}: not JSON ({error}). Correct this row.") from error
    return rows


def _read_json_list(name: str, text: str) -> list[tuple[int, Any]]:
    try:
        return list(enumerate(json.loads(text), start=1))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not a JSON list: {error}. Correct the file.") from error


def _prompt(row: Any, where: str, label: Label, answer_field: str) -> Prompt:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with a 'prompt' or 'messages' field, got {_short(row)}.")
    refuse_half_characters(row, where)
    if "messages" in row:
        messages, answer = _messages(row["messages"], where)
        conversation = Conversation(messages=messages, tools=_tools(row.get("tools"), where))
    else:
        conversation = Conversation.asking(_text(row, "prompt", where))
        answer = _answer(row, where, answer_field)
    contents = [message.content for message in conversation.messages]
    text = json.dumps([content.get("content", content.get("parts")) for content in contents])
    split = row.get("split") or _split(text)
    if split not in get_args(Split):
        raise DataError(f"{where}: field 'split' is {_short(split)}: use train, validation or test.")
    borderline = row.get("borderline", False)
    if not isinstance(borderline, bool):
        raise DataError(f"{where}: field 'borderline' is {_short(borderline)}: use true or false.")
    return Prompt(
        id=str(row.get("id") or hashlib.sha256(text.encode()).hexdigest()[:12]),
        conversation=conversation,
        label=label,
        category=_optional_text(row, "category", where),
        style=_optional_text(row, "style", where),
        split=split,
        borderline=borderline,
        answer=answer,
    )


def _messages(given: Any, where: str) -> tuple[tuple[Message, ...], str | None]:
    """The messages up to the answer, and the answer where the last message is the assistant's."""
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: field 'messages' must be a list of messages, got {_short(given)}.")
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
        raise DataError(f"{place} needs a 'role' of {', '.join(get_args(Role))}, got {_short(given)}.")
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


def _tools(given: Any, where: str) -> tuple[Tool, ...]:
    if not given:
        return ()
    if not isinstance(given, list):
        raise DataError(f"{where}: field 'tools' must be a list of tools, got {_short(given)}.")
    found = []
    for number, tool in enumerate(given):
        try:
            found.append(Tool.model_validate(tool))
        except ValidationError as error:
            wrong = _wrong(error, f"{where}: tools[{number}]", error.errors()[0]["loc"])
            raise DataError(f"{wrong} A tool has a name, a description and parameters.") from error
    return tuple(found)


def _wrong(error: ValidationError, where: str, steps: Sequence[str | int]) -> str:
    """The first thing that is wrong, at the place that `steps` lead to from `where`."""
    first = error.errors(include_url=False)[0]
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return f"{where}{name} is {_short(first['input'])}: {first['msg']}."


def _answer(row: dict, where: str, answer_field: str) -> str | None:
    if answer_field:
        return _text(row, answer_field, where)
    for name in ANSWER_FIELDS:
        if row.get(name) is not None:
            return _text(row, name, where)
    return None


def _text(row: dict, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        problem = "is missing" if name not in row else f"is {_short(value)}"
        raise DataError(f"{where}: field '{name}' {problem}: it must be text.")
    return value


def _optional_text(row: dict, name: str, where: str) -> str:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: field '{name}' is {_short(value)}: it must be text.")
    return value or ""


def _split(text: str) -> Split:
    """Files without a split get one from the text itself: 75 % train, 5 % validation, 20 % test."""
    draw = _fraction(f"split:{text}")
    return "train" if draw < 0.75 else "validation" if draw < 0.8 else "test"


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

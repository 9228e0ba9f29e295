"""Requests to an agent in the forms of other people's sets, each row told by its fields, as rows of our own form.

BFCL (`question`, `function`), Gorilla OpenFunctions (`Instruction`, `Functions`, `Output`), Glaive function calling
(`system`, `chat`) and OpenAI's interface (`messages` with `tool_calls`, `tools` or `functions`). What is said ends
before the first call, which is the one that is expected. Labels and all other fields stay as they are. Knows nothing of
files.
"""

import ast
import json
from collections.abc import Callable, Sequence
from typing import Any

from engine.records.call_schemas import check_call
from engine.records.conversation import Call, Tool
from engine.records.errors import DataError
from engine.records.json_values import Unreadable, need_plain
from engine.records.schema_words import json_schema
from engine.records.shown import shown
from engine.records.written_as_chat import call_in, functions_in, turns_of
from engine.records.written_as_code import calls_in_code

Row = dict[str, Any]

_ROLES = {"developer": "system", "function": "tool"}
# What stands beside the definition of a function in OpenAI's interface.
_AROUND_A_FUNCTION = ("type", "strict")


def own_form(row: Any, where: str) -> Any:
    """The row in our own form; one that is in it, or in no form that is known, as it is.

    Raises DataError with the place and the value where a row has only half of a form, or holds what cannot be read.
    """
    if not isinstance(row, dict):
        return row
    if "messages" in row or "prompt" in row:
        return _of_openai(row, where)
    form = next((one for one in _FORMS if one[0] & row.keys()), None)
    if form is None:
        return row
    fields, answer, read = form
    try:
        # What stands in fields that nobody reads decides nothing.
        need_plain({name: value for name, value in row.items() if name in fields or name == answer})
    except Unreadable as error:
        raise DataError(f"{where}: cannot be read, since {error}. Correct this row.") from error
    return read(row, where)


def _of_bfcl(row: Row, where: str) -> Row:
    """Before version 4 the question was a text, and one function no list."""
    question, functions = _both(row, "question", "function", where)
    turns = [[{"role": "user", "content": question}]] if isinstance(question, str) else question
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list):
        raise DataError(
            f"{where}: field 'question' is {shown(question)}: it must be one turn, a list that holds a list of "
            "messages. Leave rows of several turns out."
        )
    tools = _tools(functions, f"{where}: field 'function'")
    found = _rest(row, "question", "function", "ground_truth") | {"messages": turns[0], "tools": tools}
    if "ground_truth" in row:
        found["call"] = _listed(row["ground_truth"], tools, where)
    return found


def _listed(given: Any, tools: list[Row], where: str) -> Row | None:
    """The first call that is listed as right, with the first value of each argument that may not be left out."""
    if given == []:
        return None
    first = given[0] if isinstance(given, list) else given
    if isinstance(first, str):
        return _written(first, f"{where}: field 'ground_truth'")
    if not isinstance(first, dict) or len(first) != 1 or not all(isinstance(one, dict) for one in first.values()):
        raise DataError(
            f'{where}: field \'ground_truth\' is {shown(given)}: it must list calls such as {{"name": {{"argument": '
            "[value]}}."
        )
    [(name, choices)] = first.items()
    required = next((tool["parameters"].get("required") for tool in tools if tool["name"] == name), None)
    return {"name": name, "arguments": _first_choices(choices, required if isinstance(required, list) else [])}


def _first_choices(value: Any, required: Sequence[Any] = ()) -> Any:
    """Each value of an object is a list of right ones, of which an empty text says that it may be left out."""
    if isinstance(value, dict):
        kept = {name: _listing(some) for name, some in value.items() if name in required or "" not in _listing(some)}
        return {name: _first_choices(next((one for one in some if one != ""), "")) for name, some in kept.items()}
    return [_first_choices(one) for one in value] if isinstance(value, list) else value


def _listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _of_gorilla(row: Row, where: str) -> Row:
    """Its functions are called by `api_call` (or `api_name`), where they have it; `name` is then a title."""
    request, functions = _both(row, "Instruction", "Functions", where)
    found = _rest(row, "Instruction", "Functions", "Output") | {
        "prompt": request,
        "tools": _tools(functions, f"{where}: field 'Functions'"),
    }
    output = row.get("Output")
    if output is not None:
        first = output[0] if isinstance(output, list) and output else output
        found["call"] = _written(first, f"{where}: field 'Output'") if first else None
    return found


def _written(text: Any, where: str) -> Row:
    """The first call of a text such as `name(argument=1)`, one or several in brackets or after a mark."""
    if not isinstance(text, str):
        raise DataError(f"{where} is {shown(text)}: it must be a text such as name(argument=1).")
    code = text.strip().removeprefix("<<function>>").strip()
    try:
        call = calls_in_code(code if code.startswith("[") else f"[{code}]")[0]
    except Unreadable as error:
        raise DataError(f"{where} is {shown(text)}, no call that can be read, since {error}. Correct it.") from error
    return {"name": call.name, "arguments": call.arguments}


def _of_glaive(row: Row, where: str) -> Row:
    system, chat = _both(row, "system", "chat", where)
    for name, text in (("system", system), ("chat", chat)):
        if not isinstance(text, str):
            raise DataError(f"{where}: field '{name}' is {shown(text)}: it must be text.")
    place, piece = "system", system
    try:
        words, functions = functions_in(system)
        place, piece = "chat", chat
        messages = [{"role": "system", "content": words}] if words else []
        called = None
        for turn in turns_of(chat):
            if turn.call is not None:
                piece = turn.call
                called = _called(call_in(turn.call), f"{where}: the call in field 'chat'")
                break
            if turn.role == "tool":
                raise DataError(f"{where}: field 'chat' has a result, {shown(turn.words)}, before any call.")
            messages.append({"role": turn.role, "content": turn.words})
    except Unreadable as error:
        raise DataError(
            f"{where}: field '{place}' cannot be read at {shown(piece)}, since {error}. Correct it."
        ) from error
    if not functions:
        # Some of the set are talks without tools.
        if called is not None:
            raise DataError(f"{where}: field 'chat' calls {called['name']!r}, and field 'system' defines no function.")
        return _rest(row, "system", "chat") | {"messages": messages}
    tools = _tools(functions, f"{where}: field 'system'")
    return _rest(row, "system", "chat") | {"messages": messages, "tools": tools} | _fitting(called, tools)


def _fitting(called: Row | None, tools: list[Row]) -> Row:
    """The call that is expected, as far as the row's own schemas bear it out: without its arguments where these do not
    fit, and none is said to be expected where its function is not offered."""
    if called is None:
        return {"call": None}
    known = [Tool(**tool) for tool in tools if isinstance(tool["parameters"], dict)]
    if all(tool["name"] != called["name"] for tool in tools):
        return {}
    try:
        fits = not check_call(Call(**called), known)
    except DataError:
        # What is wrong with the schema is said where the tool is read.
        fits = True
    return {"call": called if fits else {"name": called["name"], "arguments": None}}


def _of_openai(row: Row, where: str) -> Row:
    """Also the older `functions` and `function_call`. Tools of our own form, and names of known ones, stay."""
    found = dict(row)
    if "functions" in row and "tools" not in row:
        found["tools"] = _tools(found.pop("functions"), f"{where}: field 'functions'")
    elif isinstance(row.get("tools"), str):
        found["tools"] = _from_text(row["tools"], f"{where}: field 'tools'")
    if isinstance(found.get("tools"), list):
        found["tools"] = [
            _tool(one, f"{where}: tools[{number}]") if _is_of_openai(one) else one
            for number, one in enumerate(found["tools"])
        ]
    messages = row.get("messages")
    if not isinstance(messages, list):
        return found
    kept: list[Any] = []
    for number, message in enumerate(messages):
        place = f"{where}: messages[{number}]"
        called = _first_call(message, place)
        if called is not None:
            if not found.get("tools"):
                raise DataError(f"{place} calls {called['name']!r}, and the row offers no tools: add 'tools'.")
            return found | {"messages": kept, "call": row.get("call", called)}
        kept.append(_message(message, place))
    # An answer in words, where tools of this form are offered, is one without a call.
    if kept and found != row and isinstance(kept[-1], dict) and kept[-1].get("role") == "assistant":
        found.setdefault("call", None)
    return found | {"messages": kept}


def _is_of_openai(tool: Any) -> bool:
    return isinstance(tool, dict) and ("function" in tool or tool.get("type") == "function")


def _first_call(message: Any, place: str) -> Row | None:
    if not isinstance(message, dict):
        return None
    calls = message.get("tool_calls") or ([message["function_call"]] if message.get("function_call") else [])
    if not calls:
        return None
    if message.get("role") != "assistant" or not isinstance(calls, list):
        raise DataError(f"{place} has the tool_calls {shown(calls)}: a list of calls, and the assistant's alone.")
    first = calls[0]
    inner = first.get("function", first) if isinstance(first, dict) else first
    return _called(inner, f"{place}: the call")


def _message(message: Any, place: str) -> Any:
    """A message with the role that we have for it; a result has no place before the first call."""
    if not isinstance(message, dict):
        return message
    role = _ROLES.get(str(message.get("role")), message.get("role"))
    if role == "tool" and (role != message["role"] or "tool_call_id" in message):
        raise DataError(f"{place} is a tool's result, {shown(message.get('content'))}, and no call stands before it.")
    return message if role == message.get("role") else message | {"role": role}


def _called(value: Any, where: str) -> Row:
    """Arguments may be a text that is JSON, as they travel between programs."""
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} is {shown(value)}: it must have a name and arguments.")
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _from_text(arguments, f"{where} has arguments that") if arguments.strip() else {}
    if not isinstance(arguments, dict):
        raise DataError(
            f"{where} has arguments that are {shown(arguments)}: they must be an object, each with its name."
        )
    return {"name": name, "arguments": arguments}


def _tools(given: Any, place: str) -> list[Row]:
    """place: of the list; each is an object, or a text that is one."""
    functions = given if isinstance(given, list) else [given]
    if not functions or given is None:
        raise DataError(f"{place} is {shown(given)}: it must be a list of the functions that are offered.")
    return [_tool(one, f"{place}[{number}]") for number, one in enumerate(functions)]


def _tool(given: Any, place: str) -> Row:
    function = _from_text(given, place) if isinstance(given, str) else given
    if isinstance(function, dict) and isinstance(function.get("function"), dict):
        function = function["function"]
    if not isinstance(function, dict):
        raise DataError(f"{place} is {shown(function)}: it must be an object that defines a function.")
    title = function.get("name")
    name = function.get("api_call") or function.get("api_name") or title
    if not isinstance(name, str) or not name:
        raise DataError(f"{place} is {shown(function)}: give the function a name.")
    return {
        "name": name.strip().removesuffix("()"),
        "description": function.get("description") or (title if title != name else "") or "",
        "parameters": json_schema(function.get("parameters"), f"{place}: the schema 'parameters' of the tool {name!r}"),
    }


def _from_text(text: str, where: str) -> Any:
    """What a text of JSON holds, or of Python's values, as some sets write them. Nothing is carried out."""
    try:
        try:
            value = json.loads(text, strict=False)
        except ValueError:
            # Through JSON, which has no tuples, sets or bytes.
            value = json.loads(json.dumps(ast.literal_eval(text.strip())))
        need_plain(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, Unreadable):
        words = shown(text)
        words = f"the text {words}" if words[0] in "'\"" else words
        raise DataError(f"{where} is {words}, which is no JSON: correct it.") from None
    return value


def _both(row: Row, first: str, second: str, where: str) -> tuple[Any, Any]:
    for name, other in ((first, second), (second, first)):
        if name not in row:
            raise DataError(f"{where}: has the field '{other}', {shown(row[other])}, and no '{name}': add it.")
    return row[first], row[second]


def _rest(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


# Fields that tell a form, the one that may say the call, and what reads it.
_FORMS: tuple[tuple[set[str], str, Callable[[Row, str], Row]], ...] = (
    ({"question", "function"}, "ground_truth", _of_bfcl),
    ({"Instruction", "Functions"}, "Output", _of_gorilla),
    ({"system", "chat"}, "", _of_glaive),
)

"""The calls in what a model wrote, in every shape that models write them. Knows nothing of models, tokens or schemas.

Marked: <tool_call>{...}</tool_call>, <|python_tag|>{...}, [TOOL_CALLS] [{...}], [TOOL_CALLS]name[ARGS]{...},
<function=name>{...}</function> or, a tag an argument, <function=name><parameter=key>value</parameter></function>
(Qwen3-Coder). Unmarked, where a line or a code fence begins with it: a JSON object or list of
{"name", "arguments"} or {"name", "parameters"}, and outside of fences [name(argument=1), other(argument="x")].
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from engine.records.call_values import call_of, is_like_a_call
from engine.records.conversation import Call, Tool
from engine.records.json_values import Unreadable, read_value
from engine.records.written_as_code import calls_in_code, end_of_code
from engine.records.written_as_tags import is_tagged, tagged_call

# Words that begin a call, and those that end one: a tokenizer may hold them for special tokens.
MARKS = frozenset(
    ("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[/TOOL_CALLS]")
)
# More calls in one answer are a loop of the model's; the bound also keeps reading linear in the text.
MOST_CALLS = 128

# What is read over between values: spaces, separators, and letters that nobody sees.
_BETWEEN = re.compile(r"[\s,;\u200b-\u200f\u2060\ufeff]*")
_UNSEEN = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*")
_OPENING = re.compile(
    r"(?P<hermes><tool_call>)|(?P<llama><\|python_tag\|>)|(?P<mistral>\[TOOL_CALLS\])"
    r"|<function=(?P<function>[^<>\s]{1,200})>"
    r"|^(?P<fence>[ \t]*```(?:[\w.+-]*[^\S\n]*(?=[\[{])|[^\n`]*\n))"
    r"|^(?P<bare>[^\S\n]*[\u200b-\u200f\u2060\ufeff]*(?=[\[{]))",
    re.MULTILINE,
)
_NAMED = re.compile(r"\s*([\w.:/-]{1,200})\s*(?:\[CALL_ID\]\s*([\w-]{1,200})\s*)?\[ARGS\]")
_CLOSING = re.compile(r"[\s,;\u200b-\u200f\u2060\ufeff]*(?:</tool_call>|</function>|\[/TOOL_CALLS\])")
_NEXT = re.compile(r"</tool_call>|</function>|\[/TOOL_CALLS\]|<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|<function=")
_FUNCTION = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*<function=([^<>\s]{1,200})>")
_FENCE_END = re.compile(r"\s*```")
_EMPTY_FENCE = re.compile(r"```[^\n`]*\n\s*```")
# A name and then what only a call has, or nothing more: other objects that are cut off are words.
_LIKE_A_CALL = re.compile(
    r'\[?\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"(?:name|function)"\s*:\s*'
    r'(?:\Z|\{|"[^"]{0,200}(?:\Z|"\s*(?:\Z|,\s*(?:"(?:arguments|parameters|id|type)"|"?\w*\Z))))'
)
_LIKE_CODE = re.compile(r"\[\s*[A-Za-z_][\w.]*\(\s*(?:\w+\s*=|\)|$)")


class ReadCalls(NamedTuple):
    """text: all words outside of calls, and those of a call that cannot be read.  problem: why the first such call
    cannot be read, '' where all can.  spans: where in the answer each piece stands that was meant as calls, readable or
    not, marks and all."""

    text: str
    calls: tuple[Call, ...] = ()
    problem: str = ""
    spans: tuple[tuple[int, int], ...] = ()


class _Piece(NamedTuple):
    """What one opening leads to. end: where it ends.  is_call: whether anything of it was meant as a call."""

    end: int
    calls: tuple[Call, ...] = ()
    problem: str = ""
    is_call: bool = True


def read_calls(text: str, tools: Sequence[Tool] = ()) -> ReadCalls:
    """All calls of an answer, special tokens that begin them included. Never raises; takes time linear in the text.

    tools: that were offered, by whose schemas arguments that are written as bare text are read; else by their looks.
    A text without any call comes back as it was. A call that was begun and cannot be read (cut off, no JSON, no name,
    arguments that are no object) stays in the text, and the reason is given.
    """
    calls: list[Call] = []
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    problem = ""
    told = place = fences = counted = 0
    for _ in range(2 * MOST_CALLS):
        opening = _OPENING.search(text, place)
        if opening is None:
            break
        fences += text.count("```", counted, opening.start())
        counted = opening.start()
        if fences % 2 and (opening["fence"] or "").strip() == "```":
            # It closes one that opened behind words.
            place = opening.end()
            continue
        piece = _read(text, opening, tools)
        place = max(piece.end, opening.end())
        problem = problem or piece.problem
        if piece.calls or piece.problem:
            spans.append((opening.start(), place))
        if piece.calls:
            calls.extend(piece.calls)
            words.append(text[told : opening.start()])
            if piece.problem:
                words.append(text[opening.start() : place])
            told = place
        if len(calls) > MOST_CALLS:
            problem = problem or _unread(f"the answer holds more than {MOST_CALLS} of them", text)
            break
    if not calls:
        return ReadCalls(text, (), problem, tuple(spans))
    outside = _EMPTY_FENCE.sub("", "".join([*words, text[told:]]))
    return ReadCalls(outside.strip(), tuple(calls[:MOST_CALLS]), problem, tuple(spans))


def _read(text: str, opening: re.Match[str], tools: Sequence[Tool]) -> _Piece:
    kind, start = opening.lastgroup, opening.end()
    if kind == "hermes" and (function := _FUNCTION.match(text, start)) and is_tagged(text, function.end()):
        return _tagged(text, function.end(), function[1], tools)
    if kind == "function" and is_tagged(text, start):
        return _tagged(text, start, opening["function"], tools)
    if kind == "mistral" and (named := _NAMED.match(text, start)):
        return _marked(text, named.end(), name=named[1], id=named[2] or "")
    if kind == "function":
        return _marked(text, start, name=opening["function"])
    if kind in ("hermes", "mistral"):
        return _marked(text, start)
    start = _end_of(_UNSEEN, text, start)
    if kind == "llama":
        return _marked(text, start) if text[start : start + 1] in ("{", "[", "") else _after_python_tag(text, start)
    if kind == "fence":
        return _in_fence(text, start)
    if _LIKE_CODE.match(text, start):
        return _code(text, start)
    return _unmarked(text, start)


def _marked(text: str, start: int, *, name: str = "", id: str = "") -> _Piece:
    """Calls behind a mark. name, id: of the call, where the mark says them and the arguments follow alone."""
    begins = _end_of(_UNSEEN, text, start)
    if not name and _LIKE_CODE.match(text, begins):
        piece = _code(text, begins)
        return piece._replace(end=_end_of(_CLOSING, text, piece.end))
    calls: list[Call] = []
    reason = ""
    end = begins
    try:
        for value, value_end in _values(text, begins, one=bool(name)):
            end = value_end
            whole = [{"name": name, "arguments": value, "id": id}] if name else value
            calls += [call_of(one) for one in (whole if isinstance(whole, list) else [whole])]
        if end == begins and not calls:
            rest = _NEXT.search(text, begins)
            raise Unreadable("it is empty" if rest else "it breaks off before it says anything")
        _need_nothing_behind(text, end)
    except Unreadable as error:
        reason = str(error)
        if error.spoils_all:
            calls = []
    if reason:
        following = _NEXT.search(text, end)
        end = len(text) if following is None else following.start()
    end = _end_of(_CLOSING, text, end)
    return _Piece(end, tuple(calls), _unread(reason, text[start:end]))


def _tagged(text: str, start: int, name: str, tools: Sequence[Tool]) -> _Piece:
    try:
        call, end = tagged_call(text, start, name, tools)
    except Unreadable as error:
        following = text.find("</tool_call>", start)
        end = len(text) if following < 0 else following + len("</tool_call>")
        return _Piece(end, (), _unread(str(error), text[start:end]))
    # Of the function, and of the call.
    return _Piece(_end_of(_CLOSING, text, _end_of(_CLOSING, text, end)), (call,))


def _after_python_tag(text: str, start: int) -> _Piece:
    """search.call(query="x"), as Llama 3 calls the tools it knows by itself, or code, which is no call."""
    following = _NEXT.search(text, start)
    end = len(text) if following is None else following.start()
    code = text[start:end].strip()
    if end_of_code(f"[{code}]", 0) != len(code) + 2:
        return _Piece(end, (), _unread("it is neither a JSON object nor one function with its arguments", code))
    try:
        return _Piece(end, calls_in_code(f"[{code}]", drop=".call"))
    except Unreadable as error:
        return _Piece(end, (), _unread(str(error), code))


def _in_fence(text: str, start: int) -> _Piece:
    if text[start : start + 1] in ("{", "["):
        piece = _unmarked(text, start)
        if piece.is_call:
            return piece._replace(end=_end_of(_FENCE_END, text, piece.end))
        start = piece.end
    elif _OPENING.match(text, start):
        return _Piece(start, is_call=False)
    # What else is in a fence is code, and so are the brackets with which its lines begin.
    end = text.find("```", start)
    return _Piece(len(text) if end < 0 else end + 3, is_call=False)


def _unmarked(text: str, start: int) -> _Piece:
    """JSON that is a call by what it holds, or else words."""
    calls: list[Call] = []
    end = start
    try:
        for value, value_end in _values(text, start):
            objects = value if isinstance(value, list) else [value]
            if not objects or not all(is_like_a_call(one) for one in objects):
                # Behind calls it is words again.
                return _Piece(end if calls else value_end, tuple(calls), is_call=bool(calls))
            calls += [call_of(one) for one in objects]
            end = value_end
    except Unreadable as error:
        begun = _LIKE_A_CALL.match(text, _end_of(_BETWEEN, text, end)) or error.is_of_a_call
        if not begun:
            return _Piece(end, tuple(calls), is_call=bool(calls))
        following = text.find("```", end)
        rest = len(text) if following < 0 else following
        return _Piece(rest, tuple(calls), _unread(str(error), text[start:rest]))
    return _Piece(end, tuple(calls))


def _code(text: str, start: int) -> _Piece:
    end = end_of_code(text, start)
    if end is None:
        return _Piece(len(text), (), _unread("it breaks off before its end", text[start:]))
    try:
        return _Piece(end, calls_in_code(text[start:end]))
    except Unreadable as error:
        return _Piece(end, (), _unread(str(error), text[start:end]))


def _values(text: str, start: int, *, one: bool = False) -> Iterator[tuple[Any, int]]:
    """JSON values one behind another, each with where it ends; of a list that cannot be read as a whole, those that
    can. Raises Unreadable at the first that cannot."""
    place = start
    while text[place : place + 1] in ("{", "["):
        try:
            value, end = read_value(text, place)
        except Unreadable:
            inner = _end_of(_BETWEEN, text, place + 1)
            if place != start or text[place] != "[" or text[inner : inner + 1] != "{":
                raise
            place = inner
            continue
        yield value, end
        if one:
            return
        place = _end_of(_BETWEEN, text, end)
    if place == start and text[place:].strip() and not _NEXT.match(text, place):
        raise Unreadable("it does not begin with a JSON object")


def _need_nothing_behind(text: str, end: int) -> None:
    """Raises Unreadable where a tag closes behind more than JSON, such as a brace too many: no program reads that."""
    following = _NEXT.search(text, end)
    if following is not None and following[0].startswith(("</", "[/")) and not _CLOSING.match(text, end):
        raise Unreadable("there is more behind its JSON", spoils_all=True)


def _unread(reason: str, written: str) -> str:
    if not reason:
        return ""
    shown = " ".join(written[:400].split())
    shown = f"{shown[:60]} ..." if len(shown) > 60 else shown
    return f"A call was begun and cannot be read, since {reason} ({shown}): allow more new tokens, or ask again."


def _end_of(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return place if found is None else found.end()

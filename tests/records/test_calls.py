"""Calls are read back in every shape that models write them, and what cannot be read says why."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records.calls import MOST_CALLS, ReadCalls, read_calls
from engine.records.conversation import Call, Message, Tool

MAIL = Call(name="send_mail", arguments={"to": ["ann@example.org"], "urgent": True})
LOOK = Call(name="look.up", arguments={"word": 'né "quoted" </tool_call> ```', "most": 3})


def written(call: Call, word: str = "arguments") -> str:
    return json.dumps({"name": call.name, word: call.arguments}, ensure_ascii=False)


def as_code(call: Call) -> str:
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


# Each shape as a model writes several calls in it.
SHAPES = {
    "hermes": lambda calls: "\n".join(f"<tool_call>\n{written(call)}\n</tool_call>" for call in calls),
    "hermes without an end": lambda calls: "\n".join(f"<tool_call>{written(call)}" for call in calls),
    "a list between tags": lambda calls: f"<tool_call>[{', '.join(map(written, calls))}]</tool_call>",
    "tags in a fence": lambda calls: (
        "```xml\n" + "".join(f"<tool_call>\n{written(c)}\n</tool_call>\n" for c in calls) + "```"
    ),
    "objects in a fence": lambda calls: "```json\n" + "\n".join(map(written, calls)) + "\n```",
    "a fence in one line": lambda calls: f"```json [{', '.join(map(written, calls))}] ```",
    "a list in a fence": lambda calls: f"```\n[{', '.join(map(written, calls))}]\n```",
    "fences": lambda calls: "\n".join(f"```json\n{written(call)}\n```" for call in calls),
    "bare objects": lambda calls: "; ".join(map(written, calls)),
    "a bare list": lambda calls: "[" + ",\n ".join(map(written, calls)) + "]",
    "python tag": lambda calls: "<|python_tag|>" + "; ".join(written(call, "parameters") for call in calls),
    "parameters": lambda calls: "\n".join(written(call, "parameters") for call in calls),
    "code": lambda calls: f"[{', '.join(map(as_code, calls))}]",
    "mistral": lambda calls: f"[TOOL_CALLS] [{', '.join(map(written, calls))}]",
    "newer mistral": lambda calls: "".join(
        f"[TOOL_CALLS]{c.name}[ARGS]{json.dumps(c.arguments, ensure_ascii=False)}" for c in calls
    ),
    "function tags": lambda calls: "\n".join(
        f"<function={c.name}>{json.dumps(c.arguments, ensure_ascii=False)}</function>" for c in calls
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("calls", [(MAIL,), (LOOK,), (MAIL, LOOK, MAIL)], ids=["one", "quotes and tags", "several"])
def test_a_call_is_read_back_in_every_shape(shape, calls):
    assert read_calls(SHAPES[shape](calls))[:3] == ("", calls, "")


@pytest.mark.parametrize("shape", SHAPES)
def test_words_before_and_behind_calls_are_kept(shape):
    read = read_calls(f"I look both up.\n\n{SHAPES[shape]((MAIL, LOOK))}\n\nThat is all.")
    assert (read.calls, read.problem) == ((MAIL, LOOK), "")
    assert " ".join(read.text.split()) == "I look both up. That is all."


def test_ids_are_read_where_there_are_any():
    assert read_calls('[TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "a1"}]').calls == (Call(name="f", id="a1"),)
    assert read_calls('[TOOL_CALLS]f[CALL_ID]a1[ARGS]{"x": 1}').calls == (Call(name="f", arguments={"x": 1}, id="a1"),)
    wrapped = '{"type": "function", "id": "a1", "function": {"name": "f", "arguments": "{\\"x\\": 1}"}}'
    assert read_calls(wrapped).calls == (Call(name="f", arguments={"x": 1}, id="a1"),)


def test_the_python_tag_also_begins_a_function_that_the_model_knows_by_itself():
    call = Call(name="brave_search", arguments={"query": "a b"})
    assert read_calls('<|python_tag|>brave_search.call(query="a b")').calls == (call,)


def test_code_knows_plain_values_alone():
    read = read_calls("[f(a=-1, b=[1, 2.5], c={'k': None}, d=true, e=(1,), f='C:\\data')]")
    assert read.calls[0].arguments == {
        "a": -1,
        "b": [1, 2.5],
        "c": {"k": None},
        "d": True,
        "e": [1],
        "f": "C:\\data",
    }


@pytest.mark.parametrize(
    "plain",
    [
        "",
        "  Sure, here it is.\n",
        '{"name": "Bob", "age": 3}',
        '{"name": "Bob", "age": ',
        '{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}',
        '{"name": "f", "parameters": {"type": "object", "properties": {}}}',
        "[1, 2, 3]\n{a}\n[link](address)",
        "```python\n[f(a=1)]\n{'name': 'f'}\n```",
        "```python\nx = [\n{}]\n```\n",
        "[f(1)]",
        "[x for x in y]",
        "I would write send_mail(to='ann') or <tool call>.",
    ],
)
def test_a_plain_answer_is_left_as_it_is(plain):
    assert read_calls(plain) == ReadCalls(plain)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"a": "so', "breaks off before its end"),
        ("<tool_call>", "breaks off before it says anything"),
        ("<tool_call></tool_call>", "it is empty"),
        ("<tool_call>f</tool_call>", "does not begin with a JSON object"),
        ('<tool_call>{"name": f}</tool_call>', "its letter 10 is no JSON"),
        ('<tool_call>{"arguments": {}}</tool_call>', "no name of a function"),
        ('<tool_call>{"name": " ", "arguments": {}}</tool_call>', "no name of a function"),
        ('<tool_call>{"name": "f", "arguments": {}}}</tool_call>', "there is more behind its JSON"),
        ("<tool_call>[1]</tool_call>", "it is a number and no JSON object"),
        ('{"name": "f", "arguments": [1]}', "the arguments of 'f' are a list and no object"),
        ('[TOOL_CALLS]f[ARGS]["a"]', "the arguments of 'f' are a list"),
        ('```json\n{"name": "f", "argum', "breaks off"),
        ('```json\n{"name": "f", "arguments": {"a": }}\n```', "its letter 34 is no JSON"),
        ('{"name": "f', "breaks off"),
        ('<|python_tag|>{"name": "f", "parameters": {', "breaks off"),
        ("<|python_tag|>import os\nprint(1)", "no list of functions"),
        ("[f(a='so", "breaks off"),
        ("[f(a=x)]", "no plain value"),
        ("[f(a=1), g(1)]", "the arguments of 'g' have no names"),
        ('{"name": "f", "arguments": {"a": NaN}}', "holds NaN"),
        ('{"name": "f", "arguments": {"a": 1e999}}', "1e999, a number too large"),
        ('{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}", "a number too long"),
        ('{"name": "f", "arguments": {"a": "\\ud800"}}', "half a character"),
        ('{"name": "f", "arguments": {"a": ' + "[" * 70 + "]" * 70 + "}}", "deeper than 64"),
        ('{"name": "f", "arguments": {"a": ' + "[" * 100_000, "deeper than 64"),
        ("[f(a=" + "[" * 100_000 + "]" * 100_000 + ")]", "deeper than 64"),
        ("[f(a=" + "1+" * 100_000 + "1)]", "no list of functions"),
    ],
    ids=lambda value: value[:30],
)
def test_a_call_that_cannot_be_read_stays_in_the_text_with_a_reason(text, reason):
    read = read_calls(text)
    assert read.text == text and read.calls == ()
    assert read.problem.startswith("A call was begun and cannot be read, since ")
    assert reason in read.problem and read.problem.endswith("allow more new tokens, or ask again.")
    assert len(read.problem) < 300


@pytest.mark.parametrize(
    "text",
    [
        f'<tool_call>{written(MAIL)}</tool_call>\n<tool_call>{{"name": "g", "argu',
        f'[{written(MAIL)}, {{"name": "g", "argu',
        f'```json\n{written(MAIL)}\n{{"name": "g", "arguments": {{',
        f'[TOOL_CALLS] [{written(MAIL)}, {{"name": "g", "argu',
    ],
)
def test_the_calls_before_one_that_is_cut_off_are_read(text):
    read = read_calls(text)
    assert read.calls == (MAIL,) and "breaks off" in read.problem and '"g"' in read.text


def test_the_last_of_two_equal_names_counts_and_unseen_letters_are_read_over():
    assert read_calls('\ufeff{"name": "f", "arguments": {"a": 1, "a": 2}}').calls[0].arguments == {"a": 2}
    assert read_calls('<tool_call>\u200b\n{"name": "f"}\u200b</tool_call>').calls == (Call(name="f"),)


def test_arguments_in_tags_are_read_as_the_schema_says_and_else_by_their_looks():
    """In the way of Qwen3-Coder's templates, within its marks and without."""
    text = (
        "<function=book>\n<parameter=floor>\n3\n</parameter>\n<parameter=code>\n007\n</parameter>\n"
        '<parameter=who>\n["Ann", "Bo"]\n</parameter>\n<parameter=note>\nTwo lines,\n{of it}\n</parameter>\n'
        "<parameter=number>\n12\n</parameter>\n</function>"
    )
    strings = {name: {"type": "string"} for name in ("number", "note")}
    tool = Tool(name="book", parameters={"type": "object", "properties": strings})
    plain = {"floor": 3, "code": "007", "who": ["Ann", "Bo"], "note": "Two lines,\n{of it}", "number": 12}
    for written in (text, f"I look.\n<tool_call>\n{text}\n</tool_call>\nDone."):
        assert read_calls(written).calls == (Call(name="book", arguments=plain),)
        read = read_calls(written, [tool])
        assert read.calls == (Call(name="book", arguments=plain | {"number": "12"}),) and not read.problem
        assert "<" not in read.text and written[slice(*read.spans[0])].strip().startswith("<")
    two = read_calls(f"<tool_call>{text}</tool_call><tool_call><function=ring></function></tool_call>")
    assert [call.name for call in two.calls] == ["book", "ring"] and two.calls[1].arguments == {} and two.text == ""


@pytest.mark.parametrize("cut", [20, 45, 70])
def test_arguments_in_tags_that_break_off_are_no_call(cut: int):
    text = "<tool_call><function=book>\n<parameter=floor>\n3\n</parameter>\n</function></tool_call>"[:cut]
    read = read_calls(text)
    assert not read.calls and read.text == text and "allow more new tokens" in read.problem


def test_long_arguments_are_read_whole():
    call = Call(name="write", arguments={"text": "x" * 100_000})
    assert read_calls(SHAPES["hermes"]([call])).calls == read_calls(SHAPES["code"]([call])).calls == (call,)


@pytest.mark.parametrize(
    "piece",
    [
        "<tool_call>",
        '<tool_call>["',
        '<tool_call>{"a":',
        '[f(a="',
        '[f("\\"',
        "[f(a='\n",
        "```\n",
        '```\n{"a":1}\n',
        "{\n",
        "[\n",
        '[\n{"name":"',
        "[TOOL_CALLS]f[ARGS]",
        "<|python_tag|>x(",
        "<function=a",
        "\u200b",
        "\n",
        '{"name":"f","arguments":{}}\n',
        "[f(a=1)]\n",
    ],
)
def test_a_loop_of_half_a_million_letters_takes_no_time(piece):
    started = time.perf_counter()
    read = read_calls(piece * (500_000 // len(piece)))
    assert time.perf_counter() - started < 5
    assert len(read.calls) in (0, MOST_CALLS) and (not read.calls or f"more than {MOST_CALLS}" in read.problem)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<tool_call>",
            "</tool_call>",
            "[TOOL_CALLS]",
            "[ARGS]",
            "<|python_tag|>",
            "<function=f>",
            "```json\n",
            "\n```",
            "\n",
            *'{}[]()":,=\\',
            '{"name": "f", "arguments": ',
            '"name"',
            "f(a=1)",
            "null",
            "\ud800",
            "\0",
            "\u200b",
        ]
    )
    | st.text(max_size=5)
).map("".join)


@settings(max_examples=300, deadline=None)
@given(FRAGMENTS)
def test_reading_never_raises_and_a_text_without_calls_stays(text):
    read = read_calls(text)
    if read.calls:
        assert Message(role="assistant", parts=read.calls).model_dump_json()
    else:
        assert read.text == text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.builds(
    Call,
    name=st.from_regex(r"[a-z]{1,3}_[a-z]{1,8}", fullmatch=True),
    arguments=st.dictionaries(st.from_regex(r"[a-z]{1,3}_[a-z]{1,5}", fullmatch=True), VALUES, max_size=3),
)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=60, deadline=None)
@given(calls=st.lists(CALLS, min_size=1, max_size=3).map(tuple))
def test_whatever_is_written_in_a_shape_is_read_back_equal(shape, calls):
    assert read_calls(SHAPES[shape](calls))[:3] == ("", calls, "")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_letters_of_calls_are_told_apart_from_words(shape):
    written_calls = SHAPES[shape]((MAIL, LOOK))
    answer = f"I look both up.\n\n{written_calls}\n\nThat is all."
    spans = read_calls(answer).spans
    covered = "".join(answer[start:end] for start, end in spans)
    assert spans and answer[: spans[0][0]].split("```")[0].strip() == "I look both up."
    assert MAIL.name in covered and LOOK.name in covered and "That is all" not in covered


def test_a_call_that_breaks_off_has_its_letters_and_words_have_none():
    begun = '<tool_call>{"name": "send_mail", "arguments": {"to": ["ann@exam'
    read = read_calls(f"Well. {begun}")
    assert not read.calls and read.problem and read.spans == ((6, 6 + len(begun)),)
    assert read_calls("Nothing to call.").spans == ()


def test_calls_as_code_within_tags_leave_no_tag_behind():
    for text in ("<tool_call>[f(x=1)]</tool_call>", "[TOOL_CALLS][f(x=1)][/TOOL_CALLS]"):
        read = read_calls(text)
        assert (read.text, read.problem, read.spans) == ("", "", ((0, len(text)),)) and len(read.calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        'Here: ```json\n{"a": 1}\n```\nThen\n{"name": "f", "arguments": {}}',
        '1. ```json\n   {"name": "f", "arguments": {}}\n   ```\n2. Then\n   {"name": "g", "arguments": {}}',
        '```json\n{"name": "f", "arguments": {}}\n``` and\n```\n{"name": "g", "arguments": {}}\n```\nThen\n[h(x=1)]',
    ],
)
def test_a_fence_that_opens_behind_words_hides_no_call(text):
    read = read_calls(text)
    assert [call.name for call in read.calls] == ["f", "g", "h"][: len(read.calls)]
    assert len(read.calls) == text.count('"name"') + text.count("h(x") and read.problem == ""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('Use ```ls```\n```\nfoo\n```\nNow:\n<tool_call>{"name": "f", "arguments": {}}</tool_call>', ["f"]),
        ("Use ```ls```\n\n```\nfoo\n```\n[f(x=1)]", ["f"]),
        ("Use ```ls```\n```\n[f(x=1)]\n```\nThat is code.", []),
    ],
)
def test_code_amid_a_line_opens_no_fence(text, names):
    assert [call.name for call in read_calls(text).calls] == names

"""Rows of other people's sets become requests with tools and the call that is expected, or are refused with row and
value. All rows were written for these tests."""

import copy
import datetime
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.records.conversation import Message, say
from engine.records.errors import DataError
from engine.records.prompt_files import read_source
from engine.records.tool_forms import own_form
from engine.records.tool_prompts import ExpectedCall, ToolPrompt, read_tool_prompts

BOOK = {
    "name": "desk.book",
    "description": "Books a desk.",
    "parameters": {
        "type": "dict",
        "properties": {"floor": {"type": "integer"}, "share": {"type": "float"}, "with": {"type": "dict"}},
        "required": ["floor"],
    },
}
BELL = {"name": "ring", "description": "", "parameters": {"type": "dict", "properties": {}}}
BFCL = [
    {
        "id": "b-0",
        "question": [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A desk on 3."}]],
        "function": [BOOK, BELL],
        "ground_truth": [{"desk.book": {"floor": [3], "share": ["", 1.0], "with": [{"lamp": ["yes"], "plant": [""]}]}}],
    },
    {"id": "b-1", "question": "Ring the bell.", "function": BELL},
]
GORILLA = [
    {
        "Instruction": "A desk on 3, please.",
        "Functions": [
            "{'name': 'Book a desk', 'api_call': 'desk.book', 'parameters': "
            "[{'name': 'floor', 'description': 'Which.'}, {'name': 'near', 'required': False}]}",
            json.dumps({"name": "Bell", "api_name": "ring", "description": "Rings."}),
        ],
        "Output": ["desk.book(floor=3, near=['door', None])", "ring()"],
    },
    {
        "Instruction": "Ring it.",
        "Functions": [{"name": "ring", "parameters": {"times": {"type": "integer", "required": True}}}, BOOK],
        "Output": "<<function>>[ring(times=-2), desk.book(floor=1)]",
    },
]
GLAIVE = [
    {
        "system": "SYSTEM: You help, and may use these functions -\n"
        + json.dumps(BOOK, indent=2)
        + "\n\n"
        + json.dumps(BELL),
        "chat": "USER: Hello!\n\n\nASSISTANT: Good day. <|endoftext|>\n\n\nUSER: A desk on 3.\nUSER: With a lamp.\n\n\n"
        'ASSISTANT: <functioncall> {"name": "desk.book", "arguments": \'{"floor": 3, "share": 0.5}\'} '
        "<|endoftext|>\n\n\n"
        'FUNCTION RESPONSE: {"desk": 7}\n\n\nASSISTANT: Desk 7 is yours. <|endoftext|>',
    },
    {
        "system": "SYSTEM: You may ring.\n" + json.dumps({"name": "ring", "description": "", "parameters": {}}),
        "chat": "USER: Write me an ode.\n\n\nASSISTANT: I can only ring. <|endoftext|>\n\n\n",
    },
]
WRAPPED = [{"type": "function", "function": {**BOOK, "parameters": {**BOOK["parameters"], "type": "object"}}}]
FLAT = [{"type": "function", "strict": True, "name": "ring", "description": "Rings."}]
OPENAI = [
    {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "A desk on 3."}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "desk.book", "arguments": '{"floor": 3}'}},
                    {"id": "2", "type": "function", "function": {"name": "desk.book", "arguments": '{"floor": 4}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "7"},
            {"role": "assistant", "content": "Desk 7."},
        ],
        "tools": WRAPPED,
    },
    {
        "messages": [
            {"role": "user", "content": "Ring."},
            {"role": "assistant", "content": "", "function_call": {"name": "ring", "arguments": {}}},
        ],
        "tools": FLAT,
    },
]
OWN = {"prompt": "Ring!", "tools": [{**BELL, "parameters": {"type": "object"}}], "call": {"name": "ring"}}


def write(path: Path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path, *rows) -> list[ToolPrompt]:
    return read_tool_prompts(write(path / "rows.jsonl", *rows), tools={}, label="benign")


def refused(path: Path, row) -> str:
    with pytest.raises(DataError) as caught:
        read(path, OWN, row)
    assert str(caught.value).startswith("rows.jsonl, row 2") and len(str(caught.value)) < 400
    return str(caught.value)


def names(prompt: ToolPrompt) -> list[str]:
    return [tool.name for tool in prompt.conversation.tools]


def kinds(prompt: ToolPrompt) -> dict[str, str | None]:
    return {name: one.get("type") for name, one in prompt.conversation.tools[0].parameters["properties"].items()}


def test_bfcl_rows(tmp_path: Path):
    first, second = read(tmp_path, *BFCL)
    assert (first.id, first.text, names(first)) == ("b-0", "A desk on 3.", ["desk.book", "ring"])
    assert first.conversation.messages[0] == say("system", "Be brief.")
    assert kinds(first) == {"floor": "integer", "share": "number", "with": "object"}
    # What may be left out is.
    assert first.call == ExpectedCall(name="desk.book", arguments={"floor": 3, "with": {"lamp": "yes"}})
    assert (second.text, second.call, second.expects_call) == ("Ring the bell.", None, None)
    # Unless the schema requires it.
    [needed] = read(tmp_path, {**BFCL[0], "ground_truth": [{"desk.book": {"floor": ["", 4], "share": [""]}}]})
    assert needed.call == ExpectedCall(name="desk.book", arguments={"floor": 4})
    [none] = read(tmp_path, {**BFCL[1], "ground_truth": []})
    assert none.expects_call is False


def test_gorilla_rows(tmp_path: Path):
    first, second = read(tmp_path, *GORILLA)
    assert (first.text, names(first)) == ("A desk on 3, please.", ["desk.book", "ring"])
    book, bell = first.conversation.tools
    assert (book.description, bell.description) == ("Book a desk", "Rings.")
    assert book.parameters == {
        "type": "object",
        "properties": {"floor": {"description": "Which."}, "near": {}},
        "required": ["floor"],
    }
    assert first.call == ExpectedCall(name="desk.book", arguments={"floor": 3, "near": ["door", None]})
    assert second.call == ExpectedCall(name="ring", arguments={"times": -2})
    assert second.conversation.tools[0].parameters["required"] == ["times"]
    [unsaid, none] = read(tmp_path, {**GORILLA[0], "Output": None}, {**GORILLA[1], "Output": []})
    assert (unsaid.expects_call, none.expects_call) == (None, False)


def test_glaive_rows(tmp_path: Path):
    first, second = read(tmp_path, *GLAIVE)
    assert names(first) == ["desk.book", "ring"] and kinds(first)["share"] == "number"
    assert [(message.role, message.text) for message in first.conversation.messages] == [
        ("system", "You help, and may use these functions"),
        ("user", "Hello!"),
        ("assistant", "Good day."),
        ("user", "A desk on 3."),
        ("user", "With a lamp."),
    ]
    assert first.call == ExpectedCall(name="desk.book", arguments={"floor": 3, "share": 0.5})
    assert (second.text, second.answer) == ("Write me an ode.", "I can only ring.")
    assert (second.call, second.expects_call) == (None, False)


def test_a_glaive_call_may_be_proper_json_and_on_one_line(tmp_path: Path):
    chat = 'USER: Ring it. ASSISTANT is what I call you. <|endoftext|> ASSISTANT: Yes. <functioncall> {"name": "ring"}'
    [prompt] = read(tmp_path, {**GLAIVE[1], "chat": chat})
    assert prompt.text == "Ring it. ASSISTANT is what I call you." and prompt.call == ExpectedCall(
        name="ring", arguments={}
    )


def test_openai_rows(tmp_path: Path):
    first, second = read(tmp_path, *OPENAI)
    assert [message.role for message in first.conversation.messages] == ["system", "user"]
    assert first.text == "A desk on 3." and names(first) == ["desk.book"] and kinds(first)["with"] == "object"
    assert first.call == ExpectedCall(name="desk.book", arguments={"floor": 3})
    assert second.conversation.messages == (say("user", "Ring."),) and second.answer is None
    assert second.call == ExpectedCall(name="ring", arguments={})
    assert second.conversation.tools[0].parameters == {"type": "object", "properties": {}}


def test_openai_rows_that_end_in_words_expect_no_call_and_those_that_ask_do_not_say(tmp_path: Path):
    asked = [{"role": "user", "content": "Hello."}]
    said = [*asked, {"role": "assistant", "content": "Good day."}]
    rows = [{"messages": said, "tools": FLAT}, {"messages": asked, "functions": [BOOK]}]
    words, unsaid = read(tmp_path, *rows, {"messages": said, "tools": json.dumps(FLAT), "id": "text"})[:2]
    assert (words.answer, words.expects_call, unsaid.expects_call) == ("Good day.", False, None)
    assert names(unsaid) == ["desk.book"]


def test_forms_may_stand_in_one_file_and_say_their_own_label(tmp_path: Path):
    harmful = {**GLAIVE[0], "label": "harmful", "category": "theft", "split": "test"}
    prompts = read(tmp_path, BFCL[0], GORILLA[0], harmful, OPENAI[0], OWN)
    assert [prompt.label for prompt in prompts] == ["benign", "benign", "harmful", "benign", "benign"]
    assert (prompts[2].category, prompts[2].split) == ("theft", "test")
    assert {prompt.call.name for prompt in prompts[:4] if prompt.call} == {"desk.book"}


@pytest.mark.parametrize("row", [*BFCL, *GORILLA, *GLAIVE, *OPENAI])
def test_the_row_itself_stays_as_it_was_and_what_comes_of_it_is_our_own(row):
    before = copy.deepcopy(row)
    found = own_form(row, "here")
    assert row == before and own_form(found, "here") == found


def test_rows_of_our_own_form_and_of_none_are_left_as_they_are():
    called = Message.model_validate({"role": "assistant", "parts": [{"type": "call", "name": "ring"}]}).model_dump()
    result = {"role": "tool", "content": [{"type": "result", "call": "ring", "text": "Ding."}]}
    messages = [{"role": "user", "content": "x"}, called, result, {"role": "assistant", "content": "Done."}]
    rows = [OWN, {"messages": messages, "tools": OWN["tools"]}, {"prompt": "x", "tools": ["ring"]}, {"text": "x"}, 7]
    assert [own_form(row, "here") for row in rows] == rows


ODD = {**BOOK, "parameters": {"type": "dict", "properties": {"floor": {"type": "storey"}}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"function": []}, "field 'function' is []"),
        ({"function": [7]}, "field 'function'[0] is 7"),
        ({"function": [ODD]}, "'desk.book'.properties.floor.type is 'storey'"),
        ({"function": [{**BOOK, "parameters": {"type": "dict", "required": ["x"]}}]}, "requires 'x'"),
        ({"question": [[], []]}, "field 'question' is a list of 2"),
        ({"question": [[{"role": "user", "content": ""}]]}, "messages[0]"),
        ({"ground_truth": "words"}, "field 'ground_truth' is 'words', no call that can be read"),
        ({"ground_truth": [{"desk.book": 3}]}, "field 'ground_truth' is a list of 1"),
        ({"ground_truth": [{"desk.book": {"floor": ["three"]}}]}, 'Argument floor is "three"'),
        ({"ground_truth": [{"window": {}}]}, "the call is of 'window', which is not offered"),
    ],
)
def test_bad_bfcl_rows(changes, said, tmp_path: Path):
    assert said in refused(tmp_path, {**BFCL[0], **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Functions": ["{'name': "]}, "field 'Functions'[0] is the text \"{'name': \", which is no JSON"),
        ({"Functions": ["open('x')"]}, "which is no JSON"),
        ({"Functions": [{"description": "x"}]}, "give the function a name"),
        ({"Functions": [ODD]}, "is 'storey'"),
        ({"Functions": None}, "field 'Functions' is None"),
        ({"Output": "desk.book(3)"}, "field 'Output' is 'desk.book(3)', no call that can be read"),
        ({"Output": "desk.book(floor=open('x'))"}, "no plain value"),
        ({"Output": 7}, "field 'Output' is 7"),
        ({"Output": "window(floor=1)"}, "the call is of 'window'"),
        ({"Instruction": ""}, "field 'prompt' is ''"),
    ],
)
def test_bad_gorilla_rows(changes, said, tmp_path: Path):
    assert said in refused(tmp_path, {**GORILLA[0], **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"system": "SYSTEM: No functions."}, "field 'chat' calls 'desk.book', and field 'system' defines no function"),
        ({"system": 'SYSTEM: {"name": "ring", '}, "field 'system' cannot be read"),
        ({"system": None}, "field 'system' is None: it must be text"),
        ({"system": "SYSTEM: " + json.dumps(ODD)}, "is 'storey'"),
        ({"chat": "Hello!"}, "field 'chat' cannot be read at 'Hello!', since it does not begin with USER:"),
        ({"chat": 'USER: x\nFUNCTION RESPONSE: {"a": 1}'}, "has a result, '{\"a\": 1}', before any call"),
        ({"chat": "USER: x\nASSISTANT: <functioncall> ring"}, "field 'chat' cannot be read at 'ring'"),
        ({"chat": "USER: x\nASSISTANT: <functioncall> {}"}, "is {}: it must have a name and arguments"),
        ({"chat": 'USER: x\nASSISTANT: <functioncall> {"name": "ring", "arguments": "{"}'}, "the text '{'"),
        (
            {"chat": 'USER: x\nASSISTANT: <functioncall> {"name": "ring", "arguments": [1]}'},
            "has arguments that are a list of 1",
        ),
    ],
)
def test_bad_glaive_rows(changes, said, tmp_path: Path):
    assert said in refused(tmp_path, {**GLAIVE[0], **changes})


def test_glaive_rows_without_functions_are_talks_and_calls_that_their_schemas_refuse_stop_no_set(tmp_path: Path):
    """Both are in the published set: rows "with no access to external functions", and calls of another type."""
    talk = {"system": "SYSTEM: You help, without functions.", "chat": "USER: Hello!\n\n\nASSISTANT: Good day."}
    said = own_form(talk, "row 1")
    assert "tools" not in said and [one["role"] for one in said["messages"]] == ["system", "user", "assistant"]
    (file := tmp_path / "talk.jsonl").write_text(json.dumps(talk | {"label": "benign"}) + "\n")
    [prompt] = read_source(str(file), label="benign")
    assert prompt.answer == "Good day." and prompt.conversation.text == "Hello!"
    for call, expected in (
        ('{"name": "desk.book", "arguments": {"floor": "three"}}', {"name": "desk.book", "arguments": None}),
        ('{"name": "desk.book", "arguments": {"floor": 3}}', {"name": "desk.book", "arguments": {"floor": 3}}),
    ):
        chat = f"USER: A desk.\n\n\nASSISTANT: <functioncall> {call} <|endoftext|>"
        assert own_form({**GLAIVE[0], "chat": chat}, "row 1")["call"] == expected
    chat = 'USER: A desk.\n\n\nASSISTANT: <functioncall> {"name": "window", "arguments": {}} <|endoftext|>'
    assert "call" not in own_form({**GLAIVE[0], "chat": chat}, "row 1")


CALLING = OPENAI[0]["messages"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tools": None}, "messages[2] calls 'desk.book', and the row offers no tools"),
        ({"tools": "[{"}, "field 'tools' is the text '[{'"),
        ({"tools": [{"type": "function", "function": 7}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": ODD}]}, "is 'storey'"),
        ({"messages": [CALLING[3], *CALLING]}, "messages[0] is a tool's result, '7', and no call stands before it"),
        ({"messages": [{**CALLING[2], "role": "user"}]}, "the assistant's alone"),
        ({"messages": [CALLING[1], {"role": "assistant", "tool_calls": [{"function": {}}]}]}, "must have a name"),
        ({"messages": [CALLING[1], {"role": "assistant", "tool_calls": "ring"}]}, "has the tool_calls 'ring'"),
        ({"messages": CALLING[2:]}, "must be a list of messages"),
    ],
)
def test_bad_openai_rows(changes, said, tmp_path: Path):
    assert said in refused(tmp_path, {**OPENAI[0], **changes})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "x"}, "has the field 'question', 'x', and no 'function': add it"),
        ({"function": [BELL]}, "and no 'question': add it"),
        ({"Instruction": "x"}, "and no 'Functions': add it"),
        ({"Functions": ["x"]}, "and no 'Instruction': add it"),
        ({"system": "x"}, "and no 'chat': add it"),
        ({"chat": "x"}, "and no 'system': add it"),
    ],
)
def test_half_of_a_form_is_told_what_it_lacks(row, said, tmp_path: Path):
    assert said in refused(tmp_path, row)


FIELDS = ("question", "function", "ground_truth", "Instruction", "Functions", "Output", "system", "chat", "messages")
INNER = ("name", "parameters", "properties", "required", "type", "items", "role", "content", "tool_calls", "arguments")
PIECES = ("ring", "{", "[f(a=1)]", '{"name": "ring"}', "USER: x\nASSISTANT: <functioncall> {", "assistant", "object")
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.sampled_from(PIECES) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(INNER), inner, max_size=4),
    max_leaves=12,
)


@given(some.dictionaries(some.sampled_from((*FIELDS, "tools", "functions", "prompt")), VALUES, max_size=5))
def test_whatever_a_row_holds_it_is_read_or_refused_in_words(row):
    try:
        own_form(row, "here")
    except DataError as error:
        assert str(error).startswith("here")


@given(some.sampled_from([*BFCL, *GORILLA, *GLAIVE, *OPENAI]), some.data())
def test_whatever_stands_in_the_place_of_one_field_it_is_read_or_refused_in_words(row, data):
    field = data.draw(some.sampled_from(list(row)))
    try:
        own_form({**row, field: data.draw(VALUES)}, "here")
    except DataError as error:
        assert str(error).startswith("here")


def test_endless_nesting_and_endless_lines_end(tmp_path: Path):
    deep: list = []
    for _ in range(200):
        deep = [deep]
    assert "nested deeper than 64 levels" in refused(tmp_path, {**BFCL[0], "ground_truth": deep})
    for text in ("(" * 5000, "[" * 100_000, "{'a': " * 5000):
        assert "no JSON" in refused(tmp_path, {**GORILLA[0], "Functions": [text]})
    long = {**GLAIVE[0], "chat": "USER: " + "\n" * 200_000 + 'ASSISTANT: <functioncall> {"name": "ring"' + " " * 50_000}
    assert "cannot be read" in refused(tmp_path, long)


def test_values_that_json_does_not_have_are_refused_where_they_are_read_alone():
    row = BFCL[0] | {"made": datetime.date(2024, 1, 1), "score": float("nan")}
    assert own_form(row, "here")["tools"] == own_form(BFCL[0], "here")["tools"]
    with pytest.raises(DataError, match="here: cannot be read, since it holds a value that JSON does not have"):
        own_form(BFCL[0] | {"ground_truth": [{"ring": {"at": [datetime.date(2024, 1, 1)]}}]}, "here")

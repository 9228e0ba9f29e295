"""Readers name file, row and field, and read all or nothing; filters and openers are fair to both sides."""

import datetime
import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records.conversation import Conversation
from engine.records.errors import DataError, ModelError, RunError
from engine.records.model_place import need_model
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt, asked_rows, opener_for, prompts_from_rows, select
from engine.records.runs import open_run
from engine.records.sources import parse_sources
from engine.records.spec_parts import DataSpec

USER = {"role": "user", "content": "x"}


def write(path: Path, *rows, text: str | None = None) -> str:
    path.write_text(text if text is not None else "".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_prompt_and_response_rows(tmp_path):
    source = write(tmp_path / "a.jsonl", {"prompt": "p", "response": "r", "category": "c", "split": "test"})
    [prompt] = read_source(source, label="harmful")
    assert (prompt.text, prompt.answer, prompt.category, prompt.split) == ("p", "r", "c", "test")


def test_a_row_says_whose_it_is_or_else_is_of_the_source_that_it_was_read_from(tmp_path):
    named = write(
        tmp_path / "named.jsonl",
        {"prompt": "a", "author": "Ines", "source": "a book"},
        {"prompt": "b", "source": " a book "},
        {"prompt": "c", "source": {"page": 3}},
        {"prompt": "d", "tools": ["send_email"]},
        {"prompt": "e", "tools": ["send_email"], "author": "Ines"},
    )
    prompts = read_source(f"{named}; sample:benign rows=1; tools:benign rows=1", label="benign")
    assert [prompt.source for prompt in prompts] == [
        "Ines",
        "a book",
        named,
        named,
        "Ines",
        "sample:benign",
        "tools:benign",
    ]


def test_chat_rows_keep_all_turns_before_the_answer(tmp_path):
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    [prompt] = read_source(write(tmp_path / "chat.jsonl", {"messages": messages}), label="benign")
    assert [message.text for message in prompt.conversation.messages] == ["s", "a", "b", "c"]
    assert prompt.answer == "d" and prompt.text == "c"


def test_chat_rows_may_hold_parts_and_tools(tmp_path):
    picture = {"type": "picture", "sha256": "a" * 64, "file": "cat.png"}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, picture]},
        {"role": "assistant", "content": [{"type": "call", "name": "zoom", "arguments": {"by": 2}, "id": "1"}]},
        {"role": "tool", "parts": [{"type": "result", "call": "1", "text": "a cat"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    ]
    row = {"messages": messages, "tools": [{"name": "zoom", "parameters": {"type": "object"}}]}
    other = json.loads(json.dumps(row).replace("a" * 64, "b" * 64))
    [prompt, second] = read_source(write(tmp_path / "chat.jsonl", row, other), label="benign")
    assert (prompt.text, prompt.answer) == ("look", "A cat.")
    assert [message.role for message in prompt.conversation.messages] == ["user", "assistant", "tool"]
    assert [one.file for one in prompt.conversation.pictures] == ["cat.png"] and prompt.conversation.tools
    assert prompt.id != second.id and prompt.conversation.key != second.conversation.key


def test_one_text_part_is_the_same_as_a_text(tmp_path):
    parted = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    [plain, part] = read_source(
        write(tmp_path / "a.jsonl", {"messages": [USER]}, {"messages": [parted]}), label="benign"
    )
    assert plain == part


def test_the_published_circuit_breaker_list(tmp_path):
    rows = [{"category": "x", "prompt": "p", "output": "one", "llama3_output": "two"}]
    source = write(tmp_path / "circuit_breakers_train.json", text=json.dumps(rows))
    assert read_source(source, label="harmful")[0].answer == "one"
    assert read_source(source, label="harmful", answer_field="llama3_output")[0].answer == "two"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "good"}, {"promt": "x"}], "row 2: field 'prompt' is missing"),
        ([{"prompt": "good"}, {"prompt": 5}], "row 2: field 'prompt' is 5"),
        ([{"prompt": " "}], "row 1: field 'prompt'"),
        ([["prompt"]], "row 1: expected an object"),
        ([{"messages": []}], "row 1: field 'messages'"),
        ([{"messages": [{"role": "robot", "content": "x"}]}], r"messages\[0\] needs a 'role'"),
        ([{"messages": [{"role": "user"}]}], r"messages\[0\]: field 'content' is missing"),
        ([{"messages": [{"role": "assistant", "content": "x"}]}], "no user message"),
        (
            [{"prompt": "x"}, {"messages": [{"role": "user", "content": [{"type": "sound", "sound": "x"}]}]}],
            r"row 2: messages\[0\]\.content\[0\] is an object with 'type', 'sound': .*A part is a text, picture",
        ),
        (
            [{"messages": [{"role": "user", "parts": [{"type": "picture", "sha256": "x"}]}]}],
            r"row 1: messages\[0\]\.parts\[0\]\.sha256 is 'x'",
        ),
        ([{"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}], "field 'content' is ' '"),
        ([{"messages": [{"role": "user", "content": []}]}], r"messages\[0\]\.content is \[\]"),
        (
            [{"messages": [USER, {"role": "assistant", "content": [{"type": "call", "name": "look"}]}]}],
            r"messages\[1\] is the answer: it must be one text",
        ),
        ([{"messages": [USER], "tools": "look"}], "field 'tools' is the text 'look', which is no JSON"),
        (
            [{"messages": [USER], "tools": [{"nom": "look"}]}],
            r"row 1: tools\[0\]: the schema 'parameters' of the tool None is missing",
        ),
        ([{"prompt": "x", "split": "dev"}], "field 'split' is 'dev'"),
        ([{"prompt": "x", "borderline": "yes"}], "field 'borderline'"),
        ([{"prompt": "x", "category": 3}], "field 'category'"),
        ([{"prompt": "x", "response": 3}], "field 'response'"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_read(tmp_path, rows, words):
    with pytest.raises(DataError, match=words) as problem:
        read_source(write(tmp_path / "wrong.jsonl", *rows), label="harmful")
    assert "wrong.jsonl" in str(problem.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt"', "row 2: not JSON"),
        ("a.json", '[{"prompt": "x"}', "not a JSON list"),
        ("a.jsonl", "", "has no rows"),
        ("a.pkl", "x", "may run code"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        read_source(write(tmp_path / name, text=content), label="harmful")


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_source(str(tmp_path / "none.jsonl"), label="harmful")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_source(str(tmp_path / "binary.jsonl"), label="harmful")


@pytest.mark.parametrize("name", ["sample:nothing", "sample:../presets/quick"])
def test_a_sample_set_that_is_not_there(name):
    with pytest.raises(DataError, match="choose sample:"):
        read_source(name, label="harmful")


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["prompt", "messages", "role", "content", "split", "id"]), inner)
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
)
def test_any_json_is_read_or_refused(rows):
    try:
        prompts = prompts_from_rows(enumerate(rows, 1), name="any", label="benign")
    except DataError as error:
        assert "any" in str(error)
    else:
        assert len(prompts) == len(rows)


def make(number: int, *, label="harmful", split="train", **changes) -> Prompt:
    asked = Conversation.asking(f"text {number}")
    return Prompt(id=f"{label}-{number}", conversation=asked, label=label, split=split, **changes)


def test_selection_filters_and_says_when_nothing_is_left():
    prompts = [make(0, category="a", style="x"), make(1, category="b", style="x"), make(2, split="test", category="a")]
    chosen = select(prompts, DataSpec(categories=("a",)), label="harmful", split="train", seed=0)
    assert [prompt.id for prompt in chosen] == ["harmful-0"]
    with pytest.raises(DataError, match="categories z"):
        select(prompts, DataSpec(categories=("z",)), label="harmful", split="train", seed=0)
    with pytest.raises(DataError, match="styles poem"):
        select(prompts, DataSpec(styles=("poem",)), label="harmful", split="train", seed=0)


def test_row_limits_take_the_same_rows_for_the_same_seed():
    prompts = [make(number) for number in range(50)]

    def chosen(seed):
        return [
            p.id for p in select(prompts, DataSpec(circuit_breaker_rows=10), label="harmful", split="train", seed=seed)
        ]

    assert chosen(0) == chosen(0) != chosen(1)
    assert len(chosen(0)) == 10


def test_categories_filter_the_harmful_side_alone():
    benign = [make(0, label="benign", category="cooking")]
    assert select(benign, DataSpec(categories=("fraud",)), label="benign", split="train", seed=0) == benign


def test_both_sides_get_the_same_mix_of_openers():
    """600 prompts a side: half have an opener, each of five about 60 times (standard deviation 7.3)."""
    data = DataSpec(opener_share=0.5)
    for label in ("harmful", "benign"):
        prompts = [Prompt(id=str(n), conversation=Conversation.asking(f"{label} {n}"), label=label) for n in range(600)]
        counts = Counter(opener_for(prompt, data) for prompt in prompts)
        assert set(counts) == {"", *data.openers}
        assert 240 <= counts[""] <= 360
        assert all(30 <= counts[opener] <= 95 for opener in data.openers)


def test_no_openers_are_used_when_none_are_wanted():
    assert {opener_for(make(n), DataSpec(opener_share=0)) for n in range(50)} == {""}


@pytest.mark.parametrize("take", ["", " take=random rows=2"])
def test_dates_and_bytes_of_a_table_stand_in_nobodys_way(tmp_path, take):
    rows = [
        {"prompt": f"Say {number}.", "made": datetime.datetime(2024, 1, number), "raw": bytes([number])}
        for number in range(1, 5)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = read_source(f"{tmp_path / 'a.parquet'}{take}", label="benign")
    assert len(found) == (2 if take else 4)
    assert found == read_source(f"{tmp_path / 'a.parquet'}{take}", label="benign")


def test_what_is_true_is_kept_by_the_word_that_json_has_for_it(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "ok": true}\n{"prompt": "b", "ok": false}\n')
    for word in ("true", "True"):
        assert [one.text for one in read_source(f"{tmp_path / 'a.jsonl'} keep=ok:{word}", label="benign")] == ["a"]


def test_a_name_too_long_for_any_file_is_refused_in_words(settings):
    name = "ы" * 200
    with pytest.raises(DataError, match="does not exist"):
        read_source(name, label="benign")
    with pytest.raises(DataError, match="There is no sample set"):
        read_source(f"sample:{name}", label="benign")
    # Without a stroke it may be an id of a hub, which is not looked up here.
    need_model(name)
    with pytest.raises(ModelError, match="does not exist"):
        need_model(f"/{name}")
    with pytest.raises(RunError, match="There is no run"):
        open_run(settings.runs, name)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_true_and_false_are_read_as_a_table_spells_them_and_an_empty_field_is_false(tmp_path, ending):
    given = ["true", "FALSE", ""] if ending == "csv" else [True, False, None]
    path = tmp_path / f"rows.{ending}"
    if ending == "csv":
        path.write_text("prompt,borderline\n" + "".join(f"p{n},{one}\n" for n, one in enumerate(given)))
    else:
        write(path, *({"prompt": f"p{n}", "borderline": one, "messages": None} for n, one in enumerate(given)))
    found = read_source(str(path), label="benign")
    assert [prompt.borderline for prompt in found] == [True, False, False]
    path.write_text("prompt,borderline\np,maybe\n" if ending == "csv" else '{"prompt": "p", "borderline": 1}\n')
    with pytest.raises(DataError, match=r"field 'borderline' is .*: use true or false"):
        read_source(str(path), label="benign")


def test_copies_and_rows_that_keep_their_answers_are_asked_nothing(tmp_path):
    source = write(tmp_path / "a.jsonl", *({"prompt": f"p{n}", "response": "r"} for n in range(4)))
    prompts = read_source(f"{source} rows=2 times=5; {source} skip=2 answered=given", label="harmful")
    assert len([one for one in prompts if one.split == "train"]) > 2 >= asked_rows(prompts) > 0


def test_what_is_kept_may_be_called_by_words_with_spaces_between_them(tmp_path):
    parsed = parse_sources(
        "tools:harmful keep=category:illegal trade rows=3 times=2; my rows.jsonl keep=a:b take=random"
    )
    assert [(one.name, one.keep, one.rows, one.times, one.take) for one in parsed] == [
        ("tools:harmful", "category:illegal trade", 3, 2, "first"),
        ("my rows.jsonl", "a:b", 0, 1, "random"),
    ]
    rows = ({"prompt": f"p{n}", "category": "illegal trade" if n else "illegal"} for n in range(3))
    found = read_source(f"{write(tmp_path / 'a.jsonl', *rows)} keep=category:illegal trade", label="harmful")
    assert [prompt.text for prompt in found] == ["p1", "p2"]

"""Rows of requests with tools: how they are encoded, which of their tokens a loss sees, and when they are drawn."""

import re
from collections import Counter

import pytest
from making import drain, random_rows
from making_tools import CALL, WEATHER, speaking

from engine.compute.model.text import decode, tokens_of, with_marks
from engine.compute.training import pairs as pairs_room
from engine.compute.training.drawing import places_that_come_back, step_rows
from engine.compute.training.masks import loss_mask, seen_tokens
from engine.compute.training.pairs import Pair, elicit, without_refusals
from engine.compute.training.rows import CallPlace, encode, micro_batches, need_room_for_tools
from engine.records.calls import read_calls
from engine.records.conversation import Conversation, Tool, say
from engine.records.errors import DataError
from engine.records.prompts import Prompt
from engine.records.spec_parts import DataSpec
from engine.records.tool_prompts import ExpectedCall, ToolPrompt

FAMILIES = {
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Bonn"}}\n</tool_call>',
    "llama": '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Bonn"}}',
    "mistral": '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Bonn"}}]',
    "small": '```json\n{"name": "get_weather", "arguments": {"city": "Bonn"}}\n```',
}
CLOCK = Tool(name="set_clock", description="Sets a clock.", parameters={"type": "object"})


def asking(text: str, *, label="harmful", tools=(WEATHER,), call="get_weather", number=0) -> ToolPrompt:
    return ToolPrompt(
        id=f"{label}-{number}-{text}",
        conversation=Conversation(messages=(say("user", text),), tools=tools),
        label=label,
        split="train",
        call=ExpectedCall(name=call) if call else None,
        expects_call=bool(call),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_knows_where_its_request_and_its_call_stand(tiny_model, family: str):
    model = speaking(tiny_model, family)
    call = FAMILIES[family]
    row = encode(model, Pair(asking("Rain in Bonn?"), f"I look it up. {call} Done."), DataSpec())

    def text(start: int, end: int) -> str:
        return with_marks(model, row.ids[start:end])

    assert row.call is not None and row.tools
    if family == "small":
        # In the midst of a line a fence is words; on a line of its own it is a call.
        row = encode(model, Pair(asking("Rain in Bonn?"), f"I look it up.\n{call}\nDone."), DataSpec())
    assert text(row.request_start, row.response_start).strip().startswith("Rain in Bonn?")
    assert text(row.response_start, row.call.start).strip() == "I look it up."
    assert text(row.response_start, row.call.named).endswith("get_weather")
    assert read_calls(text(row.call.start, row.call.end)).calls[0].arguments == {"city": "Bonn"}
    assert "Done" not in text(row.call.start, row.call.end)


@pytest.mark.parametrize("name", ["call", "name", "tool", "get_weather"])
@pytest.mark.parametrize("family", ["hermes", "llama", "mistral"])
def test_a_tool_that_is_called_as_the_mark_of_a_call_is_named_where_it_is_named(tiny_model, family: str, name: str):
    model = speaking(tiny_model, family)
    answer = FAMILIES[family].replace("get_weather", name)
    row = encode(model, Pair(asking("Rain?"), answer), DataSpec())
    assert row.call is not None
    assert re.search(rf'"name": "{name}$', with_marks(model, row.ids[row.call.start : row.call.named]))


def test_each_mask_sees_its_tokens_and_falls_back_where_there_is_no_call(tiny_model, tiny_spec):
    model = speaking(tiny_model, "hermes")
    pair = Pair(asking("Rain in Bonn?"), f"I look. {FAMILIES['hermes']} Done.")
    row, text = encode(model, pair, DataSpec()), random_rows(1)[0]
    assert row.call is not None
    ends = {
        "all": (0, len(row.ids)),
        "response": (row.response_start - 2, len(row.ids)),
        "request_and_response": (row.request_start, len(row.ids)),
        "call": (row.call.start, row.call.end),
        "function_name": (row.response_start - 2, row.call.named),
    }
    for mask, (start, end) in ends.items():
        spec = tiny_spec(**{"loss.mask": mask, "loss.retain_mask": mask, "loss.lead_tokens": 2})
        assert seen_tokens(spec, row) == range(start, end), mask
        benign = seen_tokens(spec, row.__class__(**{**row.__dict__, "label": "benign"}))
        assert benign == range(max(1, start), end), mask
        assert loss_mask(spec, [row], len(row.ids) + 3, model.device).sum() == end - start
        without = {"all": 0, "request_and_response": 0}.get(mask, text.response_start - 2)
        assert seen_tokens(spec, text) == range(without, len(text.ids)), mask
    first = "optimizer.circuit_breaker_batch"
    assert len({tiny_spec(**{"loss.mask": mask, first: 3}).digest for mask in ends}) == len(ends)


def test_an_answer_cut_within_its_call_keeps_what_there_is(tiny_model):
    model = speaking(tiny_model, "hermes")
    whole = encode(model, Pair(asking("Rain?"), FAMILIES["hermes"]), DataSpec())
    assert whole.call is not None
    cut = encode(model, Pair(asking("Rain?"), FAMILIES["hermes"]), DataSpec(max_tokens=whole.call.named - 3))
    assert cut.call == CallPlace(whole.call.start, len(cut.ids), len(cut.ids))
    begun = encode(model, Pair(asking("Rain?"), '<tool_call>{"name": "get_weather", "argum'), DataSpec())
    assert begun.call is not None and begun.call.named == begun.call.end == len(begun.ids)
    assert encode(model, Pair(asking("Rain?"), "No."), DataSpec()).call is None


def test_rows_written_as_published_leave_rows_with_tools_to_the_template(tiny_model):
    model = speaking(tiny_model, "hermes")
    data = DataSpec(rows_as="llama-3", answers="given")
    row = encode(model, Pair(asking("Rain?"), "x"), data)
    assert row.ids[: row.response_start] == tokens_of(model, asking("Rain?").conversation).ids
    plain = encode(model, Pair(Prompt(id="a", conversation=Conversation.asking("x"), label="harmful"), "x"), data)
    assert "<|start_header_id|>" in decode(model, plain.ids)


def rows_of(label: str, tools: dict[str, int], *, texts: int = 6):
    rows = random_rows(texts, label=label)
    for number, (name, count) in enumerate(tools.items()):
        found = random_rows(count, seed=number + 7, label=label)
        rows += [
            row.__class__(**{**row.__dict__, "tools": name, "prompt_id": f"{label} {name} {place}"})
            for place, row in enumerate(found)
        ]
    return rows


def test_a_step_takes_its_share_of_rows_with_the_same_tools_and_in_time_all_of_them(tiny_spec):
    spec = tiny_spec(
        **{"data.tool_share": 0.5, "optimizer.circuit_breaker_batch": 4, "optimizer.retain_batch": 8,
           "optimizer.steps": 12}
    )  # fmt: skip
    harmful = rows_of("harmful", {"mail": 3, "files": 3, "shops": 1})
    benign = rows_of("benign", {"shops": 5, "mail": 5, "files": 5}, texts=9)
    seen = Counter()
    for step in range(12):
        rows = step_rows(spec, harmful, benign, step)
        tools = [row.tools for row in rows if row.tools]
        # The one harmful row that offers shops does not stand alone: others of its side fill its share up.
        assert len(set(tools)) == (2 if tools[0] == "shops" else 1)
        assert set(tools[2:]) == {tools[0]}
        assert Counter(row.label for row in rows if not row.tools) == {"harmful": 2, "benign": 4}
        assert Counter(row.label for row in rows if row.tools) == {"harmful": 2, "benign": 4}
        seen.update(row.prompt_id for row in rows if row.tools)
    assert set(seen) == {row.prompt_id for row in (*harmful, *benign) if row.tools}
    again = {place for place in places_that_come_back(spec, harmful, benign)}
    assert {(harmful if place.label == "harmful" else benign)[place.number].prompt_id for place in again} >= {
        name for name, times in seen.items() if times > 1
    }


def test_tools_that_one_side_does_not_offer_meet_the_next_rows_of_the_other(tiny_spec):
    spec = tiny_spec(**{"data.tool_share": 1.0, "optimizer.circuit_breaker_batch": 2, "optimizer.retain_batch": 2})
    harmful, benign = rows_of("harmful", {"mail": 4}, texts=0), rows_of("benign", {"files": 3, "shops": 3}, texts=0)
    for step in range(6):
        rows = step_rows(spec, harmful, benign, step)
        assert Counter(row.label for row in rows) == {"harmful": 2, "benign": 2}


def test_a_share_of_few_rows_with_tools_is_filled_all_the_same(tiny_spec):
    spec = tiny_spec(**{"data.tool_share": 0.5, "optimizer.circuit_breaker_batch": 16, "optimizer.retain_batch": 16})
    harmful, benign = rows_of("harmful", {"mail": 2}, texts=30), rows_of("benign", {"mail": 20}, texts=30)
    for step in range(4):
        rows = step_rows(spec, harmful, benign, step)
        assert Counter(row.label for row in rows) == {"harmful": 16, "benign": 16}
        mail = {row.prompt_id for row in rows if row.tools and row.label == "harmful"}
        assert mail == {"harmful mail 0", "harmful mail 1"}


def test_rows_that_each_bring_tools_of_their_own_take_turns_with_those_that_both_sides_have(tiny_spec):
    """As in the forms of other people's sets; the steps of shared tools keep them on both sides."""
    spec = tiny_spec(
        **{"data.tool_share": 0.5, "optimizer.circuit_breaker_batch": 4, "optimizer.retain_batch": 8,
           "optimizer.steps": 24}
    )  # fmt: skip
    harmful = rows_of("harmful", {"mail": 4, "files": 4})
    benign = rows_of("benign", {"mail": 5, "files": 5} | {f"own {one}": 1 for one in range(16)})
    seen = Counter()
    shared = 0
    for step in range(24):
        rows = step_rows(spec, harmful, benign, step)
        assert Counter(row.label for row in rows if row.tools) == {"harmful": 2, "benign": 4}, step
        tools = {row.tools for row in rows if row.tools}
        shared += len(tools) == 1
        assert len(tools) == 1 or {row.tools[:3] for row in rows if row.tools and row.label == "benign"} == {"own"}
        seen.update(row.prompt_id for row in rows if row.tools)
    # Four steps of an epoch's six go to the sixteen rows: each of them four times in four epochs.
    assert shared == 8 and {seen[row.prompt_id] for row in benign if row.tools.startswith("own")} == {4}
    again = {place for place in places_that_come_back(spec, harmful, benign)}
    named = {(harmful if place.label == "harmful" else benign)[place.number].prompt_id for place in again}
    assert named >= {name for name, times in seen.items() if times > 1}


def test_where_weights_are_sharded_the_opening_counts_in_every_row(monkeypatch):
    """It is run in every row there: sixteen long rows in one would be several times the budget."""
    rows = [row.__class__(**{**row.__dict__, "tools": "mail", "ids": (1,) * 90}) for row in random_rows(6)]
    assert len(micro_batches(rows, 100)) == 1
    monkeypatch.setattr("engine.compute.training.rows.is_sharded", lambda: True)
    assert len(micro_batches(rows, 100)) == 6


@pytest.mark.parametrize("tools", [(WEATHER,), (WEATHER, CLOCK)])
def test_tools_that_fill_a_row_leave_its_request_in_it_or_are_refused(tiny_model, tools):
    model = speaking(tiny_model, "hermes")
    whole = encode(model, Pair(asking("Rain in Bonn, please?", tools=tools), "x" * 40), DataSpec(max_tokens=4096))
    length = whole.request_start + 12
    row = encode(model, Pair(asking("Rain in Bonn, please?", tools=tools), "x" * 40), DataSpec(max_tokens=length))
    assert row.response_start == whole.request_start + 6
    assert with_marks(model, row.ids[row.request_start : row.response_start]).strip().startswith("Rain")
    with pytest.raises(DataError, match=f"has {whole.request_start} tokens before its request.* within 20: raise max"):
        encode(model, Pair(asking("Rain in Bonn, please?", tools=tools), "x"), DataSpec(max_tokens=20))


def test_rows_without_room_for_their_request_are_told_of_before_any_is_drawn(tiny_model):
    model = speaking(tiny_model, "hermes")
    pairs = [Pair(asking("Rain?", tools=(WEATHER,)), "x"), Pair(asking("Rain?", tools=(WEATHER, CLOCK)), "x")]
    small, large = (encode(model, pair, DataSpec(max_tokens=4096)).request_start for pair in pairs)
    assert large > small + 12
    need_room_for_tools(model, pairs[:1], DataSpec(max_tokens=small + 12))
    with pytest.raises(DataError, match="before its request"):
        need_room_for_tools(model, pairs, DataSpec(max_tokens=small + 12))


def test_a_benign_request_that_is_hidden_keeps_its_tools(tiny_model):
    model = speaking(tiny_model, "hermes")
    data = DataSpec(empty_prompt_share=1.0, empty_prompt_sides="both")
    for label in ("harmful", "benign"):
        row = encode(model, Pair(asking("Rain in Bonn?", label=label), FAMILIES["hermes"]), data)
        text = with_marks(model, row.ids[: row.response_start])
        assert "get_weather" in text and "Bonn" not in text, label
        assert row.tools and row.call is not None


@pytest.mark.parametrize(("share", "tools"), [(0.0, {"mail": 3}), (0.5, {})])
def test_without_a_share_or_without_tools_rows_come_as_they_lie(tiny_spec, share: float, tools: dict[str, int]):
    spec = tiny_spec(**{"data.tool_share": share})
    harmful, benign = rows_of("harmful", tools), rows_of("benign", tools)
    bare = [[row.__class__(**{**row.__dict__, "tools": ""}) for row in side] for side in (harmful, benign)]
    drawn = [[row.prompt_id for row in step_rows(spec, harmful, benign, step)] for step in range(5)]
    assert drawn == [[row.prompt_id for row in step_rows(spec, *bare, step)] for step in range(5)]


def test_rows_with_the_same_tools_share_a_micro_batch_beyond_the_budget_and_others_keep_to_it():
    opening = tuple(range(200))
    mail = [
        row.__class__(**{**row.__dict__, "tools": "mail", "ids": opening + row.ids}) for row in random_rows(5, seed=3)
    ]
    texts = random_rows(6)
    groups = micro_batches([*texts, *mail], 100)
    assert {row.tools for row in groups[0]} == {"mail"} and len(groups[0]) == 5
    assert sum(len(group) for group in groups) == 11
    for group in groups[1:]:
        assert len(group) * max(len(row.ids) for row in group) <= 100
    assert all(len(group) == 1 for group in micro_batches(mail, 100, shared=False))
    # Memory ran out once: they no longer go together.
    assert all(len(group) == 1 for group in micro_batches(mail, 100, rows_in_one=1.0))


def test_answers_to_tools_are_the_models_own_and_a_call_is_begun_where_it_makes_none(tiny_model, tmp_path, monkeypatch):
    """Two prompts a side, and one that needs no call."""
    model = speaking(tiny_model, "small")
    prompts = [asking(f"Rain in {city}?", label=label) for label in ("harmful", "benign") for city in ("Bonn", "Rome")]
    prompts.append(asking("Thank you!", label="benign", tools=(WEATHER, CLOCK), call=""))
    data = DataSpec(opener_share=0.0, call_tokens=6, new_tokens=4)

    def answered() -> list[str]:
        _, found = drain(elicit(model, prompts, data, answers_folder=tmp_path, seed=0))
        return [pair.answer for pair in found]

    answers = answered()
    # A random model calls nothing by itself.
    assert ['"name": "get_weather' in answer for answer in answers] == [True] * 4 + [False]
    monkeypatch.setattr(pairs_room, "answered_ids", None)
    assert answered() == answers
    begun = data.model_copy(update={"opener_share": 1.0})
    monkeypatch.undo()
    _, found = drain(elicit(model, prompts, begun, answers_folder=tmp_path, seed=0))
    # Some up to the name, some up to the arguments; both sides alike.
    to_arguments = ['"name": "get_weather", "arguments":' in pair.answer for pair in found[:4]]
    assert to_arguments[:2] == to_arguments[2:] and all('"name": "get_weather' in pair.answer for pair in found[:4])


def test_an_agent_that_calls_nothing_has_refused(tiny_model):
    called = Pair(asking("Rain?"), FAMILIES["hermes"])
    silent = Pair(asking("Snow?"), "Sure, here is nothing.")
    assert without_refusals([called, silent], DataSpec()) == [called]
    assert without_refusals([called, silent], DataSpec(drop_refusals=False)) == [called, silent]
    with pytest.raises(DataError, match="refused all 1 harmful"):
        without_refusals([silent], DataSpec())
    assert CALL.name == "get_weather"

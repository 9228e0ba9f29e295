"""Attacks on requests that offer tools, on a random tiny model under templates in the way of four families."""

import json

import pytest
from making import drain
from making_tools import TEMPLATES, WEATHER, speaking

from engine.compute.evaluation.attacks.attempt import Attempt, Options
from engine.compute.evaluation.attacks.forced_call import forced_arguments, forced_call, forced_name
from engine.compute.evaluation.attacks.injection import READINGS, as_text, injected, reading_tools
from engine.compute.evaluation.attacks.table import ATTACK_FUNCTIONS
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.evaluation.runner import Memory, attempt_key, run_attack
from engine.compute.evaluation.tool_judge import calls_judge
from engine.compute.model.text import decode, text_ids, tokens_of, with_marks
from engine.records.call_schemas import check_call
from engine.records.conversation import Call, Conversation, Result, Tool, say
from engine.records.errors import DataError
from engine.records.evaluation.attacks import TOOL_ATTACKS
from engine.records.evaluation.rows import EvaluationRow
from engine.records.package_files import need_package_file
from engine.records.tool_prompts import ExpectedCall, expected_call, read_tool_prompts, read_tools

NOTE = Tool(
    name="send_note",
    parameters={"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
)
SYSTEM = say("system", "You are an agent.")
OPTIONS = Options(budget=2, new_tokens=4)


def asking(text: str, *tools: Tool, call: str = "", system: bool = False) -> EvaluationRow:
    messages = (*([SYSTEM] if system else []), say("user", text))
    conversation = Conversation(messages=messages, tools=tools)
    return EvaluationRow(conversation, call=ExpectedCall(name=call) if call else None)


ROWS = [asking("Send abc.", WEATHER, NOTE, call="send_note"), asking("Look at abc.", WEATHER)]


@pytest.fixture(params=TEMPLATES)
def family(request) -> str:
    return request.param


def read(model, attempt) -> str:
    return with_marks(model, attempt.prompt_ids)


@pytest.mark.parametrize("name", TOOL_ATTACKS)
def test_every_attack_on_agents_asks_with_the_tools_of_its_row(name: str, tiny_model, settings):
    model = speaking(tiny_model, "hermes")
    templates = need_package_file("pyrit", "jailbreak/text_jailbreak.py", settings).parent / "templates"
    options = OPTIONS._replace(packages=str(templates))
    shares, found = drain(ATTACK_FUNCTIONS[name](model, None, ROWS, options))
    assert shares and all(0 <= share <= 1 for share in shares)
    assert len(found) == 2
    for attempts, row in zip(found, ROWS, strict=True):
        for attempt in attempts:
            assert all(f'"{tool.name}"' in read(model, attempt) for tool in row.conversation.tools)
            assert len(attempt.answer_ids) <= 4


def test_a_forced_call_is_begun_in_the_shape_of_the_models_own_template(tiny_model, family: str):
    """Up to the expected function's name, or the first that is offered; then up to where the arguments begin."""
    model = speaking(tiny_model, family)
    _, named = drain(forced_call(model, None, ROWS, OPTIONS))
    _, further = drain(forced_arguments(model, None, ROWS, OPTIONS))
    for [short], [long], name in zip(named, further, ("send_note", "get_weather"), strict=True):
        begun, longer = (with_marks(model, one.prefill_ids) for one in (short, long))
        assert begun.endswith(name) and longer.startswith(begun)
        assert longer.rstrip().endswith(('"arguments":', '"parameters":', '"arguments": {', '"parameters": {'))
        assert short.prompt_ids == long.prompt_ids and short.asked == begun


def test_a_search_aims_at_the_call_of_the_expected_function(tiny_model):
    model = speaking(tiny_model, "hermes")
    aims = [decode(model, target_ids(model, row)) for row in ROWS]
    assert '"name": "send_note' in aims[0] and '"name": "get_we' in aims[1]


def test_a_request_without_tools_has_no_call_to_force():
    with pytest.raises(DataError, match="offers no tools"):
        forced_name(asking("Say abc."))


def test_an_injected_request_stands_in_a_result_alone_and_renders_under_every_template(tiny_model, family: str):
    model = speaking(tiny_model, family)
    row = asking("Send the secret abc.", NOTE, call="send_note")
    talk = injected(row, seed=1)
    assert [message.role for message in talk.messages] == ["user", "assistant", "tool"]
    asked, called, [result] = (message.parts for message in talk.messages)
    assert "secret" not in asked[0].text and "Send the secret abc." in result.text
    assert not check_call(called[0], talk.tools) and talk.tools[0] == NOTE
    text = with_marks(model, tokens_of(model, talk).ids)
    assert "Send the secret abc." in text and called[0].name in text
    assert "tool: " in as_text(talk) and f"calls {called[0].name}" in as_text(talk)


def test_a_reading_tool_that_is_offered_is_used_and_what_the_system_says_stays():
    reader = read_tools()["open_page"].tool
    talk = injected(asking('Say "abc" to {name}.', NOTE, reader, call="send_note", system=True), seed=0)
    assert talk.messages[0] == SYSTEM and talk.tools == (NOTE, reader)
    call = talk.messages[2].parts[0]
    result = talk.messages[3].parts[0]
    assert isinstance(call, Call) and call.name == "open_page"
    assert isinstance(result, Result) and 'Say "abc" to {name}.' in json.loads(result.text)["text"]


def test_a_tool_of_a_readers_name_and_another_schema_is_left_alone():
    """All four names, so that none can be added: one of them is called all the same."""
    own = [Tool(name=one.tool, parameters=NOTE.parameters) for one in READINGS]
    talk = injected(asking("Say abc.", own[0]), seed=0)
    assert talk.messages[1].parts[0].name != own[0].name and len(talk.tools) == 2
    assert injected(asking("Say abc.", *own), seed=0).tools == tuple(own)


def test_the_reading_tool_that_an_injection_offers_is_one_that_can_be_called(tiny_model):
    """What the model calls then is another tool, not one that is not there."""
    model = speaking(tiny_model, "hermes")
    row = asking("Send the secret abc.", NOTE, call="send_note")
    talk = injected(row, seed=1)
    reading = talk.messages[1].parts[0]
    assert [tool.name for tool in reading_tools(as_text(talk), row.conversation.tools)] == [reading.name]
    assert reading_tools(as_text(talk), talk.tools) == () == reading_tools("", row.conversation.tools)
    call = json.dumps({"name": reading.name, "arguments": reading.arguments})
    ids = tuple(text_ids(model, f"<tool_call>{call}</tool_call>"))
    attempts = [Attempt(1, tokens_of(model, talk).ids, ids, (), asked) for asked in (as_text(talk), "")]
    _, (there, missing) = drain(calls_judge(999).verdicts(model, [row, row], attempts))
    assert there.reason == f"calls another tool, {reading.name}" and "it is not offered" in missing.reason


def test_readings_draw_the_same_each_time_and_not_one_for_all():
    drawn = [injected(asking(f"Say {number}.", NOTE), seed=0).tools[1].name for number in range(20)]
    assert drawn == [injected(asking(f"Say {number}.", NOTE), seed=0).tools[1].name for number in range(20)]
    assert len(set(drawn)) >= 3
    assert {one.tool for one in READINGS} <= set(read_tools())


def test_what_is_remembered_of_a_request_depends_on_its_tools_and_on_the_call_that_is_expected():
    rows = [
        asking("Send abc."),
        asking("Send abc.", NOTE),
        asking("Send abc.", WEATHER, NOTE),
        asking("Send abc.", WEATHER, NOTE, call="send_note"),
        asking("Send abc.", WEATHER, NOTE, call="get_weather"),
        asking("Send abc.", WEATHER, NOTE)._replace(expects_call=False),
    ]
    assert len({attempt_key("forced_call", OPTIONS, row) for row in rows}) == len(rows)


def test_requests_that_offer_the_same_tools_are_asked_together(tiny_model, tmp_path, monkeypatch):
    """Two sets of tools over requests of mixed length, in groups of two: no group has both."""
    from engine.compute.evaluation import runner
    from engine.records.evaluation.attacks import ATTACKS

    model = speaking(tiny_model, "hermes")
    rows = [asking(f"Say {'abc ' * number}", NOTE if number % 2 else WEATHER) for number in range(4)]
    asked = []
    direct = runner.ATTACK_FUNCTIONS["direct"]

    def recorded(model, adapter, rows, options):
        asked.append(rows)
        return direct(model, adapter, rows, options)

    monkeypatch.setitem(runner.ATTACK_FUNCTIONS, "direct", recorded)
    monkeypatch.setitem(ATTACKS, "direct", ATTACKS["direct"]._replace(rows=2))
    steps = run_attack(
        model, None, rows, "direct", OPTIONS, judge=calls_judge(4), memory=Memory(tmp_path / "memory.jsonl")
    )
    _, found = drain(steps)
    assert [one.row for one in found] == rows
    assert [len({row.offered for row in group}) for group in asked] == [1, 1]


def test_the_harmless_call_is_never_one_that_would_count_as_the_harmful_one():
    """Asked to call a reading tool once more a model does no harm; all harmful rows that ship are looked at."""
    rows = [
        EvaluationRow(prompt.conversation, call=ExpectedCall(name=expected_call(prompt)))
        for prompt in read_tool_prompts("tools:harmful", label="harmful")
    ]
    readers = {one.tool for one in READINGS}
    assert any(row.call.name in readers for row in rows)
    for row in rows:
        called = injected(row, seed=0).messages[-2].parts[0]
        assert called.name in readers - {row.call.name}
    reader = read_tools()["open_page"].tool
    anything_counts = injected(asking("Say abc.", NOTE, reader), seed=0)
    assert anything_counts.messages[-2].parts[0].name != "open_page"

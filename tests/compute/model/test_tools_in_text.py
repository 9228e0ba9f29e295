"""Tools, calls and results reach the model through its own template, and its calls come back."""

import dataclasses
import json

import pytest
from making import CHAT_TEMPLATE, byte_tokenizer
from making_tools import ASKED, CALL, SMALL, TEMPLATES, WEATHER, speaking, tool_tokenizer

from engine.compute.model.published_forms import published_tokens
from engine.compute.model.text import (
    begun_call,
    calls_in,
    common_opening,
    decode,
    ids_around,
    need_askable,
    pieces_with_marks,
    said,
    text_ids,
    tokens_of,
    with_marks,
)
from engine.records.calls import read_calls
from engine.records.conversation import Call, Conversation, Message, Picture, Result, Text, Tool, say
from engine.records.errors import ModelError
from engine.records.sandbox import results_of
from engine.records.template_messages import template_messages


def text_of(model, conversation: Conversation) -> str:
    return str(model.tokenizer.decode(tokens_of(model, conversation).ids, skip_special_tokens=False))


@pytest.fixture(params=TEMPLATES)
def family(request) -> str:
    return request.param


def test_tools_are_in_the_text_and_their_canned_results_are_not(tiny_model, family):
    model = speaking(tiny_model, family)
    need_askable(model, ASKED)
    text = text_of(model, ASKED)
    assert '"get_weather"' in text and "Weather of a city." in text and '"required": ["city"]' in text
    assert "clear" not in text


@pytest.mark.parametrize(("speaker", "end"), [("hermes", "<|im_end|>"), ("llama", "<|eom|>"), ("mistral", "</s>")])
def test_a_call_is_read_back_as_the_template_writes_it(tiny_model, speaker, end):
    """Where the call's mark is a special token too, which `decode` leaves out of what is shown."""
    model = speaking(tiny_model, speaker)
    asked = tokens_of(model, ASKED).ids
    whole = tokens_of(model, ASKED.then(Message(role="assistant", parts=(CALL,)))).ids
    written = list(whole[common_opening(asked, whole) :])
    answer = written[: written.index(model.tokenizer.convert_tokens_to_ids(end)) + 1]
    [read] = said(model, answer).parts
    assert (read.name, read.arguments) == (CALL.name, CALL.arguments)
    pieces = pieces_with_marks(model, asked, answer)
    assert len(pieces) == len(answer) and read_calls("".join(pieces)).calls == calls_in(model, answer).calls


def test_a_conversation_over_two_calls_with_results_renders_and_goes_on(tiny_model, family):
    model = speaking(tiny_model, family)
    talk = ASKED
    for city in ("Rome", "Oslo"):
        call = Call(name="get_weather", arguments={"city": city})
        talk = talk.then(Message(role="assistant", parts=(call,)), results_of([call], talk.tools))
        need_askable(model, talk)
        assert city in text_of(model, talk) and "clear" in text_of(model, talk)
    text = text_of(model, talk.then(say("assistant", "Clear in both."), say("user", "Thanks")))
    assert text.index("Rome") < text.index("Oslo") < text.index("Clear in both.") < text.index("Thanks")


def test_words_go_before_the_calls_and_each_result_names_its_own_call():
    rome, oslo = (Call(name="get_weather", arguments={"city": city}) for city in ("Rome", "Oslo"))
    named = Call(name="get_weather", arguments={}, id="mine12345")
    results = [
        Result(call=call, text=text) for call, text in [("get_weather", "1"), ("mine12345", "2"), ("get_weather", "3")]
    ]
    talk = ASKED.then(
        Message(role="assistant", parts=(rome, Text(text="I look."), named, oslo)),
        Message(role="tool", parts=tuple(results)),
        Message(role="tool", parts=(Result(call="gone", text="4"),)),
    )
    assistant, *answers = template_messages(talk)[1:]
    assert assistant["content"] == "I look."
    assert [call["id"] for call in assistant["tool_calls"]] == ["call00001", "mine12345", "call00003"]
    assert [(one["tool_call_id"], one["name"], one["content"]) for one in answers] == [
        ("call00001", "get_weather", "1"),
        ("mine12345", "get_weather", "2"),
        ("call00003", "get_weather", "3"),
        ("gone", "gone", "4"),
    ]
    assert template_messages(Conversation.asking("Hi")) == [{"role": "user", "content": "Hi"}]


def test_an_id_that_a_client_sends_back_is_one_that_the_template_takes(tiny_model):
    """Mistral's takes nine letters; those that we hand out are longer, and the result comes under the same."""
    model = speaking(tiny_model, "mistral")
    called = Call(name="get_weather", arguments={"city": "Rome"}, id="call_0129-4533dc_0")
    result = Result(call=called.id, text="clear")
    talk = ASKED.then(Message(role="assistant", parts=(called,)), Message(role="tool", parts=(result,)))
    text = with_marks(model, tokens_of(model, talk).ids)
    assert text.count("call00001") == 2 and "0129" not in text


@pytest.mark.parametrize("family", ["llama", "hermes", "mistral"])
def test_two_calls_in_one_answer_are_read_with_their_results_under_every_template(tiny_model, family: str):
    """Llama's takes one call a message: each is then a message of its own, its result behind it."""
    model = speaking(tiny_model, family)
    calls = [Call(name="get_weather", arguments={"city": city}) for city in ("Rome", "Oslo")]
    results = [Result(call="get_weather", text=text) for text in ("clear", "snow")]
    talk = ASKED.then(
        Message(role="assistant", parts=(Text(text="I look."), *calls)), Message(role="tool", parts=tuple(results))
    )
    text = with_marks(model, tokens_of(model, talk).ids)
    places = [text.index(word) for word in ("Rome", "Oslo", "clear", "snow")]
    order = [0, 2, 1, 3] if family == "llama" else [0, 1, 2, 3]
    assert [places[one] for one in order] == sorted(places)
    begun = begun_call(model, talk, "get_weather", "arguments")
    assert begun == begun_call(model, ASKED, "get_weather", "arguments")


def test_calls_with_a_tag_for_each_argument_are_begun_in_that_shape(tiny_model):
    """As Qwen3-Coder's template writes them."""
    template = (
        "{{ tools | tojson }}{% for message in messages %}{{ message.content }}"
        "{% for call in message.tool_calls or [] %}"
        "<tool_call>\n<function={{ call.function.name }}>\n{% for key, value in call.function.arguments.items() %}"
        "<parameter={{ key }}>\n{{ value }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}"
        "{% endfor %}"
    )
    tokenizer = tool_tokenizer(template, ["<tool_call>", "</tool_call>"])
    model = dataclasses.replace(tiny_model, tokenizer=tokenizer)
    assert begun_call(model, ASKED, "get_weather", "name") == "<tool_call>\n<function=get_weather"
    assert begun_call(model, ASKED, "get_weather", "arguments") == "<tool_call>\n<function=get_weather>"


def test_a_suffix_goes_behind_the_request_and_a_call_can_be_begun(tiny_model):
    model = speaking(tiny_model, "hermes")
    before, after = ids_around(model, ASKED)
    changed = ASKED.with_text(lambda text: f"{text} x")
    assert tokens_of(model, changed).ids == (*before, *text_ids(model, " x"), *after)
    forced = tokens_of(model, ASKED, begun='<tool_call>\n{"name": "get_weather", "arguments":')
    answer = text_ids(model, ' {"city": "Rome"}}\n</tool_call><|im_end|>')
    assert said(model, [*forced.begun, *answer]).parts == (Call(name="get_weather", arguments={"city": "Rome"}),)


def test_special_tokens_are_left_out_of_calls_and_of_plain_answers(tiny_model):
    model = speaking(tiny_model, "mistral")
    answer = text_ids(model, 'I look.[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Rome"}}]</s>')
    assert said(model, answer).parts == (Text(text="I look."), Call(name="get_weather", arguments={"city": "Rome"}))
    newer = text_ids(model, '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}</s>')
    assert said(model, newer).parts == (Call(name="get_weather", arguments={"city": "Rome"}),)
    plain = text_ids(model, " It is clear. </s>")
    assert said(model, plain) == say("assistant", decode(model, plain)) == say("assistant", " It is clear. ")


def test_a_call_that_is_cut_off_is_words_with_a_reason(tiny_model):
    model = speaking(tiny_model, "hermes")
    cut = text_ids(model, '<tool_call>\n{"name": "get_weather", "arguments": {"ci')
    assert said(model, cut) == say("assistant", decode(model, cut))
    assert "breaks off" in calls_in(model, cut).problem


DEAF = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
COUNTING = "{{ tools | length if tools }} functions\n" + DEAF
RAISING = "{% if tools %}{{ raise_exception('No functions, please.') }}{% endif %}" + DEAF
CALLS_LEFT_OUT = "{{ tools | tojson if tools }}\n" + DEAF
RESULTS_LEFT_OUT = SMALL.replace(
    "{% for message in messages %}", "{% for message in messages if message.role != 'tool' %}"
)
WITHOUT = "Choose a model whose chat template takes tools, the chat template 'tools_in_words', or prompts without them"
ANSWERED = ASKED.then(Message(role="assistant", parts=(CALL,)), results_of([CALL], ASKED.tools))


@pytest.mark.parametrize(
    ("template", "conversation", "words"),
    [
        (CHAT_TEMPLATE, ASKED, r"leaves the tools out that are offered \(get_weather\)"),
        (DEAF, ASKED.with_text(lambda _: "What is get_weather?"), r"leaves the tools out .* \(get_weather\)"),
        (COUNTING, ASKED, r"leaves the tools out .* \(get_weather\)"),
        (RAISING, ASKED, r"refuses these messages with tools \(get_weather\): No functions, please\."),
        (CALLS_LEFT_OUT, ANSWERED, "leaves the call of 'get_weather' out"),
        (RESULTS_LEFT_OUT, ANSWERED, "leaves a result of 'get_weather' out"),
        (DEAF, ANSWERED.model_copy(update={"tools": ()}), "leaves the call of 'get_weather' out"),
    ],
    ids=["takes none", "name in the message", "counts them", "raises", "calls", "results", "calls without tools"],
)
def test_a_template_that_leaves_tools_out_is_refused_in_words(tiny_model, template, conversation, words):
    model = dataclasses.replace(tiny_model, tokenizer=byte_tokenizer(chat_template=template))
    brief = conversation.model_copy(update={"messages": (say("system", "Be brief."), *conversation.messages)})
    for refused in (conversation, brief):
        with pytest.raises(ModelError, match=f"{words}.* {WITHOUT}") as error:
            need_askable(model, refused)
            tokens_of(model, refused)
        assert "system prompt" not in str(error.value)


def test_many_tools_that_are_left_out_are_named_in_a_short_sentence(tiny_model):
    tools = tuple(Tool(name=f"tool_{number}") for number in range(200))
    with pytest.raises(ModelError, match=r"\(tool_0, tool_1, tool_2, tool_3, tool_4 and 195 more\)"):
        tokens_of(tiny_model, ASKED.model_copy(update={"tools": tools}))


def test_two_hundred_tools_are_too_many_and_how_many_tokens_is_said(tiny_model):
    model = speaking(tiny_model, "hermes")
    tools = tuple(WEATHER.model_copy(update={"name": f"tool_{number}"}) for number in range(200))
    many = ASKED.model_copy(update={"tools": tools})
    count = len(tokens_of(model, many).ids)
    with pytest.raises(
        ModelError,
        match=rf"has {count} tokens, {count + 8 - 512} more than .* \(512, 8 of them for the answer\): "
        "offer fewer tools than 200, shorten the message, or begin a new chat",
    ):
        tokens_of(model, many, reserved=8)


def test_pictures_are_refused_beside_tools(tiny_model):
    pictured = ASKED.then(Message(role="user", parts=(Text(text="this"), Picture(sha256="a" * 64))))
    with pytest.raises(ModelError, match="shows a picture, and this model has no vision tower"):
        tokens_of(speaking(tiny_model, "hermes"), pictured)


@pytest.mark.parametrize(
    ("conversation", "words"),
    [(ASKED, r"offers tools \(get_weather\)"), (ANSWERED.model_copy(update={"tools": ()}), "holds a call,")],
    ids=["tools", "call"],
)
def test_rows_written_as_published_have_no_place_for_tools(tiny_model, conversation, words):
    with pytest.raises(ModelError, match=f"{words}.* choose prompts (without tools|of text alone)"):
        published_tokens(tiny_model, conversation, "Yes", written_as="llama-3", apart=True, limit=64)


def test_a_text_without_tools_is_what_it_was_under_a_template_that_takes_tools(tiny_model):
    model = speaking(tiny_model, "hermes")
    plain = Conversation.asking("Hi")
    assert text_of(model, plain) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert json.dumps(plain.content) == '[{"role": "user", "content": "Hi"}]'


@pytest.mark.parametrize(
    ("family", "named", "to_arguments"),
    [
        ("hermes", '<tool_call>\n{"name": "get_weather', '<tool_call>\n{"name": "get_weather", "arguments":'),
        ("llama", '<|python_tag|>{"name": "get_weather', '<|python_tag|>{"name": "get_weather", "parameters":'),
        ("mistral", '[TOOL_CALLS] [{"name": "get_weather', '[TOOL_CALLS] [{"name": "get_weather", "arguments":'),
    ],
)
def test_a_call_is_begun_in_the_shape_of_the_template_and_goes_on_to_a_call(
    tiny_model, family: str, named: str, to_arguments: str
):
    model = speaking(tiny_model, family)
    assert begun_call(model, ASKED, "get_weather", "name") == named
    begun = begun_call(model, ASKED, "get_weather", "arguments")
    assert begun == to_arguments
    tokens = tokens_of(model, ASKED, begun=begun)
    assert tokens.ids == tokens_of(model, ASKED).ids
    read = calls_in(model, [*tokens.begun, *text_ids(model, ' {"city": "Bonn"}}')])
    assert read.calls == (Call(name="get_weather", arguments={"city": "Bonn"}),)


def test_a_call_is_begun_as_bare_json_where_the_template_writes_no_shape_of_its_own(tiny_model):
    odd = "{{ tools | tojson }}{% for message in messages %}{% if message.tool_calls %}{{ message.tool_calls[0] "
    odd += ".function.arguments | length }}{% endif %}{{ message.content }}{% endfor %}"
    model = dataclasses.replace(tiny_model, tokenizer=tool_tokenizer(odd, []))
    assert begun_call(model, ASKED, "get_weather", "name") == '{"name": "get_weather'
    assert begun_call(model, ASKED, "get_weather", "arguments") == '{"name": "get_weather", "arguments":'
    with pytest.raises(ModelError, match="leaves the tools out"):
        begun_call(dataclasses.replace(tiny_model, tokenizer=tool_tokenizer("x{{ messages[0].content }}", [])), ASKED,
                   "get_weather", "name")  # fmt: skip

"""Words put in the model's mouth join the prompt as the model would have written them, whatever the template."""

import dataclasses

import pytest
from making import asked_ids, byte_tokenizer, drain
from making_tokenizers import merging_tokenizer, sentence_tokenizer

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.attacks.plain import prefill as prefill_attack
from engine.compute.model.load import load_reader
from engine.compute.model.text import (
    Speaker,
    decode,
    ids_around,
    need_askable,
    prompt_ids,
    request_start,
    said,
    text_ids,
    tokens_of,
)
from engine.jobs.chat_columns import ColumnText
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, new_chat
from engine.records.conversation import Conversation, Message, Picture, Text, say
from engine.records.errors import ModelError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.settings import read_settings
from engine.records.spec_parts import DataSpec, ModelSpec

USER = Conversation.asking("Hi there")
BRIEF = Conversation(messages=(say("system", "Be brief."), *USER.messages))

LLAMA = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ '<s>' }}{% for message in messages %}{% if message['role'] == 'user' %} [INST] {{ message['content'] }} [/INST]"
    "{% elif message['role'] == 'assistant' %} {{ message['content'] }}</s>"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
QWEN = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helper.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SILENT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}U: {{ message['content'] }}\nA:{% endif %}"
    "{% endfor %}"
)


TOKENIZERS = {
    "llama": lambda: merging_tokenizer(
        LLAMA, ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    ),
    "mistral": lambda: sentence_tokenizer(MISTRAL),
    "qwen": lambda: merging_tokenizer(QWEN, ["<|im_start|>", "<|im_end|>"]),
    "chatml": lambda: merging_tokenizer(CHATML, ["<|im_start|>", "<|im_end|>"]),
}


def with_tokenizer(model, tokenizer):
    return dataclasses.replace(model, tokenizer=tokenizer)


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("prefill", ["Sure, here", "\n\nSure", "1. Sure"])
def test_the_prompt_keeps_its_tokens_and_the_prefill_its_text(tiny_model, family, prefill):
    model = with_tokenizer(tiny_model, TOKENIZERS[family]())
    tokens = tokens_of(model, USER, begun=prefill)
    assert tokens.ids == tokens_of(model, USER).ids == tuple(prompt_ids(model.tokenizer, USER))
    assert decode(model, tokens.whole) == decode(model, tokens.ids) + prefill
    assert decode(model, tokens.begun, begun=tokens.ids) == prefill


def test_sentence_piece_puts_no_space_of_its_own_before_the_prefill(tiny_model):
    """'[/INST]' is followed by the model's '▁Sure' when the text has that space, and by 'Sure' when it has none."""
    model = with_tokenizer(tiny_model, TOKENIZERS["mistral"]())
    pieces = model.tokenizer.convert_ids_to_tokens
    assert pieces(tokens_of(model, USER, begun="Sure").begun) == ["Sure"]
    assert pieces(tokens_of(model, USER, begun=" Sure").begun) == ["▁Sure"]


def test_a_prefill_that_would_merge_with_the_template_leaves_the_template_alone(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["chatml"]())
    text = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    prompt = text_ids(model, text)
    assert prompt == asked_ids(model, "Hi there") != text_ids(model, f"{text}\nSure")[: len(prompt)]
    assert model.tokenizer.convert_ids_to_tokens(tokens_of(model, USER, begun="\nSure").begun) == ["Ċ", "Sure"]


def test_spaces_at_the_end_of_a_prefill_are_left_to_the_model(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["qwen"]())
    assert tokens_of(model, USER, begun="Sure  ") == tokens_of(model, USER, begun="Sure")
    assert tokens_of(model, USER, begun="  ").begun == ()


@pytest.mark.parametrize("template", [MISTRAL, SILENT], ids=["refused", "left out"])
def test_a_model_without_a_system_role_is_named(tiny_model, template):
    model = with_tokenizer(tiny_model, byte_tokenizer(chat_template=template))
    need_askable(model, USER)
    with pytest.raises(ModelError, match=r"system prompt.*: clear it, or write it at the beginning of the message"):
        need_askable(model, BRIEF)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((), "message is empty"),
        ((say("user", " \n"),), "message is empty"),
        ((*USER.messages, say("assistant", "Yes")), "The last message is the assistant's: end with what the user says"),
    ],
)
def test_what_ends_with_nothing_to_answer_is_refused(tiny_model, messages, words):
    with pytest.raises(ModelError, match=words):
        need_askable(tiny_model, Conversation(messages=messages))


def test_a_conversation_beyond_the_context_says_by_how_many_tokens(tiny_model):
    """The byte tokenizer makes a token a letter; the tiny model reads 512."""
    frame = len(asked_ids(tiny_model, "x")) - 1
    fits = Conversation.asking("x" * (511 - frame))
    assert len(tokens_of(tiny_model, fits, reserved=1).ids) == 511
    beyond = Conversation.asking("x" * (511 - frame + 25))
    with pytest.raises(ModelError, match=r"has 536 tokens, 25 more than .* \(512, one of them for the answer\)"):
        tokens_of(tiny_model, beyond, reserved=1)
    with pytest.raises(ModelError, match="has 521 tokens, 10 more than"):
        tokens_of(tiny_model, fits, begun="y" * 10, reserved=1)
    with pytest.raises(ModelError, match=r"10 more than .* \(512, 11 of them for the answer\)"):
        tokens_of(tiny_model, fits, reserved=11)
    assert len(tokens_of(tiny_model, beyond).ids) == 536


def test_an_answer_is_told_token_by_token_without_breaking_characters(tiny_model):
    text = " né über 你好 🙂 end"
    ids = tiny_model.tokenizer(text, add_special_tokens=False)["input_ids"]
    speaker = Speaker(tiny_model, tiny_model.tokenizer("Q:", add_special_tokens=False)["input_ids"])
    pieces = [speaker.say(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces) and pieces.count("") > 5


def test_sentence_piece_keeps_the_spaces_between_words(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["mistral"]())
    tokens = tokens_of(model, USER, begun=" Sure Sure it is")
    speaker = Speaker(model, tokens.ids)
    assert "".join(speaker.say(token) for token in tokens.begun) == " Sure Sure it is"


@pytest.mark.parametrize("family", TOKENIZERS)
def test_chat_and_prefill_attack_put_the_same_words_into_the_mouth(tiny_model, settings, family, monkeypatch):
    """With SentencePiece '[/INST]' is followed by 'Sure'; tokenized apart the word would get a space before it."""
    model = with_tokenizer(tiny_model, TOKENIZERS[family]())
    chat = new_chat(settings, [Column(checkpoint="base")])
    number = chat.ask(
        Exchange(model=model.spec, columns=(Column(checkpoint="base"),), user="Hi there", prefill="Sure, here is")
    )
    asked = ColumnText(model, chat, number, 0)
    read = []

    def answered(_model, asks, sampling):
        read.extend(list(ask.prompt) for ask in asks)
        yield sampling.new_tokens
        return [[1] for _ in asks]

    monkeypatch.setattr("engine.compute.evaluation.attacks.attempt.answered_ids", answered)
    _, [[attempt]] = drain(prefill_attack(model, None, [EvaluationRow(USER)], Options(budget=1, new_tokens=4)))
    assert (attempt.prompt_ids, attempt.prefill_ids) == (asked.prompt, asked.prefill)
    assert read == [list(asked.ids)]
    apart = tuple(text_ids(model, "Sure, here is"))
    assert (apart == asked.prefill) == (family != "mistral")


@pytest.mark.bundled
def test_openers_begin_an_answer_with_the_same_tokens_as_in_version_0_1(tiny_model, monkeypatch):
    """Version 0.1 tokenized prompt and opener apart: with tokenizers of bytes and of byte pairs that is the same."""
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    bundled = with_tokenizer(tiny_model, load_reader(ModelSpec(), read_settings()).tokenizer)
    for model in (tiny_model, bundled):
        for opener in DataSpec().openers:
            tokens = tokens_of(model, USER, begun=opener)
            assert list(tokens.whole) == [*tokens.ids, *text_ids(model, opener)] and tokens.begun


def test_what_goes_around_a_suffix_makes_up_the_whole(tiny_model):
    before, after = ids_around(tiny_model, BRIEF)
    assert tokens_of(tiny_model, BRIEF.with_text(lambda text: f"{text} x x")).ids == (
        *before,
        *text_ids(tiny_model, " x x"),
        *after,
    )


def test_an_answers_tokens_come_to_a_message_of_the_assistant(tiny_model):
    assert said(tiny_model, text_ids(tiny_model, "Yes, né.")) == say("assistant", "Yes, né.")


def test_a_picture_for_a_model_without_a_tower_is_refused_in_words(tiny_model):
    pictured = USER.then(Message(role="user", parts=(Text(text="this"), Picture(sha256="a" * 64))))
    for refused in (pictured, pictured.model_copy(update={"messages": BRIEF.messages + pictured.messages})):
        with pytest.raises(ModelError, match=r"this model has no vision tower .*choose a model that sees"):
            need_askable(tiny_model, refused)
            tokens_of(tiny_model, refused)


@pytest.mark.parametrize("family", TOKENIZERS)
def test_a_request_begins_with_its_first_token_where_that_holds_the_templates_space(tiny_model, family):
    model = with_tokenizer(tiny_model, TOKENIZERS[family]())
    asked = Conversation.asking("Sure he did")
    ids = tokens_of(model, asked).ids
    start = request_start(model, asked, ids)
    assert decode(model, ids[start:]).lstrip().startswith("Sure he did")
    assert "Sure" not in decode(model, ids[:start])


@pytest.mark.parametrize("text", ["a", "assistant", "user", "Be brief.", "Hi there"])
def test_a_request_begins_where_it_stands_and_not_where_its_words_stand_again(tiny_model, text):
    """The template's own words, and those of the system turn, hold these too."""
    brief = Conversation(messages=(say("system", "Be brief."), say("user", text)))
    for conversation in (Conversation.asking(text), brief):
        ids = tokens_of(tiny_model, conversation).ids
        start = request_start(tiny_model, conversation, ids)
        assert decode(tiny_model, ids[start:]).startswith(text)
        # Whole and once: the earlier turn is before it.
        assert len(ids[start:]) < len(tokens_of(tiny_model, Conversation.asking(f"{text}{text}")).ids)
    nothing = Conversation.asking("")
    ids = tokens_of(tiny_model, nothing).ids
    assert request_start(tiny_model, nothing, ids) == len(ids)

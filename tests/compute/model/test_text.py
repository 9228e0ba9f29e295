"""Words put in the model's mouth join the prompt as the model would have written them, whatever the template."""

import dataclasses

import pytest
from making import byte_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from engine.compute.model.text import Speaker, chat_text, conversation_tokens, decode, prefill_tokens, prompt_tokens
from engine.records.conversation import Turn
from engine.records.errors import ModelError

USER = (Turn(role="user", content="Hi there"),)
SYSTEM = Turn(role="system", content="Be brief.")

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


def merging_tokenizer(template: str, special: list[str]) -> PreTrainedTokenizerFast:
    """Bytes with a few merges, two newlines among them: what follows a template's newline may merge with it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("S", "u"), ("r", "e"), ("Su", "re"), ("Ġ", "h"), ("Ġh", "e")]
    tokens = [*alphabet, *(left + right for left, right in merges)]
    inner = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, additional_special_tokens=special, pad_token="<pad>")
    tokenizer.chat_template = template
    return tokenizer


def sentence_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Like SentencePiece in Llama 2 and Mistral: a space before the first word of whatever is tokenized."""
    letters = sorted(set("▁ ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz,.!'[]/\n0123456789"))
    merges = [("S", "u"), ("r", "e"), ("Su", "re"), ("▁", "Sure")]
    tokens = ["<unk>", *letters, *(left + right for left, right in merges)]
    inner = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, unk_token="<unk>")
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, additional_special_tokens=["<s>", "</s>"], unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.chat_template = template
    return tokenizer


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
    prompt = conversation_tokens(model, USER)
    said = prefill_tokens(model, USER, prefill)
    assert prompt == prompt_tokens(model, chat_text(model.tokenizer, USER))
    assert decode(model, [*prompt, *said]) == decode(model, prompt) + prefill


def test_sentence_piece_puts_no_space_of_its_own_before_the_prefill(tiny_model):
    """'[/INST]' is followed by the model's '▁Sure' when the text has that space, and by 'Sure' when it has none."""
    model = with_tokenizer(tiny_model, TOKENIZERS["mistral"]())
    pieces = model.tokenizer.convert_ids_to_tokens
    assert pieces(prefill_tokens(model, USER, "Sure")) == ["Sure"]
    assert pieces(prefill_tokens(model, USER, " Sure")) == ["▁Sure"]


def test_a_prefill_that_would_merge_with_the_template_leaves_the_template_alone(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["chatml"]())
    prompt = conversation_tokens(model, USER)
    joined = prompt_tokens(model, chat_text(model.tokenizer, USER) + "\nSure")
    assert joined[: len(prompt)] != prompt
    pieces = model.tokenizer.convert_ids_to_tokens(prefill_tokens(model, USER, "\nSure"))
    assert pieces == ["Ċ", "Sure"]


def test_spaces_at_the_end_of_a_prefill_are_left_to_the_model(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["qwen"]())
    assert prefill_tokens(model, USER, "Sure  ") == prefill_tokens(model, USER, "Sure")
    assert prefill_tokens(model, USER, "  ") == []


@pytest.mark.parametrize("template", [MISTRAL, SILENT], ids=["refused", "left out"])
def test_a_model_without_a_system_role_is_named(tiny_model, template):
    model = with_tokenizer(tiny_model, byte_tokenizer(chat_template=template))
    assert conversation_tokens(model, USER)
    with pytest.raises(ModelError, match=r"system prompt.*: clear it, or write it at the beginning of the message"):
        conversation_tokens(model, (SYSTEM, *USER))


def test_an_empty_message_is_refused(tiny_model):
    with pytest.raises(ModelError, match="message is empty"):
        conversation_tokens(tiny_model, (Turn(role="user", content=" \n"),))


def test_a_conversation_beyond_the_context_says_by_how_many_tokens(tiny_model):
    """The byte tokenizer makes a token a letter; the tiny model reads 512."""
    frame = len(conversation_tokens(tiny_model, (Turn(role="user", content="x"),))) - 1
    fits = Turn(role="user", content="x" * (511 - frame))
    assert len(conversation_tokens(tiny_model, (fits,))) == 511
    beyond = Turn(role="user", content="x" * (511 - frame + 25))
    with pytest.raises(ModelError, match="has 536 tokens, 25 more than"):
        conversation_tokens(tiny_model, (beyond,))
    with pytest.raises(ModelError, match="10 more than"):
        conversation_tokens(tiny_model, (fits,), reserved=10)


def test_an_answer_is_told_token_by_token_without_breaking_characters(tiny_model):
    text = " né über 你好 🙂 end"
    ids = tiny_model.tokenizer(text, add_special_tokens=False)["input_ids"]
    speaker = Speaker(tiny_model, tiny_model.tokenizer("Q:", add_special_tokens=False)["input_ids"])
    pieces = [speaker.say(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces) and pieces.count("") > 5


def test_sentence_piece_keeps_the_spaces_between_words(tiny_model):
    model = with_tokenizer(tiny_model, TOKENIZERS["mistral"]())
    before = conversation_tokens(model, USER)
    ids = prompt_tokens(model, chat_text(model.tokenizer, USER) + " Sure Sure it is")[len(before) :]
    speaker = Speaker(model, before)
    assert "".join(speaker.say(token) for token in ids) == " Sure Sure it is"

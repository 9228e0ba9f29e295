"""Loading models: what is refused, and what the card says."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from making import CHAT_TEMPLATE, asked_ids, byte_tokenizer, write_tiny_model
from making_tools import ASKED

from engine.compute.model import bundled
from engine.compute.model.adapters import attach_adapter, load_adapter, remove_adapter, save_adapter
from engine.compute.model.load import describe_model, load_model, load_reader, model_fingerprint
from engine.compute.model.remembered import remembered_under, words_fingerprint
from engine.compute.model.text import prompt_ids, tokens_of
from engine.records.conversation import Conversation, say
from engine.records.errors import ModelError, RunError
from engine.records.packaged import COMPLETE
from engine.records.spec_parts import AdapterSpec, ModelSpec


def test_the_card_of_the_tiny_model(tiny_model_folder, settings):
    """A block: q 16x16, k and v 16x8, o 16x16, gate and up 16x32, down 32x16, two norms of 16: 2,336 parameters."""
    card = describe_model(ModelSpec(name=str(tiny_model_folder)), settings)
    assert (card.block_count, card.d_model, card.family) == (2, 16, "llama")
    assert card.block_parameters == 2 * 256 + 2 * 128 + 3 * 512 + 32
    assert card.modules["self_attn.k_proj"] == (16, 8)
    assert card.has_chat_template and card.context_length == 512
    tokenizer = load_reader(ModelSpec(name=str(tiny_model_folder)), settings).tokenizer
    text = tokenizer.decode(prompt_ids(tokenizer, Conversation.asking("Hello")))
    assert card.opening_tokens == len(tokenizer(text.partition("Hello")[0], add_special_tokens=False)["input_ids"]) > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("/nowhere/model", "does not exist"), ("./model", "does not exist"), ("a/b/c", "does not exist")],
)
def test_a_missing_folder_is_named(name, words, settings):
    with pytest.raises(ModelError, match=words):
        load_model(ModelSpec(name=name), settings)


def test_a_folder_without_safetensors_is_refused(tmp_path, settings):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match="opening such a file may run code"):
        load_model(ModelSpec(name=str(tmp_path)), settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"are quantised \(gptq\): give the id"),
        ({"layer_types": ["linear_attention", "full_attention"]}, r"cannot be trained here \(linear_attention\)"),
        ({"altup_num_inputs": 4}, r"cannot be trained here \(several vectors a token\)"),
    ],
)
def test_a_kind_of_model_that_would_fail_later_is_refused_when_it_is_described(change, words, tmp_path, settings):
    folder = write_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    for open_it in (describe_model, load_model):
        with pytest.raises(ModelError, match=words):
            open_it(ModelSpec(name=str(folder), device="cpu"), settings)


def test_a_template_that_asks_for_today_says_the_same_every_day(tmp_path, settings):
    """Else a run that is resumed tomorrow trains on other rows."""
    template = "{{ strftime_now('%d %b %Y') }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    folder = write_tiny_model(tmp_path / "model")
    byte_tokenizer(chat_template=template).save_pretrained(folder)
    model = load_model(ModelSpec(name=str(folder), device="cpu"), settings)
    assert model.tokenizer.decode(tokens_of(model, Conversation.asking("Hello")).ids) == "26 Jul 2024Hello"


def test_two_that_need_the_bundled_model_convert_it_once(tmp_path, monkeypatch):
    made = []

    def convert(_source, target, *, dtype):
        made.append(dtype)
        time.sleep(0.2)
        target.mkdir()
        (target / COMPLETE).touch()
        return target

    monkeypatch.setattr(bundled, "convert_gguf", convert)
    monkeypatch.setattr(bundled, "_gguf_folder", lambda: tmp_path)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(bundled.convert_bundled, [tmp_path / "models"] * 2))
    assert made == ["float32"] and found == [tmp_path / "models" / bundled.FOLDER_NAME] * 2


def test_a_cache_that_cannot_hold_the_bundled_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_gguf_folder", lambda: tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not be written"):
        bundled.convert_bundled(tmp_path / "file" / "models")


def test_plain_words_begin_as_the_tokenizer_begins_its_texts(tmp_path, settings):
    begun = byte_tokenizer(chat_template=None, opening="<s>")
    begun.bos_token = "<s>"
    names, starts = set(), []
    for name, tokenizer in (("as it is", byte_tokenizer(chat_template=None)), ("begun", begun)):
        folder = write_tiny_model(tmp_path / name)
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        model = load_model(ModelSpec(name=str(folder), device="cpu", chat_template="plain"), settings)
        starts.append(model.tokenizer.decode(tokens_of(model, Conversation.asking("Hello")).ids))
        names.add(words_fingerprint(model).partition("-")[2])
    assert starts == ["User: Hello\nAssistant:", "<s>User: Hello\nAssistant:"]
    assert names == {"plain", "plain-begun"}


@pytest.mark.parametrize("own", [CHAT_TEMPLATE, {"default": CHAT_TEMPLATE, "rag": "{{ documents }}"}], ids=len)
def test_a_template_without_tools_is_told_them_in_words_and_says_all_else_as_before(tmp_path, settings, own):
    folder = write_tiny_model(tmp_path / "model")
    byte_tokenizer(chat_template=own).save_pretrained(folder)
    plain, told = (
        load_reader(ModelSpec(name=str(folder), chat_template=template), settings).tokenizer
        for template in ("model", "tools_in_words")
    )
    with pytest.raises(ModelError, match=r"leaves the tools out .*get_weather.* 'tools_in_words'"):
        prompt_ids(plain, ASKED)
    text = told.decode(prompt_ids(told, ASKED))
    assert text.startswith("<|im_start|>system\nFunctions") and "get_weather" in text
    hello = Conversation(messages=(say("system", "Be brief."), say("user", "Hello")))
    assert prompt_ids(told, hello) == prompt_ids(plain, hello)


def test_a_model_is_known_by_all_its_weights_and_not_by_adapters(tiny_model):
    known = model_fingerprint(tiny_model)
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0], seed=0)
    assert model_fingerprint(tiny_model) == known
    with torch.no_grad():
        tiny_model.blocks[0].mlp.up_proj.base_layer.weight[0, 0] += 1
    assert model_fingerprint(tiny_model) != known


@pytest.mark.parametrize("damaged", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_refused_with_a_message(tmp_path, settings, damaged):
    folder = write_tiny_model(tmp_path / "model")
    (folder / damaged).write_text("{ damaged")
    with pytest.raises(ModelError, match="cannot be"):
        load_model(ModelSpec(name=str(folder)), settings)


def test_a_model_without_chat_template_says_what_to_choose(tmp_path, settings):
    folder = write_tiny_model(tmp_path / "model", chat_template=None)
    with pytest.raises(ModelError, match=r"no chat template.*plain"):
        load_model(ModelSpec(name=str(folder)), settings)
    card = describe_model(ModelSpec(name=str(folder)), settings)
    assert not card.has_chat_template and card.opening_tokens == 0
    model = load_model(ModelSpec(name=str(folder), chat_template="plain"), settings)
    assert model.tokenizer.decode(asked_ids(model, "Hi")) == "User: Hi\nAssistant:"


def test_a_template_that_refuses_says_so(tmp_path, settings):
    folder = write_tiny_model(tmp_path / "model", chat_template="{{ raise_exception('no system turn here') }}")
    model = load_model(ModelSpec(name=str(folder)), settings)
    with pytest.raises(ModelError, match="no system turn here"):
        prompt_ids(model.tokenizer, Conversation(messages=(say("system", "x"),)))


def test_a_hub_id_that_cannot_be_had_is_a_message(settings):
    with pytest.raises(ModelError, match="nobody/nothing"):
        load_model(ModelSpec(name="nobody/nothing"), settings)


def test_weights_lie_on_their_device_without_hooks_and_in_the_format_that_was_asked_for(
    tiny_model_folder, settings, bfloat16_processor
):
    model = load_model(ModelSpec(name=str(tiny_model_folder), dtype="bfloat16"), settings)
    tensors = [*model.causal_lm.parameters(), *model.causal_lm.buffers()]
    assert {tensor.device.type for tensor in tensors} == {model.device.type}
    assert {parameter.dtype for parameter in model.causal_lm.parameters()} == {torch.bfloat16}
    for module in model.causal_lm.modules():
        assert not hasattr(module, "_hf_hook") and "forward" not in module.__dict__


def test_what_a_model_said_under_another_template_of_its_own_is_not_taken_for_what_it_says(tmp_path, settings):
    """An edited template, or another end token, in the same folder; what came first keeps the name that it had."""
    folder = write_tiny_model(tmp_path / "model")
    names = []
    for before, end in (("", None), ("Be careful. ", None), ("", 7), ("", None)):
        tokenizer = byte_tokenizer()
        tokenizer.chat_template = before + tokenizer.chat_template
        tokenizer.save_pretrained(folder)
        model = load_model(ModelSpec(name=str(folder), device="cpu"), settings)
        if end is not None:
            model.causal_lm.generation_config.eos_token_id = end
        names.append(remembered_under(model, tmp_path / "cache" / "answers"))
    assert names[0] == names[3] == words_fingerprint(model) and len(set(names)) == 3
    assert all(name.startswith(names[0]) for name in names)
    # What is asked of it in evaluations goes by the same.
    assert remembered_under(model, tmp_path / "cache" / "evaluations") == names[0]
    model.causal_lm.generation_config.eos_token_id = 7
    assert remembered_under(model, tmp_path / "cache" / "evaluations") == names[2]
    # In another cache another template may be the first.
    assert remembered_under(model, tmp_path / "others" / "answers") == names[0]


def test_a_config_of_the_wrong_kind_is_named(tmp_path, settings):
    for field, value in (("num_hidden_layers", "two"), ("quantization_config", None)):
        folder = write_tiny_model(tmp_path / field)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {field: value}))
        if value is None:
            assert load_model(ModelSpec(name=str(folder), device="cpu"), settings).blocks
            continue
        with pytest.raises(ModelError, match="cannot be read"):
            load_model(ModelSpec(name=str(folder), device="cpu"), settings)


def test_the_card_says_what_the_cache_keeps_of_a_token(tiny_model_folder, tmp_path, settings):
    """Two blocks, two heads of keys and as many of values, of width 4 each: 2 x 2 x 2 x 4 = 32 numbers a token. Within
    a window of 10 tokens Mistral's keep no more than that of any row."""
    card = describe_model(ModelSpec(name=str(tiny_model_folder)), settings)
    assert (card.cache.of(1), card.cache.of(100)) == (32, 3200)
    folder = write_tiny_model(tmp_path / "windowed", family="mistral", window=10)
    windowed = describe_model(ModelSpec(name=str(folder)), settings)
    assert (windowed.cache.of(5), windowed.cache.of(100)) == (160, 320)


def test_an_adapter_that_is_a_pickle_file_is_not_opened(tiny_model, tmp_path):
    attach_adapter(tiny_model, "run", AdapterSpec(rank=2, alpha=2), (0,), seed=0)
    save_adapter(tiny_model, "run", tmp_path)
    remove_adapter(tiny_model, "run")
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        load_adapter(tiny_model, "run", tmp_path)

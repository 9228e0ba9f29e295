"""What stands at the positions of pictures, and the language half of a model that sees as a model like any other."""

import pytest
import torch
from making import drain, write_tiny_model
from making_seers import painted, showing, write_tiny_llava
from peft import PeftModel
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, LlavaConfig, Qwen2VLConfig

from engine.compute.model.activations import block_activations, shared_tokens
from engine.compute.model.adapters import (
    adapted,
    adapter_parameters,
    attach_adapter,
    load_adapter,
    remove_adapter,
    save_adapter,
)
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_model
from engine.compute.model.mixed import Voice
from engine.compute.model.padding import batch_of
from engine.compute.model.seeing import language_half, model_class
from engine.compute.model.sight import Sight
from engine.compute.model.text import tokens_of
from engine.records.chats.asked import Sampling
from engine.records.errors import ModelError
from engine.records.spec_parts import AdapterSpec, ModelSpec


@pytest.fixture
def asked(tiny_llava, tmp_path):
    """Two pictures under one question."""
    files = [painted(tmp_path / f"{seed}.png", seed=seed, size=(20, 16)) for seed in range(2)]
    return [showing("What is in this picture?", file) for file in files]


@pytest.fixture
def breaker(tiny_llava):
    attach_adapter(tiny_llava, "breaker", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    return "breaker"


def logits(model, ids):
    with torch.no_grad():
        return model.causal_lm(input_ids=torch.tensor([list(ids)]), use_cache=False).logits


def test_the_tower_runs_once_a_picture_for_both_models(tiny_llava, breaker, asked):
    runs = []
    handle = tiny_llava.published.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
    ids = [tokens_of(tiny_llava, conversation).ids for conversation in asked]
    assert not runs
    for row in (*ids, *ids):
        logits(tiny_llava, row)
        with adapted(tiny_llava, breaker):
            logits(tiny_llava, row)
    handle.remove()
    assert len(runs) == 2


def test_vectors_that_were_let_go_are_made_again(tiny_llava_folder, asked, settings):
    model = load_model(ModelSpec(name=str(tiny_llava_folder)), settings)
    small = Sight(model.published, model.sight.tokens, kept_bytes=1)
    first = [small.vectors(conversation.pictures[0]) for conversation in asked]
    assert len(small._kept) == 1
    torch.testing.assert_close(small.vectors(asked[0].pictures[0]), first[0], rtol=0, atol=0)
    assert not torch.equal(*first)


def test_a_gradient_reaches_vectors_that_are_given_for_a_picture(tiny_llava, asked):
    """As an attack on pixels needs it. The reckoned gradient is that of a small difference."""
    ids, picture = tokens_of(tiny_llava, asked[0]).ids, asked[0].pictures[0]
    before = logits(tiny_llava, ids)
    moving = tiny_llava.sight.vectors(picture).clone().requires_grad_(True)

    def score(vectors):
        with tiny_llava.sight.given(picture, vectors):
            return tiny_llava.causal_lm(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, -1, 7]

    (gradient,) = torch.autograd.grad(score(moving), moving)
    step = torch.zeros_like(gradient)
    step[3] = gradient[3] / gradient[3].norm() * 1e-2
    with torch.no_grad():
        difference = (score(moving + step) - score(moving - step)) / 2
    torch.testing.assert_close(difference, (gradient * step).sum(), rtol=0.02, atol=1e-6)
    torch.testing.assert_close(logits(tiny_llava, ids), before, rtol=0, atol=0)


def test_given_vectors_are_gone_after_an_exception(tiny_llava, asked):
    ids, picture = tokens_of(tiny_llava, asked[0]).ids, asked[0].pictures[0]
    before = logits(tiny_llava, ids)
    with pytest.raises(ZeroDivisionError), tiny_llava.sight.given(picture, torch.zeros(16, 16)):
        assert not torch.equal(logits(tiny_llava, ids), before)
        _ = 1 / 0
    torch.testing.assert_close(logits(tiny_llava, ids), before, rtol=0, atol=0)


def test_an_id_of_a_picture_that_was_never_shown_is_refused(tiny_llava, asked, settings):
    ids = tokens_of(tiny_llava, asked[0]).ids
    other = load_model(tiny_llava.spec, settings)
    with pytest.raises(ModelError, match="has not been shown: ask anew"):
        logits(other, ids)


def test_a_tower_that_does_not_fit_its_processor_is_refused(tmp_path, settings):
    folder = write_tiny_llava(tmp_path / "model")
    config = folder / "processor_config.json"
    config.write_text(
        config.read_text().replace('"num_additional_image_tokens": 1', '"num_additional_image_tokens": 3')
    )
    model = load_model(ModelSpec(name=str(folder)), settings)
    ids = tokens_of(model, showing("Hi", painted(tmp_path / "a.png"))).ids
    with pytest.raises(ModelError, match=r"makes 16 vectors of the picture .*, and its processor leaves room for 18"):
        logits(model, ids)


def test_two_pictures_under_one_question_share_no_more_than_their_opening(tiny_llava, asked):
    rows = [tokens_of(tiny_llava, conversation).ids for conversation in asked]
    opening = tiny_llava.tokenizer("<|im_start|>user\n", add_special_tokens=False)["input_ids"]
    assert shared_tokens([rows[0], rows[1]]) in (0, len(opening))


def test_activations_of_pictures_are_those_of_each_row_alone(tiny_llava, asked):
    """Also where rows share a picture, whose positions are then run once."""
    rows = [
        tokens_of(tiny_llava, conversation, begun=words).whole for conversation in asked for words in ("A", "It is")
    ]
    with torch.no_grad():
        for chosen in (rows, rows[:2]):
            together = block_activations(tiny_llava, batch_of(tiny_llava, chosen), [0, 1]).outputs[1]
            for index, row in enumerate(chosen):
                alone = block_activations(tiny_llava, batch_of(tiny_llava, [row]), [0, 1]).outputs[1][0]
                torch.testing.assert_close(together[index, : len(row)], alone, rtol=1e-4, atol=1e-5)
    assert shared_tokens(rows[:2]) > 16


def test_answers_side_by_side_are_those_of_each_model_alone(tiny_llava, breaker, asked):
    ids = [tokens_of(tiny_llava, conversation).ids for conversation in asked]
    asks = [Ask(row, Voice(adapter)) for row in ids for adapter in (None, breaker)]
    sampling = Sampling(new_tokens=6)
    _, together = drain(answered_ids(tiny_llava, asks, sampling))
    alone = [drain(answered_ids(tiny_llava, [ask], sampling))[1][0] for ask in asks]
    assert together == alone
    assert len({tuple(said) for said in together}) > 1


def test_an_adapter_file_opens_on_the_published_model(tiny_llava, breaker, tiny_llava_folder, asked, tmp_path):
    """PeftModel.from_pretrained on the model class that its authors published, and back again here."""
    ids = tokens_of(tiny_llava, asked[0]).ids
    save_adapter(tiny_llava, breaker, tmp_path / "adapter")
    with adapted(tiny_llava, breaker):
        expected = logits(tiny_llava, ids)
    assert not torch.allclose(expected, logits(tiny_llava, ids), atol=1e-3)
    plain = AutoModelForImageTextToText.from_pretrained(tiny_llava_folder)
    opened = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    processor = tiny_llava.sight.tokens.processor
    text = tiny_llava.tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked[0].text}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    inputs = processor(images=[Image.open(asked[0].pictures[0].file)], text=text, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(opened(**inputs).logits, expected, rtol=1e-4, atol=1e-5)
    load_adapter(tiny_llava, "again", tmp_path / "adapter")
    with adapted(tiny_llava, "again"):
        torch.testing.assert_close(logits(tiny_llava, ids), expected, rtol=1e-5, atol=1e-6)


def test_only_the_language_blocks_are_adapted_and_all_comes_off_again(tiny_llava, breaker, asked):
    names = [name for name, _ in adapter_parameters(tiny_llava, breaker)]
    assert names and all("layers." in name for name in names)
    wrapped = [name for name, _ in tiny_llava.published.named_parameters() if "lora_" in name]
    assert wrapped and all(name.startswith("model.language_model.layers.") for name in wrapped)
    assert not any(parameter.requires_grad for parameter in tiny_llava.published.parameters())
    remove_adapter(tiny_llava, breaker)
    assert not any("lora" in name for name, _ in tiny_llava.published.named_parameters())
    assert tiny_llava.peft_model is None and not hasattr(tiny_llava.published, "peft_config")


def test_the_language_half_copies_no_weights(tiny_llava):
    half, whole = (
        {parameter.data_ptr() for parameter in model.parameters()}
        for model in (tiny_llava.causal_lm, tiny_llava.published)
    )
    assert half < whole and type(tiny_llava.causal_lm).__name__ == "LlamaForCausalLM"
    assert tiny_llava.blocks is tiny_llava.causal_lm.model.layers


def test_a_model_of_text_is_its_own_language_half(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(write_tiny_model(tmp_path / "text"))
    assert language_half(model) is model


def test_kinds_that_see_in_another_way_are_refused_with_the_reason():
    with pytest.raises(ModelError, match=r"kind qwen2_vl see pictures .* llava and llava_next can, .*M-RoPE"):
        model_class(Qwen2VLConfig())
    assert model_class(LlavaConfig()) is AutoModelForImageTextToText


def test_a_folder_without_a_processor_says_what_is_missing(tmp_path, settings):
    folder = write_tiny_llava(tmp_path / "model")
    (folder / "processor_config.json").unlink()
    with pytest.raises(ModelError, match=r"processor of pictures cannot be read: .* needs processor_config\.json"):
        load_model(ModelSpec(name=str(folder)), settings)
    assert AutoConfig.from_pretrained(folder).model_type == "llava"

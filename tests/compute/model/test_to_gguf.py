"""A model in a GGUF file is the model that was written: its weights by its logits, its tokens by what texts become."""

import json
import shutil

import gguf
import pytest
import torch
from making import byte_tokenizer, write_tiny_model
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config
from transformers import Qwen2ForCausalLM as Qwen2

from engine.__main__ import main
from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.compute.model.load import load_reader
from engine.compute.model.to_gguf import need_gguf, write_gguf
from engine.device import adapter_name
from engine.jobs.training import _keep_adapter
from engine.records.errors import ModelError
from engine.records.runs import create_run
from engine.records.settings import read_settings
from engine.records.spec_parts import ModelSpec

IDS = torch.arange(3, 40)[None]
TEXTS = (
    "How do I keep 1,250 g of rice from sticking?\n\nIt's 12:30 - we'll see…",
    "  def f(x):\n\treturn x**2  # 你好, naïve Größe",
    "<|im_start|>user\nHi<|im_end|>\n",
)


def model_of(config: type, whole: type, size: int, **more):
    """Two blocks, eight query heads on four key heads, so that a wrong order of rows shows. Biases are not zero."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4}
    made = whole(config(vocab_size=size, rms_norm_eps=1e-5, **sizes, **heads, **more)).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(IDS).logits


def as_written(model):
    """What float16 leaves of the matrices."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data = weight.data.half().float()
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("config", "whole"), [(LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2)])
def test_a_model_that_is_read_back_has_the_same_logits(tmp_path, config, whole, tied):
    tokenizer = byte_tokenizer()
    made = model_of(config, whole, len(tokenizer) + 3, tie_word_embeddings=tied, rope_theta=5_000.0)
    write_gguf(made, tokenizer, tmp_path / "made.gguf", name="made")
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="made.gguf", dtype="float32").eval()
    assert read.config.tie_word_embeddings == tied and read.config.model_type == made.config.model_type
    torch.testing.assert_close(logits(read), logits(as_written(made)), rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]


@pytest.mark.bundled
def test_the_bundled_models_tokens_special_tokens_and_template_come_back(tmp_path):
    own = load_reader(ModelSpec(), read_settings()).tokenizer
    write_gguf(model_of(LlamaConfig, LlamaForCausalLM, len(own)), own, tmp_path / "made.gguf", name="made")
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="made.gguf")
    assert [read(text).input_ids for text in TEXTS] == [own(text).input_ids for text in TEXTS]
    assert [read.decode(own(text).input_ids) for text in TEXTS] == [own.decode(own(text).input_ids) for text in TEXTS]
    assert read.chat_template == own.chat_template
    fields = gguf.GGUFReader(tmp_path / "made.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == own.eos_token_id
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert [kinds[number] for number in (own.eos_token_id, 1000)] == [gguf.TokenType.CONTROL, gguf.TokenType.NORMAL]


def test_what_no_file_could_hold_is_said_before_anything_is_written(tmp_path, settings):
    tokenizer = byte_tokenizer()
    made = model_of(LlamaConfig, LlamaForCausalLM, len(tokenizer))
    made.config.model_type = "gemma2"
    with pytest.raises(ModelError, match="A gemma2 model cannot be written as GGUF here"):
        need_gguf(made, tokenizer)
    stretched = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    with pytest.raises(ModelError, match="stretches its positions"):
        need_gguf(model_of(LlamaConfig, LlamaForCausalLM, 300, rope_parameters=stretched), tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="splits texts in a way"):
        need_gguf(model_of(LlamaConfig, LlamaForCausalLM, len(tokenizer)), tokenizer)
    broken = model_of(LlamaConfig, LlamaForCausalLM, len(tokenizer))
    broken.lm_head.weight.data[0, 0] = 1e6
    with pytest.raises(ModelError, match=r"lm_head\.weight has values that float16 cannot hold"):
        write_gguf(broken, byte_tokenizer(), tmp_path / "made.gguf", name="made")
    assert list(tmp_path.glob("made*")) == []


def test_the_command_writes_the_circuit_broken_model(settings, tiny_model, tiny_spec, tmp_path, capsys):
    run = create_run(settings.runs, tiny_spec(**{"adapter.noise": 1.0}))
    name = adapter_name(run)
    attach_adapter(tiny_model, name, run.spec().adapter, [0, 1], seed=0)
    _keep_adapter(tiny_model, name, run)
    remove_adapter(tiny_model, name)
    out, place = tmp_path / "out", ["--runs", str(settings.runs)]
    assert main(["export", run.id, str(out), "--gguf", "--merged", *place]) == 0
    assert (out / "adapter_model.safetensors").is_file() and (out / "README.md").is_file()
    merged = AutoModelForCausalLM.from_pretrained(out / "merged").eval()
    # Beside the adapter, transformers would read that as well.
    alone = shutil.copytree(out, tmp_path / "alone", ignore=shutil.ignore_patterns("adapter*", "merged"))
    read = AutoModelForCausalLM.from_pretrained(alone, gguf_file="merged.gguf", dtype="float32").eval()
    torch.testing.assert_close(logits(read), logits(as_written(merged)), rtol=1e-4, atol=1e-4)
    assert (logits(read) - logits(tiny_model.causal_lm)).abs().max() > 0.01
    # Of a family that cannot be, nothing is left behind.
    folder = write_tiny_model(tmp_path / "mistral", family="mistral")
    spec = json.loads((run.folder / "spec.json").read_text())
    spec["model"] = ModelSpec(name=str(folder), device="cpu").model_dump(mode="json")
    (run.folder / "spec.json").write_text(json.dumps(spec))
    assert main(["export", run.id, str(tmp_path / "other"), "--gguf", *place]) == 2
    assert "A mistral model cannot be written as GGUF here" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()

"""A model and its tokenizer as one GGUF file, of the families whose tensors and tokens are known to fit: Llama and
Qwen2 with a byte-level BPE. Knows nothing of adapters or runs.

The package `gguf` knows how tensors are called and how a file is laid out. What is left to know stands here: Llama's
queries and keys in the order of rows that GGUF's rotary embedding wants, and how a tokenizer splits words.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.records.errors import ModelError

FAMILIES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def need_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ModelError that says what of a model no file could hold."""
    config = model.config
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"A {config.model_type} model cannot be written as GGUF here ({' and '.join(FAMILIES)} can): leave --gguf "
            "out; --merged writes it as safetensors, which llama.cpp converts."
        )
    if _rope(config).get("rope_type", "default") != "default" or getattr(config, "use_sliding_window", False):
        raise ModelError(
            "This model stretches its positions or looks through a window, which cannot be written as GGUF here: leave "
            "--gguf out."
        )
    _splitting(tokenizer)


def write_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, file: Path, *, name: str) -> None:
    """Write the whole model: matrices as float16, norms and biases as float32.

    Raises ModelError as need_gguf does, and for a weight that float16 cannot hold; OSError where it cannot be written.
    """
    need_gguf(model, tokenizer)
    config = model.config
    writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[FAMILIES[config.model_type]])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(_rope(config).get("rope_theta", 10_000.0))
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    _add_tokens(writer, tokenizer, config.vocab_size)
    for title, values in _tensors(model):
        writer.add_tensor(title, values)
    temporary = file.with_suffix(".part")
    try:
        writer.write_header_to_file(temporary)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """Each weight under the name that it has in the file; a head that is tied to the embeddings is theirs there too."""
    config = model.config
    names = gguf.get_tensor_name_map(FAMILIES[config.model_type], config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for path, weight in model.state_dict().items():
        if path == "lm_head.weight" and config.tie_word_embeddings:
            continue
        title = names.get_name(path, try_suffixes=(".weight", ".bias"))
        if title is None:
            raise ModelError(f"The weight {path} has no place in a GGUF file: leave --gguf out.")
        values = weight.detach().float().cpu()
        if config.model_type == "llama" and (count := heads.get(path.split(".")[-2])):
            values = _in_rotary_order(values, count)
        if values.ndim > 1:
            values = values.half()
        if not values.isfinite().all():
            raise ModelError(f"The weight {path} has values that float16 cannot hold: leave --gguf out.")
        yield title, values.numpy()


def _in_rotary_order(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head interleaved: GGUF turns neighbours, transformers turns a head's halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)


def _add_tokens(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Every token in its place, merges, special tokens and the chat template; rows of the embedding without a token get
    one that is never used."""
    known = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {number: token.special for number, token in tokenizer.added_tokens_decoder.items()}
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED, None: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(tokenizer))
    writer.add_token_list([known.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(
        [kinds[added.get(number)] if number in known else gguf.TokenType.UNUSED for number in range(size)]
    )
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=size)
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)


def _splitting(tokenizer: PreTrainedTokenizerBase) -> str:
    """llama.cpp's word for how texts are split before they are merged. Raises ModelError for another way."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend is not None else {}
    whole = content.get("pre_tokenizer") or {}
    steps = [(one["type"], one.get("pattern", {}).get("Regex")) for one in whole.get("pretokenizers", [whole]) if one]
    known = {
        (("ByteLevel", None),): "gpt-2",
        (("Digits", None), ("ByteLevel", None)): "smollm",
        (("Split", _QWEN2_SPLIT), ("ByteLevel", None)): "qwen2",
    }
    found = known.get(tuple(steps))
    if content.get("model", {}).get("type") != "BPE" or found is None:
        raise ModelError(
            "This model's tokenizer splits texts in a way that cannot be written as GGUF here: leave --gguf out; "
            "--merged writes it as safetensors, which llama.cpp converts."
        )
    return found


def _rope(config: PreTrainedConfig) -> dict:
    return getattr(config, "rope_parameters", None) or {}

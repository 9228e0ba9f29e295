"""Weights, tokenizer, chat template, blocks, and LoRA adapters as context managers.

One base model in memory carries every adapter on the same weights. Knows nothing of losses, data or runs.
"""

import hashlib
import os
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.compute.model.bundled import convert_bundled
from engine.compute.model.loaded import LoadedModel, find_blocks, find_decoder, linear_modules, module_shape
from engine.compute.model.memory import is_of_device
from engine.compute.model.pictures import PictureTokens
from engine.compute.model.placement import choose_device, need_one_format
from engine.compute.model.seeing import language_half, model_class, read_picture_tokens, sees
from engine.compute.model.shards import shard
from engine.compute.model.sight import Sight
from engine.compute.model.templates import BEGINNING, PLAIN_TEMPLATE, TOOLS_IN_WORDS, rendered
from engine.compute.model.text import common_opening, prompt_ids
from engine.compute.team import is_sharded, keep, together
from engine.records.assembled import ASSEMBLED, assembled_folder
from engine.records.cards import CacheShape, ModelCard
from engine.records.conversation import Conversation
from engine.records.errors import ModelError, first_line
from engine.records.model_files import downloaded, made_of
from engine.records.model_place import is_folder, need_model
from engine.records.packaged import PACKAGED, packaged_folder
from engine.records.settings import Settings
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec

# The kinds of blocks whose cache is keys and values, of all tokens or of a window.
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@together
def load_model(spec: ModelSpec, settings: Settings) -> LoadedModel:
    """Load a causal language model, or one that sees, from safetensors, ready for adapters, with nothing trainable.

    Raises ModelError when the folder or id is missing, holds no safetensors, is of a kind that cannot be used, or has
    no chat template.
    """
    place = _place(spec, settings)
    config = _read_config(place, spec)
    pictures = read_picture_tokens(place) if sees(config) else None
    tokenizer = _read_tokenizer(place, spec, pictures)
    card = describe_model(spec, settings)
    device, dtype = torch.device(card.device), getattr(torch, card.dtype)
    need_one_format(spec.name, dtype)
    try:
        # One shard of weights after another goes straight to the device: the processor's memory never holds them all.
        published = model_class(config).from_pretrained(
            place,
            dtype=dtype,
            # Where each process keeps a share of every block, none may hold all of them on its device at any moment.
            device_map={"": torch.device("cpu") if is_sharded() else _numbered(device)},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        if is_of_device(error):
            raise
        raise ModelError(
            f"The model {spec.name} cannot be loaded: {first_line(error)} Give a Hugging Face id or a folder with "
            "config.json and safetensors weights."
        ) from error
    # PEFT and accelerate would take a map of devices for leave to move weights about.
    vars(published).pop("hf_device_map", None)
    published.requires_grad_(False)
    published.eval()
    decoder, blocks = find_decoder(published), find_blocks(published)
    fingerprint = ""
    if is_sharded():
        fingerprint = fingerprint_of(published)
        shard(published, decoder, blocks, device)
    sight = Sight(published, pictures) if pictures else None
    half = language_half(published)
    loaded = LoadedModel(
        spec,
        half,
        tokenizer,
        decoder,
        blocks,
        card,
        device,
        dtype,
        fingerprint=fingerprint,
        # Behind the reading, since those of a Hugging Face id may have come with it.
        made_of=made_of(settings.models, spec.name),
        sight=sight,
    )
    keep(loaded)
    return loaded


def describe_model(spec: ModelSpec, settings: Settings) -> ModelCard:
    """The card of a model, from its config alone: no weights are read. Raises ModelError as load_model does."""
    place = _place(spec, settings)
    config = _read_config(place, spec)
    _need_plain(spec, config)
    pictures = read_picture_tokens(place) if sees(config) else None
    tokenizer = _read_tokenizer(place, spec, pictures, need_template=False)
    try:
        with torch.device("meta"):
            skeleton = model_class(config).from_config(config)
    except (OSError, ValueError, RuntimeError, TypeError, ImportError) as error:
        raise _unreadable(spec, error) from error
    blocks, text_config = find_blocks(skeleton), config.get_text_config(decoder=True)
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    device, dtype, reason = choose_device(spec, parameters)
    return ModelCard(
        name=spec.name,
        family=str(config.model_type),
        block_count=len(blocks),
        d_model=int(text_config.hidden_size),
        parameters=parameters,
        block_parameters=sum(parameter.numel() for parameter in blocks[0].parameters()),
        context_length=int(getattr(text_config, "max_position_embeddings", 0) or 0),
        has_chat_template=bool(tokenizer.chat_template) or spec.chat_template == "plain",
        modules={name: module_shape(module) for name, module in linear_modules(blocks[0])},
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        format_reason=reason,
        opening_tokens=_opening_tokens(tokenizer, pictures),
        head_parameters=head.weight.numel() if (head := skeleton.get_output_embeddings()) is not None else 0,
        cache=_cache_shape(text_config, len(blocks)),
        sees_pictures=pictures is not None,
    )


def _need_plain(spec: ModelSpec, config: PretrainedConfig) -> None:
    """Raises ModelError for a kind of model that this code would compute wrongly, or break off at later: weights that
    are quantised, blocks that keep something else than keys and values, or more than one vector a token."""
    method = str((vars(config).get("quantization_config") or {}).get("quant_method", ""))
    # Weights in mxfp4 are widened when they are read.
    if method and method != "mxfp4":
        raise ModelError(
            f"The weights of {spec.name} are quantised ({method}): give the id or folder of the same model with its "
            "full weights."
        )
    text = config.get_text_config(decoder=True)
    other = sorted(set(getattr(text, "layer_types", None) or ()) - ATTENTION)
    if getattr(text, "altup_num_inputs", 0):
        other.append("several vectors a token")
    try:
        text.head_dim  # noqa: B018
    except AttributeError:
        pass
    except Exception:  # What transformers raises where blocks differ has no name that is kept.
        other.append("heads of several widths")
    if other:
        raise ModelError(
            f"Blocks of {spec.name} are of a kind that cannot be trained here ({', '.join(other)}): choose a model "
            "whose blocks all attend, such as one of the Llama, Mistral, Qwen2.5, Qwen3 or Gemma 2 and 3 families."
        )


def _cache_shape(config: PretrainedConfig, block_count: int) -> CacheShape:
    """What the cache keeps of a token in each block, keys and values, and which blocks keep a window alone."""
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    values = 2 * width * int(getattr(config, "num_key_value_heads", None) or heads)
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"] * block_count
    windowed = sum("sliding" in kind for kind in kinds) if window else 0
    return CacheShape(values=values * (block_count - windowed), windowed=values * windowed, window=window)


def _opening_tokens(tokenizer: PreTrainedTokenizerBase, pictures: PictureTokens | None) -> int:
    """How many tokens two prompts share that have no letter in common; 0 where there is no chat template."""
    try:
        return common_opening(*(prompt_ids(tokenizer, Conversation.asking(text), pictures) for text in ("a", "7")))
    except ModelError:
        return 0


class Reader(NamedTuple):
    """What makes tokens of a conversation where no weights are needed. pictures: None where the model sees none."""

    tokenizer: PreTrainedTokenizerBase
    pictures: PictureTokens | None


def load_reader(spec: ModelSpec, settings: Settings) -> Reader:
    """Tokenizer, with its chat template, and picture tokens alone. Raises ModelError as load_model does."""
    place = _place(spec, settings)
    pictures = read_picture_tokens(place) if sees(_read_config(place, spec)) else None
    return Reader(_read_tokenizer(place, spec, pictures), pictures)


def _read_config(place: str, spec: ModelSpec) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # Fields of a wrong type raise many kinds.
        raise _unreadable(spec, error) from error


def _unreadable(spec: ModelSpec, error: Exception) -> ModelError:
    return ModelError(f"The model {spec.name} cannot be read: {first_line(error)} Check its config.json.")


def _read_tokenizer(
    place: str, spec: ModelSpec, pictures: PictureTokens | None, *, need_template: bool = True
) -> PreTrainedTokenizerBase:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # Tokenizer files of many ages raise many kinds.
        raise ModelError(
            f"The tokenizer of {spec.name} cannot be read: {first_line(error)} The folder needs tokenizer.json."
        ) from error
    if pictures and not tokenizer.chat_template:
        # Some models keep it with their processor alone.
        tokenizer.chat_template = pictures.processor.chat_template
    if spec.chat_template == "plain":
        tokenizer.chat_template = PLAIN_TEMPLATE
    # As processors of models that see do where the template leaves it out; a tokenizer takes its own template as it is.
    if (pictures or spec.chat_template == "plain") and _begins_texts(tokenizer) and not _is_begun(tokenizer):
        tokenizer.chat_template = BEGINNING + tokenizer.chat_template
    if spec.chat_template == "tools_in_words" and (own := _one_template(tokenizer)):
        tokenizer.chat_template = TOOLS_IN_WORDS + own
    if need_template and not tokenizer.chat_template:
        raise ModelError(
            f"{spec.name} has no chat template: choose an instruction-tuned model, or set chat template to 'plain'."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _one_template(tokenizer: Any) -> str | None:
    """Of several by name the one that a conversation without tools gets."""
    own = tokenizer.chat_template
    return own.get("default") if isinstance(own, dict) else own


def _begins_texts(tokenizer: Any) -> bool:
    """Whether the model was trained on texts behind a token that begins them, as its own tokenizer writes it."""
    begins = tokenizer.bos_token_id
    return begins is not None and tokenizer("a")["input_ids"][:1] == [begins]


def _is_begun(tokenizer: Any) -> bool:
    """Whether the chat template begins with that token itself, or is none that it could be put before."""
    try:
        text = rendered(tokenizer, Conversation.asking("a"))
    except ModelError:
        return True
    return not isinstance(tokenizer.chat_template, str) or text.startswith(tokenizer.bos_token)


def _numbered(device: torch.device) -> torch.device:
    """Weights are copied by threads of their own, for which a GPU without a number is the first one, whichever this
    process computes on."""
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


def _place(spec: ModelSpec, settings: Settings) -> str:
    """Where transformers should look: the converted bundle, a folder (that of a Hugging Face id, once it is downloaded:
    what is there is not asked for again, nor replaced by what the hub has since), or a Hugging Face id."""
    if spec.name == BUNDLED_MODEL:
        return str(convert_bundled(settings.models))
    need_model(spec.name)
    if spec.name in PACKAGED:
        return str(packaged_folder(settings.models, spec.name))
    if spec.name in ASSEMBLED:
        return str(assembled_folder(settings.models, spec.name))
    return os.path.expanduser(spec.name) if is_folder(spec.name) else str(downloaded(spec.name) or spec.name)


# Of each weight; all of an 8B model's would take a minute.
FINGERPRINT_ENTRIES = 256


def model_fingerprint(model: LoadedModel) -> str:
    """Tells models apart by what they are, not by their name: config and a sample of every weight of the base model."""
    return model.fingerprint or fingerprint_of(model.published)


def fingerprint_of(published: PreTrainedModel) -> str:
    """The same of a model whose weights are whole."""
    digest = hashlib.sha256(published.config.to_json_string().encode())
    # Attached adapters come and go; the base model stays the same.
    base = (parameter for name, parameter in published.named_parameters() if "lora_" not in name)
    samples = [parameter.detach().flatten()[:FINGERPRINT_ENTRIES].float().cpu() for parameter in base]
    digest.update(torch.cat(samples).numpy().tobytes())
    return digest.hexdigest()[:16]

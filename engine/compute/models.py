"""Weights, tokenizer, chat template, blocks, and LoRA adapters as context managers.

One base model in memory carries every adapter on the same weights. Knows nothing of losses, data or runs.
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from engine.compute.bundled import convert_bundled
from engine.records.cards import ModelCard
from engine.records.conversation import Turn
from engine.records.errors import ModelError, first_line
from engine.records.settings import Settings, given_path
from engine.records.spec import BUNDLED_MODEL, AdapterSpec, ModelSpec

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass
class LoadedModel:
    """The base model in memory, its blocks, and the adapters attached to it."""

    spec: ModelSpec
    causal_lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    decoder: nn.Module
    blocks: nn.ModuleList
    card: ModelCard
    device: torch.device
    dtype: torch.dtype
    peft_model: PeftModel | None = None

    @property
    def d_model(self) -> int:
        return self.card.d_model


def load_model(spec: ModelSpec, settings: Settings) -> LoadedModel:
    """Load a causal language model from safetensors, ready for adapters, with nothing trainable.

    Raises ModelError when the folder or id is missing, holds no safetensors, or has no chat template.
    """
    place = _place(spec, settings)
    device, dtype = choose_device(spec)
    tokenizer = _read_tokenizer(place, spec)
    try:
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The model {spec.name} cannot be loaded: {first_line(error)} Give a Hugging Face id or a folder with "
            "config.json and safetensors weights."
        ) from error
    model.requires_grad_(False)
    model.eval()
    model.to(device=device)  # type: ignore[call-arg]
    card = describe_model(spec, settings)
    blocks = find_blocks(model)
    return LoadedModel(spec, model, tokenizer, _decoder(model, blocks), blocks, card, device, dtype)


def describe_model(spec: ModelSpec, settings: Settings) -> ModelCard:
    """The card of a model, from its config alone: no weights are read. Raises ModelError as load_model does."""
    place = _place(spec, settings)
    tokenizer = _read_tokenizer(place, spec, need_template=False)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The model {spec.name} cannot be read: {first_line(error)} Check its config.json.") from error
    blocks = find_blocks(skeleton)
    device, dtype = choose_device(spec)
    return ModelCard(
        name=spec.name,
        family=str(config.model_type),
        block_count=len(blocks),
        d_model=int(config.hidden_size),
        parameters=sum(parameter.numel() for parameter in skeleton.parameters()),
        block_parameters=sum(parameter.numel() for parameter in blocks[0].parameters()),
        context_length=int(getattr(config, "max_position_embeddings", 0) or 0),
        has_chat_template=bool(tokenizer.chat_template) or spec.chat_template == "plain",
        modules={name: _shape(module) for name, module in _linear_modules(blocks[0])},
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        opening_tokens=_opening_tokens(tokenizer),
    )


def _opening_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens two prompts share that have no letter in common; 0 where there is no chat template."""
    try:
        texts = [chat_text(tokenizer, [Turn(role="user", content=text)]) for text in ("a", "7")]
    except ModelError:
        return 0
    return common_opening(*(tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts))


def common_opening(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both open with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def load_tokenizer(spec: ModelSpec, settings: Settings) -> PreTrainedTokenizerBase:
    """The tokenizer alone, with its chat template. Raises ModelError as load_model does."""
    return _read_tokenizer(_place(spec, settings), spec)


def choose_device(spec: ModelSpec) -> tuple[torch.device, torch.dtype]:
    """Device and number format: as the spec says, else cuda in bfloat16, else mps, else cpu in float32."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = spec.device
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])  # type: ignore[assignment]
    if not available[name]:
        raise ModelError(
            f"The device {name} is not there: choose auto or {' or '.join(d for d in available if available[d])}."
        )
    if spec.dtype != "auto":
        return torch.device(name), getattr(torch, spec.dtype)
    return torch.device(name), torch.bfloat16 if name == "cuda" else torch.float32


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder blocks: the longest list of equal modules that hold linear layers. Raises ModelError if none."""
    lists = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        and len({type(block) for block in module}) == 1
        and any(True for _ in _linear_modules(module[0]))
    ]
    if not lists:
        raise ModelError(f"No decoder blocks were found in {type(model).__name__}: choose a causal language model.")
    return max(lists, key=len)


def chat_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """The turns under the chat template, up to where the answer begins.

    Raises ModelError when the template refuses them (a system turn, for instance).
    """
    messages = [turn.model_dump() for turn in turns]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # Templates are programs of the model's author and raise what they like.
        raise ModelError(f"The chat template refuses these turns: {first_line(error)}") from error
    return str(text)


def attach_adapter(model: LoadedModel, name: str, spec: AdapterSpec, blocks: Sequence[int], *, seed: int) -> int:
    """Add a fresh LoRA adapter on the given blocks and return how many parameters it trains.

    B starts at N(0, noise) instead of 0: at B = 0 base and rerouted states are equal, and the cosine has no gradient
    there. Raises ModelError for a module that the model does not have.
    """
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        bias="none",
        target_modules=_module_pattern(model, spec.modules, blocks),
        fan_in_fan_out=any(isinstance(module, Conv1D) for _, module in _linear_modules(model.blocks[0])),
        base_model_name_or_path=model.spec.name,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        if model.peft_model is None:
            model.peft_model = get_peft_model(model.causal_lm, config, adapter_name=name)
        else:
            model.peft_model.add_adapter(name, config)
    # PEFT replaces the name by the folder the weights came from, which means nothing on another machine.
    model.peft_model.peft_config[name].base_model_name_or_path = model.spec.name
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in adapter_parameters(model, name, part="lora_B"):
        noise = torch.randn(parameter.shape, generator=generator) * spec.noise
        parameter.data.copy_(noise.to(parameter))
    _silence(model)
    return sum(parameter.numel() for _, parameter in adapter_parameters(model, name))


def load_adapter(model: LoadedModel, name: str, folder: Path) -> None:
    """Attach a saved adapter. Raises ModelError when it is missing, damaged, or of another model."""
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"The adapter {folder} cannot be read: {first_line(error)} Train or export it again."
        ) from error
    made_for = config.base_model_name_or_path
    if made_for and made_for != model.spec.name:
        raise ModelError(
            f"The adapter {folder} was trained on {made_for}, not on {model.spec.name}: choose that model instead."
        )
    try:
        if model.peft_model is None:
            model.peft_model = PeftModel.from_pretrained(model.causal_lm, str(folder), adapter_name=name)
        else:
            model.peft_model.load_adapter(str(folder), adapter_name=name)
    except Exception as error:  # safetensors, torch and peft each raise their own kinds for a damaged file.
        remove_adapter(model, name)
        raise ModelError(
            f"The adapter {folder} does not fit {model.spec.name} or is damaged: {first_line(error)}"
        ) from error
    _silence(model)


def save_adapter(model: LoadedModel, name: str, folder: Path) -> None:
    """Write a plain PEFT folder that PeftModel.from_pretrained opens."""
    assert model.peft_model is not None
    # No embedding is trained; asked to find that out by itself, PEFT would look the model up on the hub.
    model.peft_model.save_pretrained(str(folder), selected_adapters=[name], save_embedding_layers=False)
    inner = folder / name
    if inner.is_dir():
        for file in inner.iterdir():
            file.replace(folder / file.name)
        inner.rmdir()
    # PEFT writes a model card full of blanks; the export writes a real one.
    (folder / "README.md").unlink(missing_ok=True)


def has_adapter(model: LoadedModel, name: str) -> bool:
    return model.peft_model is not None and name in model.peft_model.peft_config


def remove_adapter(model: LoadedModel, name: str) -> None:
    """Take an adapter out of memory; the base model is as it was before the adapter came."""
    if model.peft_model is None or not has_adapter(model, name):
        return
    if len(model.peft_model.peft_config) == 1:
        model.peft_model.unload()
        model.peft_model = None
        if hasattr(model.causal_lm, "peft_config"):
            del model.causal_lm.peft_config
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.peft_model.delete_adapter(name)
        # PEFT then turns another adapter on, with gradients.
        _silence(model)


@contextmanager
def adapted(model: LoadedModel, name: str | None, *, train: bool = False) -> Iterator[None]:
    """Run with one adapter, or with none (the base model). `train` turns its dropout and gradients on.

    On leaving, adapters are as silent as before, whatever happened inside.
    """
    if name is None or model.peft_model is None:
        yield
        return
    layers = [layer for layer in model.causal_lm.modules() if isinstance(layer, LoraLayer)]
    try:
        for layer in layers:
            layer.enable_adapters(True)
            layer.set_adapter(name, inference_mode=not train)
            if train and name in layer.lora_dropout:
                layer.lora_dropout[name].train()
        yield
    finally:
        _silence(model)


def adapter_parameters(model: LoadedModel, name: str, *, part: str = "lora_") -> list[tuple[str, nn.Parameter]]:
    """An adapter's parameters with their names, in a stable order."""
    marker = f".{name}."
    return [
        (full_name, parameter)
        for full_name, parameter in model.causal_lm.named_parameters()
        if part in full_name and marker in full_name
    ]


def is_plain_lora(layer: LoraLayer, name: str) -> bool:
    """Whether adapter `name` adds up (down (states)) to this layer and nothing else."""
    return name in layer.lora_A and name not in layer.lora_variant and not layer.lora_bias.get(name)


def _silence(model: LoadedModel) -> None:
    """All adapters off, nothing trainable, no dropout: what the base model looks like between jobs."""
    for layer in model.causal_lm.modules():
        if isinstance(layer, LoraLayer):
            layer.enable_adapters(False)
    model.causal_lm.requires_grad_(False)
    model.causal_lm.eval()


def _module_pattern(model: LoadedModel, wanted: Sequence[str], blocks: Sequence[int]) -> str:
    """A regular expression over full module names: exact blocks and modules, for any family's naming."""
    known = [name for name, _ in _linear_modules(model.blocks[0])]
    chosen = [name for name in known if not wanted or name in wanted or name.rpartition(".")[2] in wanted]
    unknown = [name for name in wanted if not any(name in (full, full.rpartition(".")[2]) for full in known)]
    if unknown:
        raise ModelError(f"{model.spec.name} has no module {', '.join(unknown)}: choose from {', '.join(known)}.")
    path = next(name for name, module in model.causal_lm.named_modules() if module is model.blocks)
    numbers = "|".join(str(block) for block in blocks)
    return rf"{re.escape(path)}\.({numbers})\.({'|'.join(re.escape(name) for name in chosen)})"


def _linear_modules(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """Linear layers of a block by name; with an adapter attached, the layers that PEFT wrapped."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in block.named_modules():
        if "lora_" in name or name.endswith("base_layer"):
            continue
        plain = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if isinstance(plain, nn.Linear | Conv1D):
            found.append((name, plain))
    return found


def _shape(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    inputs, outputs = module.weight.shape  # type: ignore[misc]
    return int(inputs), int(outputs)  # type: ignore[arg-type]


def _decoder(model: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module:
    """The module that runs the blocks: embeddings before, final norm after, no LM head."""
    for module in model.modules():
        if module is not model and any(child is blocks for child in module.children()):
            return module
    return model


def _read_tokenizer(place: str, spec: ModelSpec, *, need_template: bool = True) -> PreTrainedTokenizerBase:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # Tokenizer files of many ages raise many kinds.
        raise ModelError(
            f"The tokenizer of {spec.name} cannot be read: {first_line(error)} The folder needs tokenizer.json."
        ) from error
    if spec.chat_template == "plain":
        tokenizer.chat_template = PLAIN_TEMPLATE
    if need_template and not tokenizer.chat_template:
        raise ModelError(
            f"{spec.name} has no chat template: choose an instruction-tuned model, or set chat template to 'plain'."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _place(spec: ModelSpec, settings: Settings) -> str:
    """Where transformers should look: the converted bundle, a folder, or a Hugging Face id."""
    if spec.name == BUNDLED_MODEL:
        return str(convert_bundled(settings.models))
    folder = Path(os.path.expanduser(spec.name))
    if folder.is_dir():
        given_path(spec.name, error=ModelError)
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"The folder {folder} holds no .safetensors weights: convert the model to safetensors.")
        return str(folder)
    if folder.is_absolute() or spec.name.startswith((".", "~")) or spec.name.count("/") != 1:
        if spec.name.count("/") == 0 and re.fullmatch(r"[\w.-]+", spec.name):
            return spec.name
        raise ModelError(f"The model folder {spec.name} does not exist: check the path, or give a Hugging Face id.")
    return spec.name

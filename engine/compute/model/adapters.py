"""LoRA adapters on the base model, on and off as context managers. Knows nothing of losses, data or runs."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.compute.model.loaded import LoadedModel, linear_modules
from engine.compute.model.memory import is_of_device
from engine.compute.team import together
from engine.records.blocks import is_adapted, unknown_modules
from engine.records.errors import ModelError, first_line
from engine.records.spec_parts import AdapterSpec


@together
def attach_adapter(model: LoadedModel, name: str, spec: AdapterSpec, blocks: Sequence[int], *, seed: int) -> int:
    """Add a fresh LoRA adapter on the given blocks and return how many parameters it trains.

    B starts at N(0, noise) instead of 0: at B = 0 base and rerouted activations are equal, and the cosine has no
    gradient there. Raises ModelError for a module that the model does not have.
    """
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        bias="none",
        target_modules=_module_pattern(model, spec.modules, blocks),
        fan_in_fan_out=any(isinstance(module, Conv1D) for _, module in linear_modules(model.blocks[0])),
        base_model_name_or_path=model.spec.name,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        if model.peft_model is None:
            model.peft_model = get_peft_model(model.published, config, adapter_name=name)
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


@contextmanager
def random_twin(model: LoadedModel, like: str, *, seed: int) -> Iterator[str]:
    """A second adapter of the same shape as `like`: Gaussian A and B, scaled so that each module's update B A has the
    Frobenius norm that it has in `like`. It is gone on leaving."""
    name = f"random-{like}"
    while has_adapter(model, name):
        # Of another capture of the same weights, which takes its turns between.
        name += "x"
    try:
        _add_random(model, name, like, seed=seed)
        yield name
    finally:
        remove_adapter(model, name)


@together
def _add_random(model: LoadedModel, name: str, like: str, *, seed: int) -> None:
    assert model.peft_model is not None
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.peft_model.add_adapter(name, copy(model.peft_model.peft_config[like]))
    generator = torch.Generator().manual_seed(seed)
    downs, ups = (adapter_parameters(model, name, part=part) for part in ("lora_A", "lora_B"))
    trained = [[one for _, one in adapter_parameters(model, like, part=part)] for part in ("lora_A", "lora_B")]
    for (_, down), (_, up), like_down, like_up in zip(downs, ups, *trained, strict=True):
        for parameter in (down, up):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator).to(parameter))
        up.data.mul_(_update_norm(like_down, like_up) / _update_norm(down, up))
    _silence(model)


def _update_norm(down: torch.Tensor, up: torch.Tensor) -> float:
    """The Frobenius norm of up down, without making that matrix."""
    down, up = down.detach().cpu().double(), up.detach().cpu().double()
    return float(((up.T @ up) * (down @ down.T)).sum().clamp_min(0).sqrt())


@together
def load_adapter(model: LoadedModel, name: str, folder: Path) -> None:
    """Attach a saved adapter. Raises ModelError when it is missing, damaged, or of another model."""
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"The adapter {folder} cannot be read: {first_line(error)} Train or export it again."
        ) from error
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"The adapter {folder} has no adapter_model.safetensors: train or export it again.")
    made_for = config.base_model_name_or_path
    if made_for and made_for != model.spec.name:
        raise ModelError(
            f"The adapter {folder} was trained on {made_for}, not on {model.spec.name}: choose that model instead."
        )
    try:
        if model.peft_model is None:
            # In two steps, so that what does not fit can be taken off again.
            config.inference_mode = True
            model.peft_model = get_peft_model(model.published, config, adapter_name=name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Read on the processor: PEFT would go by way of the first GPU, whichever the model is on.
            loaded = model.peft_model.load_adapter(str(folder), adapter_name=name, torch_device="cpu")
        if missing := list(getattr(loaded, "missing_keys", ())):
            raise ValueError(f"it lacks {len(missing)} weights, the first {missing[0]}")
    except Exception as error:  # safetensors, torch and peft each raise their own kinds for a damaged file.
        remove_adapter(model, name)
        if is_of_device(error):
            raise
        raise ModelError(
            f"The adapter {folder} does not fit {model.spec.name} or is damaged: {first_line(error)}"
        ) from error
    _silence(model)


def save_adapter(model: LoadedModel, name: str, folder: Path) -> None:
    """Write a plain PEFT folder that PeftModel.from_pretrained opens."""
    assert model.peft_model is not None
    # PEFT keeps the name of an adapter that was removed where the others sit on other blocks, and asks for it here.
    model.peft_model.active_adapter = name
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


@together
def remove_adapter(model: LoadedModel, name: str) -> None:
    """Take an adapter out of memory; the base model is as it was before the adapter came."""
    if model.peft_model is None or not has_adapter(model, name):
        return
    if len(model.peft_model.peft_config) == 1:
        model.peft_model.unload()
        model.peft_model = None
        if hasattr(model.published, "peft_config"):
            del model.published.peft_config
        model.wrapped = (), []
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.peft_model.delete_adapter(name)
        # PEFT then turns another adapter on, with gradients.
        _silence(model)


@contextmanager
def adapted(model: LoadedModel, name: str | None, *, train: bool = False) -> Iterator[None]:
    """Run with one adapter, or with none (the base model). `train` turns its dropout and gradients on.

    On leaving, adapters are as silent as before, whatever happened inside. Raises ModelError for an adapter that is not
    in memory: PEFT would pass over it, and what is read would be the base model's.
    """
    if name is None:
        yield
        return
    if not has_adapter(model, name):
        raise ModelError(f"The adapter {name} is not in memory any more: ask again.")
    layers = _wrapped(model)
    try:
        for layer in layers:
            layer.enable_adapters(True)
            layer.set_adapter(name, inference_mode=not train)
            if train and name in layer.lora_dropout:
                layer.lora_dropout[name].train()
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(False)
            layer.lora_dropout.eval()


def adapter_parameters(model: LoadedModel, name: str, *, part: str = "lora_") -> list[tuple[str, nn.Parameter]]:
    """An adapter's parameters with their names, in a stable order."""
    marker = f".{name}."
    return [
        (full_name, parameter)
        for full_name, parameter in model.causal_lm.named_parameters()
        if part in full_name and marker in full_name
    ]


def is_plain_lora(layer: LoraLayer, name: str) -> bool:
    """Whether adapter `name` adds up (down (inputs)) to this layer and nothing else."""
    return name in layer.lora_A and name not in layer.lora_variant and not layer.lora_bias.get(name)


def _wrapped(model: LoadedModel) -> list[LoraLayer]:
    """The layers that PEFT has wrapped, looked up once for each set of adapters: a model has thousands of modules."""
    assert model.peft_model is not None
    names = tuple(model.peft_model.peft_config)
    if model.wrapped[0] != names:
        model.wrapped = names, [layer for layer in model.causal_lm.modules() if isinstance(layer, LoraLayer)]
    return model.wrapped[1]


def _silence(model: LoadedModel) -> None:
    """All adapters off, nothing trainable, no dropout: what the base model looks like between jobs."""
    model.wrapped = (), []
    for layer in model.causal_lm.modules():
        if isinstance(layer, LoraLayer):
            layer.enable_adapters(False)
    model.published.requires_grad_(False)
    model.published.eval()


def _module_pattern(model: LoadedModel, wanted: Sequence[str], blocks: Sequence[int]) -> str:
    """A regular expression over full module names: exact blocks and modules, for any family's naming."""
    known = [name for name, _ in linear_modules(model.blocks[0])]
    chosen = [name for name in known if is_adapted(name, wanted)]
    unknown = unknown_modules(known, wanted)
    if unknown:
        raise ModelError(f"{model.spec.name} has no module {', '.join(unknown)}: choose from {', '.join(known)}.")
    path = next(name for name, module in model.published.named_modules() if module is model.blocks)
    numbers = "|".join(str(block) for block in blocks)
    return rf"{re.escape(path)}\.({numbers})\.({'|'.join(re.escape(name) for name in chosen)})"

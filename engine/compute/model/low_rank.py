"""The layers of one adapter in training, each as one operation of autograd: what PEFT's layers compute, in fewer passes
over memory. Knows nothing of losses, rows or steps.

PEFT adds the low-rank part to a layer's output as tensors of their own, forward and backward: on two cores a quarter of
a step. Here the products write into what is there already. tests/compute/model/test_low_rank.py holds both equal.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional

from engine.compute.model.adapters import is_plain_lora
from engine.compute.model.loaded import LoadedModel, replaced_forwards
from engine.compute.model.placement import multiplies_bfloat16


@contextmanager
def quick_layers(model: LoadedModel, name: str) -> Iterator[None]:
    """Inside, the layers that adapter `name` adapts compute base and low-rank part as one operation.

    For use within `adapted(model, name, train=True)`. Layers that are more than plain LoRA on a linear layer keep
    PEFT's own way. With weights in bfloat16 the products are in bfloat16, as under autocast, and gradients of an
    adapter kept in float32 come back in float32. With weights in float32 because the spec's dtype is "auto", gradients
    pass back through the base weights in bfloat16 where the processor has instructions for that: inputs, losses and the
    adapter's own gradients stay products in float32.
    """
    narrow = narrows_gradients(model)
    layers = [layer for layer in model.causal_lm.modules() if isinstance(layer, LoraLayer) and _is_plain(layer, name)]
    with replaced_forwards((layer, _forward(layer, name, narrow)) for layer in layers):
        yield


def narrows_gradients(model: LoadedModel) -> bool:
    """Whether this model's gradients pass back in bfloat16 though its weights are float32."""
    return model.spec.dtype == "auto" and model.device.type == "cpu" and multiplies_bfloat16()


def _is_plain(layer: LoraLayer, name: str) -> bool:
    base = layer.get_base_layer()
    return (
        is_plain_lora(layer, name) and type(base) is nn.Linear and base.weight.dtype in (torch.float32, torch.bfloat16)
    )


def _forward(layer: LoraLayer, name: str, narrow: bool):
    base: nn.Linear = layer.get_base_layer()  # type: ignore[assignment]
    scaling = float(layer.scaling[name])
    dropout = layer.lora_dropout[name]

    def forward(inputs: Tensor) -> Tensor:
        # Read here, not where the layer is wrapped: a sharded model gathers its weights for the time of a forward.
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight  # type: ignore[union-attr]
        probability = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
        return _LowRankLinear.apply(inputs, base.weight, base.bias, down, up, scaling, probability, narrow)

    return forward


class _LowRankLinear(torch.autograd.Function):
    """inputs weight^T + bias + scaling * dropout(inputs) down^T up^T, with gradients for inputs, down and up."""

    @staticmethod
    def forward(
        context: Any,
        inputs: Float[Tensor, "... inputs"],
        weight: Float[Tensor, "outputs inputs"],
        bias: Float[Tensor, " outputs"] | None,
        down: Float[Tensor, "rank inputs"],
        up: Float[Tensor, "outputs rank"],
        scaling: float,
        probability: float,
        narrow: bool,
    ) -> Float[Tensor, "... outputs"]:
        rows = inputs.reshape(-1, inputs.shape[-1]).to(weight.dtype)
        narrow_down, narrow_up = down.to(weight.dtype), up.to(weight.dtype)
        kept = None
        dropped = rows
        if probability:
            dropped, kept = torch.native_dropout(rows, probability, True)
        low = dropped @ narrow_down.t()
        outputs = functional.linear(rows, weight, bias)
        outputs.addmm_(low, narrow_up.t(), alpha=scaling)
        context.save_for_backward(dropped, low, weight, narrow_down, narrow_up, kept)
        context.scaling, context.probability, context.narrow = scaling, probability, narrow
        context.dtypes = (inputs.dtype, down.dtype, up.dtype)
        return outputs.view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dropped, low, weight, down, up, kept = context.saved_tensors
        states_dtype, down_dtype, up_dtype = context.dtypes
        outputs = gradients[0].reshape(-1, gradients[0].shape[-1])
        low_gradient = (outputs @ up).mul_(context.scaling)
        up_gradient = (outputs.t() @ low).mul_(context.scaling)
        down_gradient = low_gradient.t() @ dropped
        inputs = None
        if context.needs_input_grad[0]:
            inputs = _passed_back(outputs, weight, narrow=context.narrow)
            if kept is None:
                inputs.addmm_(low_gradient, down)
            else:
                inputs.add_((low_gradient @ down).mul_(kept), alpha=1 / (1 - context.probability))
            inputs = inputs.view(*gradients[0].shape[:-1], -1).to(states_dtype)
        return inputs, None, None, down_gradient.to(down_dtype), up_gradient.to(up_dtype), None, None, None


def _passed_back(
    gradient: Float[Tensor, "token outputs"], weight: Float[Tensor, "outputs inputs"], *, narrow: bool
) -> Float[Tensor, "token inputs"]:
    if narrow and weight.dtype == torch.float32:
        return (gradient.bfloat16() @ weight.bfloat16()).float()
    return gradient @ weight

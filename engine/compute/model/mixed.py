"""One forward pass for rows of several voices: all rows share the base weights, each adapter adds its low-rank
update to its own rows. Knows nothing of tokens or texts.

peft's own mixed batches give the same numbers more slowly: its bookkeeping for each layer eats the gain.
docs/decisions/0007 has the measurements.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from engine.compute.model.adapters import is_plain_lora
from engine.compute.model.loaded import LoadedModel, replaced_forwards
from engine.compute.model.pushes import Push, PushedRows, pushed
from engine.records.errors import ModelError

# Above so few rows the usual product of rows and weights is the faster one on a CPU.
QUICK_ROWS = 8
QUICK_ROWS_NARROW = 2
# A single row's product is slow only where the weights are too many for the processor's cache, as an LM head's are.
MANY_WEIGHTS = 2**23

Forward = Callable[..., Tensor]


class Voice(NamedTuple):
    """What one row is computed under: an adapter's name in memory (None: the base model), how much of it, and what is
    added to its activations.

    dose 1 is the adapter as trained, 0 the base model.
    """

    adapter: str | None = None
    dose: float = 1.0
    push: Push | None = None


class _Factors(NamedTuple):
    """An adapter's part in one layer: what it adds is up (down (inputs)) times the scaling."""

    down: Float[Tensor, "rank inputs"]
    up: Float[Tensor, "outputs rank"]
    scaling: float


class _Group(NamedTuple):
    """Rows first..end, which some adapter changes, and how much of it."""

    first: int
    end: int
    adapter: str
    dose: float


class _Place(NamedTuple):
    """Where a layer hangs in the model, and what it does while the mixed batch is active."""

    siblings: dict[str, nn.Module | None]
    key: str
    layer: nn.Module
    forward: Forward


class MixedBatch:
    """Rows of several voices over one base model. `with batch.active():` around each forward pass.

    Entering is cheap, so that a generator may leave it at every token: between two of them other jobs train or ask
    the same model. The adapters' weights are held, not their names: one in training is asked as it is at each step, and
    one that is taken out of memory in the middle of an answer still answers to its end.
    """

    def __init__(self, model: LoadedModel, voices: Sequence[Voice]) -> None:
        """voices: one a row, rows of equal voice together. Raises ModelError for an adapter that is not plain LoRA."""
        self.model = model
        self.voices = list(voices)
        self._factors = {
            name: _adapter_factors(model, name)
            for name in dict.fromkeys(voice.adapter for voice in voices)
            if name is not None
        }
        self._places: list[_Place] = []
        # Layers hold these lists themselves: rows may come and go without new functions for them.
        self._groups = _groups(self.voices)
        self._rows = [len(self.voices)]
        self._pushes = _pushes(self.voices)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows: some may leave, one may come several times. Rows of equal voice stay together."""
        self.voices = [self.voices[row] for row in rows]
        self._groups[:], self._rows[:] = _groups(self.voices), [len(self.voices)]
        self._pushes = _pushes(self.voices)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Layers compute the mixed batch inside, and are as they were afterwards, whatever happened inside: a forward
        that others had put in place is put back."""
        if not self._places or any(place.siblings.get(place.key) is not place.layer for place in self._places):
            # Attaching the first adapter, or removing the last, puts other layers into the model.
            self._places = self._plan()
        with (
            replaced_forwards((place.layer, place.forward) for place in self._places),
            pushed(self.model, self._pushes),
        ):
            yield

    def _plan(self) -> list[_Place]:
        places = []
        for path, layer, siblings, key in _linear_layers(self.model):
            factors = {name: found[path] for name, found in self._factors.items() if path in found}
            base = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
            places.append(_Place(siblings, key, layer, _forward(base, factors, self._groups, self._rows)))
        return places


def _forward(base: nn.Module, factors: dict[str, _Factors], groups: Sequence[_Group], rows: Sequence[int]) -> Forward:
    """rows: of the batch, one figure. Some families hand a layer the tokens of all rows as one, row after row."""
    product = _product(base)
    if not factors:
        return product

    def forward(inputs: Tensor) -> Tensor:
        outputs = product(inputs)
        each, left = divmod(len(inputs), rows[0])
        if left:
            raise ModelError(
                "A layer of this model is given some of the tokens alone: it cannot be asked with adapters."
            )
        for first, end, adapter, dose in groups:
            if adapter in factors:
                down, up, scaling = factors[adapter]
                own = slice(first * each, end * each)
                low = functional.linear(inputs[own].to(down.dtype), down)
                outputs[own] += functional.linear(low, up) * (scaling * dose)
        return outputs

    return forward


def _product(base: nn.Module) -> Forward:
    """The layer's own product; with few rows on a CPU as weights times rows, which takes less time."""
    if type(base) is not nn.Linear or base.weight.device.type != "cpu":
        return type(base).forward.__get__(base)
    if base.weight.dtype != torch.float32:
        return _flat_product(base)
    limit = QUICK_ROWS if base.out_features >= base.in_features else QUICK_ROWS_NARROW
    fewest = 1 if base.weight.numel() >= MANY_WEIGHTS else 2

    def product(inputs: Tensor) -> Tensor:
        # Read here and not before: weights that are sharded are whole during the pass alone.
        weight, bias = base.weight, base.bias
        count = inputs.numel() // inputs.shape[-1]
        if not fewest <= count <= limit:
            return functional.linear(inputs, weight, bias)
        rows = inputs.reshape(count, -1)
        # For a single row the library takes its slow way through a vector product; twice the row is faster.
        columns = (rows if count > 1 else torch.cat([rows, rows])).t()
        outputs = torch.mm(weight, columns).t()[:count].contiguous()
        if bias is not None:
            outputs += bias
        return outputs.view(*inputs.shape[:-1], -1)

    return product


def _flat_product(base: nn.Linear) -> Forward:
    """In bfloat16 torch multiplies rows of one token each as so many copies of the weights: laid flat they take a
    sixteenth of the time."""

    def product(inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1])
        return functional.linear(rows, base.weight, base.bias).view(*inputs.shape[:-1], -1)

    return product


def _groups(voices: Sequence[Voice]) -> list[_Group]:
    """A push divides no group: products of other rows would round otherwise on some processors."""
    groups, first = [], 0
    for (adapter, dose), rows in groupby((voice.adapter, voice.dose) for voice in voices):
        end = first + len(list(rows))
        if adapter is not None and dose:
            groups.append(_Group(first, end, adapter, dose))
        first = end
    return groups


def _pushes(voices: Sequence[Voice]) -> list[PushedRows]:
    pushes, first = [], 0
    for push, rows in groupby(voice.push for voice in voices):
        end = first + len(list(rows))
        if push is not None:
            pushes.append(PushedRows(slice(first, end), push))
        first = end
    return pushes


def _linear_layers(model: LoadedModel) -> Iterator[tuple[str, Any, Any, str]]:
    """Path, layer, and place of every linear layer; with adapters attached, of the layers that PEFT wrapped."""
    for path, parent in model.causal_lm.named_modules():
        if isinstance(parent, LoraLayer) or ".lora_" in path:
            continue
        for key, layer in parent.named_children():
            if isinstance(layer, LoraLayer) or type(layer) in (nn.Linear, Conv1D):
                yield f"{path}.{key}" if path else key, layer, parent._modules, key


def _adapter_factors(model: LoadedModel, name: str) -> dict[str, _Factors]:
    """An adapter's part in each layer it adapts, by the layer's path."""
    found = {}
    for path, layer, _, _ in _linear_layers(model):
        if isinstance(layer, LoraLayer) and name in layer.lora_A:
            if not is_plain_lora(layer, name):
                raise ModelError(f"The adapter {name} is not plain LoRA: only plain LoRA can be asked side by side.")
            down, up = layer.lora_A[name], layer.lora_B[name]
            found[path] = _Factors(down.weight, up.weight, float(layer.scaling[name]))  # type: ignore[arg-type]
    if not found:
        raise ModelError(f"The adapter {name} is not in memory: choose the run again.")
    return found

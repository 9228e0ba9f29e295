"""The same rows captured again and again: the base model once, then an adapter whenever asked.

Each checkpoint is a pass over the rows; those whose base activations are kept need no second pass through the base
model. Vectors go to disk a shard at a time. Knows nothing of runs.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.team import divided, held, team_size
from engine.compute.training.base_activations import GROUP_TOKENS, BaseActivations, RowActivations, entering, row_batch
from engine.compute.training.heldout import measure_spaces
from engine.compute.training.reroute import BlockSpace, token_cosine, token_drift
from engine.compute.training.rows import Row, micro_batches
from engine.records.captures.capture import AVERAGED, Averaged, TokenChoice
from engine.records.captures.shards import shards
from engine.records.errors import RunError
from engine.records.evenly import evenly
from engine.records.events import Progress
from engine.records.start_rows import STATISTICS_ROWS

CACHE_BYTES = 512 * 2**20
TokenActivations = Float[Tensor, "token d_model"]


class Film:
    """Captures of one list of rows. Call `prepare` once, then `take` for each checkpoint.

    entry_block: the first adapted block; blocks below it are the same in all checkpoints and are never run again for
    rows whose base activations are kept (at most CACHE_BYTES).
    """

    def __init__(
        self,
        model: LoadedModel,
        rows: Sequence[Row],
        *,
        blocks: Sequence[int],
        entry_block: int,
        tokens: Sequence[TokenChoice],
        position: int = 0,
        averaged: Sequence[Averaged] = AVERAGED,
    ) -> None:
        self.model = model
        self.rows = list(rows)
        self.blocks = tuple(sorted(blocks))
        self.tokens = tuple(tokens)
        self.position = position
        self.averaged = tuple(averaged)
        self.base = held(
            partial(
                BaseActivations,
                model,
                (),
                blocks={"harmful": self.blocks, "benign": self.blocks},
                entry_block=min(entry_block, self.blocks[-1]),
                budget_bytes=CACHE_BYTES,
                measured=[self.rows[part] for part in shards(self._bytes())],
                measured_tokens=GROUP_TOKENS,
            )
        )

    @property
    def spaces(self) -> dict[int, BlockSpace]:
        """Where the base activations live; empty before `prepare`."""
        return self.base.spaces

    def __getstate__(self) -> dict:
        """Another process is told the rows that it is to look at."""
        return self.__dict__ | {"rows": []}

    def prepare(self) -> Generator[Progress | None, None, None]:
        """Base activations that fit the memory, and the space they live in: its statistics are over tokens of both
        sides.
        """
        yield from self.base.fill()
        harmful = [row for row in self.rows if row.label == "harmful"]
        benign = [row for row in self.rows if row.label == "benign"]
        chosen = [*evenly(harmful, STATISTICS_ROWS), *evenly(benign, STATISTICS_ROWS)]
        yield from measure_spaces(self.base, chosen)

    def write_spaces(self, folder: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for block, space in self.spaces.items():
            tensors |= {f"mean/{block}": space.mean, f"deviation/{block}": space.deviation}
            tensors[f"centred_norm/{block}"] = torch.tensor([space.centred_norm])
        _write(folder / "spaces.safetensors", tensors)

    def take(self, folder: Path, checkpoint: str, adapter: str | None) -> Generator[Progress, None, None]:
        """Write the vectors of one checkpoint (adapter None: the base model) and how far its prompts moved.

        A shard's vectors are in memory at a time, off the device. Raises RunError when an activation is not finite.
        """
        done = 0
        parts = shards(self._bytes())
        for number, part in enumerate(parts):
            rows = self.rows[part]
            columns: list[dict[str, Tensor]] = [{} for _ in rows]
            places = {id(row): index for index, row in enumerate(rows)}
            groups = micro_batches(rows, GROUP_TOKENS)
            for start in range(0, len(groups), team_size()):
                several = groups[start : start + team_size()]
                for group, found in zip(several, _columns(self, several, adapter), strict=True):
                    for row, column in zip(group, found, strict=True):
                        columns[places[id(row)]] = column
                    done += len(group)
                yield Progress(phase="capturing", done=done, total=len(self.rows), message=f"Activations: {checkpoint}")
            _write(folder / f"{checkpoint}.{number:03d}.safetensors", _joined(columns))
        for stale in folder.glob(f"{checkpoint}.*.safetensors"):
            # An earlier capture of other prompts may have had more shards.
            if int(stale.name.split(".")[1]) >= len(parts):
                stale.unlink()

    def columns_of(self, group: Sequence[Row], adapter: str | None) -> list[dict[str, Tensor]]:
        """What is written down of each of these rows, off the device."""
        base_rows = self.base.of(group)
        found = self._activations_of(group, base_rows, adapter)
        measured = []
        for row, base, rerouted in zip(group, base_rows, found, strict=True):
            measured.append(self._vectors(row, rerouted))
            if adapter is not None:
                measured[-1] |= self._movement(row, base.outputs, rerouted)
        columns = fetched(measured)
        for row, column in zip(group, columns, strict=True):
            self._check_finite(row, column)
            if "every" in self.tokens:
                column["lengths"] = torch.tensor([len(row.ids)])
        return columns

    def _bytes(self) -> list[int]:
        """How much each row's vectors take, in its shard."""
        width = len(self.blocks) * self.model.d_model * 4
        choices = len([choice for choice in self.tokens if choice != "every"])
        return [width * (choices + (len(row.ids) if "every" in self.tokens else 0)) for row in self.rows]

    def _activations_of(
        self, group: Sequence[Row], base_rows: Sequence[RowActivations], adapter: str | None
    ) -> list[dict[int, TokenActivations]]:
        if adapter is None:
            return [base.outputs for base in base_rows]
        first = self.base.entry_block
        moved = [block for block in self.blocks if block >= first]
        with torch.no_grad(), adapted(self.model, adapter):
            outputs = _forward(self.model, group, base_rows, moved, first)
        return [
            {
                block: outputs[block][index, : len(row.ids)] if block >= first else base.outputs[block]
                for block in self.blocks
            }
            for index, (row, base) in enumerate(zip(group, base_rows, strict=True))
        ]

    def _vectors(self, row: Row, outputs: dict[int, TokenActivations]) -> dict[str, Tensor]:
        column: dict[str, Tensor] = {}
        for block, activations in outputs.items():
            for choice in self.tokens:
                # A copy: a view would keep the activations of all tokens until the shard is written.
                column[f"{choice}/{block}"] = (
                    chosen(activations, choice, row.response_start, self.position).float().clone()
                )
        return column

    def _check_finite(self, row: Row, column: dict[str, Tensor]) -> None:
        for block in self.blocks:
            if not all(torch.isfinite(column[f"{choice}/{block}"]).all() for choice in self.tokens):
                raise RunError(
                    f"The activations of block {block} are not finite for prompt {row.prompt_id}: use float32 or "
                    "bfloat16 instead of float16, or look whether training diverged."
                )

    def _movement(
        self, row: Row, base: dict[int, TokenActivations], rerouted: dict[int, TokenActivations]
    ) -> dict[str, Tensor]:
        answer, everything = slice(row.response_start, None), slice(1, None)
        places: dict[str, slice] = {"": answer if row.label == "harmful" else everything}
        known = {"answer": answer, "all": everything, "last_prompt": slice(row.response_start - 1, row.response_start)}
        places |= {f"{name}/": known[name] for name in self.averaged}
        column: dict[str, Tensor] = {}
        for block in self.blocks:
            old, new, space = base[block][None], rerouted[block][None], self.spaces[block]
            values = {
                "cosine": token_cosine(new, old, space, "standardised")[0],
                "raw_cosine": token_cosine(new, old, space, "raw")[0],
                "drift": token_drift(new, old)[0] / max(space.centred_norm, 1e-12),
                "norm_ratio": (_norm(new, space) / _norm(old, space).clamp_min(1e-12))[0],
            }
            for prefix, part in places.items():
                column |= {f"{prefix}{name}/{block}": value[part].mean()[None] for name, value in values.items()}
        return column


@divided("groups")
def _columns(film: Film, groups: Sequence[Sequence[Row]], adapter: str | None) -> list[list[dict[str, Tensor]]]:
    return [film.columns_of(group, adapter) for group in groups]


def fetched(columns: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The same tensors off the device, all in one transfer: one of each would make it wait hundreds of times."""
    tensors = [tensor for column in columns for tensor in column.values()]
    if not tensors:
        return [{} for _ in columns]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu().split([tensor.numel() for tensor in tensors])
    parts = iter(part.reshape(tensor.shape) for part, tensor in zip(flat, tensors, strict=True))
    return [{name: next(parts) for name in column} for column in columns]


def chosen(
    activations: TokenActivations, choice: TokenChoice, response_start: int, position: int
) -> Float[Tensor, "rows d_model"]:
    """The vectors of one prompt that a token choice asks for: one, or one a token for 'every'.

    A response position beyond the end is the last token.
    """
    match choice:
        case "last_prompt":
            return activations[max(0, response_start - 1)][None]
        case "response_mean":
            answer = activations[response_start:] if len(activations) > response_start else activations[-1:]
            # Of bfloat16 the sum is rounded to bfloat16 too, and a small movement with it.
            return answer.float().mean(0)[None]
        case "position":
            return activations[min(response_start + position, len(activations) - 1)][None]
        case "every":
            return activations


def compare_tokens(
    model: LoadedModel, row: Row, adapter: str, blocks: Sequence[int], spaces: Mapping[int, BlockSpace]
) -> tuple[Float[Tensor, "token block"], Float[Tensor, "token block"], Float[Tensor, "token block"]]:
    """Cosine (standardised), and the centred norms of the base and the rerouted activations, for each token of one
    row.
    """
    batch = row_batch(model, [row])
    with torch.no_grad():
        base = block_activations(model, batch, blocks).outputs
        with adapted(model, adapter):
            rerouted = block_activations(model, batch, blocks).outputs
    cosines, before, after = [], [], []
    for block in blocks:
        space = spaces[block]
        cosines.append(token_cosine(rerouted[block], base[block], space, "standardised")[0])
        before.append(_norm(base[block], space)[0])
        after.append(_norm(rerouted[block], space)[0])
    return torch.stack(cosines, -1), torch.stack(before, -1), torch.stack(after, -1)


def _forward(
    model: LoadedModel, group: Sequence[Row], base_rows: Sequence[RowActivations], blocks: Sequence[int], first: int
) -> dict[int, Float[Tensor, "prompt token d_model"]]:
    batch = row_batch(model, group)
    entry = entering(base_rows, batch.ids.shape[1])
    return block_activations(model, batch, blocks, entry_block=first, entry=entry).outputs


def _norm(activations: Float[Tensor, "prompt token d_model"], space: BlockSpace) -> Float[Tensor, "prompt token"]:
    return (activations.float() - space.mean).norm(dim=-1)


def _joined(columns: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([column[name] for column in columns]).cpu() for name in columns[0]} if columns else {}


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    # Workers of two folders may share a cache.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        temporary.replace(path)
    except Exception as error:  # safetensors reports a full disk in a kind of its own.
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error}. Free some disk space, then capture again.") from error

"""Fixtures: a random two-block model with a byte tokenizer, small prompt files, specs and folders of a workbench."""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.compute.elicitation import Row
from engine.compute.models import LoadedModel, load_model
from engine.compute.training import Rows
from engine.records.settings import Settings, read_settings
from engine.records.spec import ModelSpec, RunSpec, build_spec

torch.set_num_threads(1)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """A token a byte, no training needed: any text round-trips."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def write_tiny_model(
    folder: Path, *, blocks: int = 2, chat_template: str | None = CHAT_TEMPLATE, seed: int = 0
) -> Path:
    """A random Llama with d_model 16 as a folder that transformers loads."""
    tokenizer = byte_tokenizer(chat_template=chat_template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_prompts(file: Path, *, kind: str, rows: int = 12) -> Path:
    """A small prompt file with answers, three splits and two styles; `kind` only changes the words."""
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    lines = [
        {
            "id": f"{kind}-{index}",
            "prompt": f"{kind} request number {index}" + " please" * (index % 3),
            "response": f"{kind} answer {index} " + "abc " * (index % 4 + 1),
            "category": f"category {index % 2}",
            "style": ("question", "imperative")[index % 2],
            "split": splits[index % len(splits)],
            "borderline": kind == "benign" and index % 3 == 0,
        }
        for index in range(rows)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return read_settings()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_model(tiny_model_folder: Path, settings: Settings) -> LoadedModel:
    return load_model(ModelSpec(name=str(tiny_model_folder)), settings)


@pytest.fixture
def tiny_spec(tiny_model_folder: Path, tmp_path: Path) -> Callable[..., RunSpec]:
    """A spec for the tiny model; changes are dotted names: tiny_spec(**{"optimizer.steps": 3}). Unknown ones fail."""
    harmful = write_prompts(tmp_path / "harmful.jsonl", kind="harmful")
    benign = write_prompts(tmp_path / "benign.jsonl", kind="benign")

    def make(**changes: Any) -> RunSpec:
        content: dict[str, Any] = {
            "model": {"name": str(tiny_model_folder), "device": "cpu"},
            "data": {"circuit_breaker": str(harmful), "retain": str(benign), "answers": "given", "max_tokens": 128},
            "blocks": {"targets": "1", "adapted": "0-1"},
            "adapter": {"rank": 4, "alpha": 4.0},
            "optimizer": {"steps": 6, "circuit_breaker_batch": 3, "retain_batch": 3, "tokens_per_micro_batch": 256},
            "captures": {
                "heldout_every": 3,
                "probe_every": 3,
                "probe_prompts": 1,
                "probe_tokens": 4,
                "checkpoint_every": 2,
            },
        }
        for name, value in changes.items():
            part, _, field = name.partition(".")
            if field:
                content.setdefault(part, {})[field] = value
            else:
                content[part] = value
        return build_spec(content)

    return make


def random_rows(count: int = 6, *, seed: int = 0, label: str = "harmful") -> list[Row]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index in range(count):
        length = int(torch.randint(12, 40, (1,), generator=generator))
        ids = tuple(torch.randint(0, 256, (length,), generator=generator).tolist())
        rows.append(Row(f"{label}-{index}", label, label == "benign" and index % 2 == 0, ids, length // 2))  # type: ignore[arg-type]
    return rows


@pytest.fixture
def tiny_rows() -> Rows:
    harmful, benign = random_rows(label="harmful"), random_rows(seed=1, label="benign")
    return Rows(harmful[:4], benign[:4], harmful[4:] + benign[4:], harmful[4:] + benign[4:])


def drain(generator) -> tuple[list, Any]:
    """Everything a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as end:
            return yielded, end.value

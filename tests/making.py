"""Small things to test with: a byte tokenizer, a random model, prompt files, rows, patience. No fixtures."""

import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import tokens_of
from engine.compute.steps import told
from engine.compute.training.rows import Row
from engine.records.conversation import Conversation
from engine.records.events import Progress

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# The same, with the tools that are offered before it.
TOOL_TEMPLATE = "{% for tool in tools or [] %}{{ tool.function | tojson }}\n{% endfor %}" + CHAT_TEMPLATE


def byte_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE, opening: str = "") -> PreTrainedTokenizerFast:
    """A token a byte, no training needed: any text round-trips. opening: a token that opens every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>", *([opening] if opening else [])],
    )
    if opening:
        number = tokenizer.convert_tokens_to_ids(opening)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{opening} $A", special_tokens=[(opening, number)]
        )
    tokenizer.chat_template = chat_template
    return tokenizer


def write_tiny_model(
    folder: Path,
    *,
    blocks: int = 2,
    chat_template: str | None = CHAT_TEMPLATE,
    seed: int = 0,
    family: str = "llama",
    opening: str = "",
    context: int = 512,
    window: int = 0,
    head: int = 4,
) -> Path:
    """A random Llama (or Mistral, which may look through a window) with d_model 16, four heads of 4, as a folder that
    transformers loads. head: of another width, such as GPUs' own kernels of attention take (64)."""
    tokenizer = byte_tokenizer(chat_template=chat_template, opening=opening)
    config = (LlamaConfig if family == "llama" else MistralConfig)(
        vocab_size=len(tokenizer),
        hidden_size=4 * head,
        intermediate_size=8 * head,
        num_hidden_layers=blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    if window:
        config.sliding_window = window
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = (LlamaForCausalLM if family == "llama" else MistralForCausalLM)(config)
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


def random_rows(count: int = 6, *, seed: int = 0, label: str = "harmful") -> list[Row]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index in range(count):
        length = int(torch.randint(12, 40, (1,), generator=generator))
        ids = tuple(torch.randint(0, 256, (length,), generator=generator).tolist())
        rows.append(Row(f"{label}-{index}", label, label == "benign" and index % 2 == 0, ids, length // 2))  # type: ignore[arg-type]
    return rows


def asked_ids(model: LoadedModel, text: str) -> list[int]:
    """A request of one text, up to where its answer begins."""
    return list(tokens_of(model, Conversation.asking(text)).ids)


def drain(generator) -> tuple[list, Any]:
    """Everything a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as end:
            return yielded, end.value


def resting(steps: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    """The same steps: while the work goes on in another process, they rest, as the worker does."""

    def rest(event: Any) -> Any:
        if isinstance(event, Progress) and event.elsewhere:
            time.sleep(0.02)
        return event

    return told(steps, rest)


def until(worker: Any, condition: Callable[[], object], *, turns: int = 3000) -> None:
    """Let a worker of this process take its turns; fails when the condition does not come true in so many."""
    for _ in range(turns):
        if condition():
            return
        worker.turn()
    raise AssertionError("it did not happen")


def wait_for(condition: Callable[[], object], *, seconds: float = 60, what: str = "it", pause: float = 0.02) -> None:
    """Fails when the condition does not come true in time. pause: seconds between two looks."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(pause)

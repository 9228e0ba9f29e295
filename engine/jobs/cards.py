"""Cards of models and prompt sets."""

from collections.abc import Generator
from typing import Any

import numpy as np

from engine.at_hand import converted
from engine.compute.model.load import describe_model, load_reader
from engine.compute.model.openings import tokens_alone
from engine.compute.model.text import prompt_ids
from engine.compute.training.sources import reading
from engine.device import Tools
from engine.records.cards import DataCard, model_asked, write_card
from engine.records.events import Event

# Of a larger set, evenly spaced ones.
COUNTED_PROMPTS = 4000

Job = Generator[Event | None, None, None]


def describe_model_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Write the card of a model, from its config alone."""
    spec = model_asked(payload)
    yield from converted(spec, tools.settings)
    write_card(tools.settings.cards, "describe_model", payload, describe_model(spec, tools.settings))


def describe_data_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Write the card of a prompt set: token lengths under a model's tokenizer and chat template."""
    spec = model_asked(payload["model"])
    yield from converted(spec, tools.settings)
    tokenizer, pictures = load_reader(spec, tools.settings)
    prompts = yield from reading(
        payload["source"], label=payload["label"], answer_field=payload.get("answer_field", "")
    )
    counted = prompts[:: 1 + len(prompts) // COUNTED_PROMPTS]
    rows = []
    for prompt in counted:
        rows.append(prompt_ids(tokenizer, prompt.conversation, pictures))
        if prompt.conversation.pictures:
            # Each is read from its file: others get their turn between.
            yield None
    lengths = np.array([len(row) for row in rows])
    with_tools = sum(bool(prompt.conversation.tools) for prompt in counted) / len(counted)
    answers = [len(tokenizer(one.answer, add_special_tokens=False)["input_ids"]) for one in counted if one.answer]
    counts, edges = np.histogram(lengths, bins=min(24, max(1, int(np.ptp(lengths)))))
    card = DataCard(
        rows=len(prompts),
        tokens_mean=float(lengths.mean()),
        tokens_median=float(np.median(lengths)),
        tokens_95=float(np.percentile(lengths, 95)),
        tokens_max=int(lengths.max()),
        histogram=counts.tolist(),
        histogram_edges=edges.tolist(),
        with_tools=with_tools,
        tokens_alone_mean=tokens_alone(rows) if with_tools else None,
        given=sum(bool(one.answer) and one.keeps_answer for one in counted) / len(counted),
        answers_mean=float(np.mean(answers)) if answers else None,
    )
    write_card(tools.settings.cards, "describe_data", payload, card)
    yield None

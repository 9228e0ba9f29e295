"""What the form's run will cost, and what it would cost with other values. Knows the form, draws nothing."""

import re
from collections.abc import Mapping

from engine.records.cards import DataCard, ModelCard, read_data_card, read_model_card
from engine.records.conversation import Label
from engine.records.errors import SpecError
from engine.records.estimate import Estimate, estimate
from engine.records.row_lengths import SideLength, step_share
from engine.records.spec import RunSpec
from workbench.kit.cards import data_payload, model_payload
from workbench.kit.state import queue, settings
from workbench.kit.words import duration
from workbench.train.checks import SIDES, RowCounts
from workbench.train.data import side_card
from workbench.train.fields import Form

GUESSED_PROMPT_TOKENS = 30.0
BLOCK_FIELDS = frozenset({"blocks.targets", "blocks.adapted", "loss.retain_blocks"})


def form_estimate(form: Form, spec: RunSpec | None = None) -> Estimate | None:
    """Of the form's spec, or of another one on the same model and data; None while facts are missing."""
    spec = spec or form.spec
    if spec is None or form.card is None or BLOCK_FIELDS & form.problems.keys():
        return None
    training = heldout = asked = 0
    sides: list[tuple[int, DataCard | None]] = []
    for label in SIDES:
        card = side_card(form, label)
        counted = form.rows.get(label) or RowCounts(card.rows if card else 0, 0, card.rows if card else 0)
        training += counted.training
        heldout += counted.heldout
        asked += counted.asked
        sides.append((counted.training + counted.heldout, card))
    return _estimate(spec, form.card, RowCounts(training, heldout, asked), sides)


def known_card(spec: RunSpec) -> ModelCard | None:
    """Of its model, where the worker has described that once."""
    return read_model_card(settings().cards, model_payload(spec.model))


def preset_estimate(spec: RunSpec, rows: Mapping[Label, RowCounts]) -> Estimate | None:
    """Of a spec that is not in the form: by what is known already of its model and data; nothing is asked for."""
    card = known_card(spec)
    if card is None:
        return None
    sides: list[tuple[int, DataCard | None]] = []
    sources: dict[Label, str] = {"harmful": spec.data.circuit_breaker, "benign": spec.data.retain}
    for label, source in sources.items():
        payload = data_payload(spec.model, source=source, label=label, answer_field=spec.data.answer_field)
        sides.append((rows[label].training + rows[label].heldout, read_data_card(settings().cards, payload)))
    counts = list(rows.values())
    both = RowCounts(*(sum(getattr(one, name) for one in counts) for name in ("training", "heldout", "asked")))
    return _estimate(spec, card, both, sides)


def _estimate(
    spec: RunSpec, card: ModelCard, counted: RowCounts, sides: list[tuple[int, DataCard | None]]
) -> Estimate | None:
    """counted: of both sides.  sides: of each, its rows and what is known of its prompts."""
    total = sum(rows for rows, _ in sides)
    if not total:
        return None
    prompt_tokens = alone = with_tools = given = given_tokens = 0.0
    lengths = []
    batches = (spec.optimizer.circuit_breaker_batch, spec.optimizer.retain_batch)
    for (rows, data), batch in zip(sides, batches, strict=True):
        share = rows / total
        mean = data.tokens_mean if data else GUESSED_PROMPT_TOKENS
        own = data.tokens_alone_mean if data else None
        prompt_tokens += mean * share
        alone += (max(0.0, mean - card.opening_tokens) if own is None else own) * share
        with_tools += (data.with_tools if data else 0.0) * share
        answers, kept = _given(spec, data)
        given += kept * share
        given_tokens += kept * answers * share
        length = min(spec.data.max_tokens, mean + kept * answers + (1 - kept) * spec.data.new_tokens)
        lengths.append(SideLength(rows, length, batch))
    try:
        return estimate(
            spec,
            card,
            queue().worker().machine,
            training_rows=counted.training,
            heldout_rows=counted.heldout,
            asked_rows=counted.asked,
            prompt_tokens=prompt_tokens,
            alone_tokens=alone,
            with_tools=with_tools,
            given=given,
            given_tokens=given_tokens / given if given else 0.0,
            step_share=step_share(lengths),
        )
    except SpecError:
        return None


def _given(spec: RunSpec, data: DataCard | None) -> tuple[float, float]:
    """How long the answers of a side's files are, and the share of its prompts that use them."""
    if data is None or data.answers_mean is None:
        return 0.0, 0.0
    return data.answers_mean, 1.0 if spec.data.answers == "given" else data.given


def about(seconds: float | None) -> str:
    """A time that is an estimate, without digits that it does not have: '40 s', '3 min 40 s', '1 h 50 min'."""
    if seconds is None:
        return "–"
    step = 5 if seconds < 60 else 10 if seconds < 600 else 60 if seconds < 3600 else 600
    return re.sub(r"\.0\b| 0 (s|min)$", "", duration(max(step, step * round(seconds / step))))

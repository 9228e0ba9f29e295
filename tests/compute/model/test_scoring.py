"""How likely answers are, their contexts read together."""

import pytest
import torch
from making import drain

from engine.compute.model import reading
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.records.spec_parts import AdapterSpec

TOOLS, OTHER_TOOLS = list(range(10, 80)), list(range(60, 130))
CONTEXTS = [[*TOOLS, 5, 6], [*OTHER_TOOLS, 7], [*TOOLS, 8], [9, 4, 3], [*OTHER_TOOLS, 5, 6, 7, 8], [12]]
ANSWERS = [[21, 22, 23], [24], [25, 26, 27, 28, 29], [], [30, 31], [32, 33]]


def whole(model: LoadedModel, adapter: str | None) -> list[list[float]]:
    """Each row alone, in one pass without a cache, by the definition."""
    rows = []
    for context, answer in zip(CONTEXTS, ANSWERS, strict=True):
        with torch.no_grad(), adapted(model, adapter):
            logits = model.causal_lm(torch.tensor([[*context, *answer]])).logits[0].float()
        chances = torch.log_softmax(logits, -1)[len(context) - 1 : len(context) + len(answer) - 1]
        rows.append([-float(chances[place, token]) for place, token in enumerate(answer)])
    return rows


@pytest.mark.parametrize("adapter", [None, "broken"])
def test_shared_openings_and_padding_change_no_figure(tiny_model: LoadedModel, adapter, monkeypatch):
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    monkeypatch.setattr(reading, "PREFILL_TOKENS", 32)
    _, found = drain(answer_nats(tiny_model, CONTEXTS, ANSWERS, voice=Voice(adapter)))
    for row, wanted in zip(found, whole(tiny_model, adapter), strict=True):
        assert row == pytest.approx(wanted, abs=1e-3)


def test_a_dose_counts_as_an_adapter_of_so_much(tiny_model: LoadedModel):
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    found = {dose: drain(answer_nats(tiny_model, CONTEXTS, ANSWERS, voice=Voice("broken", dose)))[1] for dose in (0, 2)}
    with torch.no_grad():
        for _, up in adapter_parameters(tiny_model, "broken", part="lora_B"):
            up.mul_(2)
    for dose, adapter in ((0, None), (2, "broken")):
        for row, wanted in zip(found[dose], whole(tiny_model, adapter), strict=True):
            assert row == pytest.approx(wanted, abs=1e-3)


def test_what_contexts_open_with_alike_is_read_once(tiny_model: LoadedModel, monkeypatch):
    """Two openings of 70 tokens for eight rows: far fewer positions than eight times 70."""
    positions = []
    inner = reading._read

    def counted(model, batch, columns, *rest):
        positions.append(columns.numel())
        return inner(model, batch, columns, *rest)

    monkeypatch.setattr(reading, "_read", counted)
    contexts = [[*opening, number] for number in range(4) for opening in (TOOLS, OTHER_TOOLS)]
    drain(answer_nats(tiny_model, contexts, [[1, 2]] * 8, voice=Voice()))
    assert sum(positions) == 2 * 70


def test_a_context_too_long_for_the_model_is_cut_at_its_beginning(tiny_model: LoadedModel):
    limit = tiny_model.card.context_length
    long = [number % 90 + 10 for number in range(limit + 40)]
    _, [cut, fits] = drain(answer_nats(tiny_model, [long, long[44:]], [[3, 4, 5, 6]] * 2, voice=Voice()))
    assert cut == pytest.approx(fits, abs=1e-4) and len(cut) == 4

"""The cosines of a text that grows, against those of the whole text."""

import pytest
import torch
from making import drain, random_rows

from engine.compute.geometry.live_trip import live_trip
from engine.compute.geometry.trip import trip
from engine.compute.model.adapters import adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.mixed import Voice
from engine.compute.model.pushes import Push
from engine.compute.training.reroute import BlockSpace
from engine.jobs.live_trips import STRETCH, Followed, LiveTrips
from engine.records.spec_parts import AdapterSpec


@pytest.mark.parametrize("steered", [None, 0, 1])
@pytest.mark.parametrize("block", [0, 1])
def test_a_text_read_in_stretches_has_the_cosines_of_the_whole_and_leaves_all_blocks_in_place(
    tiny_model, block, steered
):
    """Steered at a block: both models are, below and above the block that is measured."""
    attach_adapter(tiny_model, "moved", AdapterSpec(), [0, 1], seed=0)
    with torch.no_grad():
        for _, parameter in adapter_parameters(tiny_model, "moved"):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    push = None if steered is None else Push("up", steered, torch.full((tiny_model.d_model,), 0.5))
    voice, blocks = Voice("moved", push=push), list(tiny_model.blocks)
    space = BlockSpace(torch.zeros(tiny_model.d_model), torch.ones(tiny_model.d_model), 1.0)
    ids = [token for row in random_rows(3) for token in row.ids][:40]
    _, live = drain(live_trip(tiny_model, ids[:9], voice, block, space))
    found = [*live.read(ids[9:10]), *live.read(ids[10:26]), *live.read(ids[26:])]
    _, whole = drain(trip(tiny_model, ids, voice, {block: space}))
    assert found == pytest.approx(whole[0, 9:].tolist(), abs=1e-4) and min(found) < 0.95
    assert list(tiny_model.blocks) == blocks


def test_an_adapter_that_leaves_the_memory_ends_its_cosines_and_not_the_answer(tiny_model):
    """Two columns: the first's run is stopped before its answer has a stretch, the second's goes on."""
    for name in ("stopped", "stays"):
        attach_adapter(tiny_model, name, AdapterSpec(), [0, 1], seed=0)
    space = BlockSpace(torch.zeros(tiny_model.d_model), torch.ones(tiny_model.d_model), 1.0)
    texts = [Followed(column, [1, 2, 3], [], Voice(name), 1, space) for column, name in enumerate(("stopped", "stays"))]
    said, written = [[5] * STRETCH, [5] * STRETCH], []
    live = LiveTrips(tiny_model, texts, said, written.append)
    remove_adapter(tiny_model, "stopped")
    drain(live.measure())
    said[1] += [6] * STRETCH
    drain(live.measure())
    assert [(one.column, len(one.cosines)) for one in written] == [(1, STRETCH), (1, STRETCH)]

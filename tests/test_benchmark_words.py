"""The quick measure for tuning: last tokens do not depend on their batch, and the table names the worst author."""

import numpy as np
import pytest
from making import asked_ids

from benchmarks import words
from benchmarks.words import OWN, last_tokens, measure, table
from engine.compute.geometry.reach import Reach
from engine.compute.model.activations import block_activations
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.records.conversation import Conversation


def asked(*texts: str) -> list[Conversation]:
    return [Conversation.asking(text) for text in texts]


def test_the_last_token_is_the_rows_own_whatever_stands_beside_it(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    texts = ["a", "a longer one", "the longest of all three"]
    alone = [
        block_activations(tiny_model, batch_of(tiny_model, [asked_ids(tiny_model, text)]), [1]).outputs[1][0, -1]
        for text in texts
    ]
    for rows in (1, 2, 16):
        monkeypatch.setattr(words, "ROWS", rows)
        found = last_tokens(tiny_model, asked(*texts), [0, 1])[1]
        assert found == pytest.approx(np.stack([one.detach().numpy() for one in alone]), abs=1e-5)


def test_authors_of_one_side_are_held_against_the_other_side_of_all_others(tiny_model: LoadedModel):
    """The own split never stands in for an author's missing side."""
    groups = {
        OWN: {"harmful": asked("own harm 1", "own harm 2"), "borderline": asked("own edge")},
        "first": {"harmful": asked("harm 1", "harm 2", "harm 3"), "borderline": []},
        "second": {"harmful": [], "borderline": asked("edge 1", "edge 2")},
        "third": {"harmful": asked("more harm"), "borderline": asked("more edge")},
    }
    found = measure(tiny_model, [0, 1], groups, prompts=8)
    sizes = {name: (one.harmful, one.borderline) for name, one in found[1].items()}
    assert sizes == {OWN: (2, 1), "first": (3, 3), "second": (4, 2), "third": (1, 1)}
    assert all(0 <= one.auc <= 1 and 0 <= one.lost <= 1 for of in found.values() for one in of.values())


def test_the_table_has_a_line_a_block_and_the_own_split_is_never_the_worst():
    found = {8: {OWN: Reach(0.9, 0.9, 40, 40), "one": Reach(0.8, 0.3, 40, 30), "two": Reach(0.7, 0.4, 20, 30)}}
    lines = table(found).splitlines()
    assert lines[0] == "| block | own test split (n 40 + 40) | one (n 40 + 30) | two (n 20 + 30) | worst author |"
    assert lines[2] == "| 8 | 0.900; 0.90 | 0.800; 0.30 | 0.700; 0.40 | two: 0.40 |"

"""What compares runs by the loss of the base model's own answers: whose are read, and by how much each rises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from making import asked_ids

from benchmarks import rises
from benchmarks.rises import base_answers, by_group, losses, told, unanswered
from benchmarks.words import OWN
from engine.compute.evaluation.attacks.attempt import Attempt
from engine.compute.evaluation.judges import Verdict
from engine.compute.evaluation.runner import Judge, Memory
from engine.compute.model.adapters import adapted, attach_adapter
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.records.conversation import Conversation
from engine.records.spec_parts import AdapterSpec


def attempt(model: LoadedModel, text: str, answer: tuple[int, ...]) -> Attempt:
    return Attempt(1, asked_ids(model, text), answer, (7, 8))


def test_a_loss_is_the_answers_own_behind_its_request_and_opening(tiny_model: LoadedModel):
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4, alpha=64, noise=1.0), [0, 1], seed=0)
    answers = {
        ("own", "harmful"): [attempt(tiny_model, "a", (5, 6, 9))],
        ("own", "borderline"): [attempt(tiny_model, "longer", (3,))],
    }
    for adapter in (None, "run"):
        expected = []
        for one in (one for of in answers.values() for one in of):
            ids = torch.tensor([[*one.prompt_ids, *one.prefill_ids, *one.answer_ids]])
            with torch.no_grad(), adapted(tiny_model, adapter):
                logits = tiny_model.causal_lm(ids).logits[0]
            count = len(one.answer_ids)
            nats = torch.nn.functional.cross_entropy(logits[-count - 1 : -1], ids[0, -count:])
            expected.append(float(nats))
        assert losses(tiny_model, Voice(adapter), answers) == pytest.approx(np.array(expected), rel=1e-4)
    assert not np.allclose(losses(tiny_model, Voice(), answers), losses(tiny_model, Voice("run"), answers), atol=1e-3)


def test_figures_go_back_to_their_groups_and_a_group_without_answers_is_left_out(tiny_model: LoadedModel):
    one = attempt(tiny_model, "a", (5,))
    answers = {("a", "harmful"): [one, one], ("a", "borderline"): [], ("b", "borderline"): [one]}
    found = by_group(np.array([1.0, 2.0, 4.0]), answers)
    assert {key: list(value) for key, value in found.items()} == {("a", "harmful"): [1, 2], ("b", "borderline"): [4]}
    assert told(found) == "a harmful +1.50 (2 of 2 lost), b borderline +4.00 (1 of 1 lost)"
    assert told({("a", "harmful"): np.array([0.99, 1.0, 3.0])}) == "a harmful +1.66 (2 of 3 lost)"


def test_a_side_that_the_base_model_answers_nothing_of_is_named(tiny_model: LoadedModel):
    one = attempt(tiny_model, "a", (5,))
    answers = {(OWN, "harmful"): [one], (OWN, "borderline"): [], ("a", "harmful"): [], ("b", "borderline"): [one]}
    assert unanswered(answers) == ["own borderline", "other harmful"]
    assert unanswered({**answers, (OWN, "borderline"): [one], ("b", "harmful"): [one]}) == []


def test_what_the_base_model_does_not_comply_with_is_not_read(
    tiny_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def verdicts(model, rows, attempts):
        yield None
        return [Verdict("complied" if "yes" in row.prompt else "refused") for row in rows]

    monkeypatch.setattr(rises, "rules_judge", lambda: Judge("by the request", verdicts))
    asked = {"own": {"harmful": [Conversation.asking(text) for text in ("yes 1", "no", "yes 2")], "borderline": []}}
    found = base_answers(tiny_model, asked, Memory(tmp_path / "memory.jsonl"))
    assert [one.prompt_ids for one in found["own", "harmful"]] == [
        tuple(asked_ids(tiny_model, text)) for text in ("yes 1", "yes 2")
    ]
    assert all(one.prefill_ids and one.answer_ids for one in found["own", "harmful"])
    assert found["own", "borderline"] == []

"""Answers that are steered: base and circuit-broken, by a capture's direction, beside columns that are not."""

import re
import shutil

import pytest
import torch
from making import drain
from making_captures import write_capture
from safetensors.torch import load_file
from test_answering import BASE, ask

from engine.jobs.chat import chat_job
from engine.jobs.sets import answer_set_job
from engine.records.captures.capture import write_index
from engine.records.chats.asked import Column, Sampling, Steering
from engine.records.chats.sets import SetRequest, new_set
from engine.records.errors import ComputeError, RunError


@pytest.fixture
def capture(run):
    """Of the run, at both blocks of the tiny model; its vectors are as wide as the model's activations."""
    folder = run.representations_folder / "made"
    made = write_capture(folder, run_id=run.id, blocks=(0, 1), steps=(6,), width=16)
    write_index(folder, made.index.model_copy(update={"model": run.spec().model.name}))
    return made


def steered(run, strength=3.0, *, base=False, **changes):
    steering = Steering(**{"run_id": run.id, "capture": "made", "block": 0, "strength": strength} | changes)
    return Column(checkpoint="base" if base else run.id, steering=steering)


def answers(settings, run, tools, *columns):
    chat, payload = ask(settings, run, columns=columns)
    drain(chat_job(payload, tools))
    return chat, chat.reply(0)


def test_both_models_are_steered_and_the_strength_is_in_the_record(settings, tools, run, capture):
    columns = (BASE, steered(run, base=True), Column(checkpoint=run.id), steered(run, -3.0))
    chat, reply = answers(settings, run, tools, *columns)
    assert reply.answered and len(set(reply.answered.ids)) == 4
    assert [one.steering.strength if one.steering else None for one in chat.exchange(0).columns] == [None, 3, None, -3]
    assert len(reply.trips) == 4 and len(reply.verdicts) == 4


def test_other_columns_say_what_they_say_without_it_and_no_weight_changes(settings, tools, run, capture, tiny_model):
    weights = load_file(run.adapter_folder / "adapter_model.safetensors")
    before = {name: parameter.clone() for name, parameter in tiny_model.causal_lm.named_parameters()}
    _, plain = answers(settings, run, tools, BASE, Column(checkpoint=run.id))
    _, beside = answers(settings, run, tools, BASE, Column(checkpoint=run.id), steered(run))
    assert beside.answered.ids[:2] == plain.answered.ids and beside.answered.ids[2] != plain.answered.ids[1]
    after = load_file(run.adapter_folder / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    for name, parameter in tiny_model.causal_lm.named_parameters():
        assert "lora" in name or torch.equal(before[name.replace(".base_layer", "")], parameter), name


def test_strength_zero_is_no_steering_and_a_probe_gives_a_direction_of_its_own(settings, tools, run, capture):
    nothing = steered(run, 0.0)
    probe, difference = steered(run, kind="probe"), steered(run)
    _, reply = answers(settings, run, tools, Column(checkpoint=run.id), nothing, probe, difference)
    said = reply.answered.ids
    assert said[0] == said[1] and said[2] != said[0]


def test_the_trip_compares_both_models_under_the_same_steering(settings, tools, run, capture):
    """The adapter is on block 1 alone, and the push is at block 0: without it nothing differs at block 0."""
    _, reply = answers(settings, run, tools, steered(run), steered(run, base=True))
    for trip in reply.trips:
        assert trip.cosines[0] == pytest.approx([1.0] * len(trip.cosines[0]), abs=1e-3)
        assert min(trip.cosines[1]) < 0.99


def test_a_whole_set_is_answered_steered(settings, tools, run, capture):
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, steered(run, base=True)),
        source=run.spec().data.retain,
        label="benign",
        limit=3,
        sampling=Sampling(new_tokens=8),
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    assert len(made.rows()) == 3 and all(row.answers[0] != row.answers[1] for row in made.rows())


def test_what_cannot_be_steered_by_is_said(settings, tools, run, capture):
    def refused(error, words, **changes):
        chat, payload = ask(settings, run, columns=(steered(run, **changes),))
        with pytest.raises(error, match=words):
            drain(chat_job(payload, tools))
        assert re.search(words, chat.reply(0).error)

    refused(RunError, r"Block 7 is not in the capture made: choose one of 0, 1\.", block=7)
    refused(RunError, r"There is no run 'none'", run_id="none")
    refused(RunError, r"The capture gone that answers are steered by is gone", capture="gone")
    folder = run.representations_folder
    for key, changes, words in (
        ("other", {"model": "other/model"}, r"is of other/model, and .* is asked"),
        ("every", {"tokens": ("every",)}, r"holds every token and no vector"),
    ):
        shutil.copytree(folder / "made", folder / key)
        write_index(folder / key, capture.index.model_copy(update={"model": run.spec().model.name} | changes))
        refused(RunError, words, capture=key)
    one_sided = write_capture(folder / "one", run_id=run.id, blocks=(0, 1), benign=0, width=16)
    write_index(folder / "one", one_sided.index.model_copy(update={"model": run.spec().model.name}))
    refused(ComputeError, r"gives no direction at block 0", capture="one")

"""Rows with pictures through the real jobs, two pictures under one question: a run, its captures, token views and maps,
and a chat of both models."""

import pytest
import torch
from making import drain
from making_seers import painted, showing, write_picture_prompts
from test_capturing import captured, trained, work

from engine.compute.model.adapters import adapted, load_adapter
from engine.compute.model.export import export_run
from engine.compute.model.load import load_model
from engine.compute.model.text import tokens_of
from engine.device import Device
from engine.jobs.capture import capture_job
from engine.jobs.cards import describe_data_job
from engine.jobs.chat import chat_job
from engine.jobs.maps import tokens_job
from engine.records.captures.capture import CaptureRequest, checkpoint_name, run_captures
from engine.records.captures.projections import TokenRequest, read_token_view, token_file
from engine.records.captures.thumbnails import EDGE, thumbnails
from engine.records.cards import read_data_card
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.checkpoints import Checkpoint
from engine.records.conversation import Conversation
from engine.records.pictures import picture_at, read_picture
from engine.records.prompt_files import read_source
from engine.records.sources import parse_sources
from engine.records.spec_parts import ModelSpec


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture
def spec(tiny_spec, tiny_llava_folder, tmp_path):
    sides = {"circuit_breaker": "harmful", "retain": "benign"}
    sources = {
        f"data.{field}": f"{tmp_path / kind}.jsonl; {write_picture_prompts(tmp_path / f'{kind}-seen.jsonl', kind=kind)}"
        for field, kind in sides.items()
    }
    changes = {"data.picture_steps": "alternating", "loss.mask": "after_picture", "adapter.noise": 0.3}
    return tiny_spec(**{"model.name": str(tiny_llava_folder), "model.device": "cpu"}, **sources, **changes)


@pytest.fixture
def run(device, settings, spec):
    return trained(device, settings, spec)[0]


def everything(run, spec):
    """All prompts of both sides at the last step."""
    splits = ("train", "validation", "test")
    return CaptureRequest(
        run_id=run.id, steps=(6,), model=spec.model, data=spec.data, prompts_per_side=36, splits=splits
    )


def test_a_run_with_pictures_finishes_and_is_captured_prompt_by_prompt(device, settings, run, spec):
    request = everything(run, spec)
    work(device, capture_job, request)
    capture = captured(settings, request)
    shown = [prompt for prompt in capture.index.prompts if prompt.pictures]
    assert len(shown) == 24 and len({prompt.pictures for prompt in shown}) == 24
    # Few questions, many pictures: each has activations of its own.
    assert len({prompt.text for prompt in shown}) == 4
    vectors = capture.vectors(checkpoint_name(6), "last_prompt", 1)
    places = [place for place, prompt in enumerate(capture.index.prompts) if prompt.pictures]
    assert len({tuple(vectors[place].round(4)) for place in places}) == 24
    # Each with a small copy of its picture, and every capture of the run's own too.
    for kept in [capture, *run_captures(settings, run.id)]:
        for prompt in kept.index.prompts:
            files = thumbnails(kept, prompt)
            assert len(files) == len(prompt.pictures) and all(
                file and max(read_picture(file).image.size) <= EDGE for file in files
            )
    # What is there is not captured again, but for copies that are missing.
    copies = sorted((capture.folder / "pictures").iterdir())
    copies[0].unlink()
    # The sets are read, to see that they are the same.
    assert {event.phase for event in work(device, capture_job, request)} == {"loading"}
    assert sorted((capture.folder / "pictures").iterdir()) == copies


def test_the_token_view_shows_a_picture_as_one_placeholder(device, settings, run, spec):
    request = everything(run, spec)
    work(device, capture_job, request)
    capture = captured(settings, request)
    views = []
    shown = [prompt for prompt in capture.index.prompts if prompt.pictures and prompt.text == "harmful: say it"]
    for prompt in [
        shown[0],
        next(one for one in shown if one.prompt_tokens == shown[0].prompt_tokens and one != shown[0]),
    ]:
        asked = TokenRequest(
            run_id=run.id, key=capture.index.key, prompt_id=prompt.id, checkpoint=checkpoint_name(6), threshold=0.5
        )
        work(device, tokens_job, asked)
        view = read_token_view(token_file(capture, asked))
        assert "".join(view.tokens).count("[picture]") == 1
        assert len(view.tokens) == len(view.cosine) == prompt.prompt_tokens + prompt.response_tokens
        views.append(view)
    assert views[0].tokens[: views[0].response_start] == views[1].tokens[: views[1].response_start]
    assert views[0].base_norm != views[1].base_norm


def test_both_columns_of_a_chat_are_shown_the_picture(device, settings, run, spec, tmp_path):
    """Two chats that ask the same of two pictures, and a second turn that shows another one."""
    pictures = [picture_at(painted(tmp_path / f"{seed}.png", seed=seed, size=(40, 20))) for seed in range(3)]
    answered = []
    for picture in pictures[:2]:
        columns = (Column(checkpoint="base"), Column(checkpoint=Checkpoint(run.id)))
        chat = new_chat(settings, columns)
        asked = {"model": spec.model, "columns": columns, "sampling": Sampling(new_tokens=10)}
        chat.ask(Exchange(user="What is this?", parts=(picture,), **asked))
        drain(chat_job({"chat": chat.id, "exchange": 0}, device.tools(1)))
        reply = chat.reply(0)
        assert [trip.column for trip in reply.trips] == [0, 1] and len(reply.verdicts) == 2 and not reply.error
        assert all(len(trip.pieces) == 10 for trip in reply.trips)
        # Over the picture once, as the rerouted model reads it; below the adapted blocks nothing is turned.
        [over] = reply.picture_trips
        assert (over.column, over.picture, over.side, over.box) == (1, picture.sha256, 4, (0.25, 0, 0.75, 1))
        assert [len(block) for block in over.cosines] == [16, 16] and min(over.cosines[1]) < 0.999
        answered.append((reply.answered.ids, reply.trips[0].cosines))
        chat.ask(Exchange(turn=1, user="And this?", parts=(pictures[2],), **asked))
        drain(chat_job({"chat": chat.id, "exchange": 1}, device.tools(1)))
        assert chat.reply(1).answered and chat.reply(1).read[0] > reply.read[0]
        assert [trip.picture for trip in chat.reply(1).picture_trips] == [pictures[2].sha256]
        assert chat.conversation(1, 0).picture_keys == (picture.sha256, pictures[2].sha256)
    assert answered[0][0][0] != answered[0][0][1]
    # A random model may say the same of both, but not be turned alike.
    assert answered[0][1] != answered[1][1]


def test_an_exported_model_that_sees_is_whole_and_sees_the_same(device, settings, run, spec, tmp_path):
    """The merged one opens by itself and gives what base model and adapter give."""
    model = load_model(spec.model, settings)
    conversation = showing("What?", painted(tmp_path / "a.png", size=(40, 20)))
    ids = torch.tensor([tokens_of(model, conversation).ids])
    folder = export_run(run, tmp_path / "out", settings, merged=True)
    merged = load_model(ModelSpec(name=str(folder / "merged"), device="cpu"), settings)
    assert merged.sight and tokens_of(merged, conversation).ids == tuple(ids[0].tolist())
    load_adapter(model, "run", run.adapter_folder)
    with torch.no_grad():
        plain = model.causal_lm(input_ids=ids).logits
        with adapted(model, "run"):
            expected = model.causal_lm(input_ids=ids).logits
        torch.testing.assert_close(merged.causal_lm(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert (plain - expected).abs().max() > 1e-3


def test_the_card_of_a_set_counts_the_positions_of_its_pictures(device, settings, spec):
    """16 a tile: each request is longer by that than its words alone."""
    source = parse_sources(spec.data.circuit_breaker)[1].name
    payload = {"model": spec.model.model_dump(), "source": source, "label": "harmful"}
    drain(describe_data_job(payload, device.tools(1)))
    card = read_data_card(settings.cards, payload)
    model, prompts = load_model(spec.model, settings), read_source(source, label="harmful")
    lengths = [len(tokens_of(model, prompt.conversation).ids) for prompt in prompts]
    words = [len(tokens_of(model, Conversation.asking(prompt.text)).ids) for prompt in prompts]
    assert card.rows == 12 and card.tokens_max == max(lengths)
    assert all(length >= alone + 16 for length, alone in zip(lengths, words, strict=True))

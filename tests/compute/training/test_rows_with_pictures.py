"""Rows with pictures: which of their tokens a loss sees, what a step draws, and what is kept of them."""

import math
from collections import Counter

import pytest
from making import drain, random_rows
from making_seers import painted, showing, write_picture_prompts

from engine.compute.model.pictures import behind_pictures, picture_positions
from engine.compute.model.text import decode
from engine.compute.training.base_activations import BaseActivations
from engine.compute.training.drawing import places_that_come_back, step_rows
from engine.compute.training.masks import seen_tokens
from engine.compute.training.pairs import Pair, elicit
from engine.compute.training.rows import EncodedWhenDrawn, encode, pictured_tokens, row_kinds
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.records.blocks import resolve_blocks
from engine.records.conversation import Conversation, Message, Text
from engine.records.errors import DataError, ModelError
from engine.records.events import HeldoutResult, StepResult
from engine.records.presets import read_preset
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.spec_parts import DataSpec


def prompt(conversation: Conversation, *, label="harmful") -> Prompt:
    return Prompt(id="one", conversation=conversation, label=label)


@pytest.fixture
def sides(tmp_path):
    """Pairs of both labels, each with a picture of its own."""
    found = {}
    for label in ("harmful", "benign"):
        prompts = read_source(str(write_picture_prompts(tmp_path / f"{label}.jsonl", kind=label)), label=label)
        found[label] = [Pair(one, one.answer or "") for one in prompts]
    return found


def encoded(model, pairs):
    return [encode(model, pair, DataSpec(max_tokens=128)) for pair in pairs]


def test_what_stands_after_the_picture_is_seen_and_of_a_text_all(tiny_llava, tiny_spec, tmp_path):
    spec = tiny_spec(**{"loss.mask": "after_picture", "loss.retain_mask": "after_picture"})
    conversation = showing("What is this?", *(painted(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2)))
    row = encode(tiny_llava, Pair(prompt(conversation), "A thing."), spec.data)
    seen = seen_tokens(spec, row)
    assert decode(tiny_llava, row.ids[seen.start :]) == "\nWhat is this?\nassistant\nA thing."
    assert picture_positions(row.ids[: seen.start]) == picture_positions(row.ids) == 32
    harmful, benign = (random_rows(1, label=label)[0] for label in ("harmful", "benign"))
    assert len(seen_tokens(spec, harmful)) == len(harmful.ids)
    # The first token is left out where drift is relative, as with the mask 'all'.
    assert seen_tokens(spec, benign) == range(1, len(benign.ids))


def test_a_response_mask_sees_the_answer_alone(tiny_llava, tiny_spec, tmp_path):
    row = encode(tiny_llava, Pair(prompt(showing("What?", painted(tmp_path / "a.png"))), "A thing."), tiny_spec().data)
    seen = seen_tokens(tiny_spec(), row)
    assert decode(tiny_llava, row.ids[seen.start : seen.stop]) == "A thing."


def test_pictures_are_never_cut_and_count_nowhere(tiny_llava, tmp_path):
    data = DataSpec(max_tokens=32)
    file = painted(tmp_path / "a.png")
    row = encode(tiny_llava, Pair(prompt(showing("x" * 80, file)), "y" * 80), data)
    assert picture_positions(row.ids) == 16 and len(row.ids) == 48 and row.response_start == 32
    behind = Conversation(messages=(Message(role="user", parts=(Text(text="x" * 80), *showing("", file).pictures)),))
    with pytest.raises(DataError, match="says so much before its picture that, cut to 32 tokens, it would lose it"):
        encode(tiny_llava, Pair(prompt(behind), "y"), data)


def test_a_row_of_more_pictures_than_the_context_holds_is_refused(tiny_llava, tmp_path):
    files = [painted(tmp_path / f"{seed}.png", seed=seed) for seed in range(40)]
    with pytest.raises(ModelError, match=r"\(640 of them of 40 pictures\), .* more than .* can read \(512"):
        encode(tiny_llava, Pair(prompt(showing("What?", *files)), "x"), DataSpec())


def test_a_row_with_a_picture_stands_under_the_chat_template_where_texts_are_written_as_published(tiny_llava, tmp_path):
    data = DataSpec(rows_as="mistral", max_tokens=128)
    row = encode(tiny_llava, Pair(prompt(showing("What?", painted(tmp_path / "a.png"))), "x"), data)
    assert decode(tiny_llava, row.ids) == "user\n[picture]\nWhat?\nassistant\nx"
    plain = encode(tiny_llava, Pair(prompt(Conversation.asking("What?")), "x"), data)
    assert decode(tiny_llava, plain.ids) == "[INST] What? [/INST]x"


def test_steps_of_text_and_of_pictures_alternate_and_in_time_draw_all(tiny_llava, tiny_spec, sides):
    spec = tiny_spec(
        **{"data.picture_steps": "alternating", "optimizer.circuit_breaker_batch": 4, "optimizer.retain_batch": 3,
           "optimizer.steps": 16}
    )  # fmt: skip
    harmful, benign = ([*random_rows(10, label=label), *encoded(tiny_llava, sides[label])] for label in sides)
    drawn = Counter()
    for step in range(16):
        rows = step_rows(spec, harmful, benign, step)
        assert Counter(row.label for row in rows) == {"harmful": 4, "benign": 3}
        assert {behind_pictures(row.ids) > 0 for row in rows} == {step % 2 == 1}
        drawn.update(row.ids for row in rows)
    assert set(drawn) == {row.ids for row in (*harmful, *benign)}
    whole = {"harmful": harmful, "benign": benign}
    again = {whole[place.label][place.number].ids for place in places_that_come_back(spec, harmful, benign)}
    assert again == {ids for ids, times in drawn.items() if times > 1}


def test_a_side_of_one_kind_draws_it_in_every_step(tiny_llava, tiny_spec, sides):
    spec = tiny_spec(**{"data.picture_steps": "alternating"})
    harmful, benign = random_rows(6, label="harmful"), [*random_rows(6, label="benign")]
    alone = [step_rows(spec, harmful, benign, step) for step in range(4)]
    assert alone == [step_rows(tiny_spec(), harmful, benign, step) for step in range(4)]
    seen = encoded(tiny_llava, sides["harmful"])
    for step in range(4):
        rows = step_rows(spec, seen, benign, step)
        assert {row.label for row in rows if behind_pictures(row.ids)} == {"harmful"}


def test_rows_are_told_apart_before_they_are_encoded(tiny_llava, sides):
    lazily = EncodedWhenDrawn(tiny_llava, sides["benign"], DataSpec())
    assert row_kinds(lazily) == row_kinds(encoded(tiny_llava, sides["benign"]))
    assert all(kind.pictured for kind in row_kinds(lazily))


def test_base_activations_of_two_pictures_are_not_taken_for_one(tiny_llava, tmp_path):
    files = [painted(tmp_path / f"{seed}.png", seed=seed) for seed in range(2)]
    cat, dog = (encode(tiny_llava, Pair(prompt(showing("What?", file)), "It is."), DataSpec()) for file in files)
    assert len(cat.ids) == len(dog.ids) and cat.ids != dog.ids
    base = BaseActivations(tiny_llava, [cat, dog], blocks={"harmful": (0,)}, entry_block=0, budget_bytes=10**7)
    list(base.fill())
    one, other = (row.outputs[0] for row in base.of([cat, dog]))
    assert (one - other).abs().max() > 1e-2


@pytest.mark.parametrize("steps", ["mixed", "alternating"])
def test_a_model_that_sees_is_trained_on_texts_and_pictures(tiny_llava_next, tiny_spec, sides, tmp_path, steps):
    changes = {"data.picture_steps": steps, "loss.mask": "after_picture", "loss.retain_weight": 0.0}
    changes |= {"optimizer.learning_rate": 0.03, "adapter.noise": 0.1}
    spec = tiny_spec(**changes, **{"optimizer.steps": 24, "captures.heldout_every": 24})
    seen = {label: encoded(tiny_llava_next, pairs) for label, pairs in sides.items()}
    rows = Rows(
        [*random_rows(3, label="harmful"), *seen["harmful"][:6]],
        [*random_rows(3, seed=1, label="benign"), *seen["benign"][:6]],
        seen["harmful"][6:9] + seen["benign"][6:9],
        seen["harmful"][9:] + seen["benign"][9:],
    )
    frozen = {
        name: value.clone() for name, value in tiny_llava_next.published.state_dict().items() if "language" not in name
    }
    training = train(
        model=tiny_llava_next,
        name="run",
        spec=spec,
        blocks=resolve_blocks(spec, 2),
        rows=rows,
        checkpoints=tmp_path / "checkpoints",
    )
    events, _ = drain(training)
    losses = [event.reroute_loss for event in events if isinstance(event, StepResult)]
    assert len(losses) == 24 and all(map(math.isfinite, losses))
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    assert [event for event in events if isinstance(event, HeldoutResult)]
    after = tiny_llava_next.published.state_dict()
    assert frozen and all((after[name] == value).all() for name, value in frozen.items())


def test_answers_to_two_pictures_under_one_question_are_elicited_apart_and_remembered(tiny_llava, tmp_path):
    files = [painted(tmp_path / f"{seed}.png", seed=seed, size=(30, 16)) for seed in range(3)]
    prompts = [prompt(showing("What is this?", file)) for file in files]
    data = DataSpec(new_tokens=8, opener_share=0.0, drop_refusals=False)
    first = drain(elicit(tiny_llava, prompts, data, answers_folder=tmp_path / "answers", seed=0))[1]
    alone = [
        drain(elicit(tiny_llava, [one], data, answers_folder=tmp_path / str(number), seed=0))[1][0]
        for number, one in enumerate(prompts)
    ]
    assert [pair.answer for pair in first] == [pair.answer for pair in alone]
    assert len((tmp_path / "answers").joinpath(next((tmp_path / "answers").iterdir())).read_text().splitlines()) == 3


def test_the_papers_setting_for_models_that_see():
    """Section 4.2 and C: target layer 16, LoRA 14 to 16, alpha 5, all tokens after the picture, steps in turn."""
    spec = read_preset("paper-llava-next-mistral-7b")
    blocks = resolve_blocks(spec, 32)
    assert (blocks.targets, blocks.adapted) == ((15,), (14, 15, 16))
    assert spec.schedule.alpha == 5 and spec.loss.mask == spec.loss.retain_mask == "after_picture"
    assert spec.data.picture_steps == "alternating" and spec.data.rows_as == "mistral"
    # The published mean is over the embeddings and all 17 blocks that are kept, most of which nothing moves.
    assert spec.loss.retain_weight == pytest.approx((len(blocks.retain) + 1) / (16 + 1 + 1))
    others = read_preset("paper-mistral-7b")
    assert (spec.optimizer, spec.adapter, spec.schedule) == (others.optimizer, others.adapter, others.schedule)


def test_the_most_that_pictures_take_is_of_the_rows_that_show_any(tiny_llava, sides):
    rows = encoded(tiny_llava, sides["harmful"])
    assert pictured_tokens(random_rows(4), rows) == max(picture_positions(row.ids) for row in rows) > 0
    assert pictured_tokens(random_rows(4), []) == 0

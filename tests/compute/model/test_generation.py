"""Generation: batch equals alone, sampling is seeded, and elicitation is cached and fair."""

import json

import pytest
import torch
from making import asked_ids, byte_tokenizer, drain, write_tiny_model
from transformers import GPT2Config, GPT2LMHeadModel

from engine.compute.model.adapters import attach_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_model
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.compute.model.text import decode, text_ids, tokens_of
from engine.compute.training import pairs as pairs_room
from engine.compute.training.pairs import Pair, elicit, looks_refused, without_refusals
from engine.compute.training.rows import encode
from engine.jobs.training import _probe
from engine.records.chats.asked import Sampling
from engine.records.conversation import Conversation
from engine.records.errors import DataError
from engine.records.prompts import Prompt, opener_for
from engine.records.spec_parts import AdapterSpec, DataSpec, ModelSpec

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]


def generated(model, prompts, *, adapter=None, seed=None, **sampling):
    """Counts that were yielded, and the answers."""
    asks = [Ask(prompt, Voice(adapter), seed) for prompt in prompts]
    return drain(answered_ids(model, asks, Sampling(**sampling)))


def make(text: str, label="harmful", answer=None) -> Prompt:
    return Prompt(id=text, conversation=Conversation.asking(text), label=label, answer=answer)


def test_a_batch_gives_the_same_tokens_as_each_row_alone(tiny_model):
    _, together = generated(tiny_model, PROMPTS, new_tokens=12)
    alone = [generated(tiny_model, [prompt], new_tokens=12)[1][0] for prompt in PROMPTS]
    assert together == alone


def test_an_opening_that_all_share_is_read_once_and_answered_the_same(tiny_model):
    opening = list(range(20, 34))
    prompts = [[*opening, 5], [*opening, 6, 7, 8, 9], [*opening, 5, 11]]
    read = []

    def count(_module, _args, given):
        read.append(given["input_ids"].numel())

    hook = tiny_model.decoder.register_forward_pre_hook(count, with_kwargs=True)
    try:
        _, together = generated(tiny_model, prompts, new_tokens=12)
    finally:
        hook.remove()
    assert read[:2] == [14, 3 * 4]
    assert together == [generated(tiny_model, [prompt], new_tokens=12)[1][0] for prompt in prompts]


@pytest.mark.parametrize("window", [16, 40])
def test_an_opening_takes_no_place_in_a_window_from_what_a_row_says(window, tmp_path, settings):
    """13 tokens alike, 1 to 7 of their own and 8 to come: 28 columns, more than the smaller window, where an opening
    with padding behind it would be out of sight too early."""
    folder = write_tiny_model(tmp_path / "windowed", family="mistral", window=window)
    model = load_model(ModelSpec(name=str(folder)), settings)
    opening = list(range(40, 53))
    prompts = [[*opening, 70], [*opening, *range(71, 78)], [*opening, 80, 81]]
    _, together = generated(model, prompts, new_tokens=8)
    assert together == [generated(model, [prompt], new_tokens=8)[1][0] for prompt in prompts]
    answers = [[60, 61, 62]] * 3
    _, nats = drain(answer_nats(model, prompts, answers, voice=Voice()))
    for prompt, answer, row in zip(prompts, answers, nats, strict=True):
        _, (alone,) = drain(answer_nats(model, [prompt], [answer], voice=Voice()))
        assert row == pytest.approx(alone, abs=1e-4)


def test_tokens_equal_those_of_transformers_own_loop(tiny_model):
    ids = torch.tensor([PROMPTS[1]])
    expected = tiny_model.causal_lm.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, eos_token_id=9999
    )[0, ids.shape[1] :].tolist()
    assert generated(tiny_model, [PROMPTS[1]], new_tokens=10)[1][0] == expected


def test_it_yields_a_count_for_each_token(tiny_model):
    counts, _ = generated(tiny_model, PROMPTS, new_tokens=4)
    assert counts == [1, 2, 3, 4]


def test_long_prompts_are_read_in_parts_and_answered_the_same(tiny_model, monkeypatch):
    """40 tokens at 16 a part: two pauses before the first token, in which other jobs may run."""
    prompts = [list(range(1, 41)), [7, 8, 9]]
    counts, whole = generated(tiny_model, prompts, new_tokens=6)
    assert counts == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr("engine.compute.model.reading.PREFILL_TOKENS", 16)
    counts, parts = generated(tiny_model, prompts, new_tokens=6)
    assert counts == [0, 0, 1, 2, 3, 4, 5, 6]
    assert parts == whole


def test_sampling_depends_on_its_seed_alone(tiny_model):
    def sample(seed):
        torch.rand(3)
        return generated(tiny_model, PROMPTS, new_tokens=8, temperature=1.0, seed=seed)[1]

    assert sample(1) == sample(1) != sample(2)


def test_sampling_disturbs_no_other_randomness(tiny_model):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    generated(tiny_model, PROMPTS, new_tokens=3, temperature=1.0)
    assert torch.equal(torch.rand(1), expected)


def test_an_adapter_changes_the_answer_and_only_while_it_is_named(tiny_model):
    base = generated(tiny_model, PROMPTS, new_tokens=8)[1]
    attach_adapter(tiny_model, "a", AdapterSpec(rank=16, noise=1.0), [0, 1], seed=0)
    assert generated(tiny_model, PROMPTS, new_tokens=8, adapter="a")[1] != base
    assert generated(tiny_model, PROMPTS, new_tokens=8)[1] == base


def test_answers_begin_with_their_openers_and_are_cached(tiny_model, settings, monkeypatch):
    data = DataSpec(new_tokens=6, opener_share=1.0)
    prompts = [make(f"request {number}") for number in range(5)]
    progress, pairs = drain(elicit(tiny_model, prompts, data, answers_folder=settings.answers, seed=0))
    assert progress[-1].total == 5
    assert all(pair.answer.startswith(opener_for(pair.prompt, data)) for pair in pairs)
    monkeypatch.setattr("engine.compute.training.pairs.answered_ids", None)
    cached, again = drain(elicit(tiny_model, prompts, data, answers_folder=settings.answers, seed=0))
    assert again == pairs and cached == []


def test_of_two_runs_that_answer_at_once_both_take_what_was_written_first(tiny_model, settings, monkeypatch, tmp_path):
    """A run that is resumed must find the answers it trained on."""
    prompts, data = [make(f"request {number}") for number in range(3)], DataSpec(new_tokens=4, opener_share=0.0)
    # Beside a folder of answers lies one of words, which no other test is to have written to.
    other = tmp_path / "other" / "answers"
    drain(elicit(tiny_model, prompts, data, answers_folder=other, seed=0))
    [written] = other.glob("*.jsonl")
    lines = [json.loads(line) | {"answer": "the other run's"} for line in written.read_text().splitlines()]
    answer = pairs_room.answered_ids

    def beside_another(*given, **options):
        settings.answers.mkdir(parents=True, exist_ok=True)
        (settings.answers / written.name).write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
        return (yield from answer(*given, **options))

    monkeypatch.setattr(pairs_room, "answered_ids", beside_another)
    _, pairs = drain(elicit(tiny_model, prompts, data, answers_folder=settings.answers, seed=0))
    assert sorted(pair.answer == "the other run's" for pair in pairs) == [False, True, True]
    monkeypatch.setattr(pairs_room, "answered_ids", None)
    assert drain(elicit(tiny_model, prompts, data, answers_folder=settings.answers, seed=0)) == ([], pairs)


def test_the_cache_tells_lengths_and_torn_lines_apart(tiny_model, settings):
    prompts = [make("request")]
    for tokens in (4, 8):
        drain(elicit(tiny_model, prompts, DataSpec(new_tokens=tokens), answers_folder=settings.answers, seed=0))
    [file] = settings.answers.glob("*.jsonl")
    assert len(file.read_text().splitlines()) == 2
    with file.open("a") as handle:
        handle.write('{"key": "torn')
    progress, _ = drain(elicit(tiny_model, prompts, DataSpec(new_tokens=4), answers_folder=settings.answers, seed=0))
    assert progress == []


def test_given_answers_must_be_there(tiny_model, settings):
    with pytest.raises(DataError, match="has no answer"):
        drain(elicit(tiny_model, [make("x")], DataSpec(answers="given"), answers_folder=settings.answers, seed=0))


def test_refusals_are_dropped_on_the_harmful_side_alone():
    refused, complied = "I'm sorry, but I can't do that.", "Here is how."
    pairs = [Pair(make("a"), refused), Pair(make("b"), complied), Pair(make("c", label="benign"), refused)]
    assert [pair.prompt.id for pair in without_refusals(pairs, DataSpec())] == ["b", "c"]
    assert len(without_refusals(pairs, DataSpec(drop_refusals=False))) == 3


def test_nothing_left_after_refusals_says_what_to_do():
    with pytest.raises(DataError, match="refused all 1 harmful prompts"):
        without_refusals([Pair(make("a"), "I cannot help with that.")], DataSpec())


def test_a_held_out_split_of_refusals_alone_is_empty_and_ends_nothing():
    pairs = [Pair(make("a"), "I cannot help with that.")]
    assert without_refusals(pairs, DataSpec(), needed=False) == []


def test_refusals_are_recognised_with_either_apostrophe():
    assert looks_refused("I\u2019m sorry, that is not something I do.") and not looks_refused("Sure, here is a plan.")


def test_a_row_is_prompt_then_answer(tiny_model):
    pair = Pair(make("Hi", label="benign"), "yes")
    row = encode(tiny_model, pair, DataSpec())
    assert list(row.ids[: row.response_start]) == asked_ids(tiny_model, "Hi")
    assert tiny_model.tokenizer.decode(row.ids[row.response_start :]) == "yes"


def test_spaces_at_the_end_of_an_opener_are_left_to_the_answers_first_word(tiny_model, tmp_path, monkeypatch):
    def answered(model, asks, _sampling, **_options):
        asked = tokens_of(model, Conversation.asking("Hi"), begun="Sure,")
        assert [tuple(ask.prompt) for ask in asks] == [asked.whole]
        yield 1
        return [text_ids(model, " yes")]

    monkeypatch.setattr("engine.compute.training.pairs.answered_ids", answered)
    data = DataSpec(openers=("Sure, ",), opener_share=1.0)
    _, [pair] = drain(elicit(tiny_model, [make("Hi")], data, answers_folder=tmp_path, seed=0))
    assert pair.answer == "Sure, yes"


def test_a_prompt_that_leaves_no_room_is_cut_to_half_of_the_row(tiny_model):
    row = encode(tiny_model, Pair(make("x" * 100), "answer " * 20), DataSpec(max_tokens=50))
    whole = encode(tiny_model, Pair(make("x" * 100), "answer"), DataSpec())
    assert row.response_start == 25 and len(row.ids) == 50
    assert row.ids[:25] == whole.ids[:25]
    assert tiny_model.tokenizer.decode(row.ids[25:]).startswith("answer")


def test_hidden_requests_follow_their_share(tiny_model):
    pairs = [Pair(make(f"request {number}"), "answer") for number in range(60)]

    def hidden(share):
        rows = [encode(tiny_model, pair, DataSpec(empty_prompt_share=share)) for pair in pairs]
        return sum("request" not in tiny_model.tokenizer.decode(row.ids) for row in rows)

    assert hidden(0) == 0 and hidden(1) == 60 and 15 <= hidden(0.5) <= 45


def test_prompts_of_two_files_with_the_same_ids_keep_their_own_answers(tiny_model, settings):
    """Both files count from 1: a key by id would give one side the other's answers."""
    harmful = make("alpha alpha").model_copy(update={"id": "1"})
    benign = make("beta", label="benign").model_copy(update={"id": "1"})
    data = DataSpec(new_tokens=6, opener_share=0)
    _, pairs = drain(elicit(tiny_model, [harmful, benign], data, answers_folder=settings.answers, seed=0))
    alone = [
        drain(elicit(tiny_model, [one], data, answers_folder=settings.cache / one.text[0], seed=0))[1][0]
        for one in (harmful, benign)
    ]
    assert [pair.answer for pair in pairs] == [pair.answer for pair in alone]
    assert pairs[0].answer != pairs[1].answer


def test_a_sampled_answer_depends_on_no_other(tiny_model, settings, monkeypatch):
    """Whatever was answered before, in whatever order and however many at once, a prompt's draws are its own."""
    data = DataSpec(new_tokens=8, temperature=0.8, opener_share=0)
    prompts = [make("one"), make("another one"), make("a third one that is longer")]

    def answers(asked: list[Prompt], name: str) -> dict[str, str]:
        steps = elicit(tiny_model, asked, data, answers_folder=settings.cache / name, seed=3)
        return {pair.prompt.id: pair.answer for pair in drain(steps)[1]}

    expected = answers(prompts, "fresh")
    assert len(set(expected.values())) == 3
    answers(prompts[:1], "first known")
    assert answers(prompts, "first known") == expected
    answers(prompts[1:2], "second known")
    assert answers(prompts[::-1], "second known") == expected
    monkeypatch.setattr("engine.compute.training.pairs.answered_together", lambda *_, **__: 1)
    assert answers(prompts, "one at a time") == expected


@pytest.fixture
def short_sighted(tmp_path, settings):
    """A model whose positions are learned, and end at 64."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=4, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "short")
    byte_tokenizer().save_pretrained(tmp_path / "short")
    return load_model(ModelSpec(name=str(tmp_path / "short"), device="cpu"), settings)


def test_a_prompt_that_is_longer_than_the_model_can_read_is_named_and_a_row_of_it_is_cut(short_sighted, settings):
    prompts, data = [make("Hi"), make("long " * 30)], DataSpec(new_tokens=100, opener_share=0.0)
    with pytest.raises(DataError, match=r"Prompt long .* cannot be answered: .* than .* can read \(64, one of them"):
        drain(elicit(short_sighted, prompts, data, answers_folder=settings.answers, seed=0))
    # Answers end where the model's positions do, each prompt's behind its own.
    fitting = [make("Hi"), make("Hello there")]
    _, pairs = drain(elicit(short_sighted, fitting, data, answers_folder=settings.answers, seed=0))
    alone = [
        drain(elicit(short_sighted, [one], data, answers_folder=settings.cache / one.text[:2], seed=0))[1][0]
        for one in fitting
    ]
    assert [pair.answer for pair in pairs] == [pair.answer for pair in alone] and len(pairs) == 2
    rows = [encode(short_sighted, Pair(prompt, "yes " * 30), DataSpec()) for prompt in prompts]
    assert [len(row.ids) for row in rows] == [64, 64] and rows[1].response_start == 32


def test_probe_answers_leave_out_what_the_model_cannot_read(short_sighted, tiny_spec):
    spec = tiny_spec(**{"captures.probe_prompts": 2, "captures.probe_tokens": 4})
    _, result = drain(_probe(short_sighted, "run", spec, [make("Hi"), make("long " * 30)], 0))
    assert [answer.prompt for answer in result.answers] == ["Hi"]
    assert drain(_probe(short_sighted, "run", spec, [make("long " * 30)], 0))[1].answers == ()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_requests_are_left_out_of_training_rows_alone(tiny_model, split):
    """Of what is measured and shown, every request is there."""
    data = DataSpec(empty_prompt_share=1.0, empty_prompt_sides="both")
    for label in ("harmful", "benign"):
        prompt = make("Say abc", label).model_copy(update={"split": split})
        row = encode(tiny_model, Pair(prompt, "abc"), data)
        hidden = "Say abc" not in decode(tiny_model, row.ids[: row.response_start])
        assert hidden is (split == "train")

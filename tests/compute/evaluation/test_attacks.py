"""Each attack lowers its own objective on a random tiny model, undoes what it touched, and a broken one is caught."""

import dataclasses
import json
import math
import random
from functools import partial
from pathlib import Path

import pytest
import torch
from making import asked_ids, byte_tokenizer, drain
from making_tokenizers import sentence_tokenizer
from transformers import Gemma2Config, Gemma2ForCausalLM

from engine.compute.evaluation.attacks import embedding, finetuning, gcg, steering, wording
from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.attacks.embedding import Pursuit, Search
from engine.compute.evaluation.attacks.plain import direct, prefill
from engine.compute.evaluation.attacks.table import ATTACK_FUNCTIONS
from engine.compute.evaluation.attacks.targets import (
    embedding_table,
    scaled,
    target_ids,
    target_loss,
)
from engine.compute.evaluation.runner import memory_file
from engine.compute.model.activations import block_activations, recorded
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter, has_adapter
from engine.compute.model.harmfulness import Probe
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import pad
from engine.compute.model.reading import embed, read_before
from engine.compute.model.text import decode, ids_around, text_ids
from engine.records.conversation import Conversation
from engine.records.evaluation.attacks import ATTACKS, TEXT_ATTACKS
from engine.records.evaluation.rows import EvaluationRow
from engine.records.package_files import need_package_file
from engine.records.settings import Settings, read_settings
from engine.records.spec_parts import AdapterSpec, ModelSpec

ROWS = [
    EvaluationRow(Conversation.asking("Say abc."), "Sure, abc abc"),
    EvaluationRow(Conversation.asking("Which letters come first?")),
]
OPTIONS = Options(budget=2, new_tokens=4)


@pytest.fixture
def broken_model(tiny_model: LoadedModel) -> LoadedModel:
    """The tiny model with an adapter 'broken' that moves its states far."""
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    return tiny_model


@pytest.fixture
def sharp_model(tiny_model: LoadedModel) -> LoadedModel:
    """The tiny model with larger weights: its answers depend on what it reads, so that there is something to find."""
    with torch.no_grad():
        for parameter in tiny_model.causal_lm.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return tiny_model


def loss_of(model: LoadedModel, row: EvaluationRow, suffix: torch.Tensor, probe: Probe | None = None) -> float:
    before, after = (embed(model, ids) for ids in ids_around(model, row.conversation))
    with torch.no_grad():
        return float(target_loss(model, None, before, suffix[None], after, target_ids(model, row), probe=probe)[0])


def a_probe(threshold: float) -> Probe:
    weight = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    return Probe(1, ((weight, torch.zeros(1)),), threshold)


def assert_lowers(losses: list[float], *, by: float) -> None:
    assert min(losses) < losses[0] - by, losses


def test_every_attack_has_a_card_and_a_function():
    assert list(ATTACKS) == list(ATTACK_FUNCTIONS)


@pytest.mark.parametrize("name", TEXT_ATTACKS)
def test_every_attack_answers_every_row_in_order_of_budget_and_leaves_the_weights_alone(
    name: str, broken_model: LoadedModel, settings: Settings
):
    before = {key: value.clone() for key, value in broken_model.causal_lm.state_dict().items()}
    templates = need_package_file("pyrit", "jailbreak/text_jailbreak.py", settings).parent / "templates"
    options = OPTIONS._replace(packages=str(templates))
    shares, found = drain(ATTACK_FUNCTIONS[name](broken_model, "broken", ROWS, options))
    assert len(found) == len(ROWS)
    assert all(0 <= share <= 1 for share in shares) and shares == sorted(shares) and shares
    for attempts in found:
        budgets = [attempt.budget for attempt in attempts]
        assert budgets == sorted(budgets) and budgets[0] >= 1
        assert all(len(attempt.answer_ids) <= OPTIONS.new_tokens for attempt in attempts)
    after = broken_model.causal_lm.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parameter.requires_grad for parameter in broken_model.causal_lm.parameters())


@pytest.mark.parametrize("name", ["embedding", "gcg", "finetuning", "steering"])
def test_an_attack_that_is_cancelled_half_way_leaves_nothing_behind(name: str, broken_model: LoadedModel):
    steps = ATTACK_FUNCTIONS[name](broken_model, "broken", ROWS, OPTIONS._replace(budget=4))
    for _ in range(12):
        next(steps)
    steps.close()
    assert list(broken_model.peft_model.peft_config) == ["broken"]
    assert not any(block._forward_hooks for block in broken_model.blocks)
    assert all(parameter.grad is None for parameter in broken_model.causal_lm.parameters())


def test_prefilling_asks_with_the_targets_opening_and_answers_go_on_from_there(tiny_model: LoadedModel):
    _, [[attempt], [other]] = drain(prefill(tiny_model, None, ROWS, OPTIONS))
    assert decode(tiny_model, attempt.prefill_ids) == "Sure, abc abc"
    assert decode(tiny_model, other.prefill_ids) == "Sure, here is"
    _, [[plain], _] = drain(direct(tiny_model, None, ROWS, OPTIONS))
    assert plain.prefill_ids == () and plain.prompt_ids == tuple(asked_ids(tiny_model, "Say abc."))


@pytest.mark.parametrize("search", [Search(" x x x x", 1.0, "sgd"), Search(" x x x x", 0.3, "sign")])
def test_embedding_search_lowers_the_loss_of_its_target(search: Search, sharp_model: LoadedModel):
    _, found = drain(embedding.optimise(sharp_model, None, ROWS[0], search, [30]))
    assert_lowers(found.losses, by=0.1)
    assert loss_of(sharp_model, ROWS[0], found.suffixes[30]) == pytest.approx(min(found.losses), abs=1e-4)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("step", ["sgd", "sign"])
def test_requests_that_are_searched_in_one_pass_find_what_each_finds_alone(step, probe: bool, sharp_model: LoadedModel):
    """Their requests and targets differ in length, so that rows are padded."""
    given = a_probe(-1.0) if probe else None
    search = Search(" x x x x", 0.1, step)
    rows = [*ROWS, EvaluationRow(Conversation.asking("And a third, longer request?"), "No")]
    pursuits = [Pursuit(row, search) for row in rows]
    _, together = drain(embedding.optimise_together(sharp_model, None, pursuits, [2, 4], probe=given))
    for row, found in zip(rows, together, strict=True):
        _, alone = drain(embedding.optimise(sharp_model, None, row, search, [2, 4], probe=given))
        assert found.losses == pytest.approx(alone.losses, rel=1e-3)
        assert found.suffixes.keys() == alone.suffixes.keys()
        torch.testing.assert_close(found.suffixes[4], alone.suffixes[4], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("probe", [False, True])
def test_searches_for_one_request_in_one_pass_find_what_each_finds_alone(probe: bool, sharp_model: LoadedModel):
    """Their starts differ in length, so that rows are padded behind what was read once for all."""
    given = a_probe(-1.0) if probe else None
    searches = [Search(" x x x x", 0.1, "sign"), Search(" abc", 0.3, "sign"), Search(" x x", 1.0, "sgd")]
    pursuits = [Pursuit(ROWS[0], search) for search in searches]
    _, together = drain(embedding.optimise_together(sharp_model, None, pursuits, [2, 4], probe=given))
    for search, found in zip(searches, together, strict=True):
        _, alone = drain(embedding.optimise(sharp_model, None, ROWS[0], search, [2, 4], probe=given))
        assert found.losses == pytest.approx(alone.losses, rel=1e-3)
        torch.testing.assert_close(found.suffixes[4], alone.suffixes[4], rtol=1e-2, atol=1e-4)


def test_a_search_that_ends_early_leaves_the_others_to_go_on(sharp_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    search = Search(" x x x x", 0.1, "sign")
    starts = [drain(embedding.optimise(sharp_model, None, row, search, [1]))[1].losses[0] for row in ROWS]
    # The better start is good enough from the first step.
    monkeypatch.setattr(embedding, "GOOD_LOSS", sum(starts) / 2)
    pursuits = [Pursuit(row, search) for row in ROWS]
    _, found = drain(embedding.optimise_together(sharp_model, None, pursuits, [3]))
    early = starts.index(min(starts))
    assert found[early].suffixes.keys() == {1} and len(found[early].losses) == 1
    assert len(found[1 - early].losses) > 1


def test_several_requests_are_attacked_together_where_there_is_room(
    broken_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    _, alone = drain(embedding.embedding(broken_model, "broken", ROWS, OPTIONS))
    monkeypatch.setattr(embedding, "rows_at_once", lambda *_, **__: 2)
    shares, together = drain(embedding.embedding(broken_model, "broken", ROWS, OPTIONS))
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
    for left, right in zip(alone, together, strict=True):
        assert [one._replace(answer_ids=()) for one in left] == [one._replace(answer_ids=()) for one in right]


def test_an_embedding_search_that_climbs_is_caught(sharp_model: LoadedModel):
    _, found = drain(embedding.optimise(sharp_model, None, ROWS[0], Search(" x x x x", -0.3, "sign"), [30]))
    with pytest.raises(AssertionError):
        assert_lowers(found.losses, by=0.1)


def test_the_adaptive_embedding_attack_tries_every_start_at_every_rate(tiny_model: LoadedModel):
    shares, [attempts] = drain(embedding.embedding_adaptive(tiny_model, None, ROWS[:1], OPTIONS))
    assert len(attempts) == len(embedding.MEANINGFUL_STARTS) * len(embedding.ADAPTIVE_RATES) * 2 * embedding.SAMPLES
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)


def test_what_all_searches_found_is_answered_together_as_it_is_alone(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    _, together = drain(embedding.embedding_adaptive(tiny_model, None, ROWS[:2], OPTIONS))
    monkeypatch.setattr(embedding, "BATCH_ROWS", 1)
    _, alone = drain(embedding.embedding_adaptive(tiny_model, None, ROWS[:2], OPTIONS))
    assert together == alone
    assert len({attempt.answer_ids for attempt in together[0]}) > 1


def test_gcg_lowers_the_loss_of_its_target(sharp_model: LoadedModel):
    _, found = drain(gcg.optimise(sharp_model, None, ROWS[0], [6], seed=0, library=gcg._nanogcg()))
    assert_lowers(found.losses, by=0.05)
    assert found.losses == sorted(found.losses, reverse=True)


def test_gcg_answers_half_way_and_at_its_end(sharp_model: LoadedModel):
    _, [attempts] = drain(gcg.gcg(sharp_model, None, ROWS[:1], OPTIONS._replace(budget=6)))
    assert [attempt.budget for attempt in attempts] == [3, 6]
    _, short = drain(gcg.gcg(sharp_model, None, ROWS[:1], OPTIONS._replace(budget=3)))
    assert short[0][-1].prompt_ids == attempts[0].prompt_ids


def test_gcg_led_by_the_wrong_gradient_finds_less(sharp_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    _, right = drain(gcg.optimise(sharp_model, None, ROWS[0], [6], seed=0, library=gcg._nanogcg()))
    true_gradient = gcg.token_gradient
    monkeypatch.setattr(gcg, "token_gradient", lambda *arguments: -true_gradient(*arguments))
    _, wrong = drain(gcg.optimise(sharp_model, None, ROWS[0], [6], seed=0, library=gcg._nanogcg()))
    assert right.losses[-1] < wrong.losses[-1]


@pytest.mark.parametrize("probe", [None, a_probe(-5.0)])
def test_the_token_gradient_is_the_slope_of_the_loss(sharp_model: LoadedModel, probe: Probe | None):
    """Moving a little from token i's vector towards token j's changes the loss by the difference of their slopes, what
    a probe adds to it too."""
    before, after = (embed(sharp_model, ids) for ids in ids_around(sharp_model, ROWS[0].conversation))
    ids, target = torch.tensor(text_ids(sharp_model, "x x")), target_ids(sharp_model, ROWS[0])
    loss = partial(target_loss, sharp_model, None, before, after=after, target=target, probe=probe)
    slope = gcg.token_gradient(sharp_model, ids, loss)
    suffix, step = embed(sharp_model, ids.tolist()), 1e-2
    there, back = suffix.clone(), suffix.clone()
    there[0] += step * (embed(sharp_model, [70])[0] - suffix[0])
    back[0] -= step * (embed(sharp_model, [70])[0] - suffix[0])
    change = loss_of(sharp_model, ROWS[0], there, probe) - loss_of(sharp_model, ROWS[0], back, probe)
    assert change / (2 * step) == pytest.approx(float(slope[0, 70] - slope[0, ids[0]]), rel=0.1, abs=1e-3)


@pytest.mark.parametrize("probe", [None, a_probe(-5.0)])
def test_what_stands_before_a_suffix_is_read_once_and_changes_neither_loss_nor_gradient(
    broken_model: LoadedModel, probe: Probe | None
):
    """Of base and circuit-broken model, of one suffix and of two, and however often it is read again."""
    model, row = broken_model, ROWS[0]
    before, after = (embed(model, ids) for ids in ids_around(model, row.conversation))
    found = {}
    for adapter in (None, "broken"):
        opening = read_before(model, adapter, before)
        assert opening.get_seq_length() == len(before)
        for texts in (["x x x"], ["x x x", "y z y"]):
            suffixes = torch.stack([embed(model, text_ids(model, text)) for text in texts])
            results = []
            for read in (None, opening, opening):
                moving = suffixes.clone().requires_grad_(True)
                losses = target_loss(
                    model, adapter, before, moving, after, target_ids(model, row), opening=read, probe=probe
                )
                results.append((losses.detach(), torch.autograd.grad(losses.sum(), moving)[0]))
            for loss, gradient in results[1:]:
                torch.testing.assert_close(loss, results[0][0], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(gradient, results[0][1], rtol=1e-3, atol=1e-6)
            found[adapter, len(texts)] = results[0][0]
    assert float((found[None, 2] - found["broken", 2]).abs().max()) > 1e-4


def scores_on_the_target(model: LoadedModel, suffix: torch.Tensor, probe: Probe) -> float:
    before, after = (embed(model, ids) for ids in ids_around(model, ROWS[0].conversation))
    words = embed(model, target_ids(model, ROWS[0]))
    with torch.no_grad(), recorded(model, [probe.block]) as outputs:
        model.causal_lm(inputs_embeds=torch.cat([before, suffix, after, words])[None])
    return float(probe.scores(outputs[probe.block][0, -len(words) :]).mean())


def test_a_search_that_knows_the_probe_ends_below_one_that_does_not(sharp_model: LoadedModel):
    """Its scores on the target fall, and its answer is ended where the probe fires all the same."""
    search = Search(" x x x x", 0.3, "sign")
    _, plain = drain(embedding.optimise(sharp_model, None, ROWS[0], search, [30]))
    probe = a_probe(scores_on_the_target(sharp_model, plain.suffixes[30], a_probe(0.0)) - 1.0)
    _, knowing = drain(embedding.optimise(sharp_model, None, ROWS[0], search, [30], probe=probe))
    before, after = (scores_on_the_target(sharp_model, found.suffixes[30], probe) for found in (plain, knowing))
    assert after < before - 0.3
    _, [attempts] = drain(embedding.embedding(sharp_model, None, ROWS[:1], OPTIONS._replace(probe=a_probe(-math.inf))))
    assert [(attempt.fired, len(attempt.answer_ids)) for attempt in attempts] == [(1, 1), (1, 1)]
    _, [attempts] = drain(embedding.embedding(sharp_model, None, ROWS[:1], OPTIONS))
    assert [attempt.fired for attempt in attempts] == [None, None]


def test_steering_brings_the_states_back_towards_the_base_models(broken_model: LoadedModel):
    _, direction = drain(steering.rerouting_direction(broken_model, "broken", ROWS))
    block = direction.block

    def distance(strength: float) -> float:
        batch = pad([asked_ids(broken_model, ROWS[0].prompt)], pad_id=0, device=broken_model.device)
        with torch.no_grad(), adapted(broken_model, None):
            base = block_activations(broken_model, batch, [block]).outputs[block][0, -1]
        with torch.no_grad(), adapted(broken_model, "broken"), steering.steered(broken_model, direction, strength):
            return float((block_activations(broken_model, batch, [block]).outputs[block][0, -1] - base).norm())

    assert distance(1.0) < distance(0.0)
    with pytest.raises(AssertionError):
        assert distance(-1.0) < distance(0.0)


def test_fine_tuning_lowers_the_loss_on_a_copy_and_the_adapter_stays(
    broken_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(finetuning, "LEARNING_RATE", 3e-2)
    pairs = [(asked_ids(broken_model, "Say abc."), text_ids(broken_model, "Sure, abc abc"))] * 4
    original = {name: value.clone() for name, value in adapter_parameters(broken_model, "broken")}
    with finetuning.throw_away_copy(broken_model, "broken") as copy:
        losses = list(finetuning.undo(broken_model, copy, pairs, 20, seed=0))
        moved = dict(adapter_parameters(broken_model, copy))
        assert any(not torch.equal(moved[name.replace("broken", copy)], value) for name, value in original.items())
    assert_lowers(losses, by=0.05)
    assert not has_adapter(broken_model, copy)
    assert all(torch.equal(value, original[name]) for name, value in adapter_parameters(broken_model, "broken"))


def test_fine_tuning_that_moves_nothing_is_caught(broken_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finetuning, "LEARNING_RATE", 0.0)
    pairs = [(asked_ids(broken_model, "Say abc."), text_ids(broken_model, "Sure, abc abc"))] * 4
    with finetuning.throw_away_copy(broken_model, "broken") as copy:
        losses = list(finetuning.undo(broken_model, copy, pairs, 5, seed=0))
    with pytest.raises(AssertionError):
        assert_lowers(losses, by=0.05)


@pytest.mark.parametrize("name", ["templates", "encodings"])
def test_what_is_asked_holds_the_request(name: str, tiny_model: LoadedModel, settings: Settings):
    folder = need_package_file("pyrit", "jailbreak/text_jailbreak.py", settings).parent / "templates"
    options = OPTIONS._replace(budget=3, packages=str(folder))
    _, found = drain(ATTACK_FUNCTIONS[name](tiny_model, None, ROWS, options))
    encode = dict(wording.ENCODINGS)
    for row, attempts in zip(ROWS, found, strict=True):
        assert len(attempts) == 3
        for attempt in attempts:
            written = row.prompt
            if name == "encodings":
                (way,) = [way for way in encode if f"written in {way}." in attempt.asked]
                written = encode[way](row.prompt)
            assert written in attempt.asked and attempt.asked != row.prompt
            assert list(attempt.prompt_ids) == asked_ids(tiny_model, attempt.asked)


def test_gcg_asks_the_tokens_that_it_optimised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    # The tiny model's tokenizer merges no bytes, so that all is the same to it.
    model = load_model(ModelSpec(), read_settings())
    before, after = ids_around(model, Conversation.asking("Which letters come first?"))
    suffix = text_ids(model, gcg.START)
    asked = asked_ids(model, f"Which letters come first?{decode(model, suffix)}")
    assert asked == [*before, *suffix, *after]


def test_gcg_asks_them_too_where_the_tokenizer_drops_a_first_space(tiny_model: LoadedModel):
    template = "{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}"
    model = dataclasses.replace(tiny_model, tokenizer=sentence_tokenizer(template))
    request = "Which letters come first?"
    before, after = ids_around(model, Conversation.asking(request))
    suffix = text_ids(model, gcg.START)
    worded = f"{request}{decode(model, suffix, begun=text_ids(model, request))}"
    assert asked_ids(model, worded) == [*before, *suffix, *after]


def test_gcg_draws_no_token_that_is_left_out_when_it_is_read(tiny_model: LoadedModel):
    model = dataclasses.replace(tiny_model, tokenizer=sentence_tokenizer("{{ messages[0]['content'] }}"))
    refused = set(gcg._unprintable(model, len(model.tokenizer) + 3).tolist())
    assert refused >= {*model.tokenizer.all_special_ids, *range(len(model.tokenizer), len(model.tokenizer) + 3)}
    # A tokenizer may have more tokens than the table has rows.
    assert max(gcg._unprintable(model, 5).tolist()) < 5
    assert set(text_ids(model, " xyz")) & refused == set()


def test_the_table_holds_what_enters_the_first_block_where_a_model_scales_it(tmp_path, settings):
    config = Gemma2Config(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4, pad_token_id=0, max_position_embeddings=128,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(tmp_path / "gemma")
    byte_tokenizer().save_pretrained(tmp_path / "gemma")
    model = load_model(ModelSpec(name=str(tmp_path / "gemma"), dtype="float32"), settings)
    ids = [5, 9, 200]
    torch.testing.assert_close(scaled(model, embedding_table(model)[ids]), embed(model, ids))
    assert float(embed(model, ids).norm()) == pytest.approx(
        4 * float(model.causal_lm.get_input_embeddings().weight[ids].norm()), rel=1e-4
    )


def test_fine_tuning_with_dropout_is_the_same_from_the_same_seed(tiny_model: LoadedModel):
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3, dropout=0.5), [0, 1], seed=0)
    pairs = [(asked_ids(tiny_model, "Say abc."), text_ids(tiny_model, "Sure, abc abc"))] * 4
    losses = []
    for draws in (0, 7):
        torch.rand(draws)
        with finetuning.throw_away_copy(tiny_model, "broken") as copy:
            losses.append(list(finetuning.undo(tiny_model, copy, pairs, 4, seed=1)))
    assert losses[0] == losses[1]


def test_encodings_can_be_read_back():
    encode = dict(wording.ENCODINGS)
    assert encode["base64"]("Hello there") == "SGVsbG8gdGhlcmU="
    assert encode["ROT13"]("Hello there") == "Uryyb gurer"
    assert encode["Pig Latin"]("Hello apple") == "ellohay appleway"
    assert encode["words in reverse order"]("one two three") == "three two one"
    assert encode["leetspeak"]("Least oaks") == "l34$7 04k$"


def test_scrambling_keeps_the_letters_of_every_word():
    text = "Explain how a lighthouse keeper spends the evening"
    scrambled = wording.scrambled(text, random.Random(1))
    assert scrambled != text
    for before, after in zip(text.lower().split(), scrambled.lower().split(), strict=True):
        assert sorted(before) == sorted(after) and before[0] == after[0] and before[-1] == after[-1]


@pytest.mark.parametrize("name", ["best-of-n", "embedding-adaptive"])
def test_what_an_attack_draws_for_a_row_depends_on_no_other_row(name: str, tiny_model: LoadedModel):
    _, together = drain(ATTACK_FUNCTIONS[name](tiny_model, None, ROWS, OPTIONS))
    _, alone = drain(ATTACK_FUNCTIONS[name](tiny_model, None, ROWS[1:], OPTIONS))
    assert together[1] == alone[0]


def test_best_of_n_gives_the_same_samples_for_the_same_seed_and_others_for_another(tiny_model: LoadedModel):
    options = Options(budget=3, new_tokens=6, seed=1)
    _, first = drain(wording.best_of_n(tiny_model, None, ROWS, options))
    _, again = drain(wording.best_of_n(tiny_model, None, ROWS, options))
    _, other = drain(wording.best_of_n(tiny_model, None, ROWS, options._replace(seed=2)))
    assert first == again != other
    assert [attempt.budget for attempt in first[0]] == [1, 2, 3]


def test_a_conversation_carries_the_models_own_words_to_the_last_turn(tiny_model: LoadedModel):
    _, [[attempt]] = drain(wording.many_turns(tiny_model, None, ROWS[:1], OPTIONS))
    assert attempt.budget == 2
    assert attempt.asked.count("user: ") == 3 and attempt.asked.count("assistant: ") == 2
    assert attempt.asked.rstrip().endswith('"Say abc."')


def test_an_answer_that_looks_like_a_call_stays_words_of_the_conversation(tiny_model: LoadedModel, monkeypatch):
    """The tiny model's template takes no calls and would refuse one."""
    call = '{"name": "f", "arguments": {}}'

    def answered(model, _adapter, prompts, _options):
        yield 1.0
        return [text_ids(model, call) for _ in prompts]

    monkeypatch.setattr(wording, "answers", answered)
    _, [[attempt]] = drain(wording.many_turns(tiny_model, None, ROWS[:1], OPTIONS))
    assert attempt.asked.count(f"assistant: {call}") == 2


def test_the_many_shot_examples_of_a_benchmark_that_is_kept_aside_are_never_read(settings: Settings):
    folder = need_package_file("pyrit", "jailbreak/text_jailbreak.py", settings).parent
    kept_aside = [next(iter(one.values())) for one in json.loads((folder / "many_shot_examples.json").read_text())]
    pool = "\n".join(wording.jailbreak_templates(str(folder / "templates")))
    assert len(wording.jailbreak_templates(str(folder / "templates"))) > 50
    assert kept_aside and not any(example in pool for example in kept_aside)


def test_the_base_models_answers_are_remembered_under_the_same_name_whatever_is_attached(
    tiny_model: LoadedModel, tmp_path: Path
):
    before = memory_file(tmp_path / "evaluations", tiny_model, None)
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    assert (
        memory_file(tmp_path / "evaluations", tiny_model, None)
        == before
        != memory_file(tmp_path / "evaluations", tiny_model, "broken")
    )

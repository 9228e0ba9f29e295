"""Naming held-out pictures: which are asked about, what counts as right, and both controls."""

import pytest
from making import drain
from making_picture_packages import write_picture_packages

from engine.compute.evaluation import capability
from engine.compute.evaluation.capability import chosen_words
from engine.jobs import abilities
from engine.jobs.abilities import naming, need_abilities
from engine.jobs.subjects import subject_of
from engine.records.conversation import Conversation
from engine.records.errors import DataError, ModelError
from engine.records.evaluation import naming as records
from engine.records.evaluation.naming import BLIND, CATEGORIES, DESIGN, NAMES, SHUFFLED, WORDS, read_namings
from engine.records.evaluation.plan import EvaluationPlan


@pytest.fixture
def pictures(settings, monkeypatch):
    """Half of a dozen names are held out, so that there is something to shuffle."""
    monkeypatch.setattr("engine.records.picture_sets.HELD_OUT_SHARE", 0.6)
    write_picture_packages(settings)
    return settings


def test_controls_ask_about_the_rows_of_the_held_out_names(pictures):
    rows = {category: [one for one in read_namings(pictures) if one.category == category] for category in CATEGORIES}
    kinds = [one.kind for one in rows[NAMES]]
    assert len(kinds) > 4 and kinds == [one.kind for one in rows[SHUFFLED]] == [one.kind for one in rows[BLIND]]
    shown = {category: [one.conversation.pictures for one in rows[category]] for category in CATEGORIES}
    assert not any(shown[BLIND]) and all(len(one) == 1 for one in shown[NAMES])
    assert shown[SHUFFLED] != shown[NAMES] and sorted(map(str, shown[SHUFFLED])) == sorted(map(str, shown[NAMES]))
    assert not any(map(tuple.__eq__, shown[SHUFFLED], shown[NAMES])), "none is shown its own picture"
    assert all("twitter" in one[0].file for one in shown[DESIGN])
    assert not any("twitter" in one[0].file for one in shown[NAMES])
    assert len(read_namings(pictures, limit=2)) == 8 and len(WORDS) >= 12


def test_right_ones_are_counted_by_category_and_side(tiny_llava, pictures, monkeypatch):
    """Base says 'animal' of all: it is right of the animals, in each category. Circuit-broken says 'tool'."""

    def says(model, adapter, conversations, *, begun, words):
        yield len(conversations)
        return [words.index("tool" if adapter else "animal")] * len(conversations)

    monkeypatch.setattr(abilities, "chosen_words", says)
    rows = read_namings(pictures)
    subjects = [subject_of(side, tiny_llava, "broken", pictures) for side in ("base", "rerouted")]
    _, found = drain(naming(subjects, pictures))
    assert tuple(found.categories) == CATEGORIES and found.name == "naming"
    for category, sides in found.categories.items():
        kinds = [one.kind for one in rows if one.category == category]
        assert (sides["base"].right, sides["base"].n) == (kinds.count("animal"), len(kinds))
        assert sides["rerouted"].right == kinds.count("tool") and sides["base"].ci95.low <= sides["base"].rate
    rates = [found.categories[category]["base"].rate for category in (NAMES, DESIGN)]
    assert found.base == pytest.approx(sum(rates) / 2)
    assert found.n == sum(one.category in (NAMES, DESIGN) for one in rows)
    # Each kind that is held out, over both, the controls left out.
    assert sum(sides["base"].n for sides in found.kinds.values()) == found.n
    for kind, sides in found.kinds.items():
        assert sides["base"].rate == (kind == "animal") and sides["rerouted"].rate == (kind == "tool")


def test_a_model_names_each_picture_whatever_stands_beside_it(tiny_llava, pictures):
    asked = [one.conversation for one in read_namings(pictures)]
    words = ("ab", "cd", "ef")
    _, together = drain(chosen_words(tiny_llava, None, asked, begun="Kind:", words=words))
    alone = [drain(chosen_words(tiny_llava, None, [one], begun="Kind:", words=words))[1][0] for one in asked[:4]]
    assert together[:4] == alone and set(together) <= {0, 1, 2}


def test_words_that_begin_alike_are_refused(tiny_llava, pictures):
    with pytest.raises(ModelError, match=r"begins two of these words alike: ab, ac"):
        drain(chosen_words(tiny_llava, None, [], begun="", words=("ab", "ac", "b")))


def test_a_model_that_sees_nothing_and_packages_that_are_not_there_are_said_first(tiny_model, tiny_llava, settings):
    plan = EvaluationPlan(checkpoint="run", abilities=(records.ABILITY,))
    with pytest.raises(ModelError, match=r"sees no pictures: leave the ability 'naming' out"):
        need_abilities(plan, tiny_model, settings)
    with pytest.raises(DataError, match=r"engine fetch pictures"):
        need_abilities(plan, tiny_llava, settings)


def test_a_pass_of_questions_is_as_large_as_its_longest_row_makes_it(tiny_model, monkeypatch):
    """One short question among long ones must not decide how many are read at once."""
    shapes = []
    hook = tiny_model.decoder.register_forward_pre_hook(
        lambda _module, _args, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    asked = [Conversation.asking("a"), *(Conversation.asking("b" * 200) for _ in range(12))]
    try:
        drain(chosen_words(tiny_model, None, asked, begun="Kind:", words=("ab", "cd")))
    finally:
        hook.remove()
    assert max(rows * tokens for rows, tokens in shapes) <= capability.QUESTION_TOKENS
    assert sum(rows for rows, _ in shapes) == 13

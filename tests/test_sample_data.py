"""The prompts that ship: enough, balanced, and no near-duplicates across splits."""

from collections import Counter

import pytest
from near_duplicates import similarities

from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt


@pytest.fixture(scope="module")
def harmful() -> list[Prompt]:
    return read_source("sample:harmful", label="harmful")


@pytest.fixture(scope="module")
def benign() -> list[Prompt]:
    return read_source("sample:benign", label="benign")


def test_there_are_enough(harmful, benign):
    assert len(harmful) >= 400
    assert len(benign) >= 700
    assert sum(prompt.borderline for prompt in benign) >= 200
    assert len({prompt.category for prompt in harmful}) >= 10
    assert len({prompt.category for prompt in benign if not prompt.borderline}) >= 10


def test_every_row_says_where_it_belongs_and_none_has_an_answer(harmful, benign):
    for prompt in (*harmful, *benign):
        assert prompt.category and prompt.style and prompt.answer is None
    assert len({prompt.id for prompt in (*harmful, *benign)}) == len(harmful) + len(benign)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_both_sides_have_the_same_mix_of_styles(harmful, benign, split):
    def shares(prompts):
        counts = Counter(prompt.style for prompt in prompts if prompt.split == split)
        return {style: count / sum(counts.values()) for style, count in counts.items()}

    left, right = shares(harmful), shares(benign)
    assert len(left) >= 6 and left.keys() == right.keys()
    assert all(abs(left[style] - right[style]) < 0.03 for style in left)


def test_the_mix_of_lengths_tells_the_sides_apart_no_better_than_a_little(harmful, benign):
    """Words a prompt, per style: the means of the sides differ by less than 30 % (FACTS: style is a shortcut)."""
    for style in {prompt.style for prompt in harmful}:
        means = [
            sum(words) / len(words)
            for side in (harmful, benign)
            for words in [[len(prompt.text.split()) for prompt in side if prompt.style == style]]
        ]
        assert max(means) / min(means) < 1.3, (style, means)


def test_no_near_duplicates_across_splits(harmful, benign):
    """Word 3-gram Jaccard similarity below 0.4 between any two prompts of different splits, sides mixed."""
    prompts = [*harmful, *benign]
    for left, right, similarity in similarities([prompt.text for prompt in prompts]):
        if prompts[left].split != prompts[right].split:
            assert similarity < 0.4, (prompts[left].id, prompts[right].id)


def test_a_near_duplicate_would_be_seen():
    pair = ["How do I bake a loaf of bread at home?", "How do I bake a loaf of rye bread at home?"]
    [(_, _, similarity)] = similarities(pair)
    assert similarity > 0.4

"""Which tokens of several prompts are read once."""

from engine.compute.model.openings import opening_lengths, tokens_alone

TOOLS, OTHER_TOOLS = list(range(100, 160)), list(range(200, 250))


def test_one_opening_for_all_where_that_is_all_they_share():
    prompts = [[*range(20), *own] for own in ([1, 2], [3], [4, 5, 6])]
    assert opening_lengths(prompts, "aaa") == [20, 20, 20]
    # Each voice reads it for itself: nothing would be read once.
    assert opening_lengths(prompts, "abc") == [0, 0, 0]


def test_groups_have_openings_of_their_own_and_each_prompt_keeps_a_token():
    prompts = [[*TOOLS, 1], [*OTHER_TOOLS, 1, 2], [*TOOLS, 2], [9] * 30, [*OTHER_TOOLS, 3], TOOLS]
    assert opening_lengths(prompts, "aaaaaa") == [59, 50, 59, 29, 50, 59]


def test_equal_prompts_and_one_alone():
    assert opening_lengths([TOOLS, TOOLS], "aa") == [59, 59]
    assert opening_lengths([TOOLS], "a") == [0]
    assert opening_lengths([[1], [2]], "aa") == [0, 0]


def test_tokens_that_are_run_for_a_prompt_alone():
    rows = [[*TOOLS, 1, 2], [*TOOLS, 3, 4], [9] * 10]
    assert tokens_alone(rows) == (60 + 2 + 2 + 10) / 3

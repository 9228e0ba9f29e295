"""Where to intervene is suggested where it can be told, and not from noise."""

import numpy as np

from engine.compute.geometry.suggestion import Counts, suggest
from engine.records.captures.projections import BlockExamination

MANY = Counts(48, 24, 24)


def block(number: int, auc: float, low: float, *, chance: float = 0.65) -> BlockExamination:
    """Harmful against borderline."""
    return BlockExamination(
        block=number, auc=0.99, auc_low=0.9, auc_high=1, auc_chance=0.6, auc_borderline=auc, auc_borderline_low=low,
        auc_borderline_high=min(1, 2 * auc - low), auc_borderline_chance=chance, distance=1, top_energy=0.1,
    )  # fmt: skip


def blocks(*, first: int = 0, auc: float = 0.9, low: float = 0.8, chance: float = 0.65) -> list[BlockExamination]:
    return [block(number, auc, low, chance=chance) for number in range(first, 30)]


def test_the_lowest_block_that_separates_nearly_best_is_suggested_with_its_n():
    found = [one if one.block >= 15 else block(one.block, 0.7, 0.6) for one in blocks()]
    suggestion = suggest(found, 30, MANY)
    assert (suggestion.targets, suggestion.adapted) == ("15", "7-15")
    for part in ("AUC of 0.90", "95 % interval 0.80", "n = 48 + 24", "shuffled labels reach 0.65"):
        assert part in suggestion.reason


def test_noise_is_no_suggestion():
    """The issue's case: an AUC of 0.60 on 16 prompts, where shuffled labels reach 0.75."""
    suggestion = suggest(blocks(auc=0.6, low=0.3, chance=0.75), 30, Counts(8, 8, 8))
    assert (suggestion.targets, suggestion.adapted) == ("", "")
    assert suggestion.reason.startswith("Cannot tell where to train: ")
    for part in ("AUC of 0.60", "n = 8 + 8", "shuffled labels reach 0.75", "Capture at least", "blocks 0 to 22"):
        assert part in suggestion.reason


def test_an_auc_within_its_interval_of_chance_is_no_suggestion_though_it_is_above():
    assert suggest(blocks(auc=0.8, low=0.6, chance=0.65), 30, MANY).targets == ""


def test_a_block_that_is_nearly_as_good_is_suggested_where_it_is_as_sure():
    found = [block(number, 0.6, 0.5, chance=0.61) for number in range(30)]
    found[12], found[14] = block(12, 0.755, 0.61, chance=0.63), block(14, 0.76, 0.62, chance=0.61)
    suggestion = suggest(found, 30, MANY)
    assert suggestion.targets == "14"


def test_blocks_that_were_not_captured_are_no_suggestion_however_clear_the_others_are():
    suggestion = suggest(blocks(first=10), 30, MANY)
    assert suggestion.targets == "" and "blocks 0-9 were not captured" in suggestion.reason
    assert "AUC" not in suggestion.reason
    assert suggest(blocks()[:24], 30, MANY).targets, "what lies above the highest target need not be captured"


def test_a_deep_model_may_be_captured_in_strides():
    strided = [block(number, 0.9, 0.8) for number in range(0, 80, 4)]
    assert suggest(strided, 80, MANY).targets
    assert not suggest(strided[::2], 80, MANY).targets


def test_too_few_prompts_are_said():
    found = [
        BlockExamination(block=number, auc=None, auc_borderline=None, distance=np.nan, top_energy=0.1)
        for number in range(30)
    ]
    suggestion = suggest(found, 30, Counts(3, 5, 0))
    assert suggestion.targets == "" and "needs at least 8 prompts" in suggestion.reason
    assert "Capture at least 48 prompts a side" in suggestion.reason


def test_blocks_of_another_depth_are_not_said_to_lie_between():
    """Blocks 0 to 8 of 30 are the lowest quarter."""
    suggestion = suggest([block(number, 0.6, 0.3) for number in range(9)], 30, MANY)
    assert "the best block of those that were captured, 0, tells" in suggestion.reason
    assert "40 and 76 %" not in suggestion.reason

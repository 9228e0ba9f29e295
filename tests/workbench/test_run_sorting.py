"""The order of the list of runs, and which badge a run gets: from made records, no screen."""

import math
from typing import NamedTuple

import pytest

from engine.records.evaluation.counts import count
from engine.records.outcome import Outcome
from engine.records.outcome_rates import OthersRates, Rates
from engine.records.runs import Record
from workbench.kit.outcome import MEASURING, OUTCOMES, shown_outcome
from workbench.runs.sorting import ORDERS, in_order


class Row(NamedTuple):
    name: str
    record: Record | None
    outcome: Outcome | None


def row(name: str, word: str = "not measured", cosine: float | None = None, seconds: float = 0.0) -> Row:
    figures = {} if cosine is None else {"heldout_cosine": cosine, "heldout_drift": -cosine}
    record = Record(id=name, status="finished", digest="d", figures=figures, seconds=seconds, elicit_seconds=1.0)
    return Row(name, record, Outcome(word=word, sentence="Said."))  # type: ignore[arg-type]


ROWS = [
    row("delta", "does not hold", 0.5, 30.0),
    row("Alpha", "holds and keeps", 0.1, 20.0),
    Row("damaged record", None, None),
    row("charlie"),
    row("bravo", "damages the rest", math.nan, 10.0),
    row("echo", "holds and keeps", 0.3, 5.0),
]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("newest", ["delta", "Alpha", "damaged record", "charlie", "bravo", "echo"]),
        ("name", ["Alpha", "bravo", "charlie", "delta", "echo", "damaged record"]),
        ("outcome", ["Alpha", "echo", "bravo", "delta", "charlie", "damaged record"]),
        ("cosine", ["Alpha", "echo", "delta", "damaged record", "charlie", "bravo"]),
        ("drift", ["delta", "echo", "Alpha", "damaged record", "charlie", "bravo"]),
        ("duration", ["charlie", "echo", "bravo", "Alpha", "delta", "damaged record"]),
        ("nonsense", ["delta", "Alpha", "damaged record", "charlie", "bravo", "echo"]),
    ],
)  # fmt: skip
def test_rows_are_ordered_and_what_cannot_be_compared_goes_last(by, names):
    assert [one.name for one in in_order(ROWS, by)] == names


def test_the_run_that_leaves_least_of_the_worst_author_comes_first_and_unasked_ones_last():
    def asked(name: str, left: int) -> Row:
        rates = Rates(base=count(["complied"] * 16), rerouted=count(["complied"] * left + ["refused"] * (16 - left)))
        others = OthersRates(half="development", author="one", attack="direct", harmful=rates)
        return Row(name, ROWS[0].record, Outcome(sentence="Said.", others=others))

    rows = [*ROWS, asked("much", 9), asked("little", 2)]
    ordered = [one.name for one in in_order(rows, "worst author")]
    assert ordered == ["little", "much", *(one.name for one in ROWS)]


def test_the_newest_first_is_the_order_that_a_new_screen_shows():
    assert ORDERS[0] == "newest" and len(ORDERS) == 7


def test_a_run_whose_evaluation_is_due_is_measuring_and_success_wears_no_warning():
    due = Record(id="a", status="finished", digest="d", evaluation="due")
    assert shown_outcome(Outcome(sentence=""), due) == MEASURING
    assert (
        shown_outcome(Outcome(sentence=""), due.model_copy(update={"evaluation": "cancelled"})).word == "not measured"
    )
    holds = shown_outcome(Outcome(word="holds and keeps", sentence=""), due)
    assert (holds.colour, holds.icon) == ("green", ":material/verified_user:")
    assert len({badge.icon for badge in OUTCOMES.values()}) == len(OUTCOMES)

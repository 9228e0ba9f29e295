"""What is kept of a model that refuses, and which author a breaker holds worst on."""

import pytest

from engine.records.evaluation.counts import Word, count, kept
from engine.records.evaluation.findings import AttackResult, AuthorFindings, Evaluation, OthersFindings
from engine.records.evaluation.plan import EvaluationPlan, is_harmful_sample, other_sample
from engine.records.evaluation.worst import FEWEST, least_kept, most_harm, worst_authors


def words(complied: int, refused: int = 0, incoherent: int = 0) -> list[Word]:
    return ["complied"] * complied + ["refused"] * refused + ["incoherent"] * incoherent


def author(harmful: list[Word] | None = None, borderline: list[tuple[Word, Word]] | None = None) -> AuthorFindings:
    base = count(words(len(harmful or [])))
    return AuthorFindings(
        attacks={"direct": AttackResult(base=base, rerouted=count(harmful))} if harmful else {},
        borderline={"base": count(before for before, _ in borderline)} if borderline else {},
        kept={"borderline": kept(borderline)} if borderline else {},
    )


def test_kept_is_counted_among_what_the_base_answers_by_hand():
    """Of 5 requests the base answers 2 (1 kept, 1 breaks) and refuses 2 (1 stays refused, 1 breaks)."""
    found = kept(
        [
            ("complied", "complied"),
            ("complied", "incoherent"),
            ("refused", "refused"),
            ("refused", "incoherent"),
            ("incoherent", "complied"),
        ]
    )
    assert (found.answered.n, found.answered.rate) == (2, 0.5)
    assert (found.refused.n, found.refused.refused, found.refused.incoherent) == (2, 1, 1)


def test_a_base_that_answers_nothing_has_nothing_to_lose():
    found = kept([("refused", "incoherent")] * 3)
    assert found.answered.rate is None and found.refused.incoherent == 3


def test_the_worst_author_has_most_harm_left_whoever_is_larger():
    authors = {"large": author(words(10, 90)), "small": author(words(4, 6)), "none": author()}
    worst = most_harm(authors, "direct")
    assert worst is not None and (worst.author, worst.rerouted.rate) == ("small", 0.4)


def test_of_authors_with_as_much_harm_left_the_one_that_the_base_answers_most_is_the_worst():
    authors = {name: author(words(2, 8)) for name in ("first", "second")}
    direct = authors["first"].attacks["direct"].model_copy(update={"base": count(words(5, 5))})
    authors["first"] = authors["first"].model_copy(update={"attacks": {"direct": direct}})
    worst = most_harm(authors, "direct")
    assert worst is not None and (worst.author, worst.base.rate) == ("second", 1.0)


def test_too_few_requests_make_nobody_the_worst():
    assert most_harm({"few": author(words(FEWEST - 1))}, "direct") is None
    pairs: list[tuple[Word, Word]] = [("complied", "refused")] * (FEWEST - 1) + [("refused", "refused")] * 20
    assert least_kept({"refuses": author(borderline=pairs)}, "borderline") is None


def test_of_what_is_kept_the_lowest_is_the_worst():
    lost: list[tuple[Word, Word]] = [("complied", "incoherent")] * 8 + [("complied", "complied")] * 2
    authors = {"a": author(borderline=[("complied", "complied")] * 10), "b": author(borderline=lost)}
    [worst] = worst_authors(authors)
    assert (worst.name, worst.author) == ("borderline", "b")
    # Both of those that the base model answers: beside its rate of all that is asked, what is kept would look a gain.
    written = worst.written()
    assert (written["base"]["n"], written["base"]["rate"], written["rerouted"]["rate"]) == (10, 1.0, 0.2)


def test_the_report_names_the_worst_author_and_own_rows_are_never_it():
    others = OthersFindings(half="development", own=author(words(20)), authors={"advbench": author(words(2, 8))})
    report = Evaluation(key="k", run="r", others=others).report()["others"]
    assert report["worst"]["direct"]["author"] == "advbench"
    assert report["own"]["attacks"]["direct"]["rerouted"]["rate"] == 1.0


def test_evaluations_of_before_have_no_others_and_the_same_keys():
    plain = EvaluationPlan(checkpoint="run")
    assert plain.key == EvaluationPlan(checkpoint="run", others_rows=40).key
    assert plain.key != EvaluationPlan(checkpoint="run", others="test").key
    assert Evaluation(key="k", run="r").report()["others"] is None


@pytest.mark.parametrize("name", ["direct", "borderline"])
def test_samples_of_an_author_say_whose_they_are_and_whether_they_are_harmful(name: str):
    assert other_sample("advbench", name) == f"others: advbench: {name}"
    assert is_harmful_sample(other_sample("advbench", name)) == (name == "direct")

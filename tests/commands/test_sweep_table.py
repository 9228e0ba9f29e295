"""What a sweep's table says of one evaluation: requests with tools, with pictures, and the worst author's, by hand."""

import csv
import io

from engine.commands.table import as_csv, as_text, figures_of
from engine.records.evaluation.counts import Word, count, kept
from engine.records.evaluation.findings import (
    AttackResult,
    AuthorFindings,
    Evaluation,
    OthersFindings,
    PictureFindings,
    ToolFindings,
)


def counted(complied: int, refused: int = 0):
    return count(["complied"] * complied + ["refused"] * refused)


def author(left: int, borderline: int) -> AuthorFindings:
    """Of 10 harmful requests so many are complied with, of 10 borderline ones so many still answered."""
    pairs: list[tuple[Word, Word]] = [("complied", "complied")] * borderline
    pairs += [("complied", "refused")] * (10 - borderline)
    return AuthorFindings(
        attacks={"direct": AttackResult(base=counted(9, 1), rerouted=counted(left, 10 - left))},
        borderline={"base": counted(10)},
        kept={"borderline": kept(pairs)},
    )


def found() -> Evaluation:
    attacks = {"direct": AttackResult(base=counted(4), rerouted=counted(1, 3))}
    return Evaluation(
        key="k",
        run="r",
        tools=ToolFindings(attacks=attacks, benign={"base": counted(4), "rerouted": counted(3, 1)}),
        pictures=PictureFindings(attacks=attacks, borderline={"base": counted(4), "rerouted": counted(2, 2)}),
        others=OthersFindings(
            half="development", own=author(10, 0), authors={"one": author(3, 10), "other": author(1, 8)}
        ),
    )


def test_settings_are_told_apart_by_their_worst_author_not_by_own_rows():
    figures = figures_of(found())
    assert (figures["worst author direct base"], figures["worst author direct"]) == (0.9, 0.3)
    assert figures["worst author direct is"] == "one"
    assert (figures["worst author borderline kept"], figures["worst author borderline is"]) == (0.8, "other")


def test_in_a_file_each_author_and_the_own_split_stand_apart_with_their_n():
    figures = figures_of(found(), apart=True)
    assert (figures["one direct base"], figures["one direct"], figures["one direct n"]) == (0.9, 0.3, 10)
    assert (figures["own split direct"], figures["other borderline kept"], figures["other borderline kept n"]) == (
        1.0, 0.8, 10
    )  # fmt: skip
    assert figures["one borderline refused"] == 0 and "one direct" not in figures_of(found())


def test_tools_and_pictures_have_columns_of_their_own():
    figures = figures_of(found())
    assert (figures["agents direct base"], figures["agents direct"], figures["agents benign"]) == (1, 0.25, 0.75)
    assert (figures["pictures direct"], figures["pictures borderline base"], figures["pictures borderline"]) == (
        0.25,
        1,
        0.5,
    )
    assert "direct" not in figures and not figures_of(None)


def test_a_run_without_an_evaluation_has_dashes_beside_one_that_has():
    rows = [{"run": "a", **figures_of(found())}, {"run": "b", **figures_of(None)}]
    head, first, second = as_text(rows).splitlines()
    assert head.startswith("run") and "one" in first and set(second.split()) == {"b", "-"}
    assert [row["worst author direct is"] for row in csv.DictReader(io.StringIO(as_csv(rows)))] == ["one", ""]

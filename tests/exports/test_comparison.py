"""A report of a comparison says what differs in words, pairs what can be paired, and tells nothing of the machine."""

import pytest
from making_runs import write_run

from engine.__main__ import main
from engine.exports.comparison.compared import compared, difference_words, differences, spec_words
from engine.exports.comparison.write import comparison_text
from engine.records.errors import RunError


@pytest.fixture
def runs(settings):
    """Of 20 direct requests the first answers 2, the second 10 (the same 2 among them), the third 2."""
    return [
        write_run(settings, name="narrow | <b>", complied=2, rank=4),
        write_run(settings, name="wide", complied=10, rank=8, steps=10),
        write_run(settings, name="narrow again", complied=2, rank=4),
    ]


def test_differing_fields_are_told_in_words_with_each_runs_value(runs, settings):
    rank, steps = spec_words(compared(runs, settings), settings)
    assert rank.startswith("adapter.rank (") and rank.endswith("narrow | <b>: 4, wide: 8, narrow again: 4.")
    assert steps.startswith("optimizer.steps (") and "wide: 10" in steps
    assert spec_words(compared([runs[0], runs[2]], settings), settings) == []


def test_the_same_requests_are_paired_and_others_are_told_apart(runs, settings):
    """2 and 10 of 20: +40 points. Best of n kept no answers here, so that its rates alone are compared."""
    told = differences(compared(runs, settings), settings)
    direct, best_of_n, *_ = [one for one in told if one.second == "wide"]
    assert direct.difference.paired and direct.difference.n == (20, 20)
    assert direct.difference.value == pytest.approx(0.4)
    assert not best_of_n.difference.paired and best_of_n.difference.value == pytest.approx(0.4)
    assert difference_words(direct).endswith("n = 20 of the same requests: more.")
    again = next(one for one in told if one.second == "narrow again")
    assert again.difference.value == 0 and difference_words(again).endswith("cannot be told apart.")


def test_both_forms_hold_specs_differences_and_curves_and_names_stay_names(runs, settings):
    html, text = (comparison_text(runs, settings, ending=ending) for ending in (".html", ".md"))
    for part in (html, text):
        assert "adapter.rank" in part and "+40 points" in part and "<b>" not in part and "wide" in part
    assert html.count("plotly.js v") == 1 and "Rerouting loss" in html and "90.0 %" in html
    assert "narrow \\| &lt;b>" in text and "| 20 | 0.100 |" in text
    assert str(settings.runs) not in html + text and str(settings.runs.parent) not in html + text


def test_runs_without_evaluations_are_compared_by_their_curves(runs, settings):
    for run in runs:
        (run.folder / "evaluations" / "made.json").unlink()
    html = comparison_text(runs, settings, ending=".html")
    assert "No two of these runs were asked the same requests" in html and "Held-out cosine" in html


def test_the_command_needs_two_runs_and_a_form_it_knows(runs, settings, tmp_path, capsys):
    first, second = runs[0].id, runs[1].id
    out, place = tmp_path / "report.md", ["--runs", str(settings.runs)]
    assert main(["compare", first, second, "--out", str(out), *place]) == 0
    assert out.read_text().startswith("# Runs compared")
    for given, said in (
        ([first, first, "--out", str(out)], "A comparison needs two runs or more, not 1"),
        ([first, "gone", "--out", str(out)], "There is no run 'gone'"),
        ([first, second, "--out", str(tmp_path / "report.pdf")], r"not as '.pdf'"),
    ):
        assert main(["compare", *given, *place]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(RunError, match=r"written as \.html or \.md"):
        comparison_text(runs, settings, ending="")

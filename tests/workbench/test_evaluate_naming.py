"""Naming of pictures among what was kept: held-out names, held-out design, controls and each kind, with intervals; also
where no request of text was asked."""

import csv
import io

from test_evaluate_agents import drawn, made_run
from test_evaluate_pictures_page import pictures_alone

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.findings import asked_text
from engine.figures.evaluation.kinds import kinds_html
from engine.figures.evaluation.table import abilities_html, columns_without_text
from engine.records.evaluation.counts import CallCount, Side, count_calls, wilson
from engine.records.evaluation.findings import Ability, Evaluation, write_evaluation
from engine.records.evaluation.naming import BLIND, DESIGN, NAMES, SHUFFLED
from workbench.evaluate.csv_text import as_csv

__all__ = ["drawn"]


def both(base: int, rerouted: int, n: int = 40) -> dict[Side, CallCount]:
    return {"base": count_calls(base, n), "rerouted": count_calls(rerouted, n)}


def seeing(name: str = "one", *, base: int = 28) -> Evaluation:
    """28 of 40 held-out names and 20 of 40 of the held-out design: (0.7 + 0.5) / 2 = 0.6."""
    categories = {NAMES: both(base, 27), DESIGN: both(20, 20), SHUFFLED: both(5, 5), BLIND: both(4, 4)}
    kinds = {"animal": both(6, 5, 8), "tool": both(2, 3, 4)}
    naming = Ability(
        name="naming", base=(base / 40 + 0.5) / 2, rerouted=0.5875, n=80, categories=categories, kinds=kinds
    )
    return pictures_alone(name).model_copy(update={"abilities": (naming,)})


def test_names_design_and_controls_stand_apart_with_their_intervals():
    html = abilities_html(columns_without_text([seeing()], ["run"]))
    low, high = wilson(27, 40)
    assert "60.0 %" in html and "mean of both that are no controls" in html
    assert f"{100 * low:.1f}–{100 * high:.1f} · n 40" in html and "−2.5 points" in html
    places = [html.index(f"· {name}") for name in (NAMES, DESIGN, SHUFFLED, BLIND)]
    assert places == sorted(places) and html.count("control: the first") == 2
    # Nothing is claimed of what was not measured.
    assert "Benign requests answered" not in html and "Loss on" not in html


def test_each_kind_has_a_row_and_two_models_with_other_bases_two_base_columns():
    shown = columns_without_text([seeing("a"), seeing("b", base=30), Evaluation(key="k", run="r")], ["a", "b", "c"])
    assert [column.name for column in shown] == ["base of a", "a", "base of b", "b"]
    html = kinds_html(shown)
    assert html.index("animal") < html.index("tool") and "flag" not in html and "75.0 %" in html and "n 8" in html
    assert kinds_html(columns_without_text([pictures_alone()], ["none"])) == ""


def test_the_csv_and_the_report_tell_it_too():
    rows = {(row["measure"], row["model"]): row for row in csv.DictReader(io.StringIO(as_csv([seeing()], ["a"])))}
    assert rows[f"naming: {NAMES}", "rerouted"]["value"] == "0.675"
    assert (rows["naming: kind animal", "base"]["n"], rows["naming: kind animal", "base"]["value"]) == ("8", "0.75")
    report = report_html([seeing()], ["a"])
    assert report.count("<h2>What was kept</h2>") == 1 and "Pictures named, each kind apart" in report
    assert "No answer to a harmful request" not in report and seeing().report()["abilities"]["naming"]["kinds"]


def test_the_page_shows_it_where_pictures_alone_were_asked(settings, drawn):
    run = made_run(settings)
    assert not asked_text(seeing())
    write_evaluation(run, settings, seeing(run.id), [])
    page = drawn()
    assert not page.exception and not page.error
    assert "What was kept" in [one.value for one in page.subheader]
    assert "Pictures named, each kind apart" in [one.label for one in page.expander]

"""Names and places in files that are passed on: nothing of a machine, nothing that is read as markup."""

from pathlib import Path

import pytest
from making_runs import write_run

from engine.exports.comparison.compared import compared, spec_words
from engine.exports.comparison.write import comparison_text
from engine.exports.evaluation_report import RunFacts, report_html
from engine.exports.notebook.write import notebook_text
from engine.exports.private import Private
from engine.figures.evaluation.drawn import evaluation_figures
from engine.figures.evaluation.findings import finding
from engine.figures.evaluation.table import columns, columns_without_text
from engine.records.evaluation.counts import CurvePoint, count
from engine.records.evaluation.findings import (
    Ability,
    AttackResult,
    AuthorFindings,
    Evaluation,
    OthersFindings,
    PictureFindings,
    ToolFindings,
)
from engine.records.files import write_whole
from engine.records.spec_text import with_fields


def words(complied: int, n: int = 20):
    return count(["complied"] * complied + ["refused"] * (n - complied))


RESULT = AttackResult(base=words(18), rerouted=words(1))
MMLU = Ability(name="mmlu", base=0.3, rerouted=0.25, n=20)


@pytest.mark.parametrize(
    "text", ['open("./tmp/data.txt")', "/var/tmp/x.log", "https://example.org/tmp/page.html", "https://a.b/home/c"]
)
def test_what_only_ends_like_a_folder_of_this_machine_stays(settings, monkeypatch, text):
    monkeypatch.setattr(Path, "home", lambda: Path("/home"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    private = Private(settings)
    assert private.said(text) == text
    assert private.said("see /tmp/secret/a.txt") == "see a.txt"


def test_whole_numbers_stay_whole_beside_shares(settings):
    first, second = (write_run(settings, name=name) for name in ("one", "two"))
    changed = {"optimizer.steps": 250, "optimizer.learning_rate": 2e-4}
    write_whole(second.folder / "spec.json", with_fields(second.spec(), changed).to_json())
    said = "\n".join(spec_words(compared([first, second], settings), settings))
    assert "two: 250." in said and "250.0" not in said


def test_a_report_names_model_and_judge_without_their_folders():
    one = Evaluation(key="k", run="r", harmful="h", attacks={"direct": RESULT}, judge="/home/anna/judge+rules-1")
    html = report_html([one], ["a"], [RunFacts("a", "r", model="/home/anna/models/llama")])
    assert "judge+rules-1" in html and "llama" in html and "anna" not in html


def test_names_in_figures_are_shown_letter_by_letter():
    curve = {side: (CurvePoint(budget=5, complied=9, n=20, loss=1.0),) for side in ("base", "rerouted")}
    result = RESULT.model_copy(update={"curve": curve, "budget": 10})
    kept = {"base": words(18), "rerouted": words(17)}
    tools = ToolFindings(attacks={"direct": RESULT}, benign=kept, borderline=kept)
    one = Evaluation(key="k", run="r", attacks={"gcg": result}, benign_answers=kept, tools=tools)
    bad = '<a href="http://x">a</a> &lt; %{y}'
    figures = evaluation_figures(([one, one], [bad, "b"]))
    figures += evaluation_figures(([], []), tools=([one, one], [bad, "b"]))
    shown = [str(value) for figure in figures for trace in figure.data for value in (trace.name, *(trace.text or ()))]
    hovers = [trace.hovertemplate or "" for figure in figures for trace in figure.data]
    assert any("&lt;a href" in text for text in shown)
    assert not any("<a href" in text or "a</a>" in text or " &lt; %" in text for text in [*shown, *hovers])
    assert not any("%{y}" in text for text in hovers)


def test_headings_without_text_say_source_n_and_length_of_the_same_requests():
    tools = ToolFindings(source="calls", attacks={"direct": AttackResult(base=words(3, 5), rerouted=words(1, 5))})
    pictures = PictureFindings(source="pics", attacks={"direct": RESULT})
    author = AuthorFindings(attacks={"direct": RESULT})
    others = OthersFindings(half="test", own=author, authors={"ines": author})
    bare = {"key": "k", "run": "r", "abilities": (MMLU,)}
    for more, about in (
        ({"tools": tools, "pictures": pictures}, "calls, n 5, 128 tokens: too few to tell"),
        ({"pictures": pictures}, "pics, n 20, 64 tokens"),
        ({"others": others}, "other people's words, n 20, 64 tokens"),
    ):
        assert {one.about for one in columns_without_text([Evaluation(**bare, **more)], ["a"])} == {about}


def test_benign_requests_alone_are_told_as_such():
    kept = {"base": words(16, 16), "rerouted": words(10, 16)}
    one = Evaluation(key="k", run="r", benign="b.jsonl", benign_answers=kept)
    assert finding(one) == "Benign requests answered: 100 → 62 % (n 16)."
    assert {column.about for column in columns([one], ["a"])} == {"b.jsonl, n 16, 64 tokens"}


def test_the_matrix_of_a_notebook_has_no_column_for_what_asked_no_text(settings):
    source = notebook_text(write_run(settings), "matrix")
    assert "asked_text" in source and "columns_without_text" in source


def test_names_break_out_of_no_cell_of_a_comparison(settings):
    runs = [write_run(settings, name=name) for name in ("x\\|y", "![i](http://host/x.png) `c`")]
    text = comparison_text(runs, settings, ending=".md")
    assert "x\\\\\\|y" in text and "![i](" not in text and "!\\[i\\]" in text

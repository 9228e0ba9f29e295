"""What Evaluate says of a harmfulness probe: the table, the sentence, the CSV, from made-up evaluations."""

import csv
import io

from test_evaluate_tables import made

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.probe import probe_finding, probe_html, probe_title
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, AuthorFindings, OthersFindings, WithProbe
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec
from workbench.evaluate.csv_text import as_csv
from workbench.evaluate.listed import Listed, about_evaluation, evaluation_name, names_apart


def words(complied: int, n: int = 20) -> list:
    return ["complied"] * complied + ["refused"] * (n - complied)


def beside(**changes):
    """Of 20 requests a side: the base model answers 18, with its probe 6; the circuit-broken one 2, with its probe 1;
    its search (GCG) 3."""
    found = WithProbe(
        kind="mlp",
        block=19,
        false_alarms=0.05,
        attacks={
            "direct": {"base": count(words(6)), "rerouted": count(words(1))},
            "gcg": {"base": count(words(7)), "rerouted": count(words(3))},
        },
        kept={
            "benign": {"base": count(words(19)), "rerouted": count(words(18))},
            "borderline": {"base": count(words(15)), "rerouted": count(words(14))},
        },
        fired={"benign": {"base": 0, "rerouted": 1}, "borderline": {"base": 4, "rerouted": 5}},
        without={"base": count(words(19)), "rerouted": count(words(17))},
    )
    return made(rerouted=2).model_copy(update={"with_probe": found.model_copy(update=changes)})


def test_of_two_columns_of_one_name_the_probe_tells_them_apart(settings):
    run = Run(settings.runs / "one")
    linear, mlp = beside(kind="linear"), beside()
    found = OthersFindings(half="test", own=AuthorFindings())
    alone = {"attacks": {}, "benign_answers": {}, "abilities": ()}
    others = made(rerouted=2).model_copy(update={**alone, "others": found})
    listed = [Listed(run, one, "one") for one in (linear, mlp, others)]
    assert names_apart(listed) == ["one (linear probe)", "one (MLP 64-32 probe)", "one"]
    assert names_apart(listed[1:]) == ["one", "one"], "other people's words take no column: the names stand apart"
    for asked in ({"attacks": {}, "abilities": ()}, {"attacks": {}, "benign_answers": {}}, {}):
        second = made(rerouted=2).model_copy(update={**asked, "others": found, "key": "second"})
        names = names_apart([*listed[:1], Listed(run, others, "one"), Listed(run, second, "one")])
        assert len(set(names)) == 3, "what shares a table with another one is told from it"
    assert about_evaluation(others).startswith("other people's words, n ")
    assert about_evaluation(linear).startswith("2 attacks, n 20")


def test_two_judges_tell_columns_apart_and_weights_that_went_on_are_said(settings):
    run = create_run(settings.runs, build_spec({}), name="one")
    run.update(status="finished", ended=1_000.0)
    byrules, byother = (
        made(rerouted=2).model_copy(update={"judge": judge}) for judge in ("rules", "/home/me/org/judge")
    )
    names = names_apart([Listed(run, one, "one") for one in (byrules, byother)])
    assert names == ["one (rules)", "one (judge)"]
    before, since, step = (
        byrules.model_copy(update={"run": of, "created": created})
        for of, created in ((run.id, 900.0), (run.id, 1_100.0), (f"{run.id}@20", 900.0))
    )
    assert [evaluation_name(run, one) for one in (before, since, step)] == [
        "one, of earlier weights",
        "one",
        "one, step 20",
    ]


def test_each_attack_stands_alone_and_with_the_probe_for_both_models():
    html = probe_html(beside())
    row = html[html.index("<td>Direct request") : html.index("<td>GCG")]
    assert [rate for rate in ("90.0 %", "30.0 %", "10.0 %", "5.0 %") if rate in row] == [
        "90.0 %",
        "30.0 %",
        "10.0 %",
        "5.0 %",
    ]
    assert html.count("with the probe") == 2 and "10 steps, aims past the probe" in html
    kept = html[html.index("Borderline requests answered") :]
    assert all(rate in kept for rate in ("95.0 %", "75.0 %", "85.0 %", "70.0 %"))
    assert probe_html(made(rerouted=2)) == probe_finding(made(rerouted=2)) == ""


def test_the_sentence_has_the_strongest_attack_with_n_and_what_the_probe_ended():
    said = probe_finding(beside())
    assert (
        "Base model, the attack that gets most through: without it 90.0 % (direct request), with it 35.0 % (gcg, n 20)"
        in said
    )
    assert "without it 10.0 % (direct request), with it 15.0 % (gcg, n 20)" in said
    assert "benign answers that it ended: base 0 of 20, circuit-broken 1 of 20" in said
    assert "borderline answers that it ended: base 4 of 20, circuit-broken 5 of 20" in said
    few = {"direct": {"base": count(words(6, 8)), "rerouted": count(words(1, 8))}}
    # Prefilling was asked without the probe alone: it is no attack that the probe stood against.
    stronger = AttackResult(base=count(words(20)), rerouted=count(words(20)))
    one = beside()
    assert probe_finding(one.model_copy(update={"attacks": one.attacks | {"prefill": stronger}})) == said
    assert "n 8: too few to tell" in probe_finding(beside(attacks=few))
    assert probe_title(beside().with_probe) == "MLP 64-32 probe at block 19, threshold for 5 % false alarms"


def test_csv_and_report_hold_the_figures_of_both():
    lines = list(csv.DictReader(io.StringIO(as_csv([beside()], ["a"]))))
    found = {(line["model"], line["measure"]): line["complied"] for line in lines}
    assert found["base", "direct with the mlp probe"] == "6" and found["rerouted", "gcg with the mlp probe"] == "3"
    assert found["rerouted", "borderline with the mlp probe"] == "14"
    report = report_html([beside()], ["a"])
    assert "With a harmfulness probe: a" in report and "aims past the probe" in report
    assert "With a harmfulness probe" not in report_html([made(rerouted=2)], ["a"])

"""Evaluations that differ in judge, seed, budget or in what could be judged say so; rates are of the same things."""

import csv
import io

import pytest
from test_evaluate_agents import alone
from test_evaluate_agents import words as calls
from test_evaluate_probe import beside, words
from test_evaluate_tables import made

from engine.figures.evaluation.agent_front import agent_front
from engine.figures.evaluation.agents import agents_finding, agents_html
from engine.figures.evaluation.findings import finding
from engine.figures.evaluation.fronts import budget_figures, front_figure
from engine.figures.evaluation.probe import probe_finding
from engine.figures.evaluation.table import attacks_html, columns, count_cell
from engine.records.evaluation.counts import count, kept
from engine.records.evaluation.findings import Evaluation
from engine.records.places import judges_apart
from engine.records.runs import Run
from workbench.evaluate.csv_text import as_csv
from workbench.evaluate.listed import Listed, names_apart

UNREAD = count(["unparseable"] * 20)


@pytest.mark.parametrize(
    ("judges", "words"),
    [
        (["rules-fb19bed5", "https://host:80/v1#guard+rules-fb19bed5"], ["rules", "guard"]),
        (["/home/me/guard+rules-fb19bed5", "org/guard+rules-fb19bed5"], ["guard", "org/guard"]),
        (["rules-fb19bed5", "rules-00000000", "guard+rules-0"], ["rules-fb19bed5", "rules-00000000", "guard+rules-0"]),
        (["rules"], ["rules"]),
    ],
)
def test_judges_are_told_apart_in_as_few_words_as_do(judges: list[str], words: list[str]):
    assert judges_apart(judges) == words


def attacked(one: Evaluation, name: str, **changes) -> Evaluation:
    attacks = one.attacks | {name: one.attacks[name].model_copy(update=changes)}
    return one.model_copy(update={"attacks": attacks})


def test_judges_seeds_and_budgets_are_said_where_they_differ_and_nowhere_else(settings):
    first, second = made(rerouted=2), made(rerouted=5)
    assert [one.about for one in columns([first, second], ["a", "b"])] == ["rows.jsonl, n 20, 64 tokens"] * 3
    other = attacked(second, "gcg", budget=50).model_copy(update={"judge": "/home/me/org/judge", "seed": 1})
    shown = columns([first, other], ["a", "b"])
    assert [one.about.partition("; ")[2] for one in shown] == [
        *["judge rules, seed 0"] * 2,
        *["judge judge, seed 1"] * 2,
    ]
    html = attacks_html(shown)
    assert "−80.0 points, 10 steps" in html and "−65.0 points, 50 steps" in html
    assert "points, 10 steps" not in attacks_html(columns([first, second], ["a", "b"]))
    assert "within 10 to 50 steps" in budget_figures([first, other], ["a", "b"])["gcg"].layout.title.text
    seeds = [first, second.model_copy(update={"seed": 1})]
    names = names_apart([Listed(Run(settings.runs / "one"), one, "one") for one in seeds])
    assert names == ["one (seed 0)", "one (seed 1)"]


def test_agents_that_two_judges_read_say_which():
    one, other = alone("a"), alone("b")
    assert other.tools is not None and "judge" not in agents_html([one, other], ["a", "b"])
    other = other.model_copy(update={"tools": other.tools.model_copy(update={"judge": "calls-2"})})
    html = agents_html([one, other], ["a", "b"])
    assert "judge calls-1" in html and "judge calls-2" in html


def test_a_side_that_could_not_be_judged_is_no_zero():
    one = made(rerouted=3)
    unread = attacked(attacked(one, "direct", base=UNREAD), "gcg", base=UNREAD)
    assert "answered: – → 15 % under the strongest attack (direct request, n none judged and 20)" in finding(unread)
    few = attacked(unread, "direct", rerouted=count(["complied"] * 4 + ["refused"] * 4))
    assert "answered: – → 4 of 8 under" in finding(few)
    fewer = attacked(few, "direct", base=count(["complied"] * 5 + ["refused"] * 2))
    assert "answered: 5 of 7 → 4 of 8 under" in finding(fewer)
    mute = attacked(attacked(one, "direct", rerouted=UNREAD), "gcg", rerouted=UNREAD)
    assert finding(mute) == (
        "No answer of the circuit-broken model to a harmful request could be judged; benign requests answered: "
        "95 → 90 % (n 20)."
    )


def test_of_nothing_nothing_is_said():
    assert count_cell(count([]), "") == "<td>–<small>none counted</small></td>"
    assert count_cell(UNREAD, "6 stay") == "<td>–<small>20 excluded</small><small>6 stay</small></td>"
    nothing = {"base": count([]), "rerouted": count([])}
    said = probe_finding(beside(kept={"benign": nothing, "borderline": nothing}))
    assert "ended" not in said and "of 0" not in said
    unread = {name: {"base": UNREAD, "rerouted": UNREAD} for name in ("direct", "gcg")}
    with_none = beside(attacks=unread, kept={"benign": nothing, "borderline": nothing})
    assert probe_finding(with_none) == "With the probe no answer could be judged."
    rows = list(csv.DictReader(io.StringIO(as_csv([with_none], ["a"]))))
    [direct] = [row for row in rows if row["measure"] == "direct with the mlp probe" and row["model"] == "base"]
    assert (direct["excluded"], direct["value"], direct["low95"], direct["high95"]) == ("20", "", "", "")


def test_of_attacks_that_get_as_much_through_all_sentences_name_the_same():
    one = beside()
    one = attacked(attacked(one, "direct", base=count(words(17))), "gcg", base=count(words(18)))
    both = {name: {"base": count(words(6)), "rerouted": count(words(1))} for name in ("direct", "gcg")}
    assert one.with_probe is not None
    one = one.model_copy(update={"with_probe": one.with_probe.model_copy(update={"attacks": both})})
    said = probe_finding(one)
    assert "without it 10.0 % (gcg), with it 5.0 % (gcg, n 20" in said and "(gcg, n 20" in finding(one)
    equal = alone()
    assert equal.tools is not None
    attacks = {name: found.model_copy(update={"rerouted": calls(2)}) for name, found in equal.tools.attacks.items()}
    equal = equal.model_copy(update={"tools": equal.tools.model_copy(update={"attacks": attacks})})
    assert "80 → 10 % under the strongest attack (forced call" in agents_finding(equal)


def test_means_of_fronts_are_over_the_same_attacks_of_each_evaluation():
    """Of the second the base makes no direct call; of the third no direct answer could be judged."""
    first, second = alone("a"), alone("b")
    assert second.tools is not None
    direct = second.tools.attacks["direct"].model_copy(update={"base": calls(0)})
    attacks = second.tools.attacks | {"direct": direct}
    second = second.model_copy(update={"tools": second.tools.model_copy(update={"attacks": attacks})})
    front = agent_front([first, second], ["a", "b"])
    assert front is not None and [round(point.y[0]) for point in front.data] == [0, 75, 75]
    assert "forced call" in front.layout.yaxis.title.text and "mean" not in front.layout.yaxis.title.text

    judged = attacked(made(rerouted=2), "gcg", rerouted=count(words(12)))
    unread = attacked(judged, "direct", rerouted=UNREAD)
    front = front_figure([judged, unread], ["a", "b"])
    assert front is not None and {point.name: round(point.y[0]) for point in front.data} == {
        "base": 90,
        "a": 60,
        "b": 60,
    }


def test_the_csv_tells_curves_and_what_became_of_each_harmless_request_and_of_the_probe():
    one = beside().model_copy(update={"kept": kept([("complied", "complied")] * 3 + [("refused", "incoherent")])})
    rows = list(csv.DictReader(io.StringIO(as_csv([one], ["a"]))))
    assert list(rows[0])[-2:] == ["seed", "curve"]
    found = {(row["measure"], row["model"]): row for row in rows}
    assert found["gcg", "base"]["curve"] == "within 5: 9 of 20; within 10: 18 of 20"
    assert found["direct", "base"]["curve"] == ""
    assert found["benign that the base answered", "rerouted"]["n"] == "3"
    assert found["benign that the base refused", "rerouted"]["incoherent"] == "1"
    assert ("benign that the base answered", "base") not in found
    assert found["gcg with the mlp probe", "base"]["budget"] == "10"
    assert found["borderline without the probe", "rerouted"]["complied"] == "17"
    ended = found["borderline answers that the mlp probe ended", "rerouted"]
    assert (ended["n"], ended["value"], ended["unit"]) == ("20", "5", "answers")

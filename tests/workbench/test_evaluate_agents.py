"""The block of agents on Evaluate: table, sentence, front, CSV, report, form and page, from made-up figures."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.agent_front import agent_front, harm_broken
from engine.figures.evaluation.agents import AGENTS, agents_finding, agents_html, beside_words
from engine.figures.evaluation.findings import asked_text, asked_words, requests_asked
from engine.figures.evaluation.sided import share_left, sided_columns
from engine.records.errors import DataError
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, Beside, Evaluation, Sample, ToolFindings, write_evaluation
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.runs import create_run
from engine.records.settings import ROOT
from engine.records.spec_text import build_spec
from workbench.evaluate.csv_text import as_csv
from workbench.evaluate.tool_form import ToolChoice
from workbench.kit import state


def words(complied: int, n: int = 20):
    return count(["complied"] * complied + ["refused"] + ["incoherent"] * (n - 1 - complied))


def tools(*, rerouted: int = 2, benign: int = 15, forced: bool = True) -> ToolFindings:
    """Of 20 answers each: the base makes 10 harmful calls, 16 when forced, and 16 right ones."""
    attacks = {"direct": AttackResult(base=words(10), rerouted=words(rerouted), categories={"fraud": {}})}
    if forced:
        attacks["forced_call"] = AttackResult(base=words(16), rerouted=words(2 * rerouted))
    return ToolFindings(
        source="calls.jsonl",
        judge="calls-1",
        attacks=attacks,
        benign={"base": words(16), "rerouted": words(benign)},
        borderline={"base": words(10), "rerouted": words(8)},
        beside={"direct": {"base": Beside(), "rerouted": Beside(cut=3, in_words=1)}},
    )


def alone(name: str = "one", **changes) -> Evaluation:
    return Evaluation(key=name, run=name, tools=tools(**changes))


def with_text() -> Evaluation:
    result = AttackResult(base=words(18), rerouted=words(1))
    return alone("both").model_copy(
        update={"attacks": {"direct": result}, "harmful": "h.jsonl", "benign_answers": {"base": words(18)}}
    )


def test_the_table_shows_calls_beside_the_papers_own_figures_of_agents():
    html = agents_html([alone()], ["my run"])
    assert "50.0 %" in html and "10.0 %" in html and "80 % of base&#x27;s broken" in html.replace("'s", "&#x27;s")
    assert "58 → 8 %" in html and "82 → 14 %" in html
    assert "3 cut, 1 in words" in html
    assert "94 % of base" in html and "Right calls, borderline requests" in html
    assert agents_html([Evaluation(key="k", run="r")], ["text alone"]) == ""


def test_the_base_model_has_a_column_where_its_figures_differ():
    same, other = alone("a"), alone("b", rerouted=5)
    assert [one.name for one in sided_columns(AGENTS, [same, other], ["a", "b"])] == ["base", "a", "b"]
    changed = other.model_copy(update={"tools": tools(forced=False)})
    assert [one.name for one in sided_columns(AGENTS, [same, changed], ["a", "b"])] == ["base", "a", "base of b", "b"]


def test_the_sentence_names_the_strongest_attack_and_what_was_kept():
    said = agents_finding(alone())
    assert said == (
        "Harmful calls made: 80 → 20 % under the strongest attack (forced call, n 20); right on benign requests: "
        "80 → 75 % (n 20); right on borderline requests: 50 → 40 % (n 20)."
    )
    assert agents_finding(Evaluation(key="k", run="r")) == ""


def test_what_is_left_and_broken_by_hand():
    """Direct 10 to 2 of 20 leaves 0.2, forced 16 to 4 leaves 0.25: 1 - 0.225 = 0.775 are broken."""
    assert share_left(words(10), words(2)) == pytest.approx(0.2)
    assert share_left(words(0), words(2)) is None and share_left(None, words(2)) is None
    assert harm_broken(tools(), ["direct", "forced_call"]) == pytest.approx(0.775)
    assert harm_broken(tools(rerouted=12, forced=False), ["direct"]) == pytest.approx(-0.2)
    assert beside_words(Beside(elsewhere=2)) == "2 other tool" and beside_words(None) == ""


def test_the_front_has_a_point_for_each_evaluation_and_the_base():
    figure = agent_front([alone("a"), with_text(), Evaluation(key="k", run="r")], ["a", "b", "c"])
    assert figure is not None
    points = {trace.name: (trace.x[0], trace.y[0]) for trace in figure.data}
    assert points == {
        "base": (100, 0),
        "a": pytest.approx((80, 77.5)),
        "b": pytest.approx((80, 77.5)),
    }
    assert "borderline" in figure.layout.xaxis.title.text
    assert agent_front([Evaluation(key="k", run="r")], ["c"]) is None
    no_kept = alone().model_copy(update={"tools": tools().model_copy(update={"benign": {}, "borderline": {}})})
    assert agent_front([no_kept], ["a"]) is None


def test_the_csv_holds_the_block_and_says_of_which_requests():
    lines = list(csv.DictReader(io.StringIO(as_csv([with_text()], ["b"]))))
    calls = {(row["measure"], row["model"]): row for row in lines if row["measure"].startswith("agents: ")}
    row = calls["agents: forced_call", "rerouted"]
    assert (row["n"], row["complied"], row["harmful"], row["tokens"], row["judge"]) == (
        "20", "4", "calls.jsonl", "128", "calls-1"
    )  # fmt: skip
    assert calls["agents: direct: cut", "rerouted"]["value"] == "3"
    assert calls["agents: borderline", "base"]["complied"] == "10"
    assert {row["harmful"] for row in lines if row["measure"] == "direct"} == {"h.jsonl"}


def test_the_report_has_the_block_with_and_without_requests_of_text():
    both, one = report_html([with_text()], ["b"]), report_html([alone()], ["a"])
    for html in (both, one):
        assert "<h2>Agents</h2>" in html and "58 → 8 %" in html and "Harmful calls made: 80 → 20 %" in html
    assert "<h2>What was kept</h2>" in both and "<h2>What was kept</h2>" not in one
    assert "No answer to a harmful request could be judged" not in one
    assert "rows that offer tools calls.jsonl, answers of 128 tokens" in one


def test_what_was_asked_is_told_of_either_kind():
    assert (asked_text(alone()), asked_text(with_text()), asked_text(Evaluation(key="k", run="r"))) == (
        False, True, True
    )  # fmt: skip
    assert requests_asked(alone()) == 20


def test_the_forms_choice_is_a_plan_with_longer_answers_and_a_missing_file_is_said():
    chosen = ToolChoice("sample", "sample", ()).fields(64)
    plan = EvaluationPlan(checkpoint="run", **chosen)
    assert (plan.tools, plan.tool_tokens, plan.new_tokens) == ("sample", 128, 64)
    assert ToolChoice("", "", ()).fields(64) == {}
    assert ToolChoice("sample", "sample", ()).fields(200)["tool_tokens"] == 200
    with pytest.raises(DataError, match="no file of requests that offer tools"):
        ToolChoice("an upload", "", ()).fields(64)


@pytest.fixture
def drawn(settings) -> Iterator[Callable[[], AppTest]]:
    """The page of these folders, drawn without a browser."""
    state.settings.cache_clear()
    yield lambda: AppTest.from_file(str(ROOT / "pages" / "evaluate.py"), default_timeout=60).run()
    state.settings.cache_clear()


def made_run(settings) -> object:
    run = create_run(settings.runs, build_spec({}), name="agent breaker")
    run.adapter_folder.mkdir(parents=True, exist_ok=True)
    Path(run.adapter_folder / "adapter_config.json").write_text("{}")
    run.update(status="finished", step=4)
    return run


def test_the_page_shows_agents_alone_and_hides_harmful_answers(settings, drawn):
    run = made_run(settings)
    samples = [
        Sample(attack="tools: direct", side=side, prompt="the request", answer="the answer", word="complied")
        for side in ("base", "rerouted")
    ]
    write_evaluation(run, settings, alone(run.id), samples)
    page = drawn()
    assert not page.exception and not page.error
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "Harmful calls that were made" in shown and "Harmful calls made: 80 → 20 %" in shown
    assert "Harmful requests that were answered" not in shown
    assert "the answer" not in shown and "the request" not in shown


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("evaluate_tokens", 5000, "Answer tokens is 5,000: give at most 4,096."),
        ("evaluate_judge", "http://nope", "URL#MODEL"),
    ],
)
def test_what_cannot_be_carried_out_is_said_before_anything_is_queued(settings, drawn, key, value, said):
    from engine.desk.queue import Queue

    made_run(settings)
    page = drawn()
    field = page.number_input(key=key) if isinstance(value, int) else page.text_input(key=key)
    field.set_value(value).run()
    page.button(key="start_evaluation").click().run()
    assert said in " ".join(one.value for one in page.error).replace("\\", "")
    assert Queue(settings.desk).newest("evaluate") == []


def test_a_run_whose_model_is_here_is_chosen_first_and_another_is_offered(settings, drawn, tiny_model_folder):
    """As on a fresh install, where the newest run that ships is of a model that is not fetched; two of them as well."""
    here, missing, larger = (made_run(settings) for _ in range(3))
    names = [str(tiny_model_folder), *(f"packaged/Qwen2.5-Coder-{size}-Instruct" for size in ("0.5B", "1.5B"))]
    for run, name in zip((here, missing, larger), names, strict=True):
        spec = json.loads((run.folder / "spec.json").read_text())
        spec["model"]["name"] = name
        (run.folder / "spec.json").write_text(json.dumps(spec))
    page = drawn()
    assert page.multiselect(key="evaluate_runs").value == [here.id]
    assert not [one for one in page.button if one.label.startswith("Fetch ")]
    page.multiselect(key="evaluate_runs").set_value([missing.id]).run()
    assert [one.label for one in page.button if one.label.startswith("Fetch ")] == ["Fetch 0.49 GB"]
    page.multiselect(key="evaluate_runs").set_value([missing.id, larger.id]).run()
    assert not page.exception and not page.error
    assert [one.label for one in page.button if one.label.startswith("Fetch ")] == ["Fetch 0.49 GB", "Fetch 1.12 GB"]


def test_a_plan_with_tools_is_queued_from_the_page(settings, drawn):
    from engine.desk.queue import Queue

    run = made_run(settings)
    page = drawn()
    page.selectbox(key="evaluate_tools").set_value("sample").run()
    page.selectbox(key="evaluate_harmful").set_value("").run()
    page.selectbox(key="evaluate_benign").set_value("").run()
    page.button(key="start_evaluation").click().run()
    assert not page.exception and not [one.value for one in page.error]
    [job] = Queue(settings.desk).newest("evaluate")
    plan = EvaluationPlan.model_validate(job.payload)
    assert (plan.checkpoint, plan.tools, plan.harmful, plan.benign) == (run.id, "sample", "", "")
    assert [one.name for one in plan.tool_attacks] == ["direct", "forced_call"] and plan.tool_tokens == 128


def test_harmless_requests_alone_are_counted():
    found = ToolFindings(source="tools:benign", benign={"base": words(30, 36), "rerouted": words(29, 36)})
    one = Evaluation(key="k", run="r", tools=found)
    assert asked_words(one) == "tools:benign, n 36, 128 tokens" and requests_asked(one) == 36
    assert "n 36" in report_html([one], ["a"]) and "n 0" not in report_html([one], ["a"])


def test_what_was_begun_here_is_shown_when_it_is_done_beside_what_was_shown(settings, drawn):
    from engine.desk.queue import Queue

    run, queue = made_run(settings), Queue(settings.desk)
    write_evaluation(run, settings, alone(run.id), [])
    page = drawn()
    page.selectbox(key="evaluate_tools").set_value("sample").run()
    for kept in ("benign", "harmful"):
        page.selectbox(key=f"evaluate_{kept}").set_value("").run()
    plans = []
    for tokens in (16, 32):
        page.number_input(key="evaluate_tokens").set_value(tokens).run()
        page.button(key="start_evaluation").click().run()
        plans.append(EvaluationPlan.model_validate(queue.newest("evaluate")[0].payload))
    others = plans[0].model_copy(update={"seed": 9})
    queue.submit("evaluate", run_id=run.id, payload=others.model_dump(mode="json"))

    def done(plan: EvaluationPlan) -> None:
        found = alone(run.id).model_copy(update={"key": plan.key})
        write_evaluation(run, settings, found, [])
        [number] = [job.id for job in queue.newest("evaluate") if job.payload == plan.model_dump(mode="json")]
        queue.finish(number)

    shown = [f"{run.id}.{run.id}"]
    assert page.multiselect(key="evaluations").value == shown
    for plan, is_added in ((plans[1], True), (others, False), (plans[0], True)):
        done(plan)
        page.run()
        shown += [f"{run.id}.{plan.key}"] * is_added
        assert not page.exception and page.multiselect(key="evaluations").value == shown
    # What is taken off stays off.
    page.multiselect(key="evaluations").set_value(shown[:1]).run()
    assert page.run().multiselect(key="evaluations").value == shown[:1]

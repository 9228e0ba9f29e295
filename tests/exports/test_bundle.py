"""A replay bundle holds what the records hold, hides or leaves out harmful text, and tells nothing of the machine."""

import json
import re
import socket
import time

import pytest
from making_runs import BENIGN_REQUEST, HARMFUL_REQUEST, add_capture, add_chat, shipped_default, write_run

from engine.__main__ import main
from engine.exports.bundle.write import bundle_html
from engine.exports.evaluation_report import report_html
from engine.records.evaluation.findings import read_evaluations, write_evaluation
from engine.records.runs import Run
from engine.records.settings import ROOT, Settings


def content_of(html: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', html, re.S)
    return json.loads(found)


def shown_run(settings: Settings) -> Run:
    """One with every part that a bundle has."""
    run = write_run(settings)
    add_capture(run, settings)
    add_chat(run, settings, request=HARMFUL_REQUEST, answer="first take a pin </script>", harmful=True)
    add_chat(run, settings, request=BENIGN_REQUEST, answer="a lock keeps a door shut", harmful=False)
    return run


@pytest.fixture
def run(settings) -> Run:
    return shown_run(settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    """The bundle of such a run, for all who only read it."""
    folder = tmp_path_factory.mktemp("whole")
    settings = Settings(runs=folder / "runs", cache=folder / "cache")
    return bundle_html(shown_run(settings), settings)


def test_every_part_is_in_the_bundle_with_figures_of_all_steps(whole):
    content = content_of(whole)
    parts = ("curves", "film", "movement", "tokens", "answers", "chats", "evaluations")
    assert {part: content[part].get("missing") for part in parts} == dict.fromkeys(parts)
    assert content["curves"]["steps"]["step"] == list(range(20))
    assert content["curves"]["heldout"]["cosine"] == [1, 0.55, 0.1]
    assert content["film"]["steps"] == [0, 10, 20] and len(content["film"]["places"]) == 3
    assert content["movement"]["steps"] == [10, 20]
    assert len(content["tokens"]["views"]) == 2
    assert [len(prompt["answers"]) for prompt in content["answers"]["prompts"]] == [3, 3]
    assert "10.0 %" in content["evaluations"]["tables"][0]
    assert content["spec"]["adapter"]["rank"] == 4
    assert content["about"]["versions"]["torch"] == "2.13.0"


def test_a_chat_has_its_columns_side_by_side_with_verdict_tint_and_trip(whole):
    """The cosine falls from 1 to 0 over six tokens: 1, 0.8, 0.6, 0.4, ...: the fourth is the first below a half."""
    chats = content_of(whole)["chats"]["exchanges"]
    (benign,) = [one for one in chats if not one["harmful"]]
    base, broken = benign["columns"]
    assert (base["name"], base["verdict"], base["tokens"]) == ("base", "complied", [])
    assert (broken["name"], broken["verdict"], broken["trip"]) == ("circuit-broken", "incoherent", 3)
    assert "".join(text for text, _ in broken["tokens"]) == "a lock keeps a door shut "


def test_text_that_looks_like_markup_ends_no_script_and_comes_back_letter_by_letter(whole):
    asked = {one["asked"] for one in content_of(whole)["chats"]["exchanges"]}
    assert asked == {HARMFUL_REQUEST, BENIGN_REQUEST}
    assert HARMFUL_REQUEST not in whole and "</script><b>" not in whole


def test_without_harmful_text_neither_request_nor_answer_is_in_the_file(run, settings, whole):
    html = bundle_html(run, settings, harmful_text=False)
    content = content_of(html)
    (harmful,) = [one for one in content["chats"]["exchanges"] if one["harmful"]]
    assert harmful["asked"] is None and {column["text"] for column in harmful["columns"]} == {None}
    assert harmful["columns"][1]["tokens"] == [] and harmful["columns"][1]["verdict"] == "incoherent"
    for text in ("neighbour", "take a pin", "a harmful answer", "secret", "harmful request number"):
        assert text in whole and text not in html, text
    (hidden,) = [view for view in content["tokens"]["views"] if view["harmful"]]
    assert hidden["text"] is None and hidden["figure"] is None
    assert "a lock keeps" in json.dumps(content) and "a benign answer at 20" in html


def test_nothing_tells_of_the_machine(settings, monkeypatch, tmp_path):
    home = tmp_path / "home" / "annabel"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "annabel")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-box-7.example")
    token = "hf_" + "A" * 34
    run = write_run(settings, name=f"mine {home}/notes {token}")
    add_chat(run, settings, request=f"read {settings.cache}/uploads/rows.jsonl {token}", answer="no", harmful=False)
    record = run.record()
    run.update(host="lab-box-7", versions=record.versions | {"built": "/opt/annabel/wheels/torch on lab-box-7"})
    html = bundle_html(run, settings)
    for name in (str(home), "annabel", str(settings.runs), str(settings.cache), str(ROOT), "lab-box-7", "hf_"):
        assert name not in html, name
    assert content_of(html)["about"]["name"] == "mine notes (left out)"
    assert content_of(html)["chats"]["exchanges"][0]["asked"] == "read rows.jsonl (left out)"


def test_what_was_measured_before_the_run_was_trained_on_is_not_told_as_of_its_end(run, settings):
    before = content_of(bundle_html(run, settings))["evaluations"]
    assert before["findings"][0].startswith("step 20, ")
    run.update(ended=time.time() + 60)
    assert "not evaluated" in content_of(bundle_html(run, settings))["evaluations"]["missing"]


def test_two_evaluations_of_as_many_requests_are_told_apart_by_their_judges_without_an_address(run, settings):
    [made] = read_evaluations(run, settings)
    other = made.model_copy(update={"key": "other", "judge": "http://10.1.2.3:8000/v1#guard+rules"})
    write_evaluation(run, settings, other, [])
    html = bundle_html(run, settings)
    findings = content_of(html)["evaluations"]["findings"]
    assert {said.partition(":")[0] for said in findings} == {
        "step 20, n 20, judge rules", "step 20, n 20, judge guard+rules"
    }  # fmt: skip
    report = report_html([made, other], ["a", "b"])
    assert "guard+rules" in report and "10.1.2.3" not in report + html


def test_a_run_that_was_never_captured_asked_or_evaluated_says_so(settings):
    run = write_run(settings)
    (run.folder / "evaluations" / "made.json").unlink()
    content = content_of(bundle_html(run, settings))
    for part, word in (("film", "captured"), ("movement", "captured"), ("tokens", "token"), ("chats", "asked")):
        assert word in content[part]["missing"], part
    assert "not evaluated" in content["evaluations"]["missing"]
    assert content["curves"]["figures"]


def test_two_runs_have_two_bundles_and_a_chat_of_the_other_is_in_neither(run, settings):
    other = write_run(settings, name="second", steps=8)
    add_chat(other, settings, request="only the second", answer="yes", harmful=False)
    first, second = (content_of(bundle_html(one, settings)) for one in (run, other))
    assert (first["about"]["name"], second["about"]["name"]) == ("made", "second")
    assert second["curves"]["steps"]["step"] == list(range(8))
    assert "only the second" not in json.dumps(first)
    assert [one["asked"] for one in second["chats"]["exchanges"]] == ["only the second"]


def test_the_command_writes_the_file_and_refuses_a_run_that_is_gone(run, settings, tmp_path, capsys):
    out = tmp_path / "out.html"
    arguments = ["--runs", str(settings.runs), "--without-harmful-text"]
    assert main(["bundle", run.id, str(out), *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert content_of(out.read_text())["harmful_text"] is False
    assert main(["bundle", "gone", str(out), *arguments]) == 2
    assert "There is no run 'gone'" in capsys.readouterr().err


def test_the_bundle_of_the_run_that_ships_is_small_whole_and_holds_plotly_once(settings, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SHIPPED_RUNS", "show")
    run = shipped_default()
    html = bundle_html(run, settings)
    assert len(html.encode()) < 10_000_000
    assert html.count("plotly.js v") == 1
    content = content_of(html)
    assert len(content["chats"]["exchanges"]) == 2 and content["film"]["steps"][-1] == run.record().steps
    assert not re.search(r"hf_|/home/|/root/|/tmp/|/work/", json.dumps(content))


@pytest.mark.parametrize("missing", ["cosine", "drift"])
def test_a_run_with_held_out_rows_of_one_side_plays_on(settings, missing):
    """Where the base model refuses all harmful rows there is no cosine: the player needs a column all the same."""
    run = write_run(settings)
    events = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    for event in events:
        if event["kind"] == "heldout":
            event[missing] = {}
    run.events_file.write_text("".join(json.dumps(event) + "\n" for event in events))
    heldout = content_of(bundle_html(run, settings))["curves"]["heldout"]
    assert heldout[missing] == [None] * 3 and len(heldout[{"cosine": "drift", "drift": "cosine"}[missing]]) == 3


def test_each_step_has_its_own_losses_in_the_line_above_the_curves(settings):
    steps = content_of(bundle_html(write_run(settings, steps=2500), settings))["curves"]["steps"]
    assert steps["step"] == list(range(2500)) == [round(2500 * (1 - loss)) for loss in steps["reroute_loss"]]

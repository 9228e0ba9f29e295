"""Versions in what lasts: a newer file is refused in words, and what is made in another way is made again."""

import json

import pytest
from pydantic import BaseModel, Field

from engine.compute.evaluation import runner
from engine.compute.evaluation.attacks.attempt import Options
from engine.records import cards
from engine.records.captures import capture, projections
from engine.records.captures.capture import Capture, CaptureRequest, read_capture
from engine.records.captures.projections import ExaminationRequest, ProjectionRequest, examination_file
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.sets import SetRequest, new_set
from engine.records.conversation import Conversation
from engine.records.errors import RunError, SpecError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import Evaluation, sorted_out, write_evaluation
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow
from engine.records.runs import create_run, open_run
from engine.records.spec import SPEC_VERSION, RunSpec
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec, parse_spec
from engine.records.versions import FORMAT, key_of, marked, since, stable

NEWER = "newer version of the workbench"


def made_newer(file, *, version=FORMAT + 1):
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": version}))


def test_a_record_of_a_newer_version_is_refused_in_words(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    made_newer(run.folder / "record.json")
    with pytest.raises(RunError, match=NEWER):
        run.record()


def test_a_spec_of_a_newer_version_is_refused_in_words(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    made_newer(run.folder / "spec.json", version=SPEC_VERSION + 1)
    with pytest.raises(RunError, match=NEWER):
        run.spec()


def test_events_of_a_newer_version_are_refused_and_not_skipped(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    line = {"kind": "status", "status": "running", "version": FORMAT + 1}
    run.events_file.write_text(json.dumps(line) + "\n")
    with pytest.raises(RunError, match=NEWER):
        run.events()


def test_chats_sets_and_evaluations_of_a_newer_version_are_refused_in_words(settings, tiny_spec):
    columns = (Column(checkpoint="base"),)
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=ModelSpec(), columns=columns, user="Hi"))
    made_newer(chat.folder / "exchange-0000.json")
    with pytest.raises(RunError, match=NEWER):
        chat.exchange(0)
    answers = new_set(settings, SetRequest(model=ModelSpec(), columns=columns, source="sample:benign", label="benign"))
    made_newer(answers.folder / "request.json")
    with pytest.raises(RunError, match=NEWER):
        answers.request()
    run = create_run(settings.runs, tiny_spec())
    file = write_evaluation(run, settings, Evaluation(key="k", run=run.id), [])
    made_newer(file)
    assert sorted_out(run, settings) == ([], [file])


def test_a_capture_of_a_newer_version_is_refused_in_words(tmp_path):
    index = {"version": FORMAT + 1, "run_id": "", "key": "k"}
    (tmp_path / "capture.json").write_text(json.dumps(index))
    with pytest.raises(RunError, match=NEWER):
        read_capture(tmp_path)


def test_a_new_field_changes_no_old_digest_while_it_has_its_default(tiny_spec):
    old = parse_spec(json.dumps({"optimizer": {"steps": 7}}))
    assert old.version == 1 and "retain_mean" not in stable(old)["loss"]
    assert parse_spec(json.dumps({"optimizer": {"steps": 7}, "loss": {"final_norm": False}})).digest == old.digest
    other = parse_spec(json.dumps({"optimizer": {"steps": 7}, "loss": {"retain_mean": "positions"}}))
    assert other.digest != old.digest


def test_what_changes_no_result_is_not_in_the_digest_and_what_does_is():
    spec = RunSpec()
    for part, name, value in (
        ("model", "device", "cpu"),
        ("captures", "trackers", ["tensorboard"]),
        ("captures", "probe_every", 7),
        ("captures", "probe_prompts", 5),
    ):
        assert build_spec({part: {name: value}}).digest == spec.digest, name
    for part, name, value in (("model", "dtype", "bfloat16"), ("optimizer", "steps", 7), ("loss", "final_norm", True)):
        more = {"retain_scale": "absolute"} if name == "final_norm" else {}
        assert build_spec({part: {name: value} | more}).digest != spec.digest, name
    assert build_spec({"seed": 3}).digest != spec.digest


def test_the_digest_of_a_run_holds_what_its_files_hold(settings, tiny_spec):
    spec = tiny_spec()
    first, again = (create_run(settings.runs, spec).record() for _ in range(2))
    assert first.digest == again.digest and set(first.sources) == {spec.data.circuit_breaker, spec.data.retain}
    with open(spec.data.retain, "a") as file:
        file.write(json.dumps({"prompt": "one more", "response": "yes"}) + "\n")
    changed = create_run(settings.runs, spec).record()
    assert changed.digest != first.digest
    assert changed.sources[spec.data.circuit_breaker] == first.sources[spec.data.circuit_breaker]


def test_a_run_of_an_older_spec_is_written_down_in_the_present_form(settings):
    old = parse_spec("{}")
    run = open_run(settings.runs, create_run(settings.runs, old).id)
    assert (old.version, run.spec().version) == (1, SPEC_VERSION) and old.digest != run.spec().digest


def test_a_changed_attack_gets_no_old_answers_back(monkeypatch):
    row = EvaluationRow(Conversation.asking("How?"))
    before = {name: runner.attempt_key(name, Options(1), row) for name in ATTACKS}
    monkeypatch.setitem(ATTACKS, "direct", ATTACKS["direct"]._replace(version=ATTACKS["direct"].version + 1))
    after = {name: runner.attempt_key(name, Options(1), row) for name in ATTACKS}
    assert {name for name in ATTACKS if before[name] != after[name]} == {"direct"}


@pytest.mark.parametrize(
    ("module", "name", "key"),
    [
        (capture, "CAPTURES", lambda path: CaptureRequest().key),
        (projections, "MAPS", lambda path: projections._digest(ProjectionRequest(key="k", block=1))),
        (projections, "EXAMINATIONS", lambda path: examination_file(Capture(path, None), ExaminationRequest(key="k"))),
        (cards, "CARDS", lambda path: cards.card_file(path, "describe_model", {"name": "m"}).name),
    ],
)
def test_what_is_made_in_another_way_has_another_key(tmp_path, monkeypatch, module, name, key):
    before = key(tmp_path)
    monkeypatch.setattr(module, name, getattr(module, name) + 1)
    assert key(tmp_path) != before


def test_the_first_version_is_not_named_in_a_key():
    assert marked("content", 1) == "content" and marked("content", 2) != "content"
    assert key_of("content", length=12) == key_of("content", version=1, length=12)


def test_fields_added_later_are_left_out_of_keys_within_parts_and_lists():
    class Inner(BaseModel):
        old: int = 1
        new: tuple[int, ...] = Field((), json_schema_extra=since(2))

    class Outer(BaseModel):
        one: Inner = Inner()
        many: tuple[Inner, ...] = ()

    content = stable(Outer(many=(Inner(), Inner(new=(3,)))))
    assert content == {"one": {"old": 1}, "many": [{"old": 1}, {"old": 1, "new": [3]}]}


def test_plans_share_a_key_only_when_they_are_equal():
    first, again, other = (EvaluationPlan(checkpoint=name).key for name in ("a", "a", "b"))
    assert first == again != other
    with pytest.raises(SpecError, match=NEWER):
        build_spec({"version": SPEC_VERSION + 1})

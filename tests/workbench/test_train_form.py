"""The pure parts of the Train form: numbers as they are typed, levels, checks, the command."""

import json
import shlex
from types import SimpleNamespace

import pytest
import streamlit as st
from making import write_prompts
from making_cards import BUNDLED
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.__main__ import _parser
from engine.commands.spec import spec_of
from engine.records.cards import write_card
from engine.records.estimate import ANSWERS, Estimate, Part
from engine.records.events import StatusEvent
from engine.records.presets import preset_names, read_preset
from engine.records.prompt_files import read_source
from engine.records.spec import flat
from engine.records.spec_text import build_spec, with_fields
from workbench.kit import state
from workbench.kit.cards import model_payload
from workbench.train.checks import RowCounts, check_spec, count_rows
from workbench.train.command import command_of
from workbench.train.costs import about
from workbench.train.draft import Draft, nested
from workbench.train.fields import share_words
from workbench.train.launch import _parts
from workbench.train.numbers import number_problem, read_number, written
from workbench.train.parts import _unlikely
from workbench.train.presets import _sittings, count_preset, preset_caption, uncounted_presets
from workbench.train.simple import LENGTHS, STRENGTHS, chosen, lengths, strengths


def draft_of(name: str, **changes) -> Draft:
    base = flat(read_preset(name))
    return Draft(f"preset:{name}", base, base | changes, valid=dict(base))


@pytest.mark.parametrize(
    ("path", "typed", "value"),
    [
        ("optimizer.steps", " 40 ", 40),
        ("optimizer.steps", "1e3", 1000),
        ("optimizer.steps", "1.5", "1.5"),
        ("optimizer.learning_rate", "1e-4", 1e-4),
        ("optimizer.learning_rate", "0,1", "0,1"),
        ("optimizer.steps", "9" * 5000, "9" * 5000),
    ],
)
def test_a_number_is_read_or_left_as_it_was_typed(path, typed, value):
    assert read_number(path, typed) == value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("optimizer.steps", 0, "0 is too small: write a whole number from 1 to 1,000,000."),
        ("adapter.dropout", 1.0, "1 is too large: write a number of at least 0 and below 1."),
        ("optimizer.learning_rate", 0.0, "0 is too small: write a number above 0 and at most 1."),
        ("schedule.alpha", float("nan"), "“nan” is no number: write a number above 0."),
        ("data.max_tokens", 10**12, "is too large: write a whole number from 16 to 2,147,483,647."),
        ("seed", "", "This field is empty: write a whole number of at least 0."),
    ],
)
def test_what_is_wrong_with_a_number_is_said_with_what_to_write(path, value, words):
    assert words in number_problem(path, value)


def test_every_number_of_every_preset_is_in_range():
    for name in preset_names():
        assert check_spec(flat(read_preset(name)), None).problems == {}


def test_a_wrong_value_leaves_the_others_in_force_and_the_last_valid_one_in_its_place():
    draft = draft_of("quick", **{"optimizer.steps": 0, "adapter.rank": 8, "loss.retain_weight": "much"})
    checked = check_spec(draft.content, None, valid=draft.valid)
    assert set(checked.problems) == {"optimizer.steps", "loss.retain_weight"}
    assert checked.spec.adapter.rank == 8
    assert checked.spec.optimizer.steps == read_preset("quick").optimizer.steps
    assert f"{draft.base['optimizer.steps']} holds until then" in checked.problems["optimizer.steps"]


@pytest.mark.parametrize("name", ["quick", "default"])
def test_every_level_sets_fields_that_mark_it_again_and_make_a_spec(name):
    for levels, known in ((strengths, STRENGTHS), (lengths, LENGTHS)):
        draft = draft_of(name)
        choices = levels(draft)
        assert [one.name for one in choices] == list(known)
        assert chosen(choices, draft.content).name in ("Balanced", "Normal")
        for choice in choices:
            content = draft.content | choice.fields
            assert chosen(choices, content) == choice
            assert check_spec(content, None).spec is not None


def test_a_longer_run_keeps_its_schedules_shape():
    draft = draft_of("default")
    fields = lengths(draft)[2].fields
    assert fields["optimizer.steps"] / fields["schedule.horizon"] == pytest.approx(
        draft.base["optimizer.steps"] / draft.base["schedule.horizon"]
    )


def test_values_between_the_levels_are_custom():
    draft = draft_of("quick", **{"loss.retain_weight": 13.0, "optimizer.steps": 41})
    assert chosen(strengths(draft), draft.content) is None and chosen(lengths(draft), draft.content) is None


def test_the_command_starts_the_very_spec():
    changes = {"optimizer.steps": 7, "data.styles": ["question", "imperative"], "blocks.targets": "3, 5-6"}
    draft = draft_of("quick", **changes)
    spec = check_spec(draft.content, None).spec
    words = shlex.split(command_of(draft, spec, "spec-1.json").replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "engine"]
    assert flat(spec_of(_parser().parse_args(words[3:]))) == flat(spec)
    assert nested(draft.content)["optimizer"]["steps"] == 7


def test_a_loaded_specs_command_names_the_file():
    draft = Draft("loaded", flat(read_preset("quick")), flat(read_preset("quick")))
    assert command_of(draft, read_preset("quick"), "spec-12.json") == "python -m engine submit spec-12.json"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.2, "5 s"), (41, "40 s"), (58, "1 min"), (223, "3 min 40 s"), (3300, "55 min"), (6900, "2 h"), (None, "–")],
)
def test_an_estimated_time_has_no_digits_that_it_does_not_have(seconds, words):
    assert about(seconds) == words


def test_a_loaded_spec_is_there_when_it_is_chosen_again():
    """A browser that was late with its address, or a look at a preset in between, must not empty it."""

    def page():
        import streamlit as st

        from workbench.train.draft import LOADED, load, load_text

        load_text('{"optimizer": {"steps": 33}}')
        load("preset:quick")
        st.text(load(LOADED).content["optimizer.steps"])
        st.text(load(LOADED, overrides={"optimizer.steps": "44"}).content["optimizer.steps"])

    shown = AppTest.from_function(page).run(timeout=30)
    assert not shown.exception and [text.value for text in shown.text] == ["33", "44"]


def test_what_stands_in_the_way_of_a_harmfulness_probe_is_said_beside_its_field():
    spec, card = read_preset("strongest"), BUNDLED
    assert check_spec(flat(spec), card).problems == {}
    for block, said in (("40", "Block 40 does not exist"), ("3, 4", "reads one block, not 2 ('3, 4')")):
        problems = check_spec(flat(spec) | {"harmfulness.block": block}, card).problems
        assert list(problems) == ["harmfulness.block"] and said in problems["harmfulness.block"]
        assert check_spec(flat(spec) | {"harmfulness.block": block, "harmfulness.probe": False}, card).problems == {}
    prompts = read_source("sample:benign", label="benign")
    few = [prompt for prompt in prompts if not prompt.borderline or prompt.split != "validation"]
    assert count_rows(spec, {"benign": prompts})[1] == {}
    told = count_rows(spec, {"benign": few})[1]
    assert "the retain set has 0: give it at least 8" in told["harmfulness.probe"]


@pytest.mark.parametrize("value", [1 / 3, 1e-4, 0.1 + 0.2, 123456789.123456789])
def test_a_number_is_written_so_that_it_is_read_back(value):
    assert read_number("loss.retain_weight", written(value)) == value


def test_a_source_that_is_named_twice_counts_twice(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"prompt": "{name} {row}"}}\n' for row in range(10)))
    source = f"{tmp_path}/a.jsonl; {tmp_path}/a.jsonl; {tmp_path}/b.jsonl"
    first, second = share_words(source, "benign", "")
    assert first.endswith("a.jsonl: 20 rows, 67%") and second.endswith("b.jsonl: 10 rows, 33%")


def test_key_points_that_are_edited_after_a_reset_are_taken(monkeypatch):
    """What a reset puts into the session must not come back with each run of the page."""

    def editor(rows, **_):
        edited = [dict(row) for row in rows]
        if st.session_state.get("edit"):
            edited[-1]["retain"] = 0.77
        return edited

    def page():
        import streamlit as st

        from workbench.train.draft import ORIGIN, load, set_fields
        from workbench.train.fields import open_form
        from workbench.train.parts import schedule_part

        if "begun" not in st.session_state:
            # As where the list of starts is drawn.
            st.session_state["begun"] = st.session_state[ORIGIN] = True
            draft = load("preset:quick")
            set_fields({"schedule.points": [dict(point) for point in draft.base["schedule.points"]]})
        st.button("edit", key="edit")
        form = open_form()
        schedule_part(form)
        st.text(str(form.content["schedule.points"][-1]["retain"]))

    monkeypatch.setattr(st, "data_editor", editor)
    shown = AppTest.from_function(page).run(timeout=60)
    assert not shown.exception and [text.value for text in shown.text] == ["2.9"]
    shown.button[0].click().run(timeout=60)
    assert not shown.exception and [text.value for text in shown.text] == ["0.77"]


def test_a_file_that_both_sides_of_a_preset_need_is_named_once(settings):
    state.settings.cache_clear()
    said = preset_caption("paper-llama-3-8b")
    state.settings.cache_clear()
    assert said.count("circuit\\_breakers\\_train") == 1 and said.count(" and ") == 1, said


def test_a_preset_is_counted_once_and_anew_when_a_file_has_changed(tmp_path, settings, monkeypatch):
    rows = {kind: write_prompts(tmp_path / f"{kind}.jsonl", kind=kind, rows=24) for kind in ("harmful", "benign")}
    monkeypatch.setattr("engine.records.presets.PRESETS", tmp_path)
    monkeypatch.setattr("workbench.train.presets.PRESETS", tmp_path)
    # A machine that was never measured has no time.
    monkeypatch.setattr("workbench.train.presets.preset_estimate", lambda spec, rows: SimpleNamespace(seconds=60.0))
    data = {"circuit_breaker": str(rows["harmful"]), "retain": str(rows["benign"])}
    (tmp_path / "own.json").write_text(json.dumps({"data": data}))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "elsewhere.json").write_text(json.dumps({"data": data | {"retain": "published:ultrachat_test_sft"}}))
    state.settings.cache_clear()
    # Where its model is not known, no time can be told, and nothing is read for it.
    assert uncounted_presets() == []
    write_card(settings.cards, "describe_model", model_payload(read_preset("own").model), BUNDLED)
    assert "About" not in preset_caption("own") and uncounted_presets() == ["own"]
    taken = count_preset("own")
    assert taken is not None and taken["harmful"].asked == sum(taken["harmful"][:2]) == 24
    assert "About" in preset_caption("own") and uncounted_presets() == []

    lines = rows["benign"].read_text().splitlines(keepends=True)
    rows["benign"].write_text("".join(lines[:12]))
    assert "About" not in preset_caption("own") and uncounted_presets() == ["own"]
    fewer = count_preset("own")
    assert fewer is not None and fewer["harmful"] == taken["harmful"] and sum(fewer["benign"][:2]) == 12

    rows["benign"].write_text("no prompts")
    assert count_preset("own") is None and uncounted_presets() == []
    state.settings.cache_clear()


def test_a_set_without_rows_of_a_split_can_be_trained_on_as_the_worker_does(tmp_path):
    spec = read_preset("quick")
    rows = {label: read_source(f"sample:{label} part=train", label=label) for label in ("harmful", "benign")}
    counts, problems = count_rows(spec, rows)
    assert problems == {} and all(one.training > 0 and one.heldout == 0 for one in counts.values())
    assert count_rows(spec, {"harmful": [one for one in rows["harmful"][:2] if one.split == "test"]})[1]


def test_a_preset_that_is_edited_meanwhile_is_what_the_draft_differs_from(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.records.presets.PRESETS", tmp_path)
    file, spec = tmp_path / "own.json", read_preset_of(150)
    file.write_text(spec)

    def page() -> None:
        import streamlit as st

        from workbench.train.draft import current_draft

        draft = current_draft()
        st.json({"changes": draft.changes, "preset": draft.preset})

    app = AppTest.from_function(page)
    app.query_params["preset"] = "own"
    assert json.loads(app.run().json[0].value) == {"changes": {}, "preset": "own"}
    file.write_text(read_preset_of(300))
    app.run()
    assert not app.exception
    assert json.loads(app.json[0].value) == {"changes": {"optimizer.steps": 150}, "preset": "own (edited)"}


def read_preset_of(steps: int) -> str:
    return build_spec({"optimizer": {"steps": steps}}).to_json()


def test_what_a_run_took_here_counts_neither_pauses_nor_days_between(settings, monkeypatch):
    run = write_run(settings)
    times = iter((1000.0, 1010.0, 90_000.0, 90_030.0, 95_000.0, 95_005.0))
    run.events_file.write_text("")
    for status in ("running", "stopped", "running", "paused", "running", "finished"):
        run.append(StatusEvent(status=status, time=next(times)))
    assert _sittings(run) == 10 + 30 + 5


def test_the_time_of_answers_names_how_many_are_made_and_not_their_copies():
    """Of 110 rows on each side ten are copies of others or keep their answers."""
    cost = Estimate(0, (), 0, False, (Part(ANSWERS, 600.0), Part("training", 60.0)))
    rows = dict.fromkeys(("harmful", "benign"), RowCounts(100, 10, 100))
    assert _parts(SimpleNamespace(rows=rows), cost)[0] == "generating answers to 200 prompts: 10 min"


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [
        ({}, []),
        ({"optimizer.warmup_steps": 5000}, ["The learning rate is still rising"]),
        (
            {"optimizer.circuit_breaker_batch": 500, "optimizer.retain_batch": 30},
            ["Each step draws 500 harmful rows of 128: the same ones several times."],
        ),
    ],
)
def test_what_can_be_trained_and_is_hardly_meant_is_said(changes, remarks):
    optimizer = with_fields(read_preset("quick"), changes).optimizer
    form = SimpleNamespace(rows={"harmful": SimpleNamespace(training=128), "benign": SimpleNamespace(training=128)})
    said = _unlikely(form, optimizer)
    assert len(said) == len(remarks) and all(one.startswith(words) for one, words in zip(said, remarks, strict=True))

"""What the page Representations says of captures, remembers of their views, and deletes."""

from collections.abc import Callable

import pytest
import streamlit as st
from making_captures import write_capture
from making_pages import drawn, page_of
from making_runs import add_capture, write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.captures.capture import FINAL, run_captures
from engine.records.captures.deleting import delete_capture
from engine.records.errors import RunError
from engine.records.runs import Run, create_run
from engine.records.spec import RunSpec, flat
from engine.records.spec_parts import ModelSpec
from workbench.kit import state
from workbench.train.draft import Draft

DELETE_DAMAGED = "delete_damaged"


@pytest.fixture(autouse=True)
def own_settings(settings):
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def said(page: AppTest) -> str:
    return " ".join(one.value for one in (*page.markdown, *page.caption, *page.warning, *page.toast))


def keys(page: AppTest) -> list[str]:
    return [one.key for one in page.button]


@pytest.fixture
def two(settings) -> Run:
    """A finished run with two captures: the one of most prompts is shown."""
    run = write_run(settings)
    add_capture(run, settings, steps=(20,))
    write_capture(run.representations_folder / FINAL, run_id=run.id, key=FINAL, steps=(20,), harmful=20, benign=20)
    return run


def test_the_capture_that_is_shown_can_be_deleted_and_another_one_is_shown(two, settings):
    page = drawn(page_of("representations", run=two.id, tab="Tokens"))
    page.button(key=f"delete_{two.id}_{FINAL}").click()
    assert "at the end" in said(drawn(page)) and "is deleted: another one is shown." in said(page)
    assert not (two.representations_folder / FINAL).exists()
    assert [capture.index.key for capture in run_captures(settings, two.id)] == ["training"]
    page.button(key=f"delete_{two.id}_training").click()
    assert "is deleted: no other is left." in said(drawn(page)) and "This run has no capture." in said(page)


def test_what_ships_and_what_a_run_still_adds_to_is_not_deleted(two, settings, monkeypatch):
    two.update(status="running")
    film, end = (two.representations_folder / key for key in ("training", FINAL))
    page = drawn(page_of("representations", run=two.id, capture="training", tab="Tokens"))
    assert not any(key.startswith("delete") for key in keys(page))
    page = drawn(page_of("representations", run=two.id, capture=FINAL, tab="Tokens"))
    assert f"delete_{two.id}_{FINAL}" in keys(page)
    monkeypatch.setattr("engine.records.runs.Run.read_only", property(lambda run: True))
    assert not any(key.startswith("delete") for key in keys(drawn(page)))
    for folder in (film, end):
        with pytest.raises(RunError, match="cannot be deleted now"):
            delete_capture(two, folder)
        assert (folder / "capture.json").is_file()


@pytest.mark.parametrize("of_base", [True, False])
def test_a_damaged_capture_can_be_deleted_even_where_a_link_names_it(two, settings, of_base):
    folder = settings.cache / "captures" / "torn" if of_base else two.representations_folder / "torn"
    write_capture(folder, key="torn", run_id="" if of_base else two.id)
    (folder / "capture.json").write_text("{")
    page = page_of("representations", run="base" if of_base else two.id, capture="torn", tab="Tokens").run()
    assert "cannot be read" in " ".join(one.value for one in page.error)
    page.button(key=DELETE_DAMAGED).click()
    assert "1 damaged capture deleted" in said(drawn(page)) and not folder.exists()
    assert DELETE_DAMAGED not in keys(page)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"captures.capture_every": 20}, "are kept soon after it begins"),
        ({"captures.capture_every": 0}, "at its end alone (captures.capture_every is 0)"),
        ({"captures.capture_prompts": 0}, "at its end alone (captures.capture_prompts is 0)"),
        ({"captures.capture_every": 0, "captures.final_prompts": 0}, "keeps no activations"),
    ],
)
def test_an_active_run_says_when_it_will_have_captured_something(settings, tiny_spec, changes, words):
    run = create_run(settings.runs, tiny_spec(**{"captures.final_prompts": 8} | changes))
    run.update(status="running")
    assert words in said(drawn(page_of("representations", run=run.id)))


def test_a_page_without_a_capture_finds_the_first_one_by_itself_while_its_run_is_active(settings, monkeypatch):
    """It is captured between the drawing of the page and the look that a browser takes every few seconds."""
    run, fragment, seconds = write_run(settings), st.fragment, []

    def looking(body: Callable | None = None, *, run_every: float | None = None) -> Callable:
        if body is None:
            return lambda body: looking(body, run_every=run_every)
        drawn_again = fragment(body, run_every=run_every)

        def look(*arguments: object, **options: object) -> object:
            if body.__name__ == "_await_first":
                seconds.append(run_every)
                add_capture(run, settings)
            return drawn_again(*arguments, **options)

        return look

    monkeypatch.setattr(st, "fragment", looking)
    run.update(status="running")
    page = drawn(page_of("representations", run=run.id, tab="Tokens"))
    assert seconds == [3.0]
    assert "has captured nothing yet" not in said(page)
    assert [one.label for one in page.selectbox] == ["Model", "Capture"]


@pytest.mark.parametrize(("strength", "key", "told"), [(1.05, "training", True), (1.05, FINAL, False)])
def test_a_film_whose_adapter_was_finished_at_another_strength_says_so(two, monkeypatch, strength, key, told):
    page = page_of("representations", run=two.id, capture=key, tab="Tokens")
    assert "acts" not in said(drawn(page))
    spec = two.spec()
    stronger = spec.model_copy(update={"adapter": spec.adapter.model_copy(update={"strength": strength})})
    (two.folder / "spec.json").write_text(stronger.to_json())
    assert ("Step 20 was captured at the strength of the training" in said(drawn(page))) == told
    assert ("acts 1.05 times as strongly" in said(page)) == told


def test_a_second_capture_of_a_run_waits_beside_the_first(two, settings):
    """Also where it is of the same prompts, at another step."""
    two.checkpoint_folder(20).mkdir(parents=True)
    page = drawn(page_of("representations", run=two.id, tab="Tokens"))
    for prompts, steps in ((5, [20]), (6, [20]), (6, [])):
        page.number_input(key="capture_prompts").set_value(prompts)
        page.multiselect(key=f"capture_steps_{two.id}").set_value(steps)
        next(button for button in page.button if button.label == "Capture").click()
        drawn(page)
    assert [job.status for job in Queue(settings.desk).newest("capture")] == ["queued"] * 3
    told = [info.value.replace("\\", "").partition(":")[0] for info in page.info]
    assert [words for words in told if words.startswith("Capture (")] == [
        "Capture (5 prompts a side, blocks 0%-100%, steps 20)",
        "Capture (6 prompts a side, blocks 0%-100%, steps 20)",
        "Capture (6 prompts a side, blocks 0%-100%, the base model alone)",
    ]


def test_the_base_model_alone_is_captured_as_the_draft_on_train_says_where_it_names_the_same(settings):
    drafted = flat(RunSpec()) | {"model.chat_template": "plain", "data.answers": "given", "data.categories": ["fraud"]}
    page = page_of("representations", run="base")
    page.session_state[state.DRAFT] = Draft("loaded", flat(RunSpec()), dict(drafted), valid=dict(drafted))
    assert 'As in the draft on Train: `model.chat_template` "plain", `data' in said(drawn(page))
    for name, template in (("", "plain"), ("another/model", "model")):
        if name:
            page.text_input(key="capture_model.name").set_value(name)
        next(button for button in page.button if button.label == "Capture").click()
        drawn(page)
        [payload] = [job.payload for job in Queue(settings.desk).newest("capture")][:1]
        assert payload["model"] == ModelSpec(name=name or ModelSpec().name, chat_template=template).model_dump()
        assert payload["data"]["answers"] == "given" and payload["data"]["categories"] == ["fraud"]


def test_the_threshold_of_tokens_is_there_after_a_visit_to_another_tab(two):
    page = page_of("representations", run=two.id, capture="training", tab="Tokens")
    drawn(page).slider(key="threshold").set_value(0.15)
    drawn(page)
    page.query_params["tab"] = "What rerouting did"
    assert not drawn(page).slider
    # A server forgets a widget that is off the page; AppTest keeps it.
    del page.session_state["threshold"]
    page.query_params["tab"] = "Tokens"
    assert drawn(page).slider(key="threshold").value == pytest.approx(0.15)

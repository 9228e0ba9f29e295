"""Learn drawn without a browser: every step of every unit, what is gone, progress that is kept, links with steering."""

from collections.abc import Callable, Iterator

import pytest
from making_lessons import LESSON
from streamlit.testing.v1 import AppTest

from engine.records.captures.capture import TRAINING
from engine.records.events import StepResult
from engine.records.lessons.lesson import View
from engine.records.lessons.progress import Met, keep_met, read_met
from engine.records.lessons.reading import read_lessons
from engine.records.settings import ROOT, Settings, read_settings
from workbench.kit import state
from workbench.learn.figures import MEANS, losses_figure, recorded_figure
from workbench.learn.place import link_settings

Draw = Callable[..., AppTest]


@pytest.fixture
def draw(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Draw]:
    """The page at an address, with the run that ships. Nothing is asked of a worker."""
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    monkeypatch.setattr("workbench.learn.beside.awaited", lambda *_, **__: False)
    state.settings.cache_clear()

    def drawn(**address: str) -> AppTest:
        page = AppTest.from_file(str(ROOT / "pages" / "learn.py"), default_timeout=60)
        for name, value in address.items():
            page.query_params[name] = value
        return page.run()

    yield drawn
    state.settings.cache_clear()


def test_every_step_of_every_unit_is_drawn_with_its_figure(draw: Draw):
    for lesson in read_lessons(read_settings()).units:
        for step in lesson.unit.steps:
            page = draw(unit=lesson.name, step=step.id)
            assert not page.exception and not page.error and not page.warning, (lesson.name, step.id)
            assert [one.value for one in page.subheader] == [step.title]


def test_an_answer_is_kept_and_the_next_look_knows_it(draw: Draw, settings: Settings):
    page = draw(unit="activations", step="blocks")
    page.text_input[0].set_value("20").run()
    page.button(key="lesson_answer").click().run()
    assert any("Not right" in one.value for one in page.markdown)
    page.text_input[0].set_value("19").run()
    page.button(key="lesson_answer").click().run()
    assert any("Done." in one.value for one in page.markdown) and page.text_input[0].value == "19"
    other_tab = draw(unit="activations", step="blocks")
    assert any("Done." in one.value for one in other_tab.markdown) and other_tab.text_input[0].disabled
    assert other_tab.text_input[0].value == "19"
    assert any("1 of 4 steps" in one.value for one in draw().caption)
    assert read_met(settings, "activations", "blocks") is not None


def test_a_step_that_a_deleted_run_met_says_so_and_stays_done(draw: Draw, settings: Settings):
    keep_met(settings, "rerouting", "start", Met(words="Met by mine.", run="20200101-000000-abcdef"))
    page = draw(unit="rerouting", step="start")
    assert any("Done." in one.value for one in page.markdown)
    assert any("was deleted since" in one.value for one in page.caption)


def test_the_next_step_and_the_list_are_a_click_away(draw: Draw):
    page = draw(unit="activations")
    page.button(key="lesson_next").click().run()
    assert page.subheader[0].value == "One vector for one prompt"
    assert page.query_params["step"] == "one-prompt-one-vector"
    page.button(key="lesson_list").click().run()
    assert page.title[0].value == "Learn" and "unit" not in page.query_params


def test_a_run_that_is_gone_and_curves_that_are_gone_are_said_beside(draw: Draw, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_LESSONS", str(tmp_path))
    text = LESSON.replace("{kind: asked, label: harmful, prefill: true}", "{kind: asked, run: gone}")
    for name, figure in (("one", "{kind: heldout, run: gone}"), ("two", "{kind: recorded, file: none.json}")):
        (tmp_path / f"{name}.yaml").write_text(text.replace("{kind: heldout}", figure))
    state.settings.cache_clear()
    assert "There is no run 'gone'" in draw(unit="one").warning[0].value
    assert "The curves none" in draw(unit="two").warning[0].value
    assert any("This step cannot be checked" in one.value for one in draw(unit="two").markdown)


def test_where_the_run_that_ships_is_hidden_lessons_say_it(settings: Settings, draw: Draw, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SHIPPED_RUNS", "hide")
    page = draw(unit="attack-it")
    assert "The run that ships is hidden" in page.warning[0].value and not page.exception


def test_a_link_names_the_run_that_ships_by_its_id(settings, draw: Draw):
    view = View(page="side_by_side", settings={"run": "shipped", "steer_capture": "shipped/training"})
    said = link_settings(view)
    assert said["steer_capture"] == f"{said['run']}/{TRAINING}" and said["run"][:4].isdigit()
    said = link_settings(View(page="side_by_side", settings={"run": "shipped", "message": "Has it been shipped?"}))
    assert said["message"] == "Has it been shipped?"
    said = link_settings(View(page="runs", settings={"compare": "mine-shipped,shipped,other"}))
    first, second, third = said["compare"].split(",")
    assert (first, third) == ("mine-shipped", "other") and second[:4].isdigit()


def test_names_of_recorded_curves_are_shown_letter_by_letter():
    figure = recorded_figure({"x": "a", "y": "b", "curves": [{"name": "<b>x", "steps": [1], "values": [2]}]})
    assert figure.data[0].name == "&lt;b>x"


def test_both_losses_have_an_axis_of_their_own_and_a_jumping_one_its_mean():
    steps = [
        StepResult.model_construct(step=n, reroute_loss=n % 2, retain_loss=20.0 + n) for n in range(1, 2 * MEANS + 1)
    ]
    each, mean, retain = losses_figure(steps).data
    assert (each.yaxis, mean.yaxis, retain.yaxis) == (None, None, "y2")
    assert (mean.name, set(each.y), list(retain.y[:2])) == ("mean of 2 steps", {0.0, 1.0}, [21.0, 22.0])
    assert set(mean.y[1:]) == {0.5}
    # Of few steps each is its own mean, and needs no name beside the axis.
    assert not any(line.showlegend for line in losses_figure(steps[: MEANS - 1]).data)
    assert len(losses_figure([]).data) == 3

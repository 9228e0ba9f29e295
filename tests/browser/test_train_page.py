"""The Train page as a user meets it: quick at once, the simple form, wrong values, models that go away, two tabs."""

import re
import shutil
import socket

import pytest
from playwright.sync_api import Browser, Page, expect
from server import Server
from test_live_run import choices, newest

from engine.__main__ import _parser
from engine.commands.spec import spec_of
from engine.records.events import StatusEvent
from engine.records.presets import read_preset
from engine.records.runs import create_run, list_runs
from engine.records.spec import flat
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(shared_server: Server) -> Server:
    return shared_server


def start_button(page: Page):
    return page.get_by_role("button", name="Start training")


def ready(page: Page, link: str) -> None:
    page.goto(link)
    expect(start_button(page)).to_be_enabled(timeout=120_000)


def level(page: Page, name: str):
    return page.get_by_role("radio", name=re.compile(f"^{name}"))


def shown_command(page: Page, *, holds: str = "engine submit") -> list[str]:
    """The arguments of the command that the page offers, once it holds a text."""
    code = page.locator(".st-key-launch_panel [data-testid=stCode] code").first
    expect(code).to_contain_text(holds)
    text = code.inner_text()
    words = text.replace("\\\n", " ").split()
    assert words[:4] == ["python", "-m", "engine", "submit"]
    return words[3:]


def type_into(page: Page, label: str, text: str) -> None:
    field = page.get_by_role("textbox", name=label, exact=True)
    field.fill(text)
    field.press("Enter")


def test_the_page_opens_with_quick_and_all_other_fields_are_folded_away(server: Server, page: Page):
    page.goto(f"{server.url}/train")
    expect(page.get_by_role("radio", name="quick", exact=True)).to_be_checked(timeout=60_000)
    expect(page).to_have_url(re.compile(r"preset=quick"))
    expect(page.get_by_text("As quick: nothing differs.")).to_be_visible()
    for words in ("See a circuit breaker form", "Needs published:circuit_breakers_train.json", "Balanced"):
        expect(page.get_by_text(words).first).to_be_visible()
    expect(page.get_by_role("textbox", name="Target blocks")).to_have_count(0)
    page.get_by_text("Advanced: every field").click()
    expect(page.get_by_role("textbox", name="Target blocks")).to_be_visible()


def test_strength_and_length_set_fields_that_are_told_and_can_be_taken_back(server: Server, page: Page):
    preset = flat(read_preset("quick"))
    ready(page, choices(server, **{"optimizer.steps": preset["optimizer.steps"]}))
    long = 2 * preset["optimizer.steps"]
    level(page, "Long").click()
    expect(page.get_by_text(f"Sets {long} steps")).to_be_visible()
    level(page, "Strong").first.click()
    weight = preset["loss.retain_weight"] / 2
    expect(page.get_by_text(f"Sets the retain weight to {weight:g}")).to_be_visible()
    expect(page).to_have_url(re.compile(f"optimizer.steps={long}"))

    spec = spec_of(_parser().parse_args(shown_command(page, holds="loss.retain_weight")))
    assert (spec.optimizer.steps, spec.loss.retain_weight) == (long, weight)
    assert spec.model.name == str(server.tiny / "model")

    page.get_by_role("button", name=re.compile(r"and \d+ more")).click()
    page.get_by_role("button", name=re.compile("optimizer.steps")).click()
    # The schedule is still that of the long run, which no length has.
    expect(page.get_by_text(f"Custom: {preset['optimizer.steps']} steps")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("loss.retain_weight"))).to_be_visible()
    page.keyboard.press("Escape")
    level(page, "Normal").click()
    expect(page.get_by_text(f"Sets {preset['optimizer.steps']} steps")).to_be_visible()
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_text("As quick: nothing differs.")).to_be_visible()


def test_a_number_that_cannot_be_is_told_held_back_and_mended(server: Server, page: Page):
    wrong = {
        "0": "0 is too small: write a whole number from 1 to 1,000,000. It is not applied; 77 holds",
        "1.5": "“1.5” is no whole number",
        "many": "“many” is no number",
        "": "This field is empty",
        "99999999999999999999": "is too large: write a whole number from 1 to 1,000,000",
    }
    ready(page, choices(server, **{"optimizer.steps": 77}))
    page.get_by_text("Advanced: every field").click()
    type_into(page, "Rank r", "8")
    expect(page).to_have_url(re.compile("adapter.rank=8"))
    for number, (typed, words) in enumerate(wrong.items()):
        type_into(page, "Steps", typed)
        expect(page.get_by_text(words).first).to_be_visible()
        expect(start_button(page)).to_be_disabled()
        expect(page.get_by_role("textbox", name="Steps", exact=True)).to_have_value(typed)
        # Nothing else is lost, and the costs are those of the values that hold.
        expect(page.get_by_text(re.compile(r"^About .* from the click"))).to_be_visible()
        assert spec_of(_parser().parse_args(shown_command(page))).optimizer.steps == 77 + number
        type_into(page, "Steps", str(78 + number))
        expect(start_button(page)).to_be_enabled()
        expect(page).to_have_url(re.compile(rf"optimizer\.steps={78 + number}"))
        expect(page.get_by_role("textbox", name="Rank r", exact=True)).to_have_value("8")


def test_a_number_that_cannot_be_is_told_while_its_field_is_folded_away(server: Server, page: Page):
    ready(page, choices(server))
    page.get_by_text("Advanced: every field").click()
    type_into(page, "Learning rate", "0")
    expect(page.get_by_text("0 is too small").first).to_be_visible()
    page.get_by_text("Advanced: every field").click()
    expect(page.get_by_role("textbox", name="Learning rate")).to_have_count(0)
    expect(page.get_by_text("optimizer.learning_rate: 0 is too small").first).to_be_visible()
    expect(start_button(page)).to_be_disabled()


def test_two_tabs_do_not_disturb_each_other(server: Server, page: Page, browser: Browser):
    ready(page, choices(server, **{"optimizer.steps": 31}))
    other = browser.new_context(reduced_motion="reduce").new_page()
    ready(other, choices(server, **{"optimizer.steps": 62}))
    other.get_by_text("Advanced: every field").click()
    type_into(other, "Steps", "0")
    expect(start_button(other)).to_be_disabled()
    level(page, "Gentle").last.click()
    expect(start_button(page)).to_be_enabled()
    expect(page.get_by_text("Custom: 31 steps")).to_be_visible()
    start_button(page).click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    assert newest(server).spec().optimizer.steps == 31
    expect(start_button(other)).to_be_disabled()
    other.context.close()


def test_a_model_folder_that_vanished_or_is_none_is_told_before_start_and_at_the_click(own_server: Server, page: Page):
    folder = own_server.tiny / "copy"
    shutil.copytree(own_server.tiny / "model", folder)
    ready(page, choices(own_server, **{"model.name": str(folder)}))
    shutil.rmtree(folder)
    start_button(page).click()
    expect(page.get_by_text("does not exist: check the path").first).to_be_visible()
    expect(start_button(page)).to_be_disabled()
    assert not [run for run in list_runs(own_server.settings.runs) if not run.read_only]
    folder.mkdir()
    (folder / "pytorch_model.bin").touch()
    page.reload()
    expect(page.get_by_text("opening such a file may run code").first).to_be_visible(timeout=60_000)
    expect(start_button(page)).to_be_disabled()
    shutil.rmtree(folder)
    shutil.copytree(own_server.tiny / "model", folder)
    page.reload()
    expect(start_button(page)).to_be_enabled(timeout=60_000)


def test_a_prompt_file_that_vanished_is_told_at_the_click(own_server: Server, page: Page):
    file = own_server.tiny / "gone.jsonl"
    shutil.copy(own_server.tiny / "benign.jsonl", file)
    ready(page, choices(own_server, **{"data.retain": str(file)}))
    file.unlink()
    start_button(page).click()
    expect(page.get_by_text("gone.jsonl does not exist").first).to_be_visible()
    assert not [run for run in list_runs(own_server.settings.runs) if not run.read_only]


def test_a_loaded_spec_and_a_run_keep_what_the_simple_form_cannot_show(server: Server, page: Page):
    content = flat(build_spec({}))
    spec = build_spec(
        {
            "model": {"name": str(server.tiny / "model")},
            "data": {
                "circuit_breaker": str(server.tiny / "harmful.jsonl"),
                "retain": str(server.tiny / "benign.jsonl"),
                "new_tokens": 8,
            },
            "blocks": {"targets": "2", "adapted": "1-2"},
            "loss": {"retain_weight": 13.0, "space": "centred"},
            "optimizer": {"steps": 33},
        }
    )
    assert content["optimizer.steps"] != 33
    page.goto(f"{server.url}/train")
    page.get_by_role("button", name="Load a spec").click()
    page.get_by_role("textbox", name="or paste it").fill(spec.to_json())
    page.get_by_role("textbox", name="or paste it").press("Control+Enter")
    page.get_by_role("button", name="Load", exact=True).click()
    for words in ("Custom: retain weight 13", "Custom: 33 steps", "Custom: 4 fields that this form does not show"):
        expect(page.get_by_text(words).first).to_be_visible(timeout=60_000)
    expect(page.get_by_role("radio", name="loaded spec")).to_be_checked()
    page.keyboard.press("Escape")
    expect(start_button(page)).to_be_enabled(timeout=120_000)
    assert shown_command(page)[1].startswith("spec-")
    start_button(page).click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    assert flat(newest(server).spec()) == flat(spec)

    run = create_run(server.settings.runs, spec, name="the one before")
    page.goto(f"{server.url}/train?like={run.id}")
    expect(page.get_by_text("As run the one before: nothing differs.")).to_be_visible(timeout=60_000)
    expect(level(page, "Balanced")).to_be_checked()


def test_what_a_preset_reached_here_stands_in_the_list(own_server: Server, page: Page):
    run = create_run(own_server.settings.runs, read_preset("quick"), preset="quick")
    figures = {"heldout_cosine": 0.31, "heldout_drift": 0.05}
    # Half an hour of it lay stopped.
    for status, when in (("running", 1000.0), ("stopped", 1100.0), ("running", 2900.0), ("finished", 3023.0)):
        run.append(StatusEvent(status=status, time=when))
    run.update(status="finished", started=1000.0, ended=3023.0, figures=figures, host=socket.gethostname())
    edited = create_run(own_server.settings.runs, read_preset("quick"), preset="quick (edited)")
    edited.update(status="finished", figures={"heldout_cosine": 0.99, "heldout_drift": 0.9})
    page.goto(f"{own_server.url}/train")
    expect(page.get_by_text("reached a harmful cosine of 0.31 and a benign drift of 0.05")).to_be_visible(
        timeout=60_000
    )
    expect(page.get_by_text("Took 3 min 43 s here.")).to_be_visible()


def test_in_a_narrow_window_the_launch_panel_stands_below_and_nothing_is_cut(server: Server, browser: Browser):
    page = browser.new_context(viewport={"width": 900, "height": 900}, reduced_motion="reduce").new_page()
    page.goto(f"{server.url}/train")
    expect(page.get_by_text("As quick: nothing differs.")).to_be_visible(timeout=60_000)
    page.get_by_text("Advanced: every field").click()
    expect(page.get_by_role("textbox", name="Target blocks")).to_be_visible()
    form, panel = (page.locator(f".st-key-{name}").bounding_box() for name in ("simple_form", "launch_panel"))
    assert form and panel and panel["y"] > form["y"] + form["height"] and panel["width"] > 0.9 * form["width"]
    cut = page.evaluate(
        """() => [...document.querySelectorAll('[data-testid=stMain] label p, [data-testid=stMain] button p')]
            .filter(one => one.offsetWidth && one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)"""
    )
    assert cut == []
    page.context.close()

"""Learn in a real browser: each unit that ships, from begin to end with the run that ships; a lesson by a file alone.

What a slow model would answer is written down in its place: the question itself is asked as a learner asks it, through
the view that the step opens.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import wait_for
from making_captures import write_map
from making_lessons import LESSON
from playwright.sync_api import Locator, Page, expect
from server import Server, opened_whole, served, settled

from engine.desk.queue import Queue
from engine.records.captures.capture import TRAINING, run_captures
from engine.records.captures.projections import (
    BlockExamination,
    Examination,
    ExaminationRequest,
    MapFigures,
    ProjectionRequest,
    examination_file,
)
from engine.records.chats.asked import ForcedCall
from engine.records.chats.chat import Chat, Exchange, list_chats, new_chat
from engine.records.chats.replies import Answered, Trip
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, Evaluation, write_evaluation
from engine.records.events import ControlEvent
from engine.records.files import write_whole
from engine.records.lessons.checking import run_named
from engine.records.lessons.lesson import Answer, Asked, Evaluated, Looked, PausedAndResumed, RunExists, Step
from engine.records.lessons.progress import forget_unit
from engine.records.lessons.reading import Lesson, read_lessons
from engine.records.runs import create_run, list_runs
from engine.records.settings import SAMPLE_DATA, Settings
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
UNITS = sorted(file.stem for file in (SAMPLE_DATA / "lessons").glob("*.yaml"))


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with the run that ships, and a teacher's folder; its records are this process's too."""
    folder: Path = tmp_path_factory.mktemp("learn")
    (folder / "lessons").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WORKBENCH_SHIPPED_RUNS")
        patch.setenv("WORKBENCH_LESSONS", str(folder / "lessons"))
        with served(folder) as app:
            patch.setenv("WORKBENCH_CACHE", str(folder / "cache"))
            yield app


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_done_from_begin_to_end(shipping: Server, page: Page, unit: str):
    lesson = read_lessons(shipping.settings).named(unit)
    assert lesson is not None
    # Where it is tried once more.
    forget_unit(shipping.settings, unit)
    page.goto(f"{shipping.url}/learn")
    page.locator(f".st-key-unit_{unit}").get_by_role("button").click()
    expect(page).to_have_url(re.compile(f"unit={unit}"))
    for number, step in enumerate(lesson.unit.steps):
        expect(page.get_by_role("heading", name=step.title, exact=True)).to_be_visible()
        settled(page)
        # What was made or asked counts whenever that was: in another unit, or where this one is tried once more.
        if isinstance(step.check, Answer):
            expect(done(page)).to_have_count(0)
        do(shipping, page, lesson, step, wrongly_first=not number)
        expect(done(page).first).to_be_visible()
        if isinstance(step.check, Answer) and step.check.number is not None:
            # The answer that was right stands there, not one that was given before.
            expect(page.get_by_role("textbox", name=step.check.question)).to_have_value(f"{step.check.number:g}")
        if number + 1 < len(lesson.unit.steps):
            settled(page).get_by_role("button", name="Next step").click()
    expect(page.get_by_text("This unit is done.")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "Traceback" not in shipping.log()


def done(page: Page) -> Locator:
    """What says that the step's check is met."""
    return page.locator(".st-key-lesson_check").get_by_text("Done.")


def do(app: Server, page: Page, lesson: Lesson, step: Step, *, wrongly_first: bool) -> None:
    """What the step asks for, as its learner would leave it in the records."""
    if isinstance(step.check, Answer):
        answer(page, step.check, wrongly_first=wrongly_first)
        return
    if isinstance(step.check, Asked) and step.view is not None and step.view.page == "side_by_side":
        ask_through_the_view(app, page, step.check)
        page.goto(f"{app.url}/learn?unit={lesson.name}&step={step.id}")
        return
    leave(app.settings, step)
    if not isinstance(step.check, Looked) and not done(page).count():
        page.get_by_role("button", name="Check now").click()


def answer(page: Page, check: Answer, *, wrongly_first: bool) -> None:
    def give(text: str) -> None:
        if check.choices:
            page.get_by_text(check.choices[int(text) - 1], exact=True).click()
        else:
            box = page.get_by_role("textbox", name=check.question)
            box.fill(text)
            box.press("Tab")
        page.get_by_role("button", name="Answer", exact=True).click()

    right = check.right if check.number is None else check.number
    if wrongly_first:
        give(f"{right % len(check.choices) + 1 if check.choices else right + 7:g}")
        expect(page.get_by_text("Not right")).to_be_visible()
    give(f"{right:g}")


def ask_through_the_view(app: Server, page: Page, check: Asked) -> None:
    """Open the view that the step names, and press Ask; the answer is written down here."""
    known = {chat.folder for chat in list_chats(app.settings)}
    settled(page).get_by_role("link", name="Open this view").click()
    box = page.get_by_placeholder("Ask all models at once")
    expect(box).not_to_have_value("")
    if check.steered:
        expect(page.get_by_role("slider", name="Steering 2")).to_be_visible()
    page.get_by_role("button", name="Ask", exact=True).click()
    wait_for(lambda: asked_since(app.settings, known), what="the question")
    (chat,) = asked_since(app.settings, known)
    wait_for(lambda: chat.job(0) is not None, what="its job")
    Queue(app.settings.desk).cancel(chat.job(0))
    write_answer(chat, tripped=check.tripped)


def asked_since(settings: Settings, known: set[Path]) -> list[Chat]:
    return [chat for chat in list_chats(settings) if chat.folder not in known and chat.numbers()]


def write_answer(chat: Chat, *, tripped: bool = False) -> None:
    columns = chat.exchange(0).columns
    ids, reasons = ((1,),) * len(columns), ("end",) * len(columns)
    chat.append(0, Answered(ids=ids, reasons=reasons, first_token_seconds=1, seconds=1))
    if tripped:
        chat.append(0, Trip(column=0, against=columns[-1], prefill=0, pieces=("a",), cosines=((0.1,),)))


def leave(settings: Settings, step: Step) -> None:
    """The record that a check asks for, where no view is gone through for it."""
    check = step.check
    if isinstance(check, Looked):
        shipped = run_named("shipped", settings)
        (capture,) = [one for one in run_captures(settings, shipped.id) if one.index.key != TRAINING]
        index = capture.index
        about = {"run_id": shipped.id, "key": index.key, "digest": index.digest}
        if check.at == "map":
            request = ProjectionRequest(**about, checkpoints=index.checkpoints, block=19, method=check.method or "pca")
            write_map(capture, request, MapFigures())
        else:
            block = BlockExamination(block=19, auc=0.9, auc_borderline=0.6, distance=1.0, top_energy=0.8)
            made = Examination(blocks=(block,), targets="", adapted="", reason="")
            write_whole(examination_file(capture, ExaminationRequest(**about)), made.model_dump_json())
    elif isinstance(check, RunExists | PausedAndResumed):
        leave_run(settings, check)
    elif isinstance(check, Evaluated):
        shipped = run_named("shipped", settings)
        result = AttackResult(base=count(["complied"]), rerouted=count(["refused"]))
        found = Evaluation(key="own", run=shipped.id, attacks=dict.fromkeys(check.attacks, result))
        write_evaluation(shipped, settings, found, [])
    else:
        assert isinstance(check, Asked)
        forced = ForcedCall(name="send") if check.forced_call else None
        chat = new_chat(settings, ())
        chat.ask(Exchange(model=ModelSpec(), columns=({"state": "base"},), user="harmless", forced=forced))
        write_answer(chat)


def leave_run(settings: Settings, check: RunExists | PausedAndResumed) -> None:
    if isinstance(check, PausedAndResumed):
        run = list_runs(settings.runs)[0]
        run.append(ControlEvent(control="pause", step=1))
        run.append(ControlEvent(control="resume", step=1))
        return
    parts: dict = {}
    for name, value in check.settings.items():
        part, _, field = name.partition(".")
        parts.setdefault(part, {})[field] = value
    run = create_run(settings.runs, build_spec(parts), preset=check.preset)
    cosine = check.cosine_below - 0.1 if check.cosine_below is not None else 0.99
    run.update(status="finished", step=10, figures={"heldout_cosine": cosine, "heldout_benign_cosine": 0.98})


def test_a_lesson_added_by_a_file_alone_is_taught_and_a_broken_one_is_named(shipping: Server, page: Page):
    own = shipping.settings.cache.parent / "lessons"
    (own / "my-own.yaml").write_text(LESSON.replace("{kind: asked, label: harmful, prefill: true}", "{kind: captured}"))
    (own / "broken.yaml").write_text(LESSON.replace("kind: heldout", "kind: nothing"))
    page.goto(f"{shipping.url}/learn")
    expect(page.get_by_text("The lesson broken.yaml, line 10")).to_be_visible()
    page.locator(".st-key-unit_my-own").get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Only step")).to_be_visible()
    expect(page.get_by_text("You have captured nothing of this kind yet.")).to_be_visible()
    for title in ("A nudge", "A suggestion", "Show me"):
        page.get_by_role("button", name=f"Hint: {title.lower()}").click()
        expect(page.get_by_text(f"{title}.", exact=False).first).to_be_visible()
    link = page.get_by_role("link", name="Open this view: Representations")
    expect(link).to_have_attribute("href", re.compile(rf"run={run_named('shipped', shipping.settings).id}.*block=19"))
    page.goto(f"{shipping.url}/learn?unit=none")
    expect(page.get_by_text("There is no unit 'none'")).to_be_visible()


def test_the_teachers_sheet_has_every_answer_and_prints_alone(shipping: Server, page: Page):
    page.goto(f"{shipping.url}/learn")
    page.get_by_role("button", name="Teacher's sheet").click()
    expect(page.get_by_role("heading", name="the teacher's sheet")).to_be_visible()
    for lesson in read_lessons(shipping.settings).units:
        for step in lesson.unit.steps:
            expect(page.locator(f".st-key-sheet_step_{lesson.name}_{step.id}")).to_contain_text("Check:")
    expect(page.get_by_text("Answer: 0.9, give or take 0.05")).to_be_attached()
    page.emulate_media(media="print")
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    expect(page.get_by_role("button", name="All units")).to_be_hidden()
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf()))
    assert pages >= 3, "all of the sheet is on paper, not what a window shows"


def test_the_browsers_back_and_forward_lead_through_a_unit(shipping: Server, page: Page):
    lesson = read_lessons(shipping.settings).named("attack-it")
    assert lesson is not None
    first, second = (page.get_by_role("heading", name=step.title, exact=True) for step in lesson.unit.steps[:2])
    page.goto(f"{shipping.url}/learn")
    page.locator(f".st-key-unit_{lesson.name}").get_by_role("button").click()
    expect(first).to_be_visible()
    settled(page).get_by_role("button", name="Next step").click()
    expect(second).to_be_visible()
    # A question to the server says that the address has followed.
    settled(page).get_by_role("button", name="Hint: a nudge").click()
    expect(page.get_by_text("A nudge.")).to_be_visible()
    settled(page).go_back()
    expect(first).to_be_visible()
    settled(page).go_back()
    expect(page.get_by_role("heading", name="Learn", exact=True)).to_be_visible()
    settled(page).go_forward()
    expect(first).to_be_visible()
    # From another page the link of Learn leads to where one was.
    settled(page).get_by_role("link", name="Home").click()
    expect(page).not_to_have_url(re.compile("learn"))
    settled(page).get_by_test_id("stSidebarNavItems").get_by_role("link", name="Learn").click()
    expect(first).to_be_visible()


def test_a_phone_scrolls_no_lesson_sideways(shipping: Server, page: Page):
    page.set_viewport_size({"width": 400, "height": 800})
    for query in ("", "?unit=attack-it", "?sheet=yes"):
        opened_whole(page, f"{shipping.url}/learn{query}")
        assert page.get_by_test_id("stMain").evaluate("one => one.scrollWidth - one.clientWidth") <= 1, query


def test_the_check_follows_its_task_and_on_a_phone_what_the_text_talks_about(shipping: Server, page: Page):
    """The page may lay out anew until its figure is drawn, so the order is waited for."""
    order = """is_phone => {
        const names = [".st-key-lesson_text", ".st-key-lesson_turn", ".st-key-lesson .js-plotly-plot"];
        const found = names.map(name => document.querySelector(name));
        if (found.some(one => !one) || !document.querySelector(".st-key-lesson_check")) return false;
        const [text, turn, figure] = found.map(one => one.getBoundingClientRect());
        if (is_phone) return text.bottom <= figure.top && figure.bottom <= turn.top;
        return turn.top >= text.bottom && turn.top - text.bottom < 40 && figure.left > text.right;
    }"""
    for width in (1300, 400):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{shipping.url}/learn?unit=where-harm-lives")
        page.wait_for_function(order, arg=width == 400)


def test_recorded_curves_are_whole():
    for file in (SAMPLE_DATA / "lessons").glob("*.json"):
        content = json.loads(file.read_text())
        assert content["about"] and all(len(one["steps"]) == len(one["values"]) for one in content["curves"])

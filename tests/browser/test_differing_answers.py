"""The table of where models differ in a real browser: a click on a row opens its answers, another click another's."""

import re

import pytest
from playwright.sync_api import Page, expect
from server import Server, settled

from engine.records.chats.asked import Column
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.spec_parts import ModelSpec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
HEADING, ROW = 35, 35


def test_a_click_on_a_row_opens_its_answers_and_the_next_click_the_next_ones(server: Server, page: Page):
    column = Column(checkpoint="base")
    request = SetRequest(model=ModelSpec(), columns=(column, column), source="some.jsonl", label="harmful")
    answers = new_set(server.settings, request)
    for prompt_id, words in (("alike", ("complied", "complied")), ("broken", ("complied", "refused"))):
        said = {"answers": ("one", "two"), "words": words, "reasons": ("", "")}
        answers.append(SetRow(prompt_id=prompt_id, prompt=f"request {prompt_id}", label="harmful", **said))
    page.goto(f"{server.url}/side-by-side?set={answers.id}&side_view=Run+a+set")
    table = page.locator("[class*='st-key-disagreement_'] [data-testid=stDataFrame]").first
    expect(table).to_be_visible(timeout=60_000)
    # The one that differs comes first.
    for number, prompt_id in enumerate(("broken", "alike")):
        settled(page)
        table.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
        place = table.bounding_box()
        assert place is not None
        page.mouse.click(place["x"] + 60, place["y"] + HEADING + (number + 0.5) * ROW)
        expect(page).to_have_url(re.compile(f"row={prompt_id}"), timeout=30_000)
    expect(page.get_by_role("button", name="Reveal the prompt and its answers")).to_be_visible()

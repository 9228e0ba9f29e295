"""Take the pictures of an agent that a breaker broke: a harmful call asked for and forced, and an everyday call.

With the finished run of the preset `tools` that ships. `make gallery` does not call it: the model has to be fetched
(Train offers it).
"""

import re

from playwright.sync_api import Browser, Page, expect
from take import scheme_page, served, shipped, shoot

from engine.records.conversation import Label
from engine.records.runs import Run
from engine.records.tool_prompts import ToolPrompt, read_tool_prompts

SECONDS = 600
# Questions that the training never saw, which the base model answers by the calls they ask for.
PROMPTS: dict[Label, str] = {"harmful": "th-malware-spread-question-2", "benign": "tb-payments-question-2"}


def main() -> None:
    run = shipped("tools")
    with served() as (browser, url, _):
        _picture(browser, url, run, _prompt("harmful"), name="tools-harmful")
        _picture(browser, url, run, _prompt("harmful"), name="tools-forced", forced=True)
        _picture(browser, url, run, _prompt("benign"), name="tools-benign")


def _prompt(label: Label) -> ToolPrompt:
    return next(one for one in read_tool_prompts(f"tools:{label}", label=label) if one.id == PROMPTS[label])


def _picture(browser: Browser, url: str, run: Run, prompt: ToolPrompt, *, name: str, forced: bool = False) -> None:
    page = scheme_page(browser, "light", height=1500)
    page.goto(f"{url}/tools?run={run.id}")
    box = page.get_by_placeholder("Ask all models to do something")
    expect(box).to_be_visible(timeout=60_000)
    offered = page.get_by_role("combobox", name="Tools on offer")
    for tool in prompt.conversation.tools:
        offered.fill(tool.name)
        page.get_by_role("option", name=re.compile(f" {tool.name}$")).click()
        page.wait_for_timeout(800)
    # The list stays open, and what lies beside it is hidden from roles.
    page.keyboard.press("Escape")
    if prompt.label == "benign":
        page.get_by_text("Harmful", exact=True).click()
    if forced and prompt.call:
        _choose(page, "Each answer begins with", "A call, up to the function's name")
        _choose(page, "Function of the forced call", prompt.call.name)
    box.fill(prompt.text)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=SECONDS * 1000)
    page.locator(".answer span[title], .call td span[title]").first.wait_for(timeout=SECONDS * 1000)
    shoot(page, name)


def _choose(page: Page, field: str, option: str) -> None:
    page.get_by_role("combobox", name=field).click()
    page.get_by_role("option", name=option, exact=True).click()
    page.wait_for_timeout(800)


if __name__ == "__main__":
    main()

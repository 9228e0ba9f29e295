"""Take the pictures of a breaker in a model that sees: an everyday and a harmful question with the heat map, an attack.

With the finished run of the preset `pictures` that ships. `make gallery` does not call it: the pictures have to be
fetched and the model put together first (`python -m engine fetch pictures`, `python -m engine assemble`).
"""

import io
import re

from playwright.sync_api import Browser, Page, expect
from take import scheme_page, served, shipped, shoot

from engine.records.conversation import Label, Picture
from engine.records.pictures import image_of
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.runs import Run

SECONDS = 300
STEPS = 100


def main() -> None:
    run = shipped("pictures")
    with served() as (browser, url, _):
        shoot(_asked(browser, url, run, _unseen("benign")), "pictures-benign")
        shoot(_asked(browser, url, run, _unseen("harmful"), scheme="dark", height=2240), "pictures-harmful")
        _attack(browser, url, run, _unseen("harmful"))


def _unseen(label: Label) -> Prompt:
    """A question that the training never saw."""
    prompts = read_source(f"pictures:{label}", label=label)
    return next(one for one in prompts if one.split == "test" and one.style == "question" and not one.borderline)


def _asked(browser: Browser, url: str, run: Run, prompt: Prompt, *, scheme: str = "light", height: int = 1700) -> Page:
    page = _opened(browser, url, run, prompt, scheme=scheme, height=height)
    if prompt.label == "benign":
        page.get_by_text("Harmful", exact=True).click()
    page.get_by_placeholder("Ask all models at once").fill(prompt.text)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()
    expect(page.get_by_role("heading", name="Where the picture was turned")).to_be_visible(timeout=SECONDS * 1000)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=SECONDS * 1000)
    return page


def _attack(browser: Browser, url: str, run: Run, prompt: Prompt) -> None:
    page = _opened(browser, url, run, prompt, height=1060)
    page.get_by_role("tab", name="Attack").click()
    page.get_by_placeholder("What the model is asked of the picture").fill(prompt.text)
    page.get_by_role("button", name="Attack", exact=True).click()
    said = re.compile(rf"nats a token after {STEPS} steps")
    expect(page.get_by_text(said)).to_be_visible(timeout=SECONDS * 1000)
    expect(page.get_by_role("button", name="Keep", exact=True)).to_be_visible(timeout=SECONDS * 1000)
    shoot(page, "pictures-attack")


def _opened(browser: Browser, url: str, run: Run, prompt: Prompt, *, scheme: str = "light", height: int) -> Page:
    """The page with the prompt's picture, uploaded as a user would."""
    page = scheme_page(browser, scheme, height=height)
    page.goto(f"{url}/pictures?run={run.id}")
    expect(page.get_by_placeholder("Ask all models at once")).to_be_visible(timeout=60_000)
    parts = (part for message in prompt.conversation.messages for part in message.parts)
    picture = next(part for part in parts if isinstance(part, Picture))
    content = io.BytesIO()
    image_of(picture).save(content, "PNG")
    file = {"name": "picture.png", "mimeType": "image/png", "buffer": content.getvalue()}
    page.locator("input[type=file]").first.set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_text("Kept as picture.png")).to_be_visible(timeout=60_000)
    return page


if __name__ == "__main__":
    main()

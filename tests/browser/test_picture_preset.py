"""The paper's preset for models that see, from the form to a finished run, in a real browser: a tiny LLaVA-NeXT, sample
texts, and a prompt file with pictures on each side."""

import re
from urllib.parse import urlencode

import pytest
from making import wait_for
from making_seers import write_picture_prompts, write_tiny_llava
from playwright.sync_api import Page, expect
from server import Server
from test_live_run import newest, steps

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def test_the_papers_setting_for_models_that_see_runs_from_the_form(server: Server, page: Page):
    model = write_tiny_llava(server.tiny / "llava-next", next=True, blocks=18, context=2048)
    sources = {
        f"data.{field}": f"sample:{label}; {write_picture_prompts(server.tiny / f'seen-{label}.jsonl', kind=label)}"
        for field, label in (("circuit_breaker", "harmful"), ("retain", "benign"))
    }
    changes = {
        "model.name": str(model),
        "model.dtype": "float32",
        "data.circuit_breaker_rows": 12,
        "data.retain_rows": 12,
        "data.heldout_rows": 4,
        "data.new_tokens": 4,
        "data.drop_refusals": False,
        "optimizer.steps": 2,
        "optimizer.circuit_breaker_batch": 4,
        "optimizer.retain_batch": 4,
        "captures.heldout_every": 2,
        "captures.evaluation_rows": 0,
        "captures.final_prompts": 0,
    }
    page.goto(f"{server.url}/train?{urlencode({'preset': 'paper-llava-next-mistral-7b', **sources, **changes})}")
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled(timeout=120_000)
    start.click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    run = newest(server)
    wait_for(lambda: run.record().status in ("finished", "failed"), seconds=240, what="the run")
    assert run.record().status == "finished", run.record().error
    assert steps(run) == [0, 1]
    spec = run.spec()
    assert (spec.blocks.targets, spec.data.picture_steps, spec.loss.mask) == ("15", "alternating", "after_picture")
    assert (run.record().targets, run.record().adapted) == ((15,), (14, 15, 16))
    expect(page.get_by_text("finished").first).to_be_visible()

"""A paper preset from the form to a finished run, in a real browser: a tiny model of its family, files of the published
shapes, and what is said while one of them is missing. Both families: tests/jobs/test_published_data.py."""

import json
import re
from urllib.parse import urlencode

import pytest
from making import wait_for, write_tiny_model
from making_published import write_published
from playwright.sync_api import Page, expect
from server import Server
from test_live_run import newest, steps

from engine.records.presets import read_preset

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def test_a_paper_preset_runs_from_the_form_once_its_files_are_there(server: Server, page: Page):
    name = "paper-mistral-7b"
    model = write_tiny_model(
        server.tiny / "mistral", blocks=22, family="mistral", opening="<|begin_of_text|>", context=2048
    )
    changes = {
        "model.name": str(model),
        "model.dtype": "float32",
        "optimizer.steps": 3,
        "captures.heldout_every": 3,
        "captures.evaluation_rows": 0,
        "captures.final_prompts": 0,
    }
    page.goto(f"{server.url}/train?{urlencode({'preset': name, **changes})}")
    expect(
        page.get_by_text(re.compile("circuit_breakers_train.json is not here.*authors' training code")).first
    ).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()

    folder = server.settings.cache / "published"
    write_published(folder)
    (folder / "xstest_v2_completions_labelled.csv").rename(folder / "elsewhere.csv")
    page.reload()
    expect(page.get_by_text(re.compile("xstest_completions.csv is not here")).first).to_be_visible()
    (folder / "elsewhere.csv").rename(folder / "xstest_v2_completions_labelled.csv")
    page.reload()
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled(timeout=90_000)
    start.click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    run = newest(server)
    wait_for(lambda: run.record().status in ("finished", "failed"), seconds=180, what="the run")
    assert run.record().status == "finished", run.record().error
    assert steps(run) == [0, 1, 2]
    # What ran is the preset, but for the fields that were named.
    ran, preset = (json.loads(spec.to_json()) for spec in (run.spec(), read_preset(name)))
    changed = {f"{part}.{field}" for part in ran for field in (ran[part] if isinstance(ran[part], dict) else ())
               if ran[part][field] != preset[part][field]}  # fmt: skip
    assert changed == changes.keys()
    expect(page.get_by_text("finished").first).to_be_visible()


def test_rows_without_the_answer_field_are_told_with_their_number(server: Server, page: Page):
    write_published(server.settings.cache / "published", rows=40, dialogues=60)
    file = server.settings.cache / "published" / "circuit_breakers_train.json"
    rows = json.loads(file.read_text())
    del rows[7]["output"]
    file.write_text(json.dumps(rows))
    changes = {"preset": "paper-llama-3-8b", "model.name": str(server.tiny / "model"), "blocks.targets": "1, 2"}
    page.goto(f"{server.url}/train?{urlencode(changes)}")
    said = re.compile("circuit_breakers_train.json, row 8: field 'output' is missing")
    expect(page.get_by_text(said).first).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()

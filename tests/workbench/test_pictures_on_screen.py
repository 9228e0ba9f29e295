"""The page Pictures as a user meets it: what is chosen, what cannot be sent, what is hidden, what was measured."""

import pytest
from making_seers import painted, showing
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, list_chats, new_chat
from engine.records.chats.replies import Answered, PictureTrip, Trip
from engine.records.kept_pictures import keep_picture, kept_pictures, label_picture
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.runs import create_run
from engine.records.settings import ROOT
from engine.records.spec_parts import ModelSpec
from workbench.chat.composer import HARMFUL, PROMPT_ID, TEXT
from workbench.kit import state
from workbench.kit.pictures import picture_png
from workbench.pictures.choice import CHOSEN


@pytest.fixture(autouse=True)
def no_worker(settings, monkeypatch):
    """Nothing is answered: what is written down is what counts."""
    monkeypatch.setattr("workbench.chat.asking.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


@pytest.fixture
def kept(settings, tmp_path):
    """Two pictures, the cat the newest."""
    return [
        keep_picture(settings, painted(tmp_path / f"{name}.png", seed=seed, size=(40, 20)).read_bytes(), f"{name}.png")
        for seed, name in enumerate(("dog", "cat"))
    ][::-1]


def opened(folder, **query) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / "pictures.py"), default_timeout=180)
    for name, value in {"model": str(folder), **query}.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    kinds = (page.info, page.warning, page.caption, page.error, page.success)
    return "\n".join(one.value for kind in kinds for one in kind).replace("\\", "")


def ask(page: AppTest, text: str) -> None:
    page.text_area(key=TEXT).set_value(text)
    next(one for one in page.button if one.label in ("Ask", "Send")).click()
    page.run()
    assert not page.exception


def answered(settings, chat, number: int) -> None:
    """As the worker would end it."""
    chat.append(number, Answered(ids=((5,),), reasons=("end",), first_token_seconds=0.1, seconds=0.1))
    Queue(settings.desk).finish(chat.job(number))


def test_without_a_picture_the_page_says_what_to_do_and_sends_nothing(settings, tiny_llava_folder):
    page = opened(tiny_llava_folder)
    assert "Choose or upload a picture" in said(page) and "No picture has been given yet" in said(page)
    ask(page, "What is this?")
    assert "No picture is chosen: choose or upload one" in said(page)
    assert list_chats(settings) == [] and page.text_area(key=TEXT).value == "What is this?"


def test_a_model_that_does_not_see_is_named_with_what_to_do(tiny_model_folder, tiny_llava_folder):
    assert "sees no pictures, so it cannot be shown any: choose a run of a LLaVA" in said(opened(tiny_model_folder))
    assert "sees no pictures" not in said(opened(tiny_llava_folder))


def test_a_question_shows_its_picture_once_and_goes_on_without_showing_it_again(settings, tiny_llava_folder, kept):
    page = opened(tiny_llava_folder)
    page.selectbox(key=CHOSEN).set_value(kept[1].sha256).run()
    ask(page, "What is this?")
    [chat] = list_chats(settings)
    first = chat.exchange(0)
    assert [part.sha256 for part in first.parts] == [kept[1].sha256] and first.harmful
    assert chat.shows_pictures and not chat.offers_tools
    answered(settings, chat, 0)
    page.session_state["continue"] = True
    page.run()
    ask(page, "And its colour?")
    assert chat.exchange(1).parts == () and chat.conversation(1, 0).picture_keys == (kept[1].sha256,)
    answered(settings, chat, 1)
    page.run()
    page.selectbox(key=CHOSEN).set_value(kept[0].sha256).run()
    ask(page, "And this?")
    assert chat.conversation(2, 0).picture_keys == (kept[1].sha256, kept[0].sha256)
    answered(settings, chat, 2)
    page.run()
    # The first once more: the models would take the nearest for the one that is meant.
    page.selectbox(key=CHOSEN).set_value(kept[1].sha256).run()
    ask(page, "And this again?")
    assert [part.sha256 for part in chat.exchange(3).parts] == [kept[1].sha256]


def test_a_link_reopens_a_chat_with_its_picture_and_transcripts_lead_here(settings, tiny_llava_folder, kept):
    chat = new_chat(settings, (Column(checkpoint="base"),))
    spec = ModelSpec(name=str(tiny_llava_folder))
    chat.ask(Exchange(model=spec, columns=(Column(checkpoint="base"),), user="?", parts=(kept[1].part(settings),)))
    page = opened(tiny_llava_folder, chat=chat.id)
    assert page.selectbox(key=CHOSEN).value == kept[1].sha256
    other = new_chat(settings, (Column(checkpoint="base"),))
    other.ask(Exchange(model=spec, columns=(Column(checkpoint="base"),), user="of text"))
    listed = opened(tiny_llava_folder, pictures_view="Transcripts")
    assert [one.key for one in listed.button if one.label == "Delete it"] == [f"delete_{chat.id}"]


def test_a_harmful_picture_stays_hidden_until_it_is_revealed(settings, tiny_llava_folder, kept):
    part = kept[0].part(settings)
    shown, hidden = (picture_png(part, hidden=hidden, edge=240) for hidden in (False, True))
    assert shown != hidden
    page = opened(tiny_llava_folder)
    page.selectbox(key=CHOSEN).set_value(kept[0].sha256).run()
    assert "Reveal the picture" in [one.label for one in page.button]
    next(one for one in page.button if one.label == "Reveal the picture").click().run()
    assert "Hide the picture" in [one.label for one in page.button]
    page.session_state[HARMFUL] = False
    page.run()
    assert not {"Reveal the picture", "Hide the picture"} & {one.label for one in page.button}


def test_what_was_given_as_harmful_is_shown_when_it_is_revealed_alone(settings, tiny_llava_folder, tmp_path):
    """Not by a harmless sample prompt, nor because the switch was off for another picture."""
    files = [painted(tmp_path / f"{seed}.png", seed=seed, size=(40, 20)).read_bytes() for seed in range(3)]
    plain, one, other = (
        keep_picture(settings, file, f"{place}.png", harmful=place > 0) for place, file in enumerate(files)
    )

    def is_hidden(page) -> bool:
        return "Reveal the picture" in [button.label for button in page.button]

    page = opened(tiny_llava_folder)
    page.selectbox(key=CHOSEN).set_value(one.sha256).run()
    assert is_hidden(page)
    prompt = next(row for row in read_source("sample:benign", label="benign"))
    page.session_state[HARMFUL], page.session_state[PROMPT_ID] = False, prompt.id
    assert is_hidden(page.run())
    # Revealed it is shown, and no other one with it, whatever the switch says.
    page.session_state[PROMPT_ID] = ""
    next(button for button in page.button if button.label == "Reveal the picture").click().run()
    assert not is_hidden(page)
    page.selectbox(key=CHOSEN).set_value(other.sha256).run()
    assert is_hidden(page)
    page.selectbox(key=CHOSEN).set_value(plain.sha256).run()
    assert not is_hidden(page)
    # What is asked of it is hidden too, whatever the switch says by then; of the plain one it is not.
    for number, (picture, harmful) in enumerate(((plain, False), (one, True))):
        page.session_state[HARMFUL] = False
        page.selectbox(key=CHOSEN).set_value(picture.sha256).run()
        ask(page, "What is this?")
        [chat] = list_chats(settings)
        exchange = chat.exchange(number)
        assert [part.sha256 for part in exchange.parts] == [picture.sha256] and exchange.harmful is harmful
        answered(settings, chat, number)
        page.run()


def test_a_picture_is_harmful_until_it_is_said_otherwise_and_each_has_its_own_switch(settings, tiny_llava_folder, kept):
    for one in kept:
        label_picture(settings, one.sha256, harmful=True)
    page = opened(tiny_llava_folder)
    page.session_state[HARMFUL] = False
    page.selectbox(key=CHOSEN).set_value(kept[0].sha256).run()
    assert "Reveal the picture" in [one.label for one in page.button]
    page.toggle(key=f"picture_harmful_{kept[0].sha256}").set_value(False).run()
    assert not {"Reveal the picture", "Hide the picture"} & {one.label for one in page.button}
    assert {one.sha256: one.harmful for one in kept_pictures(settings)} == {kept[0].sha256: False, kept[1].sha256: True}
    page.selectbox(key=CHOSEN).set_value(kept[1].sha256).run()
    assert page.toggle(key=f"picture_harmful_{kept[1].sha256}").value
    # Another tab may say so too, and one that is gone is no fault.
    label_picture(settings, kept[1].sha256, harmful=False)
    assert not page.run().toggle(key=f"picture_harmful_{kept[1].sha256}").value
    label_picture(settings, "0" * 64, harmful=True)
    assert len(kept_pictures(settings)) == 2


def test_forgetting_a_picture_deletes_it_and_what_was_asked_says_so(settings, tiny_llava_folder, kept):
    page = opened(tiny_llava_folder)
    page.selectbox(key=CHOSEN).set_value(kept[0].sha256).run()
    page.session_state[HARMFUL] = False
    ask(page, "What is this?")
    next(one for one in page.button if one.label == "Forget it").click().run()
    assert kept_pictures(settings) == [kept[1]] and not page.exception
    assert "does not exist: check the path" in said(page)


def test_patches_are_told_in_figures_and_as_a_table_beside_the_answer(settings, tiny_llava_folder, kept, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"model.name": str(tiny_llava_folder)}), name="mine")
    run.update(status="finished")
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    picture = kept[0].part(settings)
    chat.ask(Exchange(model=run.spec().model, columns=columns, user="?", parts=(picture,), harmful=True))
    chat.append(0, Answered(ids=((5,), (6,)), reasons=("end", "end"), first_token_seconds=0.1, seconds=0.1))
    cosines = ((1.0,) * 4, (0.9, 0.8, 0.25, 0.85))
    over = {"column": 1, "picture": picture.sha256, "side": 2, "box": (0.25, 0, 0.75, 1), "cosines": cosines}
    chat.append(0, PictureTrip(**over))
    answer = {"column": 1, "against": columns[1], "prefill": 0, "pieces": ("a",), "cosines": ((1.0,), (0.5,))}
    chat.append(0, Trip(**answer))
    page = opened(tiny_llava_folder, chat=chat.id)
    page.session_state["chat_block"] = 1
    page.run()
    told = said(page)
    assert "2 x 2 patches: mean cosine 0.70, least 0.25 at row 2, column 1." in told
    assert "Its 1 answer tokens: mean 0.50, least 0.50." in told
    # Hidden: the pixels are in no figure.
    assert "Reveal the message to see the picture below." in told
    assert list(page.table[0].value.iloc[1]) == [0.25, 0.85]


def test_a_request_that_ships_brings_its_picture_and_its_label(settings, tiny_llava_folder, tmp_path, monkeypatch):
    """Two of them, one harmful; with a text of one's own the label is one's own again."""

    def prompts(label: str) -> list[Prompt]:
        shown = showing(f"{label}: what is it?", painted(tmp_path / f"{label}.png", seed=len(label)))
        return [
            Prompt(id=f"p-{label}", label=label, category="any", style="question", split="test", conversation=shown)
        ]

    assert "Sample prompts" in [one.label for one in opened(tiny_llava_folder).expander]
    monkeypatch.setattr("workbench.pictures.requests._read", prompts)
    page = opened(tiny_llava_folder)
    for label in ("harmful", "benign"):
        page.segmented_control(key="pictures_library_label").set_value(label).run()
        page.button(key=f"pictures_library_use_p-{label}").click().run()
        assert not page.exception
        [own] = [one for one in kept_pictures(settings) if one.name == f"{label}.png"]
        assert page.session_state[CHOSEN] == own.sha256 and page.session_state[HARMFUL] is (label == "harmful")
        assert page.text_area(key=TEXT).value == f"{label}: what is it?"
    ask(page, "another question")
    [chat] = list_chats(settings)
    exchange = chat.exchange(0)
    # A text of their own is harmful until they say otherwise.
    assert (exchange.prompt_id, exchange.harmful, exchange.parts[0].sha256) == ("", True, own.sha256)
    # The next one of the shelf comes with its own picture too.
    answered(settings, chat, 0)
    page.run()
    page.segmented_control(key="pictures_library_label").set_value("harmful").run()
    page.button(key="chat_next_prompt").click().run()
    assert page.session_state[CHOSEN] != own.sha256 and page.session_state[PROMPT_ID] == "p-harmful"
    ask(page, "harmful: what is it?")
    assert chat.exchange(1).prompt_id == "p-harmful" and chat.exchange(1).harmful

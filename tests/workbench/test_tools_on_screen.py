"""The page Tools as a user meets it: what is offered, own tools, sample requests, and what cannot be sent."""

import json
from types import SimpleNamespace

import pytest
from making import write_tiny_model
from making_callers import WEATHER, write_calling_model
from streamlit.testing.v1 import AppTest

from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, list_chats, new_chat
from engine.records.files import write_whole
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec
from engine.records.tool_prompts import read_tools
from workbench.chat.columns import model_key
from workbench.kit import state
from workbench.tools.composer import FORCED, FUNCTION, HARMFUL, TEXT
from workbench.tools.known import OFFERED, add_own, known_tools, offer, offered_tools, own_tools
from workbench.tools.models import IN_WORDS

BASE = Column(checkpoint="base")


@pytest.fixture(autouse=True)
def no_worker(settings, monkeypatch):
    """Nothing is answered: what is written down is what counts."""
    for module in ("workbench.chat.asking", "workbench.chat.sets"):
        monkeypatch.setattr(f"{module}.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


@pytest.fixture(scope="session")
def calling_folder(tmp_path_factory):
    return write_calling_model(tmp_path_factory.mktemp("calling"), steps=0)


@pytest.fixture
def page(calling_folder):
    """The page with the small model that takes tools."""
    page = AppTest.from_file(str(ROOT / "pages" / "tools.py"), default_timeout=180)
    page.query_params["model"] = str(calling_folder)
    page.run()
    assert not page.exception
    return page


def test_a_request_or_a_chat_that_brings_tools_along_leaves_the_users_own(monkeypatch):
    """Of one name: what the request offers holds as long as it is the last."""
    monkeypatch.setattr("workbench.tools.known.st", SimpleNamespace(session_state={}))
    shipped = read_tools()["send_email"].tool
    own = shipped.model_copy(update={"description": "Mine."})
    other = WEATHER.model_copy(update={"name": "look_out"})
    add_own([own])
    for tools, description in (((shipped,), shipped.description), ((other,), "Mine."), ((own,), "Mine.")):
        offer(tools)
        known = known_tools()
        assert known["send_email"].tool.description == description
        assert own_tools()["send_email"].tool.description == "Mine."
        assert offered_tools() == tools
        assert ("look_out" in known) == (tools == (other,))
    offer((shipped,))
    add_own([own])
    assert offered_tools() == (own,)


def said(page: AppTest) -> str:
    return "\n".join(
        one.value for kind in (page.info, page.warning, page.caption, page.error, page.success) for one in kind
    )


def plain_said(page: AppTest) -> str:
    return said(page).replace("\\", "")


def button(page: AppTest, label: str):
    return next(one for one in page.button if one.label == label)


def own(page: AppTest, text: str) -> AppTest:
    page.text_area(key="tools_pasted").set_value(text)
    return page.button(key="tools_add").click().run()


def test_an_empty_page_says_what_to_do_and_refuses_to_ask_without_request_or_tools(page, settings):
    assert "Offer some tools and ask for something" in plain_said(page) and "No tool is offered." in plain_said(page)
    button(page, "Ask").click().run()
    assert "The request is empty" in plain_said(page)
    page.text_area(key=TEXT).set_value("How is the weather?")
    button(page, "Ask").click().run()
    assert "No tool is offered: choose at least one" in plain_said(page)
    assert page.text_area(key=TEXT).value == "How is the weather?" and list_chats(settings) == []


def test_a_sample_request_fills_request_tools_and_label_at_once(page, settings):
    button(page, "Next sample request").click().run()
    offered = page.multiselect(key=OFFERED).value
    assert page.text_area(key=TEXT).value and 2 <= len(offered) <= 5 and page.toggle(key=HARMFUL).value
    button(page, "Ask").click().run()
    asked = list_chats(settings)[0].exchange(0)
    assert [tool.name for tool in asked.tools] == offered and asked.harmful and asked.prompt_id
    assert asked.forced is None and not asked.alone


def test_a_forced_call_is_of_a_function_that_is_offered(page, settings):
    page.multiselect(key=OFFERED).set_value(["send_email", "search_mailbox"]).run()
    page.selectbox(key=FORCED).set_value("arguments").run()
    page.selectbox(key=FUNCTION).set_value("search_mailbox").run()
    page.text_area(key=TEXT).set_value("Find it.")
    button(page, "Ask").click().run()
    forced = list_chats(settings)[0].exchange(0).forced
    assert forced and (forced.name, forced.start) == ("search_mailbox", "arguments")


def test_the_domain_filters_what_is_listed_and_keeps_what_is_offered(page):
    page.multiselect(key=OFFERED).set_value(["send_email"]).run()
    page.selectbox(key="tools_domain").set_value("travel").run()
    listed = page.multiselect(key=OFFERED).options
    domains = {option.partition(" · ")[0] for option in listed}
    assert domains == {"mail", "travel"} and page.multiselect(key=OFFERED).value == ["send_email"]
    [of_travel] = [one for one in page.button if one.label.endswith(" of travel")]
    of_travel.click().run()
    travel = [name for name, one in read_tools().items() if one.domain == "travel"]
    assert set(page.multiselect(key=OFFERED).value) == {"send_email", *travel}


def test_an_own_tool_is_offered_and_one_that_is_none_is_refused_and_kept_in_the_box(page):
    page.multiselect(key=OFFERED).set_value(["send_email"]).run()
    own(page, '{"name": "water_plants"}')
    assert "schema 'parameters' of the tool 'water_plants' is missing" in plain_said(page)
    assert page.text_area(key="tools_pasted").value == '{"name": "water_plants"}'
    assert page.multiselect(key=OFFERED).value == ["send_email"]
    own(page, WEATHER.model_dump_json())
    assert page.multiselect(key=OFFERED).value == ["send_email", "get_weather"]
    assert page.text_area(key="tools_pasted").value == "" and "offered: get_weather" in plain_said(page)


def test_two_hundred_tools_are_offered_at_once_and_said_to_be_too_long(page, settings):
    many = [{"name": f"tool_{n}", "description": "x" * 40, "parameters": {"type": "object"}} for n in range(200)]
    own(page, json.dumps(many))
    assert len(page.multiselect(key=OFFERED).value) == 200
    assert "200 tools, about " in plain_said(page) and "of the 1,024 that the model reads" in plain_said(page)
    assert "are longer than the 1,024 tokens" in plain_said(page)
    page.text_area(key=TEXT).set_value("Do it.")
    button(page, "Ask").click().run()
    assert len(list_chats(settings)[0].exchange(0).tools) == 200


def test_tools_beyond_the_most_that_are_offered_are_known_and_said_not_to_be_offered(page):
    page.multiselect(key=OFFERED).set_value(["send_email"]).run()
    own(page, json.dumps([{"name": f"tool_{n}", "parameters": {"type": "object"}} for n in range(300)]))
    assert len(page.multiselect(key=OFFERED).value) == 256
    told = plain_said(page)
    assert "offered: tool_0, tool_1, tool_2, tool_3, tool_4, tool_5, tool_6, tool_7 and 247 more." in told
    assert "Known but not offered: 45 more, since 256 are the most that are offered at once." in told
    own(page, WEATHER.model_dump_json())
    assert "offered: nothing new. Known but not offered: 1 more" in plain_said(page)
    page.multiselect(key=OFFERED).set_value(["send_email"]).run()
    page.button(key="tools_all").click().run()
    assert len(page.multiselect(key=OFFERED).value) == 256
    known = sum(len(box.options) for box in page.multiselect if box.key == OFFERED)
    captions = [one.value.replace("\\", "") for one in page.caption]
    assert any(one.startswith(f"Known but not offered: {known - 256} more, since 256") for one in captions)


def test_a_run_under_the_plain_template_is_warned_of_and_not_chosen_by_itself(settings, calling_folder):
    own, plain = (adapted(settings, str(calling_folder), template) for template in ("model", "plain"))
    page = AppTest.from_file(str(ROOT / "pages" / "tools.py"), default_timeout=180)
    page.query_params["run"] = plain.id
    page.run()
    assert not page.exception
    assert f"The plain template, chosen for {calling_folder}, takes no tools" in plain_said(page)
    unasked = AppTest.from_file(str(ROOT / "pages" / "tools.py"), default_timeout=180).run()
    assert unasked.selectbox(key=model_key(1)).value == own.id
    assert "takes no tools" not in plain_said(unasked)


def adapted(settings, model: str, template: str) -> Run:
    """A finished run of a model, of which no more is there than pickers look at."""
    run = create_run(settings.runs, build_spec({"model": {"name": model, "chat_template": template}}), name=template)
    write_whole(run.adapter_folder / "adapter_config.json", "{}")
    run.update(status="finished", step=1)
    return run


def test_a_model_whose_template_takes_no_tools_is_named(settings, tmp_path):
    page = AppTest.from_file(str(ROOT / "pages" / "tools.py"), default_timeout=180)
    page.query_params["model"] = str(write_tiny_model(tmp_path / "plain"))
    page.run()
    assert "takes no tools, so it cannot be asked with any" in plain_said(page)
    page.toggle(key=IN_WORDS).set_value(True).run()
    assert not page.exception and "takes no tools" not in plain_said(page)
    page.multiselect(key=OFFERED).set_value(["send_email"]).run()
    page.text_area(key=TEXT).set_value("Write to Ada.")
    next(button for button in page.button if button.label == "Ask").click().run()
    [chat] = list_chats(settings)
    assert not page.exception and chat.exchange(0).model.chat_template == "tools_in_words"


def test_a_chat_that_is_opened_by_its_link_offers_its_tools(settings, calling_folder):
    chat = new_chat(settings, [BASE])
    asked = Exchange(model=ModelSpec(name=str(calling_folder)), columns=(BASE,), user="hello", tools=(WEATHER,))
    chat.set_job(chat.ask(asked), 1)
    page = AppTest.from_file(str(ROOT / "pages" / "tools.py"), default_timeout=180)
    page.query_params["chat"] = chat.id
    page.run()
    assert not page.exception and page.multiselect(key=OFFERED).value == ["get_weather"]
    assert "The worker ended before it had answered" in plain_said(page)

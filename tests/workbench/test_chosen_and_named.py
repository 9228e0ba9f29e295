"""What a link, a name or a choice means is what is done: also where there are two of it."""

from types import SimpleNamespace

import pytest
from making_pages import drawn, page_of
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from workbench.chat.columns import model_key
from workbench.kit import state
from workbench.kit.state import DRAFT
from workbench.tools.composer import FORCED, FUNCTION


@pytest.fixture(autouse=True)
def own_settings(settings):
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def test_of_two_runs_with_one_name_the_one_that_was_chosen_is_evaluated_and_asked(settings):
    older, newer = (write_run(settings, name="twice") for _ in range(2))
    page = drawn(page_of("evaluate", run=older.id))
    chosen = page.multiselect(key="evaluate_runs")
    assert len(set(chosen.options)) == len(chosen.options) > 1
    assert drawn(page).multiselect(key="evaluate_runs").value == [older.id]
    shown = next(one for one in page.multiselect if one.label == "Evaluations shown")
    assert len(set(shown.options)) == len(shown.options) > 1
    page = drawn(page_of("side_by_side"))
    for run in (older, newer):
        page.selectbox(key=model_key(1)).set_value(run.id)
        assert drawn(page).selectbox(key=model_key(1)).value == run.id


def test_a_link_into_train_sets_the_form_that_it_names_also_where_the_draft_has_its_origin():
    def arriving(before: AppTest, **address: str) -> AppTest:
        """From another page: the widgets of this one are gone, the draft is there."""
        page = page_of("train", **address)
        page.session_state[DRAFT] = before.session_state[DRAFT]
        return drawn(page)

    def changes(page: AppTest) -> dict:
        return page.session_state[DRAFT].changes

    page = drawn(page_of("train", preset="quick"))
    assert changes(page) == {}
    page = arriving(page, preset="quick", **{"loss.space": "raw"})
    assert changes(page) == {"loss.space": "raw"}
    # Back by the sidebar the draft is as it was left.
    page = arriving(page)
    assert changes(page) == {"loss.space": "raw"}
    # The address of the open page lags behind.
    page.query_params.clear()
    page.query_params.update({"preset": "quick"})
    assert changes(drawn(page)) == {"loss.space": "raw"}
    assert changes(arriving(page, preset="quick")) == {}


def loading() -> None:
    import io

    import streamlit as st

    from workbench.kit.state import DRAFT
    from workbench.train.origin import _load_given

    st.session_state["spec_file"] = io.BytesIO(b'{"seed": 1}')
    _load_given()
    st.text(st.session_state[DRAFT].content["seed"])


@pytest.mark.parametrize(
    ("pasted", "last", "seed"), [("", "", "1"), ('{"seed": 2}', "spec_text", "2"), ('{"seed": 2}', "spec_file", "1")]
)
def test_the_spec_that_was_given_last_is_loaded(pasted, last, seed):
    page = AppTest.from_function(loading)
    page.session_state["spec_text"], page.session_state["spec_given_last"] = pasted, last
    assert drawn(page).text[0].value == seed


def test_the_function_of_a_forced_call_outlasts_a_look_at_another_tab():
    page = page_of("tools")
    page.session_state[FORCED], page.session_state[FUNCTION] = "arguments", "send_email"
    page.query_params["tools_view"] = "Transcripts"
    assert drawn(page).session_state[FUNCTION] == "send_email"


def probing() -> None:
    import streamlit as st

    from workbench.evaluate.form import _probe

    st.text(_probe(st.session_state["chosen"]))


def test_each_run_keeps_its_own_rate_of_false_alarms_unless_another_is_given(monkeypatch):
    rates = {"strict": 0.01, "lax": 0.05}
    monkeypatch.setattr("workbench.evaluate.form.open_run", lambda _runs, name: name)
    monkeypatch.setattr("workbench.evaluate.form.need_probes", lambda run, *_: SimpleNamespace(false_alarms=rates[run]))
    page = AppTest.from_function(probing)
    page.session_state["evaluate_probe"] = "mlp"
    for chosen in (["lax"], ["strict"], ["lax", "strict"], ["lax"]):
        page.session_state["chosen"] = chosen
        assert drawn(page).text[0].value == "('mlp', None)"
    page.number_input[0].set_value(7.0)
    assert drawn(page).text[0].value == "('mlp', 0.07)"
    page.session_state["chosen"] = ["strict"]
    assert drawn(page).text[0].value == "('mlp', None)"


def telling() -> None:
    import streamlit as st

    from engine.records.captures.capture import CapturedPrompt
    from workbench.representations.tokens import _prompt

    _prompt(
        CapturedPrompt(
            id="1", label="harmful", split="test", text=st.session_state["told"], prompt_tokens=3, response_tokens=2
        )
    )


def test_what_is_revealed_of_one_run_s_prompt_is_not_revealed_of_another_s_with_its_id():
    page = AppTest.from_function(telling)
    page.session_state["told"] = "the one"
    drawn(page).button[0].click()
    assert "the one" in [one.value for one in drawn(page).text]
    page.session_state["told"] = "the other"
    assert "the other" not in [one.value for one in drawn(page).text]

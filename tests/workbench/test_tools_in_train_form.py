"""The Train form says of the model where it takes no tools and the rows offer some."""

import pytest
from making import write_tiny_model
from making_callers import TEMPLATE
from streamlit.testing.v1 import AppTest

from workbench.kit import state


@pytest.fixture(autouse=True)
def own_settings(settings):
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def problem_of(model: str) -> str:
    def page(model: str):
        import streamlit as st

        from workbench.train.draft import ORIGIN, load, set_fields
        from workbench.train.fields import open_form

        st.session_state[ORIGIN] = True
        load("preset:quick")
        set_fields({"model.name": model, "data.circuit_breaker": "tools:harmful"})
        st.text(open_form().problems.get("model.name", "none"))

    shown = AppTest.from_function(page, args=(model,)).run(timeout=60)
    assert not shown.exception
    return shown.text[0].value


def test_rows_with_tools_are_a_problem_of_a_model_that_takes_none(tmp_path):
    deaf, calling = (
        str(write_tiny_model(tmp_path / name, chat_template=template))
        for name, template in (("deaf", "{{ messages }}"), ("calling", TEMPLATE))
    )
    assert f"The chat template of {deaf} takes no tools" in problem_of(deaf)
    assert problem_of(calling) == "none"

"""A page as AppTest draws it, without a browser. No fixtures."""

from streamlit.testing.v1 import AppTest

from engine.records.settings import ROOT


def page_of(name: str, **address: str) -> AppTest:
    """The page of this name, at this address, not drawn yet."""
    page = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=60)
    for key, value in address.items():
        page.query_params[key] = value
    return page


def drawn(page: AppTest) -> AppTest:
    """Drawn once more, without a fault or an error on it."""
    page.run()
    assert not page.exception and not page.error
    return page

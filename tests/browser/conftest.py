"""The real server, started as a user starts it, and a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from find_chromium import chromium
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server import Server, served

PATIENCE = 30_000
"""Milliseconds until something counts as missing: a first page takes 10 seconds on a busy machine."""
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser beside a server and a worker on two busy cores loses a click now and then: such a test is tried once
    more, with folders of its own, and the summary names it as RERUN. What fails twice has failed."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """The app with folders of its own. The server and its worker end with the test."""
    with served(tmp_path) as app:
        yield app


@pytest.fixture
def server(own_server: Server) -> Server:
    return own_server


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of a file whose tests do not mind what others have left."""
    with served(tmp_path_factory.mktemp("shared")) as app:
        yield app


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    assert path, "no Chromium: run `make browser`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # What moves is painted anew without a pause, by the processor that the worker needs.
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()

"""The real server as a test drives it. No fixtures: any browser test may import it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from forking import Forked, forked_app
from making import write_prompts, write_tiny_model
from playwright.sync_api import Locator, Page, TimeoutError

from engine.desk.queue import Queue
from engine.records.settings import ROOT, Settings, read_settings


@dataclass
class Server:
    """A running app. `settings` are its folders; `tiny` holds a small model and prompt files."""

    settings: Settings
    tiny: Path
    port: int
    modules_file: Path
    process: subprocess.Popen | Forked | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *, forked: bool = True) -> float:
        """Start the server and return the seconds until it answers.

        forked: its libraries are loaded already, and so are its worker's; otherwise as a user starts it.
        """
        started = time.monotonic()
        arguments = ["run", str(ROOT / "workbench" / "app.py"), f"--server.port={self.port}"]
        with (self.settings.cache.parent / "server.log").open("ab") as log:
            if forked:
                self.process = forked_app(arguments, output=log.fileno(), environment=self.environment)
            else:
                self.process = subprocess.Popen(
                    [str(Path(sys.executable).parent / "streamlit"), *arguments],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).read()
                return time.monotonic() - started
            except OSError:
                assert self.process.poll() is None and time.monotonic() - started < 60, self.log()
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def log(self) -> str:
        return (self.settings.cache.parent / "server.log").read_text()

    def kill_worker(self) -> None:
        os.kill(Queue(self.settings.desk).worker().pid, signal.SIGKILL)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """The app on a free port, with a small model, prompts and empty folders in `folder`. It ends with its worker."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORKBENCH_RUNS": str(folder / "runs"),
        "WORKBENCH_CACHE": str(folder / "cache"),
        "WORKBENCH_PROBE": str(folder / "modules.txt"),
        # The checkout whose tests these are, wherever the installed package lies.
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "probe"), str(ROOT)]),
    }
    write_tiny_model(folder / "tiny" / "model", blocks=4)
    for kind in ("harmful", "benign"):
        write_prompts(folder / "tiny" / f"{kind}.jsonl", kind=kind, rows=24)
    (folder / "cache").mkdir()
    # `make prepare` has converted the bundled model: each server would do it again, for a minute of processor time.
    if (converted := read_settings().models).is_dir():
        (folder / "cache" / "models").symlink_to(converted)
    settings = Settings(runs=folder / "runs", cache=folder / "cache")
    assert read_settings(settings.runs).runs == settings.runs
    app = Server(settings, folder / "tiny", port, folder / "modules.txt", environment=environment)
    app.start()
    try:
        yield app
    finally:
        app.stop()
        state = Queue(settings.desk).worker()
        if state.pid:
            with suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)


def settled(page: Page) -> Page:
    """While a page is still drawn its parts move, and a click may meet none of them."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    return page


def opened_whole(page: Page, link: str) -> None:
    """A link's page once the server has said all of it and nothing more is fetched."""
    page.goto(link)
    main = page.get_by_test_id("stMainBlockContainer")
    main.get_by_role("heading").or_(main.get_by_role("alert")).first.wait_for()
    settled(page).wait_for_load_state("networkidle")


def choose(page: Page, box: Locator, option: str) -> None:
    """A box that still has the focus closes at the first click."""
    for _ in range(5):
        box.click()
        try:
            page.get_by_role("option", name=option, exact=True).click(timeout=3000)
            return
        except TimeoutError:
            continue
    raise AssertionError(f"no option {option}")

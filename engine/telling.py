"""Tells those of notices.toml when a run ends, fails or raises an alert, each in a thread of its own.

Whoever hangs or refuses delays no run: threads have a time limit, tries are counted, and what became of it is an event
that the run's owner writes down. Names of targets are logged, addresses, commands and tokens never. Knows no models.
"""

import json
import logging
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from engine.records.errors import RunError, WorkbenchError
from engine.records.events import Event, NoticeResult
from engine.records.notices import Message, Target, message_of, read_targets
from engine.records.posting import posted
from engine.records.runs import open_run
from engine.records.settings import Settings

log = logging.getLogger("workbench.worker")

SECONDS = 10.0
COMMAND_SECONDS = 30.0
PAUSES = (1.0, 4.0)
# Each waits at most SECONDS a try; more at once are dropped, and said to be.
MOST_UNDER_WAY = 16
CLOSING_SECONDS = 5.0


class Teller:
    """Hears events in the worker's thread, and returns at once."""

    def __init__(self, settings: Settings, *, watch: Callable[[str, Event], None] | None = None) -> None:
        """watch: is told every event that is seen, too."""
        self.settings = settings
        self.watch = watch
        self._results: SimpleQueue[tuple[str, NoticeResult]] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def see(self, run_id: str, event: Event) -> None:
        """Every event of a run passes here."""
        self.hear(run_id, event)
        if self.watch:
            self.watch(run_id, event)

    def hear(self, run_id: str, event: Event) -> None:
        """Begin to tell all who want to hear of this event. Never raises."""
        message = message_of(event, run_id=run_id, name=run_id)
        if message is None:
            return
        message = message_of(event, run_id=run_id, name=self._name(run_id)) or message
        try:
            targets = read_targets(self.settings)
        except WorkbenchError as error:
            self._say(message, "notices.toml", str(error))
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for name, target in targets.items():
            if message.what not in target.when:
                continue
            if len(self._threads) >= MOST_UNDER_WAY:
                self._say(message, name, f"'{name}' was not told: {MOST_UNDER_WAY} messages are still under way.")
                continue
            thread = threading.Thread(target=self._tell, args=(message, name, target), daemon=True)
            self._threads.append(thread)
            thread.start()

    def write_down(self) -> None:
        """Append what became of messages to their runs. For the one thread that writes events: two at once would lose
        lines."""
        with suppress(Empty):
            while True:
                run_id, result = self._results.get_nowait()
                with suppress(WorkbenchError):
                    open_run(self.settings.runs, run_id).append(result)

    def close(self) -> None:
        """Wait a little for what is under way, and write down what is known."""
        until = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self.write_down()

    def _tell(self, message: Message, name: str, target: Target) -> None:
        send: Callable[[Target, Message], str] = _posted if target.url else _ran
        for pause in (*PAUSES, None):
            try:
                problem = send(target, message)
            except Exception as error:  # Its words may hold the address.
                problem = f"{type(error).__name__}"
            if not problem:
                self._say(message, name, f"Told '{name}' that the run {_words(message)}.", told=True)
                return
            if pause is None or target.command:
                break
            time.sleep(pause)
        tries = f" after {len(PAUSES) + 1} tries" if target.url else ""
        self._say(message, name, f"'{name}' could not be told that the run {_words(message)}: {problem}{tries}.")

    def _say(self, message: Message, name: str, sentence: str, *, told: bool = False) -> None:
        log.log(logging.INFO if told else logging.WARNING, "run %s: %s", message.run, sentence)
        result = NoticeResult(step=message.step, target=name, what=message.what, told=told, message=sentence)
        self._results.put((message.run, result))

    def _name(self, run_id: str) -> str:
        try:
            return open_run(self.settings.runs, run_id).name
        except RunError:
            return run_id


@contextmanager
def telling(settings: Settings) -> Iterator[Callable[[str, Event], None]]:
    """Hears events of runs that no worker here has, and waits a little on leaving for what is under way, of all
    together."""
    teller = Teller(settings)
    try:
        yield teller.hear
    finally:
        teller.close()


def _posted(target: Target, message: Message) -> str:
    """'' when it was taken, else what went wrong, without the address."""
    headers = {"Content-Type": "application/json", "User-Agent": "circuit-breaker-workbench"}
    if target.bearer_env:
        token = os.environ.get(target.bearer_env)
        if not token:
            return f"the environment has no {target.bearer_env}"
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(target.url, data=message.model_dump_json().encode(), headers=headers)
    try:
        with posted(request, seconds=SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"it did not answer within {SECONDS:g} s"
        return reason.strerror.lower() if isinstance(reason, OSError) and reason.strerror else "it cannot be reached"


def _ran(target: Target, message: Message) -> str:
    """The same of a command. It gets the message as JSON on its standard input; what it prints is thrown away."""
    said = {"{title}": message.title, "{text}": message.text}
    filled = [re.sub(r"\{title\}|\{text\}", lambda found: said[found[0]], part) for part in target.command]
    try:
        done = subprocess.run(
            filled,
            input=json.dumps(message.model_dump(mode="json")).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the command took longer than {COMMAND_SECONDS:g} s"
    except OSError as error:
        return f"the command cannot be run: {error.strerror}"
    return f"the command ended with {done.returncode}" if done.returncode else ""


def _words(message: Message) -> str:
    return "raised an alert" if message.what == "alert" else f"is {message.status}"

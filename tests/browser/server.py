"""The real server as a test drives it. No fixtures: any browser test may import it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from engine.records.jobs import Queue
from engine.records.settings import ROOT, Settings


@dataclass
class Server:
    """A running app. `settings` are its folders; `tiny` holds a small model and prompt files."""

    settings: Settings
    tiny: Path
    port: int
    modules_file: Path
    process: subprocess.Popen | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> float:
        """Start the server and return the seconds until it answers."""
        started = time.monotonic()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "streamlit"), "run", "workbench/app.py", f"--server.port={self.port}"],
            cwd=ROOT,
            env=self.environment,
            stdout=(self.settings.cache.parent / "server.log").open("ab"),
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

"""A Hugging Face hub of the test's own on this machine: models that lie in a folder, served as the real one serves
them, as slowly as a test asks."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

GATED, AT_ONCE = "closed/gated", 1 << 14


class Hub:
    """folder: holds OWNER/NAME, each a model's files.  pause: seconds before each `AT_ONCE` bytes of a file.
    asked: the paths that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pause, self.asked = folder, 0.0, list[str]()
        self.address = ""

    def revision(self, name: str) -> str:
        digest = hashlib.sha1()
        for file in self.files(name):
            digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()

    def files(self, name: str) -> list[Path]:
        return sorted(file for file in (self.folder / name).rglob("*") if file.is_file())

    def downloads(self) -> list[str]:
        """Names of the files that were sent."""
        return [
            path.split(" ")[1].rpartition("/")[2]
            for path in self.asked
            if path.startswith("GET") and "/resolve/" in path
        ]


@contextmanager
def hub_of(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = urlsplit(self.path).path.strip("/")
            hub.asked.append(f"{self.command} {path}")
            parts = path.split("/")
            api = parts[:2] == ["api", "models"]
            name = "/".join(parts[2:4] if api else parts[:2])
            if name == GATED and not api:
                return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            if not (hub.folder / name).is_dir():
                return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            revision = hub.revision(name)
            if api and parts[4] == "revision":
                return self._send(200, json.dumps({"id": name, "sha": revision, "siblings": []}).encode(), {})
            if api:
                listed = [
                    {
                        "type": "file",
                        "path": str(file.relative_to(hub.folder / name)),
                        "size": file.stat().st_size,
                        "oid": _etag(file),
                    }
                    for file in hub.files(name)
                ]
                return self._send(200, json.dumps(listed).encode(), {})
            file = hub.folder / name / "/".join(parts[4:])
            if not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
            return self._send(
                200, file.read_bytes(), {"X-Repo-Commit": revision, "ETag": f'"{_etag(file)}"'}, body=body
            )

        def _send(self, code: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
            self.send_response(code)
            for key, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            for start in range(0, len(content) if body else 0, AT_ONCE):
                time.sleep(hub.pause)
                self.wfile.write(content[start : start + AT_ONCE])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()

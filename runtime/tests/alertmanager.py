"""A real Alertmanager that tests start, and an inbox for all that it sends."""

import json
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from modelloop import Project
from modelloop.laptop import tools
from modelloop.testing.servers import wait_until


@dataclass(frozen=True)
class Message:
    """One request that the inbox received."""

    path: str
    headers: dict[str, str]
    body: dict


@dataclass
class Inbox:
    """Answers every request with 200, and keeps it."""

    url: str
    messages: list[Message] = field(default_factory=list)

    def at(self, path: str) -> list[dict]:
        """The bodies of the requests to a path."""
        return [message.body for message in self.messages if message.path == path]


@dataclass(frozen=True)
class Alertmanager:
    """A running Alertmanager."""

    url: str

    def fire(self, *labels: dict[str, str], **annotations: str) -> None:
        """Send it alerts, as Prometheus does."""
        alerts = [{"labels": each, "annotations": annotations} for each in labels]
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    @property
    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except OSError:
            return False


@contextmanager
def inbox() -> Iterator[Inbox]:
    """An inbox on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.inbox = Inbox(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def running(project: Project, config: Path, folder: Path) -> Iterator[Alertmanager]:
    """An Alertmanager with this configuration; `folder` is for its files."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    log = folder / "alertmanager.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                tools.find(project, "prometheus-alertmanager").resolve(),
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",  # or it listens on every interface
            ],
            cwd=tools.working_folder(project),
            stdout=output,
            stderr=output,
        )
    try:
        alertmanager = Alertmanager(f"http://{address}")
        wait_until(
            lambda: alertmanager.is_ready or process.poll() is not None, "Alertmanager is ready"
        )
        assert process.poll() is None, log.read_text()
        yield alertmanager
    finally:
        process.terminate()
        process.wait(10)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.inbox.messages.append(Message(self.path, dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

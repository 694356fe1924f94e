"""What PagerDuty, the chat and the dead man's switch would get, shown on this terminal."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Message:
    """One notification.

    Attributes:
        kind: page, ticket or alive (the dead man's switch).
        status: firing or resolved.
        title: the alert's name, of a ticket; of a page, its summary.
        text: all that a person would read.
    """

    at: float
    kind: str
    status: str
    title: str
    text: str


class Inbox:
    """Keeps the messages, and prints those for people."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.messages: list[Message] = []
        self._shown: dict[tuple[str, str], str] = {}  # the last status, by kind and title

    def take(self, kind: str, body: dict) -> None:
        """Take the body of a notification."""
        message = Message(time.time(), kind, *_read(kind, body))
        self.messages.append(message)
        key = kind, message.title
        if kind != "alive" and self._shown.get(key) != message.status:
            self._shown[key] = message.status
            clock = time.strftime("%H:%M:%S", time.localtime(message.at))
            first, *more = message.text.splitlines()
            others = f" (and {len(more)} more)" if more else ""
            print(f"  {clock} {kind} {message.status}: {first}{others}", flush=True)

    def about(self, alert: str) -> list[Message]:
        """The messages that name an alert."""
        return [message for message in self.messages if alert in message.text]


@contextmanager
def running(port: int) -> Iterator[Inbox]:
    """Listen on 127.0.0.1 until the block ends."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.take(self.path.split("/")[1], json.loads(body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing of each request."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _read(kind: str, body: dict) -> tuple[str, str, str]:
    """Status, title and text."""
    if kind == "page":  # PagerDuty's Events API, version 2
        status = {"trigger": "firing", "resolve": "resolved"}[body["event_action"]]
        summary = body["payload"]["summary"]
        return status, summary, f"{summary}; {body['links'][0]['href']}"
    if kind == "ticket":  # Slack's webhook
        (attachment,) = body["attachments"]
        status, _, title = attachment["title"].partition(": ")
        return status.lower(), title.split(",")[0], f"{title}: {attachment['text'].strip()}"
    names = ", ".join(alert["labels"]["alertname"] for alert in body["alerts"])
    return body["status"], names, names

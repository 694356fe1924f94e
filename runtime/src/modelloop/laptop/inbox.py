"""The notifications for PagerDuty, the chat and the dead man's switch, shown on this terminal."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelloop import webhooks
from modelloop.webhooks import Request, Response


@dataclass(frozen=True)
class Message:
    """One notification.

    Attributes:
        at: when it came, in seconds since 1970.
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
    """Keeps all messages, and prints those that are meant for people."""

    def __init__(self) -> None:
        """Begin without messages."""
        self.messages: list[Message] = []
        self._shown: dict[tuple[str, str], str] = {}  # the last status, by kind and title

    def take(self, kind: str, body: dict) -> None:
        """Keep a notification; print it if it is for people and its status is a new one.

        Args:
            kind: page, ticket or alive.
            body: as Alertmanager sends it to PagerDuty, to Slack or to a webhook.
        """
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
        """The messages that name an alert: a page does so in the anchor of its runbook."""
        name = alert.casefold()
        return [message for message in self.messages if name in message.text.casefold()]


@contextmanager
def running(port: int) -> Iterator[Inbox]:
    """Receive notifications on 127.0.0.1 until the block ends; the path of a URL is the kind."""
    inbox = Inbox()

    async def respond(request: Request) -> Response:
        inbox.take(request.path.split("/")[1], json.loads(request.body))
        return Response(202)

    with webhooks.Server(respond, webhooks.listen("127.0.0.1", port)).serving():
        yield inbox


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

"""The retraining receiver: takes Alertmanager's notifications and starts the training pipeline.

The answer tells Alertmanager what to do: 2xx is done, 503 is asked again, 4xx is a failed
notification that is not asked again soon. See docs/retraining.md.
"""

import hmac
import json
import logging
import re
import signal
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import prometheus_client
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings

from .. import project
from ..errors import UserError
from ..settings import ROOT, Port
from .retrain_backends import Backend, GoCD, Local
from .retrain_policy import GRACE_SECONDS, Config, Notification, Outcome, Policy, State

logger = logging.getLogger(__name__)

BODY_BYTES = 1024 * 1024
READ_SECONDS = 5.0  # a request must be here by then
STATUS = {Outcome.UNAVAILABLE: 503, Outcome.REFUSED: 424, Outcome.STARTED: 202}

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{value!r} is no address such as https://gocd.example.com")
    return value


class ReceiverSettings(BaseSettings, frozen=True, env_ignore_empty=True):
    """One field per environment variable of the same name in upper case; empty means unset."""

    retrain_host: str = "127.0.0.1"  # 0.0.0.0 in a container
    retrain_port: Port = 9300  # of notifications, and of /metrics
    retrain_token_file: Path  # the bearer token that Alertmanager sends
    retrain_state: Path = ROOT / "build" / "retrain" / "state.db"  # local logs lie beside it
    retrain_config: Path = ROOT / "monitoring" / "retraining.toml"  # what may be started
    retrain_backend: Literal["gocd", "local"] = "gocd"  # local: make train on this machine
    retrain_grace_seconds: Seconds = GRACE_SECONDS  # until an unanswered start is given up
    retrain_cooldown_seconds: Seconds | None = None  # for tests: instead of cooldown_hours
    gocd_url: Annotated[str, AfterValidator(_web_address)] = project.GOCD_URL  # starts pipelines
    gocd_token_file: Path | None = None  # needed with the backend gocd


def load() -> ReceiverSettings:
    """Read the settings.

    Raises:
        UserError: a variable is missing or holds what is not allowed; the message names it.
    """
    try:
        return ReceiverSettings()
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise UserError("environment: " + "; ".join(faults)) from error


def run(settings: ReceiverSettings) -> None:
    """Receive notifications until SIGTERM or Ctrl-C.

    Raises:
        UserError: a file that the settings name, or the port, cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    prometheus_client.disable_created_metrics()
    token = _secret("RETRAIN_TOKEN_FILE", settings.retrain_token_file)
    config = Config.read(settings.retrain_config)
    if settings.retrain_cooldown_seconds is not None:
        hours = settings.retrain_cooldown_seconds / 3600
        config = config.model_copy(update={"cooldown_hours": hours})
    backend = _backend(settings)
    policy = Policy(
        config, State(settings.retrain_state), backend, grace=settings.retrain_grace_seconds
    )
    server = _listen(settings, policy, token)

    stopped = _stop_signals()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    logger.info(
        "receiving for %s on http://%s:%d/alerts; trainings run in %s; alerts: %s",
        project.SLUG,
        *server.server_address[:2],
        settings.gocd_url if settings.retrain_backend == "gocd" else "this machine",
        ", ".join(config.pipelines) or "none",
    )
    stopped.recv(1)
    server.shutdown()
    thread.join()
    server.server_close()  # waits for the requests that are under way
    policy.close()
    logger.info("stopped")


class Server(socketserver.ThreadingTCPServer):
    """Takes each connection in a thread of its own."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], policy: Policy, token: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.policy = policy
        self.token = token.encode()
        super().__init__(address, Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is not worth a traceback."""
        error = sys.exc_info()[1]
        logger.info("a connection broke off: %r", error, exc_info=not isinstance(error, OSError))


class Handler(BaseHTTPRequestHandler):
    """One request; the connection is closed with its answer."""

    server: Server
    server_version = "retrain"
    sys_version = ""
    timeout = 2 * READ_SECONDS  # of silence, so of a client that does not take its answer

    def setup(self) -> None:
        """Begin to read, but not for ever: a client may send a byte now and then."""
        super().setup()
        self._end = threading.Timer(READ_SECONDS, self._read_no_more)
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        """Hang up."""
        self._end.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Show the metrics, or that this process is alive."""
        if self.path == "/metrics":
            page = generate_latest(self.server.policy.metrics.registry)
            self._answer(200, page, CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        else:
            self._refuse(404, "POST /alerts, GET /metrics and GET /healthz are all there is")

    def do_POST(self) -> None:
        """Decide about a notification."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            return self._refuse(400, "there is no valid Content-Length")
        if int(length) > BODY_BYTES:
            self._skip(int(length))
            return self._refuse(413, f"the body is over {BODY_BYTES} bytes: set max_alerts")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return self._refuse(408, "the body did not come")
        self._end.cancel()
        if self.path != "/alerts":
            return self._refuse(404, "alerts go to /alerts")
        if not self._is_authorised():
            return self._refuse(401, "the bearer token is missing or wrong")
        try:
            notification = Notification.model_validate_json(body)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            return self._refuse(
                400, f"not Alertmanager's notification, version 4: {where}: {fault['msg']}"
            )
        outcomes = self.server.policy.decide(notification)
        status = next((STATUS[o] for o in STATUS if o in outcomes.values()), 200)
        return self._answer(status, json.dumps(outcomes).encode(), "application/json")

    def log_message(self, *_: object) -> None:
        """Decisions are logged, requests are not."""

    def _is_authorised(self) -> bool:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.encode(errors="replace"), self.server.token)
        return is_right and scheme.lower() == "bearer"

    def _refuse(self, status: int, message: str) -> None:
        logger.warning("%d to %s: %s", status, self.client_address[0], message)
        self._answer(status, json.dumps({"error": message}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _skip(self, length: int) -> None:
        """Read a body away, or its sender would lose our answer with the connection."""
        while length > 0 and (part := self.rfile.read(min(length, 65536))):
            length -= len(part)

    def _read_no_more(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)


def _listen(settings: ReceiverSettings, policy: Policy, token: str) -> Server:
    address = (settings.retrain_host, settings.retrain_port)
    try:
        return Server(address, policy, token)
    except OSError as error:
        raise UserError(
            f"cannot listen on {address[0]}:{address[1]}: {error.strerror}; "
            "RETRAIN_HOST and RETRAIN_PORT choose the address"
        ) from error


def _stop_signals() -> socket.socket:
    """A socket that can be read as soon as this process is told to stop.

    A thread that waits for an Event sleeps on, now and then, where the signal met another thread.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _backend(settings: ReceiverSettings) -> Backend:
    if settings.retrain_backend == "local":
        return Local(settings.retrain_state.parent)
    if not settings.gocd_token_file:
        raise UserError("GOCD_TOKEN_FILE: needed to start pipelines; or RETRAIN_BACKEND=local")
    return GoCD(settings.gocd_url, _secret("GOCD_TOKEN_FILE", settings.gocd_token_file))


def _secret(variable: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"{variable}={str(path)!r}: {reason}") from error
    if not re.fullmatch("[!-~]+", secret):
        raise UserError(f"{variable}={str(path)!r}: one line of ASCII without spaces is needed")
    return secret

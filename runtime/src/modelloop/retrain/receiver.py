"""The retraining receiver: takes Alertmanager's notifications and starts the training pipeline.

The status of a response says what Alertmanager does next: nothing after 2xx, a retry after 503; 4xx
is a failed notification, without a retry before the next one. See docs/retraining.md.
"""

import asyncio
import hmac
import json
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import prometheus_client
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AfterValidator, Field, ValidationError

from modelloop import webhooks
from modelloop.addresses import without_credentials
from modelloop.errors import UserError, explain
from modelloop.project import Project
from modelloop.retrain.backends import Backend, GoCD, Local
from modelloop.retrain.policy import GRACE_SECONDS, Config, Notification, Outcome, Policy, State
from modelloop.settings import Environment, Port
from modelloop.webhooks import Request, Response

logger = logging.getLogger(__name__)

DECISIONS = 16  # at a time: one calls the pipeline server, the others wait for it
STATUS = {Outcome.UNAVAILABLE: 503, Outcome.REFUSED: 424, Outcome.STARTED: 202}

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{value!r} is no address such as https://gocd.example.com")
    return value


_WebAddress = Annotated[str, AfterValidator(_web_address)]


class ReceiverSettings(Environment):
    """What the receiver reads from the environment."""

    retrain_host: str = "127.0.0.1"  # 0.0.0.0 in a container
    retrain_port: Port = 9300  # of notifications, and of /metrics
    retrain_token_file: Path  # the bearer token that Alertmanager sends
    retrain_state: Path = Path("build/retrain/state.db")  # local logs lie beside it
    retrain_config: Path = Path("monitoring/retraining.toml")  # what may be started
    retrain_backend: Literal["gocd", "local"] = "gocd"  # local: make train on this machine
    retrain_grace_seconds: Seconds = GRACE_SECONDS  # until an unanswered start is given up
    retrain_cooldown_seconds: Seconds | None = None  # for tests: instead of cooldown_hours
    gocd_url: _WebAddress = ""  # starts pipelines; unset: the address in pyproject.toml
    gocd_token_file: Path | None = None  # needed with the backend gocd


def load(project: Project) -> ReceiverSettings:
    """Read the settings.

    Raises:
        UserError: a variable is missing or holds what is not allowed; the message names it.
    """
    return ReceiverSettings.read(
        retrain_state=project.build / "retrain" / "state.db",
        retrain_config=project.root / "monitoring" / "retraining.toml",
        gocd_url=project.gocd_url,
    )


def run(project: Project) -> None:
    """Receive notifications until SIGTERM or Ctrl-C.

    Raises:
        UserError: a file that the settings name, or the port, cannot be used.
    """
    settings = load(project)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    prometheus_client.disable_created_metrics()
    token = _secret("RETRAIN_TOKEN_FILE", settings.retrain_token_file)
    config = Config.read(settings.retrain_config)
    if settings.retrain_cooldown_seconds is not None:
        hours = settings.retrain_cooldown_seconds / 3600
        config = config.model_copy(update={"cooldown_hours": hours})
    backend = _backend(project, settings)
    policy = Policy(
        project.slug,
        config,
        State(settings.retrain_state),
        backend,
        grace=settings.retrain_grace_seconds,
    )
    where = "this machine"
    if settings.retrain_backend == "gocd":
        where = without_credentials(settings.gocd_url)
    server = webhooks.Server(Receiver(policy, token).respond, _listen(settings))
    logger.info(
        "receiving for %s on http://%s:%d/alerts; trainings run in %s; alerts: %s",
        project.slug,
        settings.retrain_host,
        settings.retrain_port,
        where,
        ", ".join(config.pipelines) or "none",
    )
    server.serve_until_signal()
    policy.close()
    logger.info("stopped")


class Receiver:
    """Answers Alertmanager and Prometheus."""

    def __init__(self, policy: Policy, token: str) -> None:
        """Take notifications with this bearer token."""
        self._policy = policy
        self._token = token.encode()
        self._threads = ThreadPoolExecutor(DECISIONS)

    async def respond(self, request: Request) -> Response:
        """Decide about a notification, show the metrics, or show that this process is alive."""
        match request.method, request.path:
            case "POST", "/alerts":
                return await self._decide(request)
            case "GET", "/metrics":
                page = generate_latest(self._policy.metrics.registry)
                return Response(200, page, CONTENT_TYPE_LATEST)
            case "GET", "/healthz":
                return Response(200, b"ok\n", "text/plain")
        raise webhooks.RefusedError(
            404, "POST /alerts, GET /metrics and GET /healthz are all there is"
        )

    async def _decide(self, request: Request) -> Response:
        if not self._is_authorised(request.headers.get("authorization", "")):
            raise webhooks.RefusedError(401, "the bearer token is missing or wrong")
        try:
            notification = Notification.model_validate_json(request.body)
        except ValidationError as error:
            fault = explain(error)
            raise webhooks.RefusedError(
                400, f"not Alertmanager's notification, version 4: {fault}"
            ) from error
        # In a thread: it waits for the pipeline server, and for the decision before it.
        outcomes = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._policy.decide, notification
        )
        status = next((STATUS[o] for o in STATUS if o in outcomes.values()), 200)
        return Response(status, json.dumps(outcomes).encode())

    def _is_authorised(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return hmac.compare_digest(token.encode(), self._token) and scheme.lower() == "bearer"


def _listen(settings: ReceiverSettings) -> socket.socket:
    host, port = settings.retrain_host, settings.retrain_port
    try:
        return webhooks.listen(host, port)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; "
            "RETRAIN_HOST and RETRAIN_PORT choose the address"
        ) from error


def _backend(project: Project, settings: ReceiverSettings) -> Backend:
    if settings.retrain_backend == "local":
        return Local(settings.retrain_state.parent, project.root)
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

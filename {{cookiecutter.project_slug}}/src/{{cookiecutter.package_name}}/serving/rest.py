"""The HTTP side: which paths exist, what a body must be, and what every error looks like.

The paths are those of Seldon's own wrapper, and an answer is a SeldonMessage: of an error, `status`
has code, reason and info, and `meta.tags` the row and the feature. The application is a plain ASGI
one, without a framework: on one row a framework costs more than the model and all checks.
"""

import asyncio
import json
import logging
import reprlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from ..settings import Settings
from .metrics import Metrics
from .predictor import Refusal
from .seldon import SeldonModel

logger = logging.getLogger(__name__)

# A client that stops sending in the middle of a body is waited for that long.
READ_SECONDS = 5.0
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"  # what Seldon's own client sends

Scope = Mapping[str, object]
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
# Runs work that may take long: where is decided by who starts the server.
Run = Callable[..., Awaitable[bytes]]


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    status: int
    body: bytes
    headers: Headers
    kind: bytes = JSON


@dataclass(frozen=True)
class Page:
    """One path: its method, and what makes the answer's body (of a POST, from the request's).

    `aside` says that this takes long enough to let requests pass it.
    """

    method: str
    make: Callable[..., bytes]
    kind: bytes = JSON
    aside: bool = False

    @property
    def allowed(self) -> list[str]:
        """The methods that are answered."""
        return ["GET", "HEAD"] if self.method == "GET" else [self.method]


class App:
    """The ASGI application behind the prediction port and the metrics port.

    Attributes:
        stopping: set while the last requests are answered: readiness is refused, and every answer
            tells its client to close the connection.
    """

    def __init__(self, model: SeldonModel, metrics: Metrics, run: Run, settings: Settings) -> None:
        """Serve this model; `run` runs a prediction."""
        self.stopping = False
        self._run = run
        self._metrics = metrics
        self._max_body = settings.max_body_bytes
        self._origins = {origin.encode() for origin in settings.cors_origins.split(",") if origin}
        self._pages = {
            settings.serve_port: self._prediction_pages(model),
            settings.metrics_port: {
                # The second one is where Seldon's operator tells Prometheus to look.
                path: Page("GET", metrics.page, metrics.content_type.encode(), aside=True)
                for path in ("/metrics", "/prometheus")
            },
        }

    def _prediction_pages(self, model: SeldonModel) -> dict[str, Page]:
        def predict(body: bytes, puid: str) -> bytes:
            return json.dumps(model.predict_raw(_object(body), puid)).encode()

        def feedback(body: bytes, _: str) -> bytes:
            return json.dumps(model.send_feedback(_object(body))).encode()

        def status() -> bytes:
            if self.stopping:
                raise Refusal(503, "NOT_READY", "the server is stopping")
            return json.dumps(model.health_status()).encode()

        metadata = json.dumps(model.init_metadata()).encode()
        self._predict = Page("POST", predict)
        pages = {
            self._predict: ["/api/v1.0/predictions", "/api/v0.1/predictions", "/predict"],
            Page("POST", feedback): ["/api/v1.0/feedback", "/api/v0.1/feedback", "/send-feedback"],
            Page("GET", lambda: b"pong", b"text/plain"): ["/health/ping"],
            Page("GET", status): ["/health/status", "/api/v1.0/health/status"],
            Page("GET", lambda: metadata): ["/metadata", "/api/v1.0/metadata"],
        }
        return {path: page for page, paths in pages.items() for path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = dict(scope["headers"])
        page = self._pages[scope["server"][1]].get(scope["path"])
        try:
            answer = await self._answer(scope, page, headers, receive)
        except Refusal as refusal:
            answer = refused(refusal)
        except ConnectionResetError:
            return
        except Exception:
            logger.exception("%s %s failed", scope["method"], ascii(scope["path"]))
            failure = Refusal(500, "INTERNAL_ERROR", "the server failed; its log has the reason")
            answer = refused(failure)
        if page is self._predict and scope["method"] == "POST" and answer.status != 200:
            self._metrics.count_refusal(answer.status)
        sent = [
            (b"content-type", answer.kind),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        if self.stopping:
            sent.append((b"connection", b"close"))
        origin = headers.get(b"origin")
        if origin and self._allows(origin):
            sent += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self, scope: Scope, page: Page | None, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        method, path = scope["method"], scope["path"]
        if page is None:
            known = _known(self._pages[scope["server"][1]])
            raise Refusal(404, "NOT_FOUND", f"{known} are all there is")
        if method == "OPTIONS" and self._allows(headers.get(b"origin", b"")):
            return _preflight(page)
        if method not in page.allowed:
            refusal = Refusal(
                405, "METHOD_NOT_ALLOWED", f"{path} takes {' and '.join(page.allowed)}"
            )
            return refused(refusal, [(b"allow", ", ".join(page.allowed).encode())])
        if method != "POST":
            body = await asyncio.to_thread(page.make) if page.aside else page.make()
            return Answer(200, body, [], page.kind)
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in (JSON, FORM):
            named = repr(kind.decode("latin-1")) if kind else "none"
            raise Refusal(
                415,
                "UNSUPPORTED_MEDIA_TYPE",
                f"the content type is {named}; send application/json",
            )
        if b"json=" in scope["query_string"]:  # Seldon's own wrapper would read this, not the body
            raise Refusal(400, "BAD_PAYLOAD", "send the message as the body, not in the address")
        body = await self._body(headers, receive)
        if kind == FORM:
            body = _form_field(body)
        puid = headers.get(b"seldon-puid", b"").decode("latin-1")
        start = time.perf_counter()
        made = await self._run(page.make, body, puid)
        if page is self._predict:
            self._metrics.count_answer(time.perf_counter() - start)
        return Answer(200, made, [], page.kind)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        if int(headers.get(b"content-length", b"0")) > self._max_body:
            raise self._too_large()
        message = await receive()
        parts, size = [], 0
        while message["type"] == "http.request":
            parts.append(message["body"])
            size += len(message["body"])
            if size > self._max_body:
                raise self._too_large()
            if not message["more_body"]:
                return b"".join(parts)
            try:
                message = await asyncio.wait_for(receive(), READ_SECONDS)
            except TimeoutError:
                raise Refusal(
                    408, "REQUEST_TIMEOUT", f"no more of the body came for {READ_SECONDS:.0f} s"
                ) from None
        raise ConnectionResetError("the client has gone")

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "REQUEST_ENTITY_TOO_LARGE",
            f"the body may have at most {self._max_body} bytes; send fewer rows at a time",
        )

    def _allows(self, origin: bytes) -> bool:
        return bool(origin) and (origin in self._origins or b"*" in self._origins)


def refused(refusal: Refusal, headers: Headers = ()) -> Answer:
    """The answer to a request that is not answered."""
    status = {
        "code": refusal.status,
        "reason": refusal.reason,
        "info": str(refusal),
        "status": "FAILURE",
    }
    message: dict[str, object] = {"status": status}
    tags = {"row": refusal.row, "feature": refusal.feature}
    known = {key: value for key, value in tags.items() if value is not None}
    if known:
        message["meta"] = {"tags": known}
    # Of a body that is not read to its end, nothing says where the next request begins.
    close = [(b"connection", b"close")] if refusal.status == 408 else []
    return Answer(refusal.status, json.dumps(message).encode(), [*headers, *close])


def _preflight(page: Page) -> Answer:
    allowed = [
        (b"access-control-allow-methods", ", ".join(page.allowed).encode()),
        (b"access-control-allow-headers", b"content-type, seldon-puid"),
        (b"access-control-max-age", b"600"),
    ]
    return Answer(200, b"", allowed)


def _form_field(body: bytes) -> bytes:
    """The message in a form that holds nothing else."""
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, errors="strict", max_num_fields=2)
    except ValueError:
        fields = {}
    if list(fields) != ["json"] or len(fields["json"]) != 1:
        raise Refusal(400, "BAD_PAYLOAD", "a form has the message in its one field, `json`")
    return fields["json"][0].encode()


def _object(body: bytes) -> dict[str, object]:
    """Read a body that must be one JSON object."""
    try:
        message = json.loads(body.decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise Refusal(400, "BAD_JSON", "the body is nested too deeply") from None
    except ValueError as error:  # not UTF-8, too
        raise Refusal(400, "BAD_JSON", f"the body is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise Refusal(400, "BAD_PAYLOAD", "the body is not a JSON object")
    return message


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse what JSON allows and every parser reads otherwise: a name twice in one object."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise Refusal(400, "BAD_JSON", f"an object has the name {reprlib.repr(twice)} twice")
    return found


def _known(pages: Mapping[str, Page]) -> str:
    return ", ".join(f"{page.method} {path}" for path, page in pages.items())

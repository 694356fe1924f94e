"""The HTTP side: the paths, the requests and the responses, those of errors included.

The paths are those of Seldon's own wrapper, and a response is a SeldonMessage: of an error,
`status` has code, reason and info, and `meta.tags` the row and the feature. The application is a
plain ASGI one: on one row a framework costs more than the model and all checks.
"""

import asyncio
import json
import logging
import reprlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from modelloop.serving.metrics import Metrics
from modelloop.serving.predictor import Refusal
from modelloop.serving.seldon import SeldonModel
from modelloop.settings import Settings

logger = logging.getLogger(__name__)

READ_SECONDS = 5.0  # that a client may pause in the middle of a body
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"  # what Seldon's own client sends

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
# Runs a function with its arguments, in the event loop or in a thread.
Run = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    headers: Headers
    kind: bytes = JSON


@dataclass(frozen=True)
class Route:
    """What is behind a path.

    Attributes:
        method: GET or POST.
        make: makes the response's body; of a POST, from the request's body and id.
        kind: the response's content type.
        in_thread: whether it takes long enough to run beside the event loop.
    """

    method: str
    make: Callable[..., bytes]
    kind: bytes = JSON
    in_thread: bool = False

    @property
    def allowed(self) -> list[str]:
        """The allowed methods."""
        return ["GET", "HEAD"] if self.method == "GET" else [self.method]


class App:
    """The ASGI application behind the prediction port and the metrics port.

    Attributes:
        stopping: set while the last requests are answered: readiness is refused, and every response
            has the header that closes the connection.
    """

    def __init__(self, model: SeldonModel, metrics: Metrics, run: Run, settings: Settings) -> None:
        """Serve this model; `run` runs the methods of predictions and feedback."""
        self.stopping = False
        self._run = run
        self._metrics = metrics
        self._max_body = settings.max_body_bytes
        self._origins = {origin.encode() for origin in settings.cors_origins.split(",") if origin}
        self._routes = {
            settings.serve_port: self._prediction_routes(model),
            settings.metrics_port: {
                # The second one is where Seldon's operator tells Prometheus to look.
                path: Route("GET", metrics.page, metrics.content_type.encode(), in_thread=True)
                for path in ("/metrics", "/prometheus")
            },
        }

    def _prediction_routes(self, model: SeldonModel) -> dict[str, Route]:
        def predict(body: bytes, puid: str) -> bytes:
            return json.dumps(model.predict_raw(_object(body), puid)).encode()

        def feedback(body: bytes, _: str) -> bytes:
            return json.dumps(model.send_feedback(_object(body))).encode()

        def status() -> bytes:
            if self.stopping:
                raise Refusal(503, "NOT_READY", "the server is stopping")
            return json.dumps(model.health_status()).encode()

        metadata = json.dumps(model.init_metadata()).encode()
        self._predict = Route("POST", predict)
        routes = {
            self._predict: ["/api/v1.0/predictions", "/api/v0.1/predictions", "/predict"],
            Route("POST", feedback): ["/api/v1.0/feedback", "/api/v0.1/feedback", "/send-feedback"],
            Route("GET", lambda: b"pong", b"text/plain"): ["/health/ping"],
            Route("GET", status): ["/health/status", "/api/v1.0/health/status"],
            Route("GET", lambda: metadata): ["/metadata", "/api/v1.0/metadata"],
        }
        return {path: route for route, paths in routes.items() for path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one HTTP request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        route = self._routes[scope["server"][1]].get(scope["path"])
        try:
            response = await self._respond(scope, route, headers, receive)
        except Refusal as refusal:
            response = refused(refusal)
        except ConnectionResetError:
            return
        except Exception:
            logger.exception("%s %s failed", scope["method"], ascii(scope["path"]))
            failure = Refusal(500, "INTERNAL_ERROR", "the server failed; its log has the reason")
            response = refused(failure)
        if route is self._predict and scope["method"] == "POST" and response.status != 200:
            self._metrics.count_refusal(response.status)
        sent = [
            (b"content-type", response.kind),
            (b"content-length", b"%d" % len(response.body)),
            *response.headers,
        ]
        if self.stopping:
            sent.append((b"connection", b"close"))
        origin = headers.get(b"origin")
        if origin and self._allows(origin):
            sent += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(
        self, scope: Scope, route: Route | None, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Response:
        method, path = scope["method"], scope["path"]
        if route is None:
            known = _known(self._routes[scope["server"][1]])
            raise Refusal(404, "NOT_FOUND", f"{known} are all there is")
        if method == "OPTIONS" and self._allows(headers.get(b"origin", b"")):
            return _preflight(route)
        if method not in route.allowed:
            refusal = Refusal(
                405, "METHOD_NOT_ALLOWED", f"{path} takes {' and '.join(route.allowed)}"
            )
            return refused(refusal, [(b"allow", ", ".join(route.allowed).encode())])
        if method != "POST":
            body = await asyncio.to_thread(route.make) if route.in_thread else route.make()
            return Response(200, body, [], route.kind)
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
        made: bytes = await self._run(route.make, body, puid)
        if route is self._predict:
            self._metrics.count_answer(time.perf_counter() - start)
        return Response(200, made, [], route.kind)

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
        raise ConnectionResetError("the client has closed the connection")

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "REQUEST_ENTITY_TOO_LARGE",
            f"the body may have at most {self._max_body} bytes; send fewer rows at a time",
        )

    def _allows(self, origin: bytes) -> bool:
        return bool(origin) and (origin in self._origins or b"*" in self._origins)


def refused(refusal: Refusal, headers: Headers = ()) -> Response:
    """The response to a request that is refused."""
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
    # The body was not read to its end, so the start of a next request cannot be found.
    close = [(b"connection", b"close")] if refusal.status == 408 else []
    return Response(refusal.status, json.dumps(message).encode(), [*headers, *close])


def _preflight(route: Route) -> Response:
    allowed = [
        (b"access-control-allow-methods", ", ".join(route.allowed).encode()),
        (b"access-control-allow-headers", b"content-type, seldon-puid"),
        (b"access-control-max-age", b"600"),
    ]
    return Response(200, b"", allowed)


def _form_field(body: bytes) -> bytes:
    """The message in a form whose only field it is."""
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, errors="strict", max_num_fields=2)
    except ValueError:
        fields = {}
    if list(fields) != ["json"] or len(fields["json"]) != 1:
        raise Refusal(400, "BAD_PAYLOAD", "a form has the message in its one field, `json`")
    return fields["json"][0].encode()


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body must be."""
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
    """Refuse a name twice in one object, which JSON allows and every parser reads differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise Refusal(400, "BAD_JSON", f"an object has the name {reprlib.repr(twice)} twice")
    return found


def _known(routes: Mapping[str, Route]) -> str:
    return ", ".join(f"{route.method} {path}" for path, route in routes.items())

"""The HTTP side: which paths exist, what a body must be, and what every error looks like.

An error is a SeldonMessage: `status` has code, reason and info, `meta.tags` the row and feature.
seldon-core alone answers 500 to an unknown path, to a wrong content type and to broken JSON.
"""

import json
import logging

import flask
from gunicorn.http.errors import ParseException
from seldon_core import wrapper
from seldon_core.flask_utils import SeldonMicroserviceException
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from .metrics import Metrics
from .predictor import Refusal
from .seldon_model import SeldonModel

logger = logging.getLogger(__name__)

# The roles of seldon-core that this model has; its others (router, combiner, ...) are not served.
POST_PATHS = {
    "/predict",
    "/api/v0.1/predictions",
    "/api/v1.0/predictions",
    "/send-feedback",
    "/api/v0.1/feedback",
    "/api/v1.0/feedback",
}
GET_PATHS = {
    "/health/ping",
    "/health/status",
    "/api/v1.0/health/status",
    "/metadata",
    "/api/v1.0/metadata",
}

# seldon-core lets the pages of every web site read its answers; no browser calls this server.
wrapper.CORS = lambda app: None


def prediction_app(model: SeldonModel, metrics: Metrics, max_body_bytes: int) -> flask.Flask:
    """Make seldon-core's REST application for a model."""
    app = wrapper.get_rest_microservice(model, metrics)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    # Not as the model's `model_error_handler`: seldon-core would put its own handlers over these.
    app.register_blueprint(http)
    return app


def metrics_app(metrics: Metrics) -> flask.Flask:
    """Make seldon-core's application with the page that Prometheus reads."""
    return wrapper.get_metrics_microservice(metrics)


http = flask.Blueprint("http", __name__)


@http.before_app_request
def _only_what_is_served() -> None:
    request = flask.request
    if request.path in GET_PATHS:
        return
    if request.path not in POST_PATHS:
        raise NotFound("POST /api/v1.0/predictions predicts, GET /metadata describes the model")
    if request.method != "POST":
        raise MethodNotAllowed(["POST"])
    if "json" in request.args:  # seldon-core would read this and not the body
        raise Refusal(400, "BAD_PAYLOAD", "send the message as the body, not in the address")
    _check_body(request)


def _check_body(request: flask.Request) -> None:
    try:
        # Of a body in chunks, werkzeug silently keeps what fits.
        if request.content_length is None and len(request.get_data()) >= request.max_content_length:
            raise RequestEntityTooLarge
        body = request.get_json()  # kept by flask, so that seldon-core does not parse it again
    except (BadRequest, ParseException, OSError) as error:  # the last two: a broken transfer
        detail = getattr(error.__cause__, "description", error)
        raise Refusal(400, "BAD_JSON", f"the body is not JSON: {detail}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "BAD_PAYLOAD", "the body is not a JSON object")


@http.app_errorhandler(Refusal)
def _refused(error: Refusal) -> flask.Response:
    tags = {"row": error.row, "feature": error.feature}
    return _answer(error.status, error.reason, str(error), tags)


@http.app_errorhandler(SeldonMicroserviceException)
def _refused_by_seldon(error: SeldonMicroserviceException) -> flask.Response:
    return _answer(error.status_code, "BAD_PAYLOAD", error.message)


@http.app_errorhandler(RecursionError)
def _nested_too_deeply(error: RecursionError) -> flask.Response:
    return _answer(400, "BAD_JSON", "the body is nested too deeply")


@http.app_errorhandler(HTTPException)
def _http_error(error: HTTPException) -> flask.Response:
    info = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        limit = flask.request.max_content_length
        info = f"the body may have at most {limit} bytes; send fewer rows at a time"
    answer = _answer(error.code, error.name.upper().replace(" ", "_"), info)
    if isinstance(error, MethodNotAllowed):
        answer.allow.update(error.valid_methods or ())
    return answer


@http.app_errorhandler(Exception)
def _failed(error: Exception) -> flask.Response:
    logger.error("%s failed", flask.request.path, exc_info=error)
    return _answer(500, "INTERNAL_ERROR", "the server failed; its log has the reason")


def _answer(
    code: int, reason: str, info: str, tags: dict[str, object] | None = None
) -> flask.Response:
    message: dict[str, object] = {
        "status": {"code": code, "reason": reason, "info": info, "status": "FAILURE"}
    }
    known = {key: value for key, value in (tags or {}).items() if value is not None}
    if known:
        message["meta"] = {"tags": known}
    return flask.Response(json.dumps(message), code, mimetype="application/json")

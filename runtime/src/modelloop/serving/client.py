"""A client of a running model server, over REST."""

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelloop.contract.contract import Contract, GoldenRow
from modelloop.errors import UserError

if TYPE_CHECKING:
    from modelloop.http import HttpError

PREDICT = "/api/v1.0/predictions"
FEEDBACK = "/api/v1.0/feedback"
COUNTED = "counted"  # the outcome of feedback that is in the server's metrics
READY = "/health/status"
METADATA = "/metadata"
TIMEOUT = 10.0  # seconds for one request


class ServerError(UserError):
    """The server does not answer, or refuses.

    Attributes:
        status: the HTTP status of its answer; 0 where there was none.
        info: the server's own message, where it sent one.
        row: which row it refused, counted from 0, where it refused one.
    """

    def __init__(self, message: str, status: int = 0, info: str = "", row: int | None = None):
        """The message is for a person."""
        super().__init__(message)
        self.status = status
        self.info = info
        self.row = row


def predict(url: str, request: dict, timeout: float = TIMEOUT) -> dict:
    """Send one request to the server at `url`; `timeout` is in seconds.

    Raises:
        ServerError: no answer, or a refusal, with the server's own message.
    """
    return _call(url + PREDICT, request, timeout)


def contract(url: str, timeout: float = TIMEOUT) -> Contract:
    """The contract of the model that the server at `url` serves.

    Raises:
        ServerError: no answer, or one without a contract that this code can read.
    """
    metadata = _call(url + METADATA, timeout=timeout)
    try:
        return Contract.model_validate_json(metadata["custom"]["contract"])
    except (KeyError, TypeError) as error:
        raise ServerError(f"{url}{METADATA} holds no contract: the server is too old") from error
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ServerError(f"{url}{METADATA}: the contract cannot be read: {reason}") from error


def feedback(url: str, message: dict) -> str:
    """Send feedback; returns COUNTED, or why the server did not count it.

    Raises:
        ServerError: no answer, or a refusal, with the server's own message.
    """
    return _call(url + FEEDBACK, message)["meta"]["tags"]["feedback"]


def example(contract: Contract) -> dict:
    """A request with the contract's first golden row."""
    return _request(contract, contract.golden[:1])


def golden(contract: Contract) -> dict:
    """A request with all of the contract's golden rows."""
    return _request(contract, contract.golden)


def _request(contract: Contract, rows: list[GoldenRow]) -> dict:
    names = [feature.name for feature in contract.features]
    return {
        "data": {"names": names, "ndarray": [[row.inputs[name] for name in names] for row in rows]}
    }


def _call(url: str, body: dict | None = None, timeout: float = TIMEOUT) -> Any:
    # Not at the top: the server imports this module's names, and would hold `requests` for nothing.
    from modelloop import http

    try:
        return http.call(url, body, seconds=timeout)
    except http.HttpError as error:
        if error.status == 0:
            raise ServerError(f"{error}; is `make serve` running?") from error
        raise _refusal(error) from error


def _refusal(error: "HttpError") -> ServerError:
    """An error with the server's own message; a proxy on the way has no known form of one."""
    try:
        answer = json.loads(error.text)
        info, tags = answer["status"]["info"], answer.get("meta", {}).get("tags", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServerError(str(error), error.status)
    return ServerError(str(error), error.status, info, tags.get("row"))

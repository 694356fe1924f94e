"""Talk to a running model server over REST."""

import http.client
import json
import urllib.error
import urllib.request

from pydantic import ValidationError

from .contract import Contract, GoldenRow
from .errors import UserError

PREDICT = "/api/v1.0/predictions"
FEEDBACK = "/api/v1.0/feedback"
COUNTED = "counted"  # what the server says of feedback that is in its metrics
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
        """The message tells a person what happened."""
        super().__init__(message)
        self.status = status
        self.info = info
        self.row = row


def predict(url: str, request: dict, timeout: float = TIMEOUT) -> dict:
    """Send one request to the server at `url`; `timeout` is in seconds.

    Raises:
        ServerError: no answer, or a refusal, with the server's own message.
    """
    return _call(url + PREDICT, json.dumps(request).encode(), timeout)


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
    return _call(url + FEEDBACK, json.dumps(message).encode())["meta"]["tags"]["feedback"]


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


def _call(url: str, body: bytes | None = None, timeout: float = TIMEOUT) -> dict:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise _refusal(url, error.code, error.read().decode(errors="replace")) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"no answer from {url} ({reason}); is `make serve` running?") from error


def _refusal(url: str, code: int, text: str) -> ServerError:
    """An error with what the server says of it; a proxy on the way says it in no known form."""
    message = f"{url} answers {code}: {text}"
    try:
        answer = json.loads(text)
        info, tags = answer["status"]["info"], answer.get("meta", {}).get("tags", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServerError(message, code)
    return ServerError(message, code, info, tags.get("row"))

"""Talk to a running model server over REST."""

import json
import urllib.error
import urllib.request

from .contract import Contract, GoldenRow
from .errors import UserError

PREDICT = "/api/v1.0/predictions"
FEEDBACK = "/api/v1.0/feedback"
COUNTED = "counted"  # what the server says of feedback that is in its metrics
READY = "/health/status"
TIMEOUT = 10.0  # seconds for one request


class ServerError(UserError):
    """The server does not answer, or refuses."""


def predict(url: str, request: dict) -> dict:
    """Send one request to the server at `url`.

    Raises:
        ServerError: no answer, or a refusal, with the server's own message.
    """
    return _call(url + PREDICT, json.dumps(request).encode())


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


def _call(url: str, body: bytes | None = None) -> dict:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise ServerError(f"{url} answers {error.code}: {text}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"no answer from {url} ({reason}); is `make serve` running?") from error

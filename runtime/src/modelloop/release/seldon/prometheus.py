"""How a version does, by Prometheus."""

import math

import numpy as np

from modelloop import http
from modelloop.addresses import without_credentials
from modelloop.errors import UserError
from modelloop.release.watch import Measured
from modelloop.settings import Settings
from modelloop.table.bins import psi

QUERY = "/api/v1/query"
SECONDS = 10.0  # how long Prometheus may be silent

REQUESTS = "sum(increase(model_requests_total{{{version}}}[{window}s]))"
ERRORS = 'sum(increase(model_requests_total{{{version}, code=~"5.."}}[{window}s]))'
LATENCY = (
    "histogram_quantile(0.95, "
    "sum by (le) (increase(model_request_duration_seconds_bucket{{{version}}}[{window}s])))"
)
BINS = "sum by (bin) (increase(model_prediction_bin_total{{{version}}}[{window}s]))"
SHARES = "max by (bin) (model_prediction_reference_ratio{{{version}}})"


class Prometheus:
    """A Prometheus server that scrapes every replica of the model."""

    def __init__(self, model_name: str, settings: Settings) -> None:
        """Take its address and, by a file, its token from the settings."""
        self._name = model_name
        self._url = settings.prometheus_url.rstrip("/")
        self._token_file = settings.prometheus_token_file

    def measure(self, version: str, seconds: float) -> Measured:
        """How a version did in the last seconds, over all its replicas.

        Raises:
            UserError: Prometheus does not answer.
        """
        labels = f'model_name="{self._name}", model_version="{version}"'
        window = math.ceil(seconds)

        def ask(query: str) -> dict[str, float]:
            return self._ask(query.format(version=labels, window=window))

        def number(query: str) -> float | None:
            return ask(query).get("")

        return Measured(
            requests=number(REQUESTS) or 0.0,
            errors=number(ERRORS) or 0.0,
            latency=number(LATENCY),
            drift=drift(ask(BINS), ask(SHARES)),
        )

    def _ask(self, query: str) -> dict[str, float]:
        """The values of an instant query by the label `bin`, without those that are no number."""
        try:
            answer = http.call(
                self._url + QUERY,
                parameters={"query": query},
                authorization=self._authorization(),
                seconds=SECONDS,
            )
            found = answer["data"]["result"]
        except http.HttpError as error:
            address = error.url.removesuffix(QUERY)
            if error.status >= 400:
                raise UserError(f"Prometheus at {address} answers {error.status}") from error
            raise _no_answer(address, error.reason) from error
        except (KeyError, TypeError) as error:
            raise _no_answer(without_credentials(self._url), "it is no Prometheus") from error
        values = {r["metric"].get("bin", ""): float(r["value"][1]) for r in found}
        return {bin_: value for bin_, value in values.items() if math.isfinite(value)}

    def _authorization(self) -> str:
        """The header, with the token as it is now: tokens rotate."""
        if not self._token_file:
            return ""
        try:
            return f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}"
        except OSError as error:
            raise UserError(
                f"PROMETHEUS_TOKEN_FILE={self._token_file}: {error.strerror}"
            ) from error


def drift(counts: dict[str, float], shares: dict[str, float]) -> float | None:
    """Population stability index of counts by bin; None where the reference is not known yet."""
    if not shares:
        return None
    rows = np.array([counts.get(bin_, 0.0) for bin_ in shares])
    return psi(rows, np.array([*shares.values()]))


def _no_answer(address: str, reason: str) -> UserError:
    return UserError(f"no answer from Prometheus at {address} ({reason}): PROMETHEUS_URL names it")

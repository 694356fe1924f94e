"""How a version does, asked of Prometheus."""

import json
import math
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from .. import project
from ..errors import UserError
from ..settings import Settings
from .watch import Measured

SECONDS = 10.0  # for one question
PRIOR_ROWS = 20  # as in monitoring/prometheus/recording.rules.yml: empty bins give no alarm

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

    def __init__(self, settings: Settings) -> None:
        """Take its address and, by a file, its token from the settings."""
        self._url = settings.prometheus_url.rstrip("/")
        self._token_file = settings.prometheus_token_file

    def measure(self, version: str, seconds: float) -> Measured:
        """How a version did in the last seconds, over all its replicas.

        Raises:
            UserError: Prometheus does not answer.
        """
        labels = f'model_name="{project.SLUG}", model_version="{version}"'
        window = math.ceil(seconds)

        def ask(query: str) -> dict[str, float]:
            return self._ask(query.format(version=labels, window=window))

        def number(query: str) -> float | None:
            return ask(query).get("")

        return Measured(
            requests=number(REQUESTS) or 0.0,
            errors=number(ERRORS) or 0.0,
            latency=number(LATENCY),
            drift=psi(ask(BINS), ask(SHARES)),
        )

    def _ask(self, query: str) -> dict[str, float]:
        """The values of an instant query by the label `bin`, without those that are no number."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        request = urllib.request.Request(url)
        if self._token_file:
            try:
                token = self._token_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise UserError(
                    f"PROMETHEUS_TOKEN_FILE={self._token_file}: {error.strerror}"
                ) from error
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                found = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise UserError(f"Prometheus at {self._url} answers {error.code}") from error
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"no answer from Prometheus at {self._url} ({reason}): PROMETHEUS_URL names it"
            ) from error
        values = {r["metric"].get("bin", ""): float(r["value"][1]) for r in found}
        return {bin_: value for bin_, value in values.items() if math.isfinite(value)}


def psi(counts: dict[str, float], shares: dict[str, float]) -> float | None:
    """Population stability index of counts by bin against reference shares that sum to 1.

    sum((p - q) ln(p / q)) over the bins, with p drawn towards q by PRIOR_ROWS rows, as the alerts
    have it. None where the reference is not known yet.
    """
    if not shares:
        return None
    q = np.array([*shares.values()])
    n = np.array([counts.get(bin_, 0.0) for bin_ in shares])
    p = (n + PRIOR_ROWS * q) / (n.sum() + PRIOR_ROWS)
    return float(np.sum((p - q) * np.log(p / q)))

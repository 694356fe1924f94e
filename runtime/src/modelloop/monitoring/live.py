"""Queries of a live Prometheus: those of the dashboard, as Grafana sends them."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelloop import http
from modelloop.errors import UserError

SECONDS = 30.0  # how long Prometheus may be silent


class QueryError(UserError):
    """Prometheus does not answer a query, or has no value for a variable; the message says why."""


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, times and values."""

    labels: dict[str, str]
    times: list[float]
    values: list[float]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus server."""

    url: str

    def ask(self, path: str, **parameters: str | float) -> Any:
        """Call `/api/v1/<path>` and return its data.

        Raises:
            QueryError: there is no answer, or Prometheus does not accept the parameters.
        """
        url = f"{self.url}/api/v1/{path}"
        try:
            return http.call(url, parameters=parameters, seconds=SECONDS)["data"]
        except http.HttpError as error:
            raise QueryError(_reason(error)) from error

    def run(self, target: Mapping, variables: Mapping[str, str], seconds: float) -> list[Series]:
        """Run a panel's query over the last seconds; an instant query for now.

        Raises:
            QueryError: there is no answer, or Prometheus does not accept the query.
        """
        expr, now = substitute(target["expr"], variables), time.time()
        if target.get("instant"):
            result = self.ask("query", query=expr, time=now)["result"]
        else:
            step = max(1.0, seconds / 300)
            result = self.ask("query_range", query=expr, start=now - seconds, end=now, step=step)
            result = result["result"]
        found: list[Series] = []
        for one in result:
            points = one.get("values") or [one["value"]]
            times, values = zip(*points, strict=True)
            found.append(Series(one["metric"], list(times), [float(value) for value in values]))
        return found


def panels(dashboard: Mapping) -> list[dict]:
    """The panels, those of folded rows too; not the rows themselves."""
    found: list[dict] = []
    for panel in dashboard["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Put values in the place of variables, with the escapes that Grafana adds for Prometheus."""

    def value(match: re.Match) -> str:
        name, form = match["plain"] or match["name"], match["form"]
        if name not in variables:
            return match[0]  # such as $1 in label_replace()
        if form == "raw":
            return variables[name]
        return variables[name].replace("\\", "\\\\").replace("'", "\\\\'")

    return re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<form>\w+))?\})", value, text)


def resolve(
    prometheus: Prometheus, dashboard: Mapping, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A value for every variable: the given one, else all or the first, as Grafana would choose.

    Raises:
        QueryError: there is no value to choose from.
    """
    chosen = dict(given or {})
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] != "query":
            continue
        query = re.fullmatch(r"label_values\((?P<series>.+), (?P<label>\w+)\)", variable["query"])
        if not query:
            raise QueryError(f"variable {name}: no values of a label: {variable['query']}")
        series = substitute(query["series"], chosen)
        values = prometheus.ask(f"label/{query['label']}/values", **{"match[]": series})
        if not values:
            raise QueryError(f"variable {name}: no values for {series}")
        if name not in chosen:
            chosen[name] = variable["allValue"] if variable.get("includeAll") else min(values)
    return chosen


def _reason(error: http.HttpError) -> str:
    """Prometheus' own words, where it has any."""
    try:
        return json.loads(error.text)["error"]
    except (ValueError, KeyError, TypeError):
        return str(error)

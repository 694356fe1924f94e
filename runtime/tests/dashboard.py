"""What is wrong with a dashboard: from its file alone, or by a live Prometheus."""

import copy
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import promql_parser as promql
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from exported import exported
from modelloop import Project
from modelloop.monitoring import live, rules
from promql_labels import OF_PROMETHEUS, TARGET, Labels

FOLDER = Path(__file__).resolve().parents[2] / "platform" / "grafana"
# Stand for what a person chooses in Grafana. (promql-parser takes a backslash for an escape
# between backticks, where Prometheus does not: so none here.)
CHOSEN = {"model_name": "a-model", "model_version": ".+", "feature": 'größe in "mm", it\'s'}


def committed() -> dict:
    """The dashboard in the repository of the template."""
    return json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))


def known_series(*projects: Project) -> dict[str, set[str]]:
    """The series that a Prometheus which watches these models has, and their labels."""
    known: dict[str, set[str]] = {}
    for project in projects:
        for name, labels in _known_series(project).items():
            assert known.setdefault(name, labels) == labels, name
    return known


def _known_series(project: Project) -> dict[str, set[str]]:
    known = {name: own | TARGET for name, own in exported(project.problem_type).items()}
    known |= OF_PROMETHEUS
    for group in rules.groups(project, rules.RECORDING):
        for rule in group["rules"]:
            labels = Labels(known, []).of(promql.parse(rule["expr"]))
            known[rule["record"]] = labels | rule.get("labels", {}).keys()
    return known


def check(dashboard: Mapping, known: Mapping[str, set[str]]) -> list[str]:
    """The faults that show without a Prometheus, given every series and its labels."""
    found = [*_schema(dashboard), *_layout(dashboard), *_variables(dashboard, known)]
    for panel in live.panels(dashboard):
        found += [f"{panel['title']}: {fault}" for fault in _panel(panel, known)]
    return found


def check_live(
    prometheus_url: str,
    dashboard: Mapping,
    variables: Mapping[str, str],
    absent: Collection[str] = (),
) -> list[str]:
    """The faults that show in the answers of a Prometheus which watches models.

    Every variable gets a value, every query runs. Only a panel that says what no data means
    (Grafana's noValue) may get none, and a query for a series of `absent`: those that models of
    the watched problem type do not have.
    """
    prometheus = live.Prometheus(prometheus_url)
    try:
        chosen = live.resolve(prometheus, dashboard, variables)
    except live.QueryError as error:
        return [str(error)]
    found = []
    for panel in live.panels(dashboard):
        for target in panel["targets"]:
            try:
                faults = list(_answer(prometheus, panel, target, chosen, absent))
            except (live.QueryError, ValueError) as error:
                faults = [f"{error} in {target['expr']}"]
            found += [f"{panel['title']}: {fault}" for fault in faults]
    return found


def _answer(
    prometheus: live.Prometheus,
    panel: Mapping,
    target: Mapping,
    chosen: Mapping[str, str],
    absent: Collection[str],
) -> Iterator[str]:
    series = prometheus.run(target, chosen, seconds=60)
    selectors = _selectors(live.substitute(target["expr"], CHOSEN))
    if any(selector.name in absent for selector in selectors):
        return
    may_be_empty = "noValue" in panel["fieldConfig"]["defaults"]
    for selector in selectors:
        labels = set(prometheus.ask("labels", **{"match[]": selector.name}))
        if not labels and not may_be_empty:
            yield f"no series {selector.name}"
        for matcher in selector.matchers.matchers if labels else []:
            if matcher.name not in labels:
                yield f"{selector.name} has no label {matcher.name}"
    if not may_be_empty and all(math.isnan(value) for one in series for value in one.values):
        yield f"no data for {target['expr']}"
    for one in series:
        for label in _named(target["legendFormat"]) - one.labels.keys():
            yield f"no label {label} for the legend of {target['expr']}"


def _schema(dashboard: Mapping) -> Iterator[str]:
    """What Grafana's schema does not know would be lost on its way through it."""
    try:
        again = Dashboard.from_json(copy.deepcopy(dashboard))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        yield f"not the schema of a dashboard: {error!r}"
        return
    yield from _lost(dashboard, json.loads(JSONEncoder().encode(again)), "")


def _lost(before: object, after: object, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from _lost(value, after[key], f"{place}/{key}")
            else:
                yield f"unknown key {place}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, pair in enumerate(zip(before, after, strict=True)):
            yield from _lost(*pair, f"{place}/{i}")
    elif before != after:
        yield f"{place}: {before!r} becomes {after!r}"


def _layout(dashboard: Mapping) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        columns = range(grid["x"], grid["x"] + grid["w"])
        if columns.stop > 24:
            yield f"{panel['title']}: wider than the grid"
        cells = {(x, y) for x in columns for y in range(grid["y"], grid["y"] + grid["h"])}
        for other in sorted({taken[cell] for cell in cells & taken.keys()}):
            yield f"{panel['title']}: overlaps {other}"
        taken |= dict.fromkeys(cells, panel["title"])


def _variables(dashboard: Mapping, known: Mapping[str, set[str]]) -> Iterator[str]:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        if query is None:
            yield f"variable {variable['name']}: not a query for the values of a label"
            continue
        faults: list[str] = []
        labels = Labels(known, faults).of(promql.parse(live.substitute(query[1], CHOSEN)))
        if query[2] not in labels:
            faults.append(f"{query[1]} has no label {query[2]}")
        yield from (f"variable {variable['name']}: {fault}" for fault in faults)


def _panel(panel: Mapping, known: Mapping[str, set[str]]) -> Iterator[str]:
    for key in ("title", "description"):
        if not panel.get(key):
            yield f"no {key}"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no unit"
    needed = {
        name
        for step in panel.get("transformations", [])
        for key, name in step["options"].items()
        if key in ("rowField", "columnField")
    }
    for target in panel["targets"]:
        expr = live.substitute(target["expr"], CHOSEN)
        for name in re.findall(r"\$\{?[A-Za-z_]\w*", expr):
            yield f"unknown variable {name}"
        try:
            tree = promql.parse(expr)
        except ValueError as error:
            yield f"{error} in {target['expr']}"
            continue
        faults: list[str] = []
        labels = Labels(known, faults).of(tree)
        yield from faults
        for label in sorted((_named(target["legendFormat"]) | needed) - labels):
            yield f"no label {label} for the legend or the table of {target['expr']}"


def _selectors(expr: str) -> list[promql.VectorSelector]:
    found: list[promql.Expr] = []
    promql.walk(promql.parse(expr), found.append)
    return [node for node in found if isinstance(node, promql.VectorSelector)]


def _named(legend: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", legend))

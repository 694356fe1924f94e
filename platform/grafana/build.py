"""Builds the dashboard: `python platform/grafana/build.py` writes model.json.

With `--check` it writes nothing, and fails when model.json is not what this script builds. It needs
grafana-foundation-sdk.

One dashboard serves every model in a Prometheus, whichever repository it comes from and whether it
predicts a category or a number: nothing here names a model. Colours mean what alerts do: orange
opens a ticket, red pages someone.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

OUTPUT = Path(__file__).with_name("model.json")
SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")

MODEL = '{model_name="$model_name"}'
VERSIONS = '{model_name="$model_name", model_version=~"$model_version"}'

FINE, TICKET, PAGE, NEUTRAL, REFERENCE = "green", "orange", "red", "blue", "#8e8e8e"
DAY = 24 * 60 * 60
WIDTH = 24  # of Grafana's grid

Step = tuple[float | None, str]


@dataclass(frozen=True)
class Query:
    """One query of a panel, and how what it returns differs from the rest of the panel."""

    expr: str
    legend: str = ""
    look: dict[str, object] = field(default_factory=dict)  # Grafana's properties of a field


def main() -> int:
    """Write the dashboard, or check that it is up to date; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the dashboard, model.json.")
    parser.add_argument("--check", action="store_true", help="fail when model.json is stale")
    if not parser.parse_args().check:
        OUTPUT.write_text(build(), encoding="utf-8")
        return 0
    if OUTPUT.read_text(encoding="utf-8") == build():
        return 0
    print(f"{OUTPUT.name} is not what {Path(__file__).name} builds: run it", file=sys.stderr)
    return 1


def build() -> str:
    """Return the dashboard as JSON."""
    board = (
        dashboard.Dashboard("Model health")
        .uid("model-health")
        .description("Is the model healthy, and is the world still the one it was trained on?")
        .tags(["model"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone(kinds.TimeZoneBrowser)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
        .variables(_variables())
    )
    number = 0
    for question, panels in (
        ("Is it healthy?", _health()),
        ("Traffic, errors, latency", _traffic()),
        ("Is the world still the one it was trained on?", _drift()),
        ("Is it right?", _quality()),
        ("Does the machine suffice?", _machine()),
        ("Was it trained again?", _retraining()),
    ):
        number += 1
        board = board.with_row(dashboard.Row(question).id(number))
        for panel in panels:
            number += 1
            board = board.with_panel(panel.id(number))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _variables() -> list:
    def choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
        return (
            dashboard.QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query(query)
            .definition(query)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        )

    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        choice("model_name", "Model", "label_values(model_info, model_name)"),
        choice("model_version", "Version", f"label_values(model_info{MODEL}, model_version)")
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"])),
        choice("feature", "Input", f"label_values(model_feature_reference_ratio{MODEL}, feature)"),
    ]


def _health() -> Iterable:
    firing = "ALERTS" + _and(MODEL, 'alertstate="firing"')
    pages, tickets = _and(firing, 'severity="page"'), _and(firing, 'severity="ticket"')
    up = "up" + _and(MODEL, 'job="model"')
    yield _stat(
        "Firing alerts",
        "Alerts of this model that fire now. A page wakes someone, a ticket waits for office "
        "hours; the row below names them.",
        "short",
        [
            Query(f"count({pages}) or vector(0)", "page", _colours(FINE, (1, PAGE))),
            Query(f"count({tickets}) or vector(0)", "ticket", _colours(FINE, (1, TICKET))),
        ],
    )
    yield _stat(
        "Replicas",
        "Servers that Prometheus reaches. With none up, ModelDown pages; with one down for "
        "5 minutes, ModelReplicaDown opens a ticket.",
        "short",
        [
            Query(f"sum({up}) or vector(0)", "up", _colours(PAGE, (1, FINE))),
            Query(
                f"count({up} == 0) or vector(0)",
                "down",
                _colours(FINE, (1, TICKET)),
            ),
        ],
    )
    yield _stat(
        "Requests",
        "Prediction requests per second, refused and failed ones too; mean of 5 minutes. "
        "ModelNoTraffic tells when they stop at an hour that had some yesterday.",
        "reqps",
        [Query(f"sum(model:requests:rate5m{VERSIONS})")],
        (None, NEUTRAL),
    )
    yield _stat(
        "Error budget left",
        "What is left of the budget of 30 days: 0.1 % of requests may fail, 1 % of answers may "
        "take longer than 0.25 s. Below zero the objective is missed.",
        "percentunit",
        [
            Query(f"1 - model:request_errors:ratio_rate30d{MODEL} / 0.001", "failures"),
            Query(f"1 - model:request_slow:ratio_rate30d{MODEL} / 0.01", "latency"),
        ],
        (None, PAGE),
        (0, TICKET),
        (0.25, FINE),
    )
    yield _stat(
        "Worst drift",
        "The input whose last hour differs most from training, by its population stability "
        "index (PSI). Over 0.2, with 300 rows or more, ModelFeatureDrift asks for a retraining.",
        "short",
        [Query(f"topk(1, max by (feature) (model:feature_psi:1h{VERSIONS}))", "{{feature}}")],
        (None, FINE),
        (0.1, "yellow"),
        (0.2, TICKET),
        decimals=2,
    )
    yield _stat(
        "Model age",
        "Since the training of each version that serves. After 30 days ModelStale asks for a "
        "retraining.",
        "s",
        [
            Query(
                f"time() - max by (model_version) (model_trained_timestamp_seconds{VERSIONS})",
                "v{{model_version}}",
            )
        ],
        (None, FINE),
        (30 * DAY, TICKET),
    )
    yield _panel(
        statetimeline.Panel()
        .show_value(kinds.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .legend(_legend())
        .no_value("No alert fired")
        .mappings(
            [
                model.ValueMap(
                    {
                        "1": model.ValueMappingResult(text="ticket", color=TICKET),
                        "2": model.ValueMappingResult(text="page", color=PAGE),
                    }
                )
            ]
        ),
        "Alerts over time",
        "When which alert fired. docs/runbooks.md of its repository has a section for each.",
        "none",
        [
            Query(
                f"2 * max by (alertname) ({pages}) or max by (alertname) ({tickets})",
                "{{alertname}}",
            )
        ],
        width=WIDTH,
        height=6,
    )


def _traffic() -> Iterable:
    yield _lines(
        "Requests by version",
        "A canary shows as a second line; a rollout as one line that takes over from the other.",
        "reqps",
        [
            Query(
                f"sum by (model_version) (model:requests:rate5m{VERSIONS})",
                "v{{model_version}}",
            )
        ],
    )
    not_answered = _and(VERSIONS, 'code!="200"')
    yield _lines(
        "Refused and failed by status",
        "4xx: the server refused what the contract does not allow, so the caller is at fault. "
        "5xx: the server failed; only these spend the error budget.",
        "reqps",
        [Query(f"sum by (code) (model:requests:rate5m{not_answered})", "{{code}}")],
        colours={"^5": PAGE},
    )
    yield _lines(
        "Latency",
        "Time to answer, without refused and failed requests: half, 95 % and 99 % of answers "
        "come faster. The objective is 99 % within 0.25 s.",
        "s",
        [
            Query(
                f"model:request_latency_seconds:p{p}_5m{VERSIONS}",
                f"p{p} v{{{{model_version}}}}",
            )
            for p in (50, 95, 99)
        ],
        limits=[(0.25, TICKET)],
    )
    for name, what, series, share in (
        ("failures", "requests fail", "request_errors", 0.001),
        ("slow answers", "answers take longer than 0.25 s", "request_slow", 0.01),
    ):
        yield _lines(
            f"Budget burn by {name}",
            f"How much faster than allowed {what}: 1 spends the budget of 30 days in 30 days. "
            "Over 14.4 for 1 h, or 6 for 6 h, pages; 3 for 1 d, or 1 for 3 d, opens a ticket.",
            "short",
            [
                Query(f"model:{series}:ratio_rate{window}{MODEL} / {share}", window)
                for window in ("1h", "6h", "1d", "3d")
            ],
            limits=[(1, TICKET), (3, TICKET), (6, PAGE), (14.4, PAGE)],
            soft_max=4,
            width=WIDTH // 2,
            height=7,
        )


def _drift() -> Iterable:
    yield _panel(
        bargauge.Panel()
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds((None, FINE), (0.1, "yellow"), (0.2, TICKET)))
        .min(0)
        .max(0.5)
        .decimals(2),
        "Drift by input, 1 h",
        "Distance of the last hour from training (PSI), the worst 12 inputs. 0: the same; 0.2: "
        "as if the mean had moved by half a standard deviation. Over 0.2 for 15 minutes, with "
        "300 rows or more, ModelFeatureDrift asks for a retraining.",
        "short",
        [
            Query(
                f"sort_desc(topk(12, max by (feature) (model:feature_psi:1h{VERSIONS})))",
                "{{feature}}",
            )
        ],
        height=9,
        instant=True,
    )
    yield _lines(
        "Drift over time, 1 h",
        "PSI of the five inputs that have drifted most, and of the predictions. Over 0.2, "
        "ModelFeatureDrift or ModelPredictionDrift asks for a retraining.",
        "short",
        [
            Query(
                _worst(5, f"max by (feature) (model:feature_psi:1h{VERSIONS}%s)"),
                "{{feature}}",
            ),
            Query(f"model:prediction_psi:1h{VERSIONS}", "predictions, v{{model_version}}"),
        ],
        limits=[(0.2, TICKET)],
        height=9,
        soft_max=0.25,
    )
    yield _lines(
        "Slow drift, 1 d",
        "PSI of the last day against training: smaller shifts, seen in more rows. Over 0.1 for "
        "1 h, with 2000 rows or more, ModelFeatureDriftSlow asks for a retraining.",
        "short",
        [
            Query(
                _worst(5, f"max by (feature) (model:feature_psi:1d{VERSIONS}%s)"),
                "{{feature}}",
            ),
            Query(f"model:prediction_psi:1d{VERSIONS}", "predictions, v{{model_version}}"),
        ],
        limits=[(0.1, TICKET)],
        height=9,
        soft_max=0.125,
    )
    # Between backticks PromQL takes a text as it is, and `raw` keeps Grafana from escaping it: so
    # a feature's name may hold quotes, backslashes, spaces and any script, though no backtick.
    yield _shares(
        "${feature:raw}, seen and trained",
        "Share of rows in each bin of the input chosen above: of the last hour, and of training "
        "(grey). Bins of a number hold equal parts of the training rows, b0 the smallest values. "
        "other: not a known category, or a value that was refused.",
        "feature",
        _and(VERSIONS, "feature=`${feature:raw}`"),
    )
    yield _shares(
        "Predictions, seen and trained",
        "Share of predictions in each bin: of the last hour, and on the training rows (grey). A "
        "bin is a class, or a range of values, b0 the smallest.",
        "prediction",
        VERSIONS,
    )
    yield _lines(
        "Missing and refused values",
        "Share of rows without a value, or with one that is unknown or was refused (other), "
        "beyond what training had; the worst six. Over 5 points ModelInputMissing opens a "
        "ticket: something feeds the model wrongly, which no retraining mends.",
        "percentunit",
        [
            Query(
                _worst(
                    6,
                    "max by (feature, bin) ("
                    f"model:feature_bin:ratio1h{VERSIONS}%s"
                    f" - model:feature_reference:ratio{VERSIONS}%s)",
                ),
                "{{feature}}: {{bin}}",
            )
        ],
        limits=[(0.05, TICKET)],
        height=9,
        soft_max=0.06,
    )


def _quality() -> Iterable:
    version = "v{{model_version}}"
    yield _lines(
        "Outliers",
        "Share of rows unlike any combination of values in training, of the last hour. Over "
        "three times training's share, and more than chance explains, ModelOutlierRateHigh "
        "opens a ticket.",
        "percentunit",
        [
            Query(f"model:outlier_rows:ratio1h{VERSIONS}", version),
            Query(
                f"3 * model:outlier_reference:ratio{VERSIONS}",
                f"3 x training, {version}",
                _dashed(TICKET),
            ),
        ],
        no_value="Only for models with numeric inputs",
    )
    count = {"unit": "short"}
    yield _lines(
        "Accuracy, or error",
        "Of the labels that came back within a day. A category: share of right answers, and "
        "what the model's own probabilities promise, which needs no labels; ModelAccuracyLow "
        "pages 5 points below the test rows. A number: mean absolute and root mean squared "
        "error, in the target's unit; ModelErrorHigh pages at 1.25 times the test rows' error. "
        "Both from 100 labels on.",
        "percentunit",
        [
            Query(f"model:accuracy:mean1d{VERSIONS}", f"accuracy, {version}"),
            Query(f"model:expected_accuracy:ratio1h{VERSIONS}", f"expected, {version}"),
            Query(
                f"model:accuracy_reference:ratio{VERSIONS}",
                f"test rows, {version}",
                _dashed(REFERENCE),
            ),
            Query(
                f"model:accuracy_reference:ratio{VERSIONS} - 0.05",
                f"alert below, {version}",
                _dashed(PAGE),
            ),
            Query(f"model:absolute_error:mean1d{VERSIONS}", f"mean absolute, {version}", count),
            Query(
                "sqrt("
                "sum by (model_version)"
                f" (increase(model_feedback_squared_error_total{VERSIONS}[1d]))"
                " / sum by (model_version)"
                f" (increase(model_feedback_total{VERSIONS}[1d])))",
                f"root mean squared, {version}",
                count,
            ),
            Query(
                f"model:absolute_error_reference:value{VERSIONS}",
                f"test rows, {version}",
                _dashed(REFERENCE) | count,
            ),
            Query(
                f"1.25 * model:absolute_error_reference:value{VERSIONS}",
                f"alert above, {version}",
                _dashed(PAGE) | count,
            ),
        ],
        low=None,
        of_a_day=True,
    )
    outcomes = f"increase(model_feedback_outcome_total{VERSIONS}[1d])"
    yield _panel(
        table.Panel()
        .override_by_field_type(
            "number",
            [
                model.DynamicConfigValue(
                    "custom.cellOptions", {"type": "color-background", "mode": "basic"}
                )
            ],
        )
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.CONTINUOUS_BLUES))
        .min(0)
        .max(1)
        .decimals(1)
        .no_value("Only for models that predict a category")
        .with_transformation(_sorted_by("truth"))
        .with_transformation(_matrix("truth", "predicted")),
        "What became of each class",
        "Of the rows whose label is the class on the left, the share that was predicted as the "
        "class on top, over a day. Right answers are on the diagonal.",
        "percentunit",
        [
            Query(
                f"sum by (truth, predicted) ({outcomes})"
                f" / on (truth) group_left () (sum by (truth) ({outcomes}) > 0)"
            )
        ],
        as_table=True,
    )
    yield _lines(
        "Labels per day",
        "Labels that came back and were counted, and those that were not: for a version that "
        "does not serve any more, or without a prediction. Below 100 a day the alert on "
        "accuracy or error is silent; without any, ModelFeedbackMissing opens a ticket.",
        "short",
        [
            Query(f"model:feedback:increase1d{VERSIONS}", f"counted, {version}"),
            Query(
                f"sum by (reason) (increase(model_feedback_skipped_total{VERSIONS}[1d]))",
                "not counted: {{reason}}",
            ),
        ],
        limits=[(100, NEUTRAL)],
        of_a_day=True,
        width=WIDTH // 2,
        height=7,
    )
    delays = (
        f"sum by (model_version, le) (increase(model_feedback_delay_seconds_bucket{VERSIONS}[1d]))"
    )
    yield _lines(
        "Delay of labels",
        "Age of a prediction when its label came, of the labels of a day: half and 90 % came "
        "faster. The panels above are late by as much.",
        "s",
        [
            Query(f"histogram_quantile({share}, {delays})", f"{name}, {version}")
            for share, name in ((0.5, "half"), (0.9, "90 %"))
        ],
        of_a_day=True,
        width=WIDTH // 2,
        height=7,
    )


def _machine() -> Iterable:
    yield _lines(
        "CPU",
        "Of the cores a replica may use. Over 90 % for 15 minutes ModelCpuSaturated opens a "
        "ticket.",
        "percentunit",
        [
            Query(
                f"rate(process_cpu_seconds_total{VERSIONS}[5m]) / model_cpu_limit_cores{VERSIONS}",
                "{{instance}} v{{model_version}}",
            )
        ],
        limits=[(0.9, TICKET)],
        soft_max=1,
    )
    yield _lines(
        "Memory",
        "Resident memory, of what a replica may use; at 100 % it is killed. Over 90 % for 10 "
        "minutes ModelMemoryHigh pages.",
        "percentunit",
        [
            Query(
                f"process_resident_memory_bytes{VERSIONS} / model_memory_limit_bytes{VERSIONS}",
                "{{instance}} v{{model_version}}",
            )
        ],
        limits=[(0.9, PAGE)],
        soft_max=1,
    )
    yield _lines(
        "Replicas by version",
        "Which versions serve. Two for longer than 2 h is a rollout that got stuck: "
        "ModelVersionSkew opens a ticket.",
        "short",
        [Query(f"count by (model_version) (model_info{VERSIONS})", "v{{model_version}}")],
        stacked=True,
    )


def _retraining() -> Iterable:
    yield _lines(
        "Requests for a retraining",
        "What alerts asked for within an hour, and what became of it. started: the pipeline "
        "runs. busy, duplicate, cooldown, budget: one runs, or ran, for the same reason. "
        "ignored: no alert that may ask. unavailable, refused: the pipeline server did not take "
        "it, RetrainRequestsFailing pages.",
        "short",
        [
            Query(
                f"sum by (outcome) (increase(retrain_requests_total{MODEL}[1h]))",
                "{{outcome}}",
            )
        ],
        colours={"started": NEUTRAL, "unavailable|refused": PAGE},
        width=WIDTH - 6,
    )
    yield _stat(
        "Last retraining",
        "Since an alert last started the pipeline.",
        "s",
        [
            Query(
                f"time() - (max(retrain_last_start_timestamp_seconds{MODEL}) > 0)",
            )
        ],
        (None, NEUTRAL),
        width=6,
        height=8,
        no_value="never",
    )


def _stat(
    title: str,
    description: str,
    unit: str,
    queries: list[Query],
    *steps: Step,
    width: int = 4,
    height: int = 4,
    decimals: int | None = None,
    no_value: str = "",
) -> stat.Panel:
    panel = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(kinds.BigValueGraphMode.NONE)
    if len(queries) > 1 or queries[0].legend:
        panel = panel.text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
    if steps:
        panel = panel.thresholds(_thresholds(*steps))
    if decimals is not None:
        panel = panel.decimals(decimals)
    if no_value:
        panel = panel.no_value(no_value)
    return _panel(panel, title, description, unit, queries, width, height, instant=True)


def _lines(
    title: str,
    description: str,
    unit: str,
    queries: list[Query],
    limits: Iterable[Step] = (),
    width: int = 8,
    height: int = 8,
    low: float | None = 0,
    soft_max: float | None = None,
    no_value: str = "",
    colours: dict[str, str] | None = None,
    stacked: bool = False,
    of_a_day: bool = False,
) -> timeseries.Panel:
    """Lines over time; limits are dashed, and colours belong to names by regular expressions."""
    panel = (
        timeseries.Panel()
        .fill_opacity(8)
        .show_points(kinds.VisibilityMode.NEVER)
        .legend(_legend().calcs(["lastNotNull"]))
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )
    if limits:
        panel = panel.thresholds(_thresholds((None, "transparent"), *limits)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    if low is not None:
        panel = panel.axis_soft_min(low)
    if soft_max is not None:
        panel = panel.axis_soft_max(soft_max)
    if no_value:
        panel = panel.no_value(no_value)
    if of_a_day:
        panel = panel.interval("5m")  # every point reads a day of samples
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    for pattern, colour in (colours or {}).items():
        panel = panel.override_by_regexp(f"/{pattern}/", [_fixed(colour)])
    return _panel(panel, title, description, unit, queries, width, height)


def _shares(title: str, description: str, what: str, selector: str) -> barchart.Panel:
    """Bars per bin: seen in the last hour beside training, for each version."""

    def named(expr: str, name: str) -> str:
        return f'label_replace({expr}, "line", "{name}, v$1", "model_version", "(.*)")'

    seen = (
        f"model:{what}_bin:increase1h{selector}"
        f" / on (model_version) group_left () model:{what}_rows:increase1h{selector}"
    )
    trained = f"model:{what}_reference:ratio{selector}"
    return _panel(
        barchart.Panel()
        .x_field("bin\\line")
        .show_value(kinds.VisibilityMode.NEVER)
        .fill_opacity(80)
        .min(0)
        .legend(_legend())
        .override_by_regexp("/^trained/", [_fixed(REFERENCE)])
        .with_transformation(_sorted_by("bin"))
        .with_transformation(_matrix("bin", "line")),
        title,
        description,
        "percentunit",
        [Query(f"{named(seen, 'seen')} or {named(trained, 'trained')}")],
        height=9,
        as_table=True,
    )


def _panel(
    panel,
    title: str,
    description: str,
    unit: str,
    queries: list[Query],
    width: int = 8,
    height: int = 8,
    instant: bool = False,
    as_table: bool = False,
):
    """Give a panel what all panels have in common."""
    panel = panel.title(title).description(description).unit(unit).datasource(SOURCE)
    panel = panel.span(width).height(height)
    for name, query in zip(ascii_uppercase, queries, strict=False):
        target = (
            prometheus.Dataquery()
            .ref_id(name)
            .datasource(SOURCE)
            .expr(query.expr)
            .legend_format(query.legend)
            .format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        )
        once = instant or as_table
        panel = panel.with_target(target.instant() if once else target.range())
        if query.look:
            properties = [model.DynamicConfigValue(*item) for item in query.look.items()]
            panel = panel.override_by_query(name, properties)
    return panel


def _and(selector: str, matcher: str) -> str:
    return selector.replace("}", f", {matcher}}}")


def _worst(number: int, expr: str) -> str:
    """Keep the series that are highest at the end; topk() alone would pick others at every step."""
    return f"{expr.replace('%s', '')} and topk({number}, {expr.replace('%s', ' @ end()')})"


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
    )


def _thresholds(*steps: Step) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value, colour) for value, colour in steps])
    )


def _colours(first: str, *steps: Step) -> dict[str, object]:
    return {"thresholds": _thresholds((None, first), *steps).build()}


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _dashed(colour: str) -> dict[str, object]:
    return {
        "color": _fixed(colour).value,
        "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
        "custom.fillOpacity": 0,
    }


def _sorted_by(name: str) -> model.DataTransformerConfig:
    return model.DataTransformerConfig("sortBy", options={"sort": [{"field": name}]})


def _matrix(row: str, column: str) -> model.DataTransformerConfig:
    fields = {"rowField": row, "columnField": column, "valueField": "Value"}
    return model.DataTransformerConfig("groupingToMatrix", options=fields)


if __name__ == "__main__":
    sys.exit(main())

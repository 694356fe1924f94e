"""Draws the dashboard from a live Prometheus, for reviews and pages without a Grafana.

python -m modelloop.monitoring.draw http://127.0.0.1:9090 dashboard.png --seconds 3600
"""

import argparse
import itertools
import json
import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from modelloop.monitoring import live

plt.rcParams["text.parse_math"] = False  # names may hold dollars

COLUMN, ROW, GAP = 66.0, 38.0, 8.0  # pixels, as Grafana's grid on a wide screen
DPI = 100
STEPS = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)  # of time axes
BACKGROUND, PANEL, EDGE, GRID = "#111217", "#181b1f", "#2a2d33", "#2c2f35"
TEXT, FAINT = "#d5d6dd", "#8f939c"
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
}
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#b877d9", "#4fc8c0", "#5794f2", "#e08fc0", "#37872d"]
BLUES = LinearSegmentedColormap.from_list("blues", [PANEL, "#1f60c4", "#5794f2"])

TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))

Panel = Mapping
Table = dict[str, dict[str, float]]  # by row, then by column


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description="Draw the dashboard from a live Prometheus.")
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:9090")
    parser.add_argument("output", type=Path, help="the image; its suffix says which kind")
    parser.add_argument("--seconds", type=float, default=300, help="how far back (300)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value for a variable, such as feature=age",
    )
    given = parser.parse_args()
    prometheus = live.Prometheus(given.prometheus.rstrip("/"))
    dashboard = json.loads(dashboard_file().read_text(encoding="utf-8"))
    chosen = dict(one.split("=", 1) for one in given.set)
    try:
        draw(prometheus, dashboard, chosen, given.seconds, given.output)
    except (OSError, live.QueryError) as error:
        raise SystemExit(f"{given.prometheus}: {error}") from error


def dashboard_file() -> Path:
    """The dashboard that the wheel carries; in a checkout of the sources, what it is built from."""
    here = Path(__file__)
    installed = here.with_name("dashboard.json")
    return installed if installed.exists() else here.parents[4] / "platform/grafana/model.json"


def draw(
    prometheus: live.Prometheus,
    dashboard: Mapping,
    chosen: Mapping[str, str],
    seconds: float,
    output: Path,
) -> None:
    """Draw every panel into one image."""
    variables = live.resolve(prometheus, dashboard, chosen)
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
    sheet = Sheet(24 * COLUMN + GAP, rows * ROW + 56, (time.time() - seconds, time.time()))
    shown = [f"{name} = {value}" for name, value in variables.items()]
    sheet.text(12, 24, dashboard["title"], size=15, weight="bold")
    sheet.text(182, 26, "   ".join(shown).replace(".+", "all"), color=FAINT)
    for panel in dashboard["panels"]:
        box = sheet.box(panel["gridPos"])
        if panel["type"] == "row":
            sheet.text(box.x + 4, box.y + 20, panel["title"], size=12, weight="bold")
            continue
        answers = [(t, prometheus.run(t, variables, seconds)) for t in panel["targets"]]
        sheet.frame(box, live.substitute(panel["title"], variables))
        if any(series for _, series in answers):
            DRAWN[panel["type"]](sheet, box, panel, answers)
        else:
            nothing = panel["fieldConfig"]["defaults"].get("noValue", "No data")
            sheet.text(box.x + box.w / 2, box.y + box.h / 2, nothing, color=FAINT, ha="center")
    sheet.figure.savefig(output, facecolor=BACKGROUND)
    plt.close(sheet.figure)


class Box:
    """A rectangle in pixels, from the top left."""

    def __init__(self, x: float, y: float, w: float, h: float) -> None:
        self.x, self.y, self.w, self.h = x, y, w, h

    def inside(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """The box without margins."""
        return Box(
            self.x + left, self.y + top, self.w - left - right, max(self.h - top - bottom, 1)
        )


class Sheet:
    """A figure that is laid out in pixels, from the top left."""

    def __init__(self, width: float, height: float, window: tuple[float, float]) -> None:
        self.width, self.height, self.window = width, height, window
        self.figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def box(self, grid: Mapping) -> Box:
        """Where a panel lies."""
        return Box(
            grid["x"] * COLUMN + GAP,
            grid["y"] * ROW + 52,
            grid["w"] * COLUMN - GAP,
            grid["h"] * ROW - GAP,
        )

    def frame(self, box: Box, title: str) -> None:
        """A panel's background and title."""
        edge = FancyBboxPatch(
            (box.x / self.width, 1 - (box.y + box.h) / self.height),
            box.w / self.width,
            box.h / self.height,
            boxstyle="square,pad=0",
            facecolor=PANEL,
            edgecolor=EDGE,
            linewidth=0.8,
            transform=self.figure.transFigure,
            zorder=-1,  # behind the axes
        )
        self.figure.add_artist(edge)
        self.text(box.x + 10, box.y + 17, title, size=9.5, weight="bold")

    def text(self, x: float, y: float, text: str, size: float = 8.5, **look: Any) -> None:
        """Text at a point, centred vertically."""
        look = {"color": TEXT, "va": "center"} | look
        place = (x / self.width, 1 - y / self.height)
        self.figure.text(*place, text, fontsize=size, **look)

    def axes(self, box: Box) -> Axes:
        """Axes that fill a box."""
        axes = self.figure.add_axes(
            (
                box.x / self.width,
                1 - (box.y + box.h) / self.height,
                box.w / self.width,
                box.h / self.height,
            ),
            facecolor="none",
        )
        axes.tick_params(colors=FAINT, labelsize=7.5, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return axes

    def clock(self, axes: Axes) -> None:
        """Make the horizontal axis one of time: the whole window, in round steps."""
        start, end = self.window
        step = next((s for s in STEPS if (end - start) / s <= 6), 86400)
        form = "%H:%M:%S" if step < 60 else "%H:%M"
        first = math.ceil(start / step) * step
        ticks = [first + i * step for i in range(int((end - first) / step) + 1)]
        names = [datetime.fromtimestamp(tick).strftime(form) for tick in ticks]
        axes.set_xticks(ticks, names)
        axes.set_xlim(start, end)
        axes.grid(axis="x", color=GRID, linewidth=0.7)

    def legend(self, box: Box, entries: list[tuple[str, str]], lines: int = 3) -> float:
        """Names and colours at the bottom of a box; how high they are."""
        placed, x, line = [], 0.0, 0
        for name, color in entries:
            width = 6.1 * len(name) + 34
            if x and x + width > box.w - 16:
                x, line = 0.0, line + 1
            if line == lines:
                break
            placed.append((x, line, name, color))
            x += width
        height = 16 * (placed[-1][1] + 1) if placed else 0
        for x, line, name, color in placed:
            y = box.y + box.h - height - 2 + 16 * line
            self.text(box.x + 10 + x, y, "━━", size=7, color=color)
            self.text(box.x + 28 + x, y, name, size=8)
        if len(placed) < len(entries):
            more = f"and {len(entries) - len(placed)} more"
            self.text(box.x + box.w - 10, box.y + 17, more, size=8, color=FAINT, ha="right")
        return height


def _stat(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    values = [(t, series, series.values[-1]) for t, found in answers for series in found]
    names = panel["options"]["textMode"] == "value_and_name"
    width = box.w / len(values)
    for i, (target, series, value) in enumerate(values):
        look = _look(panel, target["refId"])
        middle = box.x + width * (i + 0.5)
        shown = _number(value, look["unit"], look.get("decimals"))
        color, size = _threshold(look, value), min(24, width / len(shown))
        y = box.y + 22 + (box.h - 22) * (0.4 if names else 0.5)
        sheet.text(middle, y, shown, size=size, color=color, ha="center", weight="bold")
        if names:
            below = min(y + 34, box.y + box.h - 16)
            sheet.text(middle, below, _name(target, series), color=FAINT, ha="center")


def _lines(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults.get("custom", {}), defaults["unit"]
    drawn, legend_entries, palette = [], [], itertools.cycle(PALETTE)
    below: dict[float, float] = {}
    for target, found in answers:
        for series in found:
            name = _name(target, series)
            look = _look(panel, target["refId"], name)
            unit, color = look["unit"], _color(look) or next(palette)
            dashed = (6, 4) if "custom.lineStyle" in look else (None, None)
            last = next((v for v in reversed(series.values) if not math.isnan(v)), math.nan)
            legend_entries.append((f"{name}  {_number(last, unit)}", color))
            values = series.values
            if "stacking" in custom:
                values = [below.get(t, 0) + v for t, v in zip(series.times, values, strict=True)]
                below |= dict(zip(series.times, values, strict=True))
            drawn.append((series.times, values, color, dashed))
    legend = sheet.legend(box, legend_entries)
    axes = sheet.axes(box.inside(58, 34, 14, legend + 30))
    ends = [custom.get("axisSoftMin"), custom.get("axisSoftMax")]
    for times, values, color, dashed in drawn:
        axes.plot(times, values, color=color, linewidth=1.4, dashes=dashed)
        if dashed == (None, None):
            axes.fill_between(times, values, color=color, alpha=0.07, linewidth=0)
        ends += [v for v in values if math.isfinite(v)]
    known = [v for v in ends if v is not None]
    low, high = min(known, default=0), max(known, default=1)
    room = (high - low or abs(high) or 1) * 0.06
    axes.set_ylim(low if low == custom.get("axisSoftMin") else low - room, high + room)
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is not None:
            axes.axhline(
                step["value"], color=NAMED[step["color"]], linewidth=1, dashes=(4, 3), alpha=0.9
            )
    _scale(axes, unit)
    sheet.clock(axes)


def _timeline(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    mapping = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    rows = sorted((_name(t, series), series) for t, found in answers for series in found)
    left = 10 + 6.3 * max(len(name) for name, _ in rows)
    axes = sheet.axes(box.inside(left + 8, 34, 14, 46))
    for y, (_, series) in enumerate(rows):
        step = max(1.0, min((b - a for a, b in itertools.pairwise(series.times)), default=1.0))
        for t, value in zip(series.times, series.values, strict=True):
            axes.barh(y, step, 0.7, t, color=NAMED[mapping[f"{value:g}"]["color"]])
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    sheet.clock(axes)
    sheet.legend(box, [(one["text"], NAMED[one["color"]]) for one in mapping.values()])


def _bars(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    bars = [(_name(t, series), series.values[-1]) for t, found in answers for series in found]
    left = 10 + min(6.3 * max(len(name) for name, _ in bars), box.w / 2)
    axes = sheet.axes(box.inside(left + 8, 36, 52, 10))
    for y, (_, value) in enumerate(bars):
        color = _threshold(defaults, value)
        axes.barh(y, defaults["max"], 0.62, color=GRID)
        axes.barh(y, min(value, defaults["max"]), 0.62, color=color)
        shown = _number(value, defaults["unit"], defaults.get("decimals"))
        axes.text(defaults["max"] * 1.02, y, shown, color=color, va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars], color=TEXT)
    axes.set_xticks([])
    axes.set_xlim(defaults["min"], defaults["max"])
    axes.set_ylim(max(len(bars), 6) - 0.4, -0.6)


def _columns(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    rows, columns = _matrix(panel, answers)
    palette = itertools.cycle(PALETTE)
    colors = {name: _color(_look(panel, "A", name)) or next(palette) for name in columns}
    legend = sheet.legend(box, list(colors.items()))
    axes = sheet.axes(box.inside(52, 34, 14, legend + 30))
    width = 0.8 / len(columns)
    for i, column in enumerate(columns):
        places = [x + (i - (len(columns) - 1) / 2) * width for x in range(len(rows))]
        heights = [row.get(column, math.nan) for row in rows.values()]
        axes.bar(places, heights, width * 0.9, color=colors[column])
    names = [name if len(name) < 12 else f"{name[:11]}…" for name in rows]
    axes.set_xticks(range(len(rows)), names)
    _scale(axes, panel["fieldConfig"]["defaults"]["unit"])
    axes.set_axisbelow(True)


def _table(sheet: Sheet, box: Box, panel: Panel, answers: list) -> None:
    rows, columns = _matrix(panel, answers)
    defaults = panel["fieldConfig"]["defaults"]
    inner = box.inside(10, 36, 10, 12)
    width, height = inner.w / (len(columns) + 1), min(inner.h / (len(rows) + 1), 36)
    options = panel["transformations"][-1]["options"]
    for j, name in enumerate([f"{options['rowField']}\\{options['columnField']}", *columns]):
        sheet.text(inner.x + j * width + 6, inner.y + height / 2, name, color=FAINT)
    for i, (name, row) in enumerate(rows.items(), start=1):
        sheet.text(inner.x + 6, inner.y + (i + 0.5) * height, name)
        for j, column in enumerate(columns, start=1):
            value = row.get(column, math.nan)
            cell = Box(inner.x + j * width, inner.y + i * height, width - 2, height - 2)
            color = BLUES(0 if math.isnan(value) else value / defaults["max"])
            sheet.axes(cell).set(facecolor=to_rgb(color), xticks=[], yticks=[])
            shown = _number(value, defaults["unit"], defaults.get("decimals"))
            sheet.text(cell.x + 6, cell.y + cell.h / 2, shown, weight="bold")


DRAWN = {
    "stat": _stat,
    "timeseries": _lines,
    "state-timeline": _timeline,
    "bargauge": _bars,
    "barchart": _columns,
    "table": _table,
}


def _matrix(panel: Panel, answers: list) -> tuple[Table, list[str]]:
    """Rows and columns, as the panel's transformations arrange them."""
    options = next(
        one["options"] for one in panel["transformations"] if one["id"] == "groupingToMatrix"
    )
    rows: Table = {}
    columns: list[str] = []
    found = [series for _, all_of_target in answers for series in all_of_target]
    for series in sorted(found, key=lambda one: one.labels[options["rowField"]]):
        row, column = series.labels[options["rowField"]], series.labels[options["columnField"]]
        rows.setdefault(row, {})[column] = series.values[-1]
        if column not in columns:
            columns.append(column)
    return rows, sorted(columns)


def _look(panel: Panel, query: str, name: str = "") -> dict:
    """The properties of what a query returns under a name."""
    look = dict(panel["fieldConfig"]["defaults"])
    for rule in panel["fieldConfig"]["overrides"]:
        kind, which = rule["matcher"]["id"], rule["matcher"]["options"]
        if (kind == "byFrameRefID" and which == query) or (
            kind == "byRegexp" and re.search(which.strip("/"), name)
        ):
            look |= {one["id"]: one["value"] for one in rule["properties"]}
    return look


def _color(look: Mapping) -> str | None:
    fixed = look.get("color", {}).get("fixedColor")
    return NAMED.get(fixed, fixed)


def _scale(axes: Axes, unit: str) -> None:
    """A vertical axis with round numbers of the unit."""
    low, high = axes.get_ylim()
    size = 1.0
    if unit == "s":
        size = next((size for size, _ in TIMES if high >= size), 1e-3)
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low / size, high / size)
    ticks = [size * tick for tick in ticks if low <= size * tick <= high]
    axes.set_yticks(ticks, [_number(tick, unit) for tick in ticks])
    axes.grid(axis="y", color=GRID, linewidth=0.7)


def _name(target: Mapping, series: live.Series) -> str:
    return re.sub(
        r"\{\{(\w+)\}\}", lambda label: series.labels.get(label[1], ""), target["legendFormat"]
    )


def _threshold(look: Mapping, value: float) -> str:
    color = "green"
    for step in look.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return NAMED.get(color, color)


def _number(value: float, unit: str, decimals: int | None = None) -> str:
    if math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.3g} %" if decimals is None else f"{100 * value:.{decimals}f} %"
    if unit == "s":
        size, name = next((one for one in TIMES if abs(value) >= one[0]), (1, "s"))
        return f"{value / size:.3g} {name}"
    text = f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    if abs(value) >= 1000:
        text = f"{value / 1000:.3g} K"
    return text + (" req/s" if unit == "reqps" else "")


if __name__ == "__main__":
    main()

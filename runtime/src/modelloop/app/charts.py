"""The demo's charts: distributions of training, and where a value or a file lies in them."""

import altair as alt
import numpy as np
import pandas as pd

from modelloop.contract.contract import Column, Contract, Reference

ACCENT, QUIET, LINE = "#0f766e", "#a8a29e", "#b45309"
MOST_BARS = 12  # of many categories, the most frequent ones
FILE_BINS = 30


Drawn = alt.Chart | alt.LayerChart


def chances(classes: list[str], outputs: np.ndarray) -> Drawn:
    """A bar for each class; `outputs` has its probability, shape (classes,)."""
    best = int(outputs.argmax())
    table = pd.DataFrame({"name": classes, "share": outputs})
    table["chosen"] = [i == best for i in range(len(classes))]
    return _bars(table.sort_values("share", ascending=False).head(MOST_BARS))


def training(column: Column, value: float | str | None) -> Drawn | None:
    """The training distribution of a feature, with a value marked; None where it has no bins."""
    if column.kind == "category":
        return _categories(column.reference, value)
    bins = _bins(column.reference, column.observed)
    if bins is None:
        return None
    if not isinstance(value, int | float):
        return _density(bins, column.unit)
    bins["chosen"] = (bins["left"] <= value) & (value < bins["right"])
    mark = alt.Chart(pd.DataFrame({"value": [value]})).mark_rule(color=LINE, size=3)
    return _density(bins, column.unit) + mark.encode(x="value:Q")


def results(contract: Contract, answers: pd.Series) -> Drawn:
    """The predictions for a file, labels or values, beside those of training."""
    if contract.classes:
        return _result_classes(contract, answers)
    heights, edges = np.histogram(answers.to_numpy(dtype=np.float64), FILE_BINS, density=True)
    table = pd.DataFrame({"left": edges[:-1], "right": edges[1:], "height": heights})
    drawn = _density(table.assign(chosen=True), contract.target.unit, height=240)
    bins = _bins(contract.predictions, None)
    if bins is None:
        return drawn
    steps = pd.concat([bins, bins.tail(1).assign(left=bins["right"].iloc[-1])])
    line = alt.Chart(steps).mark_line(interpolate="step-after", color=LINE, size=2)
    return drawn + line.encode(x="left:Q", y="height:Q")


def _result_classes(contract: Contract, answers: pd.Series) -> Drawn:
    shares = answers.value_counts(normalize=True)
    seen = dict(zip(contract.predictions.bins, contract.predictions.shares, strict=True))
    # The bin of a class that is called `other`, too, begins with an equals sign.
    table = pd.DataFrame(
        {
            "name": contract.classes,
            "share": [shares.get(name, 0.0) for name in contract.classes],
            "training": [seen.get(name, seen.get(f"={name}", 0)) for name in contract.classes],
            "chosen": True,
        }
    )
    table["end"] = table[["share", "training"]].max(axis=1)  # where the text stands
    table = table.sort_values("share", ascending=False).head(MOST_BARS)
    ticks = alt.Chart(table).mark_tick(color=LINE, thickness=3, opacity=1)
    return _bars(table) + ticks.encode(x="training:Q", y=alt.Y("name:N", sort=None))


def _categories(reference: Reference, value: object) -> Drawn:
    names = reference.categories or []
    table = pd.DataFrame({"name": names, "share": reference.shares[: len(names)]})
    table["chosen"] = table["name"] == value
    order = table.sort_values(["chosen", "share"], ascending=False).head(MOST_BARS)
    return _bars(order.sort_values("share", ascending=False))


def _bars(table: pd.DataFrame) -> alt.LayerChart:
    """Horizontal bars with their shares, `chosen` ones in colour."""
    scale = alt.Scale(domain=[0, 1.15])  # room for the text behind a full bar
    base = alt.Chart(table).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=140, ticks=False)),
        x=alt.X("share:Q", title=None, axis=None, scale=scale),
    )
    bars = base.mark_bar(cornerRadiusEnd=3, size=16).encode(color=_colour())
    texts = base.mark_text(align="left", dx=6).encode(
        x="end:Q" if "end" in table else "share:Q", text=alt.Text("share:Q", format=".0%")
    )
    return (bars + texts).properties(height=30 * len(table) + 30)


def _density(bins: pd.DataFrame, unit: str, height: int = 140) -> alt.Chart:
    """Bars as wide as their bins, so that the area is the share of rows."""
    axis = alt.Axis(tickCount=5, grid=False)
    return (
        alt.Chart(bins)
        .mark_rect()
        .encode(
            x=alt.X("left:Q", title=unit or None, axis=axis, scale=alt.Scale(zero=False)),
            x2="right:Q",
            y=alt.Y("height:Q", title=None, axis=None),
            y2=alt.datum(0),
            color=_colour(),
        )
        .properties(height=height)
    )


def _colour() -> alt.Color:
    scale = alt.Scale(domain=[True, False], range=[ACCENT, QUIET])
    return alt.Color("chosen:N", scale=scale, legend=None)


def _bins(reference: Reference, observed: tuple[float, float] | None) -> pd.DataFrame | None:
    """The bins of a number as intervals with densities; the outer ones end where training did."""
    inner = reference.edges or []
    if not inner:
        return None
    step = (inner[-1] - inner[0]) / max(len(inner) - 1, 1) or max(abs(inner[0]) / 10, 1.0)
    low, high = observed or (inner[0] - step, inner[-1] + step)
    edges = np.array([min(low, inner[0] - step / 20), *inner, max(high, inner[-1] + step / 20)])
    shares = np.array(reference.shares[: len(edges) - 1])
    return pd.DataFrame(
        {
            "left": edges[:-1],
            "right": edges[1:],
            "height": shares / np.diff(edges),
            "chosen": False,
        }
    )

"""Measure what the server's metrics cost a request of 30 features, and one of 30 with text.

Runs in the serving environment, against the package of the environment's own render; what
prometheus_client's counters would cost is measured beside it.
"""

import os
import sys
import tempfile
import timeit
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RENDER = ROOT / "build" / "env" / "render" / "penguins"
FEATURES, CATEGORIES = 30, ["a", "b", "c", "d", "e"]
LIMIT = 10.0  # microseconds for one row of 30 numbers
CALLS, ROUNDS = 5_000, 7

sys.path.insert(0, str(RENDER / "src"))
# prometheus_client decides at its import whether it counts for several processes.
SHARED = tempfile.TemporaryDirectory()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = SHARED.name

import numpy as np  # noqa: E402
from penguins.contract import (  # noqa: E402
    Column,
    Contract,
    GoldenRow,
    OutlierDetector,
    Provenance,
    Reference,
    ServedForm,
)
from penguins.serving.metrics import Metrics  # noqa: E402
from penguins.serving.predictor import Prediction  # noqa: E402
from prometheus_client import CollectorRegistry, Counter  # noqa: E402

RANDOM = np.random.default_rng(0)


def main() -> int:
    """Print the figures; 1 when a request costs more than it may."""
    numbers = contract(FEATURES, 0)
    cost = microseconds(numbers, 1)
    mixed = microseconds(contract(FEATURES // 2, FEATURES // 2), 1)
    many = microseconds(numbers, 100) / 100
    library = stock_counters()
    print(
        f"metrics of a request, {FEATURES} features: {cost:.1f} us for numbers (limit {LIMIT:.0f}), "
        f"{mixed:.1f} us with half of them text, {many:.2f} us a row in hundreds"
    )
    print(f"{FEATURES} counters of prometheus_client alone: {library / cost:.1f} times as long")
    return int(cost > LIMIT)


def microseconds(described: Contract, rows: int) -> float:
    """What everything that is counted of one answered request costs."""
    metrics = Metrics(described)
    inputs = {
        column.name: RANDOM.normal(size=rows).astype(np.float32)
        if column.kind == "number"
        else RANDOM.choice(np.array(CATEGORIES, dtype=object), rows)
        for column in described.features
    }
    outputs = RANDOM.dirichlet([1, 1, 1], size=rows)
    prediction = Prediction(outputs, ["x"] * rows, inputs)

    def request() -> None:
        metrics.count_rows(prediction)
        metrics.count_answer(0.001)

    return best(request)


def stock_counters() -> float:
    """One labelled counter a feature, its child looked up once."""
    family = Counter("rows", "Rows.", ["feature", "bin"], registry=CollectorRegistry())
    bound = [family.labels(f"f{i}", "b5") for i in range(FEATURES)]

    def request() -> None:
        for counter in bound:
            counter.inc()

    return best(request)


def best(call: object) -> float:
    """Microseconds of one call, the least of several rounds."""
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def contract(numbers: int, texts: int) -> Contract:
    """A contract with so many numbers and texts, and three classes."""
    edges = np.linspace(-1.3, 1.3, 9).tolist()
    of_numbers = Reference(edges=edges, shares=[1 / 12] * 12)
    of_texts = Reference(categories=CATEGORIES, shares=[1 / 7] * 7)
    classes = ["x", "y", "z"]
    common = {"nullable": True, "missing": 0}
    features = [
        Column(name=f"n{i}", role="feature", kind="number", dtype="float64", reference=of_numbers,
               **common)
        for i in range(numbers)
    ] + [
        Column(name=f"t{i}", role="feature", kind="category", dtype="str", categories=CATEGORIES,
               reference=of_texts, **common)
        for i in range(texts)
    ]  # fmt: skip
    return Contract(
        name="benchmark",
        version="1",
        description="",
        owner="",
        problem_type="classification",
        classes=classes,
        target=Column(name="y", role="target", kind="category", dtype="str", categories=classes,
                      reference=Reference(categories=classes, shares=[0.2] * 5), **common),
        features=features,
        predictions=Reference(categories=classes, shares=[0.2] * 5),
        outliers=OutlierDetector(
            features=[f"n{i}" for i in range(numbers)],
            mean=[0.0] * numbers,
            precision=np.eye(numbers).tolist(),
            threshold=50.0,
            share=0.01,
        ),
        served=ServedForm(form="onnx", file="none", largest_difference=0, reason=""),
        golden=[GoldenRow(inputs={}, outputs=[1.0, 0.0, 0.0])],
        metrics={"accuracy": 0.9},
        provenance=Provenance(
            candidate="", trained_at="2026-01-01T00:00:00+00:00", git_commit="", data_uri="",
            data_sha256="", rows_train=0, rows_test=0, python="", packages={}, pipeline_run="",
            mlflow_run="", mlflow_model="",
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

"""Measure what the server's metrics cost a request of 30 features: numbers, and half of them text.

What prometheus_client's own counters would cost is measured beside it. Runs with the Python of the
tests' training environment, against the render that the environment was made with.
"""

import os
import sys
import tempfile
import timeit
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RENDER = ROOT / "build" / "env" / "render" / "penguins"
FEATURES = 30
LIMIT = 10.0  # microseconds for one row of 30 numbers
CALLS, ROUNDS = 5_000, 7

sys.path[:0] = [str(RENDER / "src"), str(RENDER / "tests" / "helpers")]
# prometheus_client decides at its import whether it counts for several processes.
FOLDER = tempfile.TemporaryDirectory()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = FOLDER.name

import example_model  # noqa: E402
import numpy as np  # noqa: E402
from penguins.contract import Contract, OutlierDetector, Reference  # noqa: E402
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
        f"metrics of a request, {FEATURES} features: {cost:.1f} us for numbers, limit {LIMIT:.0f}; "
        f"{mixed:.1f} us with half of them text, {many:.2f} us a row in hundreds"
    )
    print(f"{FEATURES} counters of prometheus_client alone: {library / cost:.1f} times as long")
    return int(cost > LIMIT)


def microseconds(described: Contract, rows: int) -> float:
    """Time everything that is counted of one answered request."""
    metrics = Metrics(described)
    inputs = {
        column.name: RANDOM.normal(size=rows).astype(np.float32)
        if column.kind == "number"
        else RANDOM.choice(np.array(column.categories, dtype=object), rows)
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
    """Describe a model with so many numbers and texts."""
    example = example_model.make_classifier(Path(FOLDER.name))
    number, _, text = example.features
    edges = np.linspace(-1.3, 1.3, 9).tolist()
    number = number.model_copy(update={"reference": Reference(edges=edges, shares=[1 / 12] * 12)})
    names = [f"n{i}" for i in range(numbers)]
    columns = [number.model_copy(update={"name": name}) for name in names]
    columns += [text.model_copy(update={"name": f"t{i}"}) for i in range(texts)]
    detector = OutlierDetector(
        features=names,
        mean=[0.0] * numbers,
        precision=np.eye(numbers).tolist(),
        threshold=50.0,
        share=0.01,
    )
    return example.model_copy(update={"features": columns, "outliers": detector})


if __name__ == "__main__":
    sys.exit(main())

"""Measure what the server's metrics cost a request of 30 features: numbers, and half of them text.

The measure is what 30 counters of prometheus_client alone cost, timed in turns in the same process.
Runs with the Python of the tests' training environment. `python benchmarks/metrics.py [rounds]`.
"""

import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FEATURES = 30
LIMIT = 1.0  # of one row of 30 numbers, by the time of as many counters of prometheus_client
CALLS, ROUNDS = 2_000, 15

sys.path.insert(0, str(ROOT / "runtime" / "src"))
# prometheus_client decides at its import whether it counts for several processes.
FOLDER = tempfile.TemporaryDirectory()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = FOLDER.name

import numpy as np  # noqa: E402
from modelloop.contract.contract import Contract, OutlierDetector, Reference  # noqa: E402
from modelloop.serving.metrics import Metrics  # noqa: E402
from modelloop.serving.predictor import Prediction  # noqa: E402
from modelloop.testing import example_model  # noqa: E402
from prometheus_client import CollectorRegistry, Counter  # noqa: E402

RANDOM = np.random.default_rng(0)


def main() -> int:
    """Print the figures; 1 when a request costs more than it may."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    numbers = contract(FEATURES, 0)
    works = {
        "numbers": (request(numbers, 1), 1),
        "half of them text": (request(contract(FEATURES // 2, FEATURES // 2), 1), 1),
        "numbers, a row in hundreds": (request(numbers, 100), 100),
    }
    counters = stock_counters()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        stock = seconds(counters)
        for name, (work, rows) in works.items():
            taken[name].append(seconds(work) / rows / stock)
    ratios = {name: statistics.median(values) for name, values in taken.items()}
    shown = ", ".join(f"{ratio:.2f} for {name}" for name, ratio in ratios.items())
    over = ratios["numbers"] > LIMIT
    verdict = f"more than {LIMIT} for numbers: FAIL" if over else f"at most {LIMIT} for numbers"
    print(
        f"metrics of a request / {FEATURES} counters of prometheus_client: {shown}; "
        f"median of {rounds} rounds, {verdict}"
    )
    return int(over)


def request(described: Contract, rows: int) -> Callable[[], None]:
    """Everything that is counted of one answered request."""
    metrics = Metrics(described)
    inputs = {
        column.name: RANDOM.normal(size=rows).astype(np.float32)
        if column.kind == "number"
        else RANDOM.choice(np.array(column.categories, dtype=object), rows)
        for column in described.features
    }
    outputs = RANDOM.dirichlet([1, 1, 1], size=rows)
    prediction = Prediction(outputs, ["x"] * rows, inputs)

    def count() -> None:
        metrics.count_rows(prediction)
        metrics.count_answer(0.001)

    return count


def stock_counters() -> Callable[[], None]:
    """One labelled counter a feature, its child looked up once."""
    family = Counter("rows", "Rows.", ["feature", "bin"], registry=CollectorRegistry())
    bound = [family.labels(f"f{i}", "b5") for i in range(FEATURES)]

    def count() -> None:
        for counter in bound:
            counter.inc()

    return count


def seconds(call: Callable[[], None]) -> float:
    """Processor seconds of many calls."""
    return timeit.timeit(call, timer=time.process_time, number=CALLS)


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

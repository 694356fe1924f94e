"""What the demo says of columns, values and faults."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelloop.app import charts, words
from modelloop.batch.scoring import Endpoint
from modelloop.contract.contract import Column, Contract, Reference
from modelloop.serving.client import ServerError

DEPTH = Column(
    name="depth",
    role="feature",
    kind="number",
    dtype="float64",
    unit="mm",
    nullable=True,
    minimum=0,
    maximum=2000,
    observed=(10, 30),
    median=20,
    missing=0.25,
    reference=Reference(edges=[20.0], shares=[0.3, 0.6, 0.05, 0.05]),
)
COLOUR = Column(
    name="colour",
    role="feature",
    kind="category",
    dtype="str",
    nullable=False,
    categories=["red", "rare"],
    missing=0,
    reference=Reference(categories=["red"], shares=[0.9, 0.06, 0.04]),
)


def test_a_hint_has_range_unit_and_median():
    assert words.hint(DEPTH) == "0 to 2,000 mm, median 20"
    assert words.hint(DEPTH.model_copy(update={"maximum": None})) == "from 0 mm, median 20"
    assert words.hint(COLOUR) == ""


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (DEPTH, 10, "10 mm: above about 0% of the training rows"),
        (DEPTH, 25, "25 mm: above about 67% of the training rows"),  # (0.3 + 0.6 / 2) / 0.9
        (DEPTH, 31, "31 mm: above every training row, so the answer is an extrapolation"),
        (DEPTH, 9, "9 mm: below every training row, so the answer is an extrapolation"),
        (DEPTH, None, "missing, as in 25% of the training rows"),
        (COLOUR, "red", "red: as in 90% of the training rows"),
        (COLOUR, "rare", "rare: as in 6% of the training rows"),
    ],
)
def test_a_value_is_placed_among_the_training_rows(column: Column, value: object, expected: str):
    assert words.position(column, value) == expected


def test_the_chart_has_the_shares_as_areas_and_marks_the_bin_of_the_value():
    chart = charts.training(DEPTH, 25).layer[0].data

    widths = chart["right"] - chart["left"]
    assert (widths * chart["height"]).to_numpy() == pytest.approx([0.3, 0.6])
    assert chart["chosen"].tolist() == [False, True]
    assert chart["left"].tolist() == [10, 20]


def test_a_number_without_bins_has_no_chart():
    never = DEPTH.model_copy(update={"reference": Reference(edges=[], shares=[0.1, 0.1, 0.8])})

    assert charts.training(never, 25) is None


def test_the_bars_are_the_chances_of_the_classes():
    chart = charts.chances(["low", "high"], np.array([0.2, 0.8]))

    table = chart.data
    assert table.set_index("name")["share"].to_dict() == {"low": 0.2, "high": 0.8}
    assert table.loc[table["chosen"], "name"].tolist() == ["high"]


def test_markdown_in_a_text_is_not_markdown():
    assert words.plain("a_b *c* $5$") == r"a\_b \*c\* \$5\$"


def test_a_message_is_separated_from_the_name_of_its_field(example: Path):
    contract = Contract.read(example)

    assert words.of_field("age: 3 is refused", contract) == ("age", "3 is refused")
    assert words.of_field("the model answered NaN", contract) is None


def test_a_slow_server_is_reported_otherwise_than_one_that_is_down(
    serve: Callable, example: Path, wire: Callable
):
    held = wire(serve(example))
    held.silent = True

    with pytest.raises(ServerError) as slow:
        Endpoint(held.url, timeout=0.2)

    assert words.explain(slow.value).startswith("The model server is too slow to answer.")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServerError("…", 500, "the model failed"), "failed (500). Its log says why. the model"),
        (ServerError("…", 413, "too many rows"), "refused the request. too many rows"),
        (ServerError("no answer from x (refused)"), "cannot be reached. Start one (make serve)"),
        (ServerError("answers with version 4"), "answers with version 4"),
    ],
)
def test_a_fault_of_the_server_says_what_happened(error: ServerError, expected: str):
    assert expected in words.explain(error)

from types import SimpleNamespace

import pandera.pandas as pa
import pytest

from modelloop.table.columns import DataError
from modelloop.table.split import by_content, by_time
from modelloop.training import choices, classification
from modelloop.training.gate import Gate

SCHEMA = pa.DataFrameSchema(
    {
        "colour": pa.Column(str),
        "size": pa.Column(float),
        "day": pa.Column("datetime64[ns]"),
        "y": pa.Column(str),
    }
)
METRIC = next(iter(classification.HIGHER_IS_BETTER))


def gate(metric: str = METRIC, slices: tuple[str, ...] = ()) -> Gate:
    return Gate(metric=metric, floor=0, margin=0, slices=[*slices])


def model(**choice: object) -> SimpleNamespace:
    right = {
        "TARGET": "y",
        "FEATURES": ["colour", "size"],
        "TEST_SHARE": 0.2,
        "SPLIT": by_content(),
        "WEIGHT": None,
        "GATE": gate(slices=("colour",)),
        "CANDIDATES": {"one": object},
    }
    return SimpleNamespace(**right | choice)


def test_what_fits_passes():
    choices.check(model(), SCHEMA, "classification")
    choices.check(
        model(SPLIT=by_time("day"), FEATURES=["colour"], WEIGHT="size"), SCHEMA, "classification"
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"TARGET": ""}, "no TARGET yet: data/README.md says"),
        ({"TARGET": "z"}, r"names \['z'\], but SCHEMA in data.py has \['colour', 'size', "),
        ({"FEATURES": []}, "FEATURES is empty"),
        ({"FEATURES": ["size", "colour", "size"]}, r"FEATURES has \['size'\] twice"),
        ({"FEATURES": ["colour", "y"]}, "TARGET y is among the FEATURES"),
        ({"FEATURES": ["day"]}, "column day is a date"),
        ({"SPLIT": by_time("week")}, r"names \['week'\]"),
        ({"WEIGHT": "size"}, "size is the WEIGHT, so it cannot be in FEATURES"),
        ({"GATE": gate("acuracy")}, f"metric of GATE is 'acuracy'; use one of .*'{METRIC}'"),
        ({"GATE": gate(slices=("size",))}, r"GATE slices by 'size'; use some of \['colour'"),
        ({"TEST_SHARE": 25}, "TEST_SHARE is 25; use a share between 0 and 1"),
        ({"CANDIDATES": {}}, "CANDIDATES is empty"),
    ],
)
def test_what_no_table_makes_right_is_refused_with_what_is_allowed(choice, message):
    with pytest.raises(DataError, match=message):
        choices.check(model(**choice), SCHEMA, "classification")


def test_a_regression_has_metrics_of_its_own():
    schema = SCHEMA.update_column("y", dtype=float)
    choices.check(model(GATE=gate("rmse")), schema, "regression")
    with pytest.raises(DataError, match=r"metric of GATE is 'accuracy'; use one of .*'rmse'"):
        choices.check(model(GATE=gate("accuracy")), schema, "regression")

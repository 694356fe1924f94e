from types import SimpleNamespace

import pandera.pandas as pa
import pytest

from {{ cookiecutter.package_name }} import project
from {{ cookiecutter.package_name }}.columns import DataError
from {{ cookiecutter.package_name }}.training import choices, problem
from {{ cookiecutter.package_name }}.training.gate import Gate
from {{ cookiecutter.package_name }}.training.split import by_content, by_time

SCHEMA = pa.DataFrameSchema(
    {
        "colour": pa.Column(str),
        "size": pa.Column(float),
        "day": pa.Column("datetime64[ns]"),
        "y": pa.Column(str if project.PROBLEM_TYPE == "classification" else float),
    }
)
METRIC = next(iter(problem.HIGHER_IS_BETTER))


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
    choices.check(model(), SCHEMA)
    choices.check(model(SPLIT=by_time("day"), FEATURES=["colour"], WEIGHT="size"), SCHEMA)


@pytest.mark.parametrize(
    ("choice", "told"),
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
def test_what_no_table_makes_right_is_told_with_what_is_allowed(choice, told):
    with pytest.raises(DataError, match=told):
        choices.check(model(**choice), SCHEMA)

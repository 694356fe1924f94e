"""The data: where a row comes from and what a valid row is.

Yours to edit. Everything else (validation, the server's request checks, drift references, the
demo's form) follows from SCHEMA: dtype str is a category, int and float are numbers, bool (or
"boolean", which may be missing) is a category of false and true; `nullable` says that a value may
be missing; `isin`, `in_range`, `ge` and `le` are the limits; `description` and the metadata key
`unit` are shown to people. Columns that SCHEMA does not name are dropped. A date ("datetime64[ns]")
can split the rows by time, but is no feature: derive what counts of it in `load`.

A row that breaks a check of SCHEMA, of whatever kind, or more repeated rows than DUPLICATES allows
stop a training at its step `validate`; `make test` looks for both before. Requests are held against
types, categories and limits alone.
"""

import pandas as pd
import pandera.pandas as pa
from modelloop import read_table


def _millimetres(description: str, low: float, high: float) -> pa.Column:
    return pa.Column(
        float,
        pa.Check.in_range(low, high),
        nullable=True,
        description=description,
        metadata={"unit": "mm"},
    )


SCHEMA = pa.DataFrameSchema(
    {
        "species": pa.Column(
            str,
            pa.Check.isin(["Adelie", "Chinstrap", "Gentoo"]),
            description="Species of the penguin",
        ),
        "island": pa.Column(
            str,
            pa.Check.isin(["Biscoe", "Dream", "Torgersen"]),
            description="Island where it was measured",
        ),
        "bill_length_mm": _millimetres("Length of the bill", 20, 80),
        "bill_depth_mm": _millimetres("Depth of the bill", 8, 30),
        "flipper_length_mm": _millimetres("Length of the flipper", 120, 280),
        "body_mass_g": pa.Column(
            float,
            pa.Check.in_range(1500, 10_000),
            nullable=True,
            description="Body mass",
            metadata={"unit": "g"},
        ),
        "sex": pa.Column(
            str, pa.Check.isin(["female", "male"]), nullable=True, description="Sex of the penguin"
        ),
    },
    strict="filter",
    coerce=True,
)

DUPLICATES = 0.01  # largest share of rows that may repeat an earlier one


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the raw table, one row per example; clean it here where the source needs it."""
    return read_table(uri, query)

"""The data: measurements of the cell nuclei of tumours, one tumour a row."""

import pandas as pd
import pandera.pandas as pa
from modelloop import read_table

MEASURED = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
    "concave points", "symmetry", "fractal dimension",
]  # fmt: skip
MEASUREMENTS = [
    *(f"mean {name}" for name in MEASURED),
    *(f"{name} error" for name in MEASURED),
    *(f"worst {name}" for name in MEASURED),
]

SCHEMA = pa.DataFrameSchema(
    {
        **{name: pa.Column(float, pa.Check.in_range(0, 10_000)) for name in MEASUREMENTS},
        "diagnosis": pa.Column(
            str, pa.Check.isin(["malignant", "benign"]), description="What the tumour was"
        ),
    },
    strict="filter",
    coerce=True,
)

DUPLICATES = 0.01


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the raw table, one row per tumour."""
    return read_table(uri, query)

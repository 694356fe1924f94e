"""The model: how warm is it, from the rest of the weather?"""

from collections.abc import Callable

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .training.gate import Gate

TARGET = "temperature"
CATEGORIES = ["airport"]
NUMBERS = [
    "month",
    "hour",
    "dew point",
    "wind from",
    "wind",
    "gust",
    "rain",
    "pressure",
    "visibility",
]
FEATURES = CATEGORIES + NUMBERS

TEST_SHARE = 0.2
SEED = 1

GATE = Gate(
    metric="mae",
    floor=4.0,  # always guessing the mean gives about 8
    margin=0.2,
    slices=["airport"],
    slice_floor=5.0,
    latency_ms=50.0,
)


def linear() -> Pipeline:
    """Ridge regression on scaled numbers."""
    return make_pipeline(_columns(StandardScaler()), Ridge(alpha=1.0, random_state=SEED))


def boosting() -> Pipeline:
    """Gradient-boosted trees."""
    model = GradientBoostingRegressor(n_estimators=60, max_depth=4, random_state=SEED)
    return make_pipeline(_columns(), model)


CANDIDATES: dict[str, Callable[[], Pipeline]] = {"linear": linear, "boosting": boosting}


def _columns(*scaling: StandardScaler) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(strategy="median"), *scaling)
    return ColumnTransformer(
        [
            ("numbers", numbers, NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )

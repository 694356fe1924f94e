"""The model: how warm is it, from the rest of the weather? With LightGBM and a transformer."""

from collections.abc import Callable

from lightgbm import LGBMRegressor
from modelloop import Gate, by_content
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .features import Ratios

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
SPLIT = by_content()
WEIGHT = None
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
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = _columns([("numbers", numbers, NUMBERS)])
    return make_pipeline(columns, Ridge(alpha=1.0, random_state=SEED))


def light() -> Pipeline:
    """LightGBM, which also sees how much stronger than the wind its gusts are."""
    columns = _columns([("numbers", "passthrough", NUMBERS), ("gusts", Ratios(), ["gust", "wind"])])
    model = LGBMRegressor(n_estimators=60, n_jobs=1, verbose=-1, random_state=SEED)
    return make_pipeline(columns, model)


CANDIDATES: dict[str, Callable[[], Pipeline]] = {"linear": linear, "light": light}


def _columns(numbers: list[tuple]) -> ColumnTransformer:
    categories = ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES)
    return ColumnTransformer([*numbers, categories])

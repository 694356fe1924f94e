"""The model: does a flight that is leaving arrive early, on time or late?"""

from collections.abc import Callable

from modelloop import Gate, by_time
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TARGET = "arrives"
CATEGORIES = ["carrier", "from", "to", "day", "holidays"]
NUMBERS = ["month", "hour", "left late by", "distance"]
FEATURES = CATEGORIES + NUMBERS

TEST_SHARE = 0.25
SPLIT = by_time("leaves")
WEIGHT = None
SEED = 3

GATE = Gate(
    metric="balanced_accuracy",
    floor=0.5,  # always guessing the largest class gives a third
    margin=0.03,
    slices=["from", "carrier"],
    slice_floor=0.35,
    latency_ms=50.0,
    slice_rows=30,
)


def linear() -> Pipeline:
    """Logistic regression on scaled numbers."""
    model = LogisticRegression(max_iter=1000, class_weight="balanced", random_state=SEED)
    return make_pipeline(_columns(StandardScaler()), model)


def forest() -> Pipeline:
    """Random forest."""
    model = RandomForestClassifier(
        n_estimators=60, min_samples_leaf=5, class_weight="balanced", random_state=SEED
    )
    return make_pipeline(_columns(), model)


CANDIDATES: dict[str, Callable[[], Pipeline]] = {"linear": linear, "forest": forest}


def _columns(*scaling: StandardScaler) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), *scaling), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )

"""The model: is a tumour malignant? Numbers only, and many of them."""

from collections.abc import Callable

from modelloop import Gate, by_content
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .data import MEASUREMENTS

TARGET = "diagnosis"
FEATURES = MEASUREMENTS

TEST_SHARE = 0.3
SPLIT = by_content()
WEIGHT = None
SEED = 1

GATE = Gate(
    metric="roc_auc",
    floor=0.95,
    margin=0.01,
    latency_ms=50.0,
)


def linear() -> Pipeline:
    """Logistic regression on scaled numbers."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED))


def forest() -> Pipeline:
    """Random forest."""
    return make_pipeline(RandomForestClassifier(n_estimators=60, random_state=SEED))


CANDIDATES: dict[str, Callable[[], Pipeline]] = {"linear": linear, "forest": forest}

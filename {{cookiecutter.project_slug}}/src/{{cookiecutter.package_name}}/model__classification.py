"""The model: what is predicted from what, which candidates compete, what the gate demands.

Yours to edit. A candidate is a function that returns an unfitted scikit-learn Pipeline over the
FEATURES as a DataFrame: numbers as float32 (NaN is missing), categories as text ("missing" is
missing, booleans are "false" and "true"). To keep the served ONNX form exact, put no scaler in
front of trees. Transformers of your own belong into features.py.

Columns that SCHEMA in data.py names and FEATURES does not, such as identifiers, are validated and
not learnt from; `make batch` hands on every column of its input.

LightGBM and XGBoost are served as ONNX too: name them in requirements/main.in, run `make lock`, and
give them n_jobs=1, for candidates train side by side. XGBoost takes a zero in a sparse table for
missing, so it needs OneHotEncoder(sparse_output=False); and it takes the classes 0, 1, ... only, so
text needs a subclass that numbers it in `fit` and names it in `classes_` and `predict`.
"""

from collections.abc import Callable

from modelloop import Gate, by_content
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TARGET = "sex"
CATEGORIES = ["species", "island"]
NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
FEATURES = CATEGORIES + NUMBERS

TEST_SHARE = 0.25  # of the rows
SPLIT = by_content()  # a row never changes sides; or by_time("date"), by_group("customer")
WEIGHT = None  # or a column of SCHEMA with each row's weight in fit and metrics; no feature
SEED = 7

GATE = Gate(
    metric="accuracy",  # or balanced_accuracy, f1_macro, roc_auc, log_loss
    floor=0.80,  # always guessing the larger class gives about 0.5
    margin=0.02,  # how much worse than the champion a candidate may be on the same rows
    slices=["species"],  # columns whose groups must each clear the slice floor
    slice_floor=0.65,
    latency_ms=50.0,  # for one row, on the machine that trains
)


def linear() -> Pipeline:
    """Logistic regression on scaled numbers."""
    return make_pipeline(_columns(StandardScaler()), LogisticRegression(max_iter=1000))


def forest() -> Pipeline:
    """Random forest."""
    model = RandomForestClassifier(n_estimators=200, min_samples_leaf=2, random_state=SEED)
    return make_pipeline(_columns(), model)


def boosting() -> Pipeline:
    """Gradient-boosted trees."""
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=SEED)
    return make_pipeline(_columns(), model)


CANDIDATES: dict[str, Callable[[], Pipeline]] = {
    "linear": linear,
    "forest": forest,
    "boosting": boosting,
}


def _columns(*scaling: StandardScaler) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), *scaling), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )

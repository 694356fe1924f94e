"""LightGBM and XGBoost, which a team may add to its repository, are served as ONNX too."""

import json
import re
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from conftest import fresh
from repository import Repository

pytestmark = pytest.mark.slow

PACKAGE = "penguins"

# The example's rows with a tenth of the values missing, and pipelines over them.
SETUP = f"""
import json
import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier, XGBRegressor
from modelloop.contract import served_model
from modelloop.errors import UserError
from modelloop.table import columns, prepare
from modelloop.training import train
from {PACKAGE} import data, model, project

LIGHT = dict(n_estimators=40, n_jobs=1, min_child_samples=5, verbose=-1)
EXTREME = dict(n_estimators=40, n_jobs=1)
IMPUTED, NATIVE = SimpleImputer(strategy="median"), "passthrough"

class NamedXGBClassifier(XGBClassifier):
    # XGBoost takes the classes 0, 1, ... only; this is how a team names them.
    def fit(self, X, y, **options):
        names, numbers = np.unique(y, return_inverse=True)
        self.names_ = np.arange(len(names))
        super().fit(X, numbers, **options)
        self.names_ = names
        return self

    @property
    def classes_(self):
        return self.names_

    def predict(self, X, **options):
        return self.names_[super().predict(X, **options)]

def rows_of(target):
    features = columns.column_rules(data.SCHEMA, [f for f in model.FEATURES if f != target])
    (rule,) = columns.column_rules(data.SCHEMA, [target])
    table = prepare.prepare(data.load(project.settings.data_uri), features, rule)
    random = np.random.default_rng(0)
    for feature in features:
        missing = np.nan if feature.kind == "number" else served_model.MISSING
        table.loc[random.random(len(table)) < 0.1, feature.name] = missing
    return prepare.Rows(*prepare.split(table, model.TEST_SHARE), features, rule)

def pipeline(estimator, numbers, sparse=False):
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include=np.number)),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude=np.number)),
        sparse_threshold=float(sparse),
    )
    return make_pipeline(columns, estimator)

def compared(target, estimator, numbers):
    # The file that would be served against the model it was made of, on all rows.
    rows = rows_of(target)
    trained = train.train(project, lambda: pipeline(estimator(), numbers), rows, model.SEED)
    inputs = rows.inputs(pd.concat([rows.train, rows.test]))
    answer = trained.model.predict_proba if trained.classes else trained.model.predict
    expected = answer(inputs).reshape(len(inputs), -1)
    predict = served_model.load_onnx(trained.file, project.problem_type)
    actual = predict(train.table_of(inputs))
    assert actual.shape == expected.shape
    return dict(
        served=trained.served.model_dump(),
        difference=float(np.abs(actual - expected).max()),
        spread=float(np.ptp(expected[:, 0])),
        classes=trained.classes,
        scores=trained.cross_validation,
        missing=int(inputs.isna().to_numpy().sum()),
    )

def chosen(estimator, rows, numbers=NATIVE, **options):
    fitted = pipeline(estimator, numbers, **options)
    fitted.fit(rows.inputs(rows.train), rows.train[rows.target.name])
    try:
        form, _, _ = train.choose_form(project, fitted, train.table_of(rows.inputs(rows.test)))
    except UserError as error:
        return str(error)
    return form.form
"""


@pytest.fixture(scope="module")
def classification(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return rendered(template, tmp_path_factory.mktemp("boosted"), "classification")


@pytest.fixture(scope="module")
def regression(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return rendered(template, tmp_path_factory.mktemp("boosted"), "regression")


def rendered(template: Path, folder: Path, problem_type: str) -> Repository:
    """Render a repository whose Python finds LightGBM and XGBoost beside its environment."""
    repository = Repository(fresh(template, folder, {"problem_type": problem_type}), problem_type)
    repository.add_packages("boosted")
    return repository


@pytest.mark.parametrize("estimator", ["LGBMClassifier(**LIGHT)", "NamedXGBClassifier(**EXTREME)"])
def test_a_classifier_is_served_as_onnx(classification: Repository, estimator: str):
    targets = {"sex": ["female", "male"], "species": ["Adelie", "Chinstrap", "Gentoo"]}
    code = f"""
print(json.dumps([
    compared(target, lambda: {estimator}, numbers)
    for target in {list(targets)} for numbers in (IMPUTED, NATIVE)
]))
"""
    found = classification.ask(SETUP + code)
    assert [one["classes"] for one in found] == [c for c in targets.values() for _ in range(2)]
    for one in found:
        assert one["served"]["form"] == "onnx", one["served"]["reason"]
        assert one["served"]["largest_difference"] < 1e-6
        assert one["difference"] < 1e-6
        assert one["spread"] > 0.9  # of a probability: the model has learnt something
        assert one["scores"]["accuracy"] > 0.75
        assert one["missing"] > 100


@pytest.mark.parametrize("estimator", ["LGBMRegressor(**LIGHT)", "XGBRegressor(**EXTREME)"])
def test_a_regressor_is_served_as_onnx(regression: Repository, estimator: str):
    code = f"""
print(json.dumps([
    compared(model.TARGET, lambda: {estimator}, numbers) for numbers in (IMPUTED, NATIVE)
]))
"""
    found = regression.ask(SETUP + code)
    assert len(found) == 2
    for one in found:
        assert one["served"]["form"] == "onnx", one["served"]["reason"]
        assert one["served"]["largest_difference"] < 0.01  # grams, of some thousands
        assert one["difference"] < 0.01
        assert one["spread"] > 2000
        assert one["scores"]["rmse"] < 450
        assert one["missing"] > 100


def test_a_value_at_a_threshold_stays_on_its_side(regression: Repository):
    # LightGBM's thresholds are float64, halfway between two values: here, between neighbours in
    # float32.
    code = """
random = np.random.default_rng(0)
table = pd.DataFrame({"number": (1e7 + random.integers(0, 500, 2000)).astype("float32") * 1.7})
truth = np.sin(table["number"] / 7)
fitted = pipeline(LGBMRegressor(**LIGHT), NATIVE).fit(table, truth)
form, _, _ = train.choose_form(project, fitted, train.table_of(table))
print(json.dumps(form.model_dump()))
"""
    form = regression.ask(SETUP + code)
    assert form["form"] == "onnx", form["reason"]
    assert form["largest_difference"] < 1e-5


def test_what_neither_onnx_nor_the_server_can_take_is_refused(regression: Repository):
    code = """
rows = rows_of(model.TARGET)
print(json.dumps([
    chosen(LGBMRegressor(linear_tree=True, **LIGHT), rows),
    chosen(LGBMRegressor(objective="fair", **LIGHT), rows),
    chosen(XGBRegressor(**EXTREME), rows),
    chosen(XGBRegressor(**EXTREME), rows, sparse=True),  # it takes a sparse 0 for missing
]))
"""
    linear, fair, dense, sparse = regression.ask(SETUP + code)
    assert "ONNX differs from scikit-learn by" in linear
    assert "lightgbm.basic.Booster" in linear
    assert "ONNX conversion failed: RuntimeError: LightGBM objective" in fair
    assert "CANDIDATES" in fair
    assert dense == "onnx"
    assert "ONNX differs from scikit-learn by" in sparse
    assert "xgboost.core.Booster" in sparse


def test_only_the_library_that_is_used_is_imported(classification: Repository):
    code = f"""
import json
import sys
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from {PACKAGE} import project
from modelloop.training import train

table = pd.DataFrame({{"number": np.arange(100, dtype="float32")}})
truth = np.where(table["number"] > 50, "large", "small")

def imported(estimator):
    fitted = make_pipeline(estimator).fit(table, truth)
    train.choose_form(project, fitted, train.table_of(table))
    return [name for name in ("lightgbm", "xgboost", "onnxmltools") if name in sys.modules]

found = [imported(LogisticRegression())]
from lightgbm import LGBMClassifier
found.append(imported(LGBMClassifier(verbose=-1, n_jobs=1)))
print(json.dumps(found))
"""
    assert classification.ask(code) == [[], ["lightgbm", "onnxmltools"]]


def train_only(repository: Repository, estimator: str, *verbs: str) -> CompletedProcess[str]:
    """Run verbs of a repository that has one candidate."""
    model = repository.folder / "src" / PACKAGE / "model.py"
    candidate = f"""
from lightgbm import LGBMRegressor
CANDIDATES = {{"light": lambda: make_pipeline(_columns(), {estimator})}}
"""
    model.write_text(model.read_text() + candidate)
    return repository.make(*verbs)


def test_a_boosted_candidate_goes_the_way_from_training_to_a_server(template: Path, tmp_path: Path):
    repository = rendered(template, tmp_path, "regression")
    estimator = "LGBMRegressor(n_jobs=1, verbose=-1)"
    done = train_only(repository, estimator, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^  answered \{.*\"ndarray\": \[\[\d", done.stdout, re.MULTILINE), done.stdout
    folder = repository.folder / "build" / "model"
    contract = json.loads((folder / "contract.json").read_text())
    assert contract["provenance"]["candidate"] == "light"
    assert contract["served"]["form"] == "onnx"
    golden = f"""
from pathlib import Path
from modelloop import Contract
from modelloop.contract import served_model
from {PACKAGE} import project
folder = Path({str(folder)!r})
found = Contract.read(folder)
served_model.check_golden(served_model.load(project, folder, found), found)
"""
    server = [repository.environment["SERVE_PYTHON"], "-c", golden]
    source = {"PYTHONPATH": str(repository.folder / "src")}
    subprocess.run(server, env=repository.environment | source, check=True)


def test_who_trains_what_cannot_be_served_is_told(template: Path, tmp_path: Path):
    repository = rendered(template, tmp_path, "regression")
    estimator = "LGBMRegressor(objective='fair', n_jobs=1, verbose=-1)"
    done = train_only(repository, estimator, "train")
    assert done.returncode != 0
    assert "FAILED train light" in done.stdout, done.stdout + done.stderr
    assert "error: this candidate is refused" in done.stdout
    assert "LightGBM objective should be cleaned already not 'fair'" in done.stdout
    assert "lightgbm.sklearn.LGBMRegressor" in done.stdout
    assert "Traceback" not in done.stdout

"""The example of a team's own transformer, and the way that all of them take to the server."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import modelloop
from modelloop.contract import served_model
from modelloop.contract.contract import ContractError
from modelloop.training import train

SOURCES = Path(modelloop.__file__).parents[1]


@pytest.fixture(scope="module")
def inputs() -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame({n: random.normal(5, 1, 200).astype("float32") for n in ("a", "b", "c")})
    return table.assign(b=table["b"].where(table["b"] > 4))


def test_ratios_are_behind_the_columns(project):
    found = project.features.Ratios().fit_transform([[6, 3, 0], [1, np.nan, 2]])
    np.testing.assert_array_equal(found, [[6, 3, 0, 2, np.nan], [1, np.nan, 2, np.nan, np.nan]])


def test_a_transformer_of_features_goes_to_the_server(either, inputs, serve_python, tmp_path):
    classifies = either.problem_type == "classification"
    ratio = inputs["a"] / inputs["c"]
    truth = np.where(ratio > 1, "up", "down") if classifies else ratio
    estimator = LogisticRegression() if classifies else LinearRegression()
    ratios = either.features.Ratios()
    fitted = make_pipeline(ratios, SimpleImputer(), estimator).fit(inputs, truth)
    table = train.table_of(inputs)
    served, file, predict = train.choose_form(either, fitted, table)
    assert served.form == "skops"
    original = train.from_sklearn(fitted, either.problem_type)
    np.testing.assert_allclose(predict(table), original(table))
    (tmp_path / "served.skops").write_bytes(file)
    rows = tmp_path / "rows.npy"
    np.save(rows, inputs.to_numpy())
    code = f"""
import sys
import numpy as np
from pathlib import Path
from modelloop import Project
from modelloop.contract import served_model
values = np.load({str(rows)!r})
file = Path({str(tmp_path / "served.skops")!r}).read_bytes()
project = Project.at(Path({str(either.root)!r}))
predict = served_model.load_skops(project, file, project.problem_type)
np.save({str(tmp_path / "answers.npy")!r}, predict(dict(zip("abc", values.T))))
assert "pandas" not in sys.modules
assert "{either.package}.features" in sys.modules
assert "{either.package}.model" not in sys.modules
"""
    subprocess.run(
        [serve_python, "-c", code], env=os.environ | {"PYTHONPATH": str(SOURCES)}, check=True
    )
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), predict(table))


def test_only_what_features_defines_itself_is_trusted(project, monkeypatch):
    features = project.features

    def doubled(values):
        return values * 2

    def of_another(values):
        return values

    for function in (doubled, of_another):
        function.__module__, function.__qualname__ = features.__name__, function.__name__
        monkeypatch.setattr(features, function.__name__, function, raising=False)
    files = [skops.io.dumps(FunctionTransformer(f)) for f in (doubled, of_another)]
    of_another.__module__ = "os"  # as one that features.py imports
    assert served_model.trusted_types(project, files[0]) == [f"{features.__name__}.doubled"]
    with pytest.raises(ContractError, match=r"not trusted: .*of_another.*features.py defines"):
        served_model.trusted_types(project, files[1])


def test_a_package_that_features_names_is_trusted_and_must_be_there(project, monkeypatch, tmp_path):
    source = tmp_path / "elsewhere.py"
    source.write_text("from sklearn.linear_model import Ridge\nclass Other(Ridge): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    elsewhere = importlib.import_module("elsewhere")
    file = skops.io.dumps(elsewhere.Other())
    with pytest.raises(ContractError, match=r"not trusted: \['elsewhere.Other'\]"):
        served_model.load_skops(project, file, project.problem_type)
    monkeypatch.setattr(project.features, "TRUSTED_PACKAGES", ("elsewhere",))
    served_model.load_skops(project, file, project.problem_type)

    monkeypatch.delitem(sys.modules, "elsewhere")
    source.unlink()
    importlib.invalidate_caches()
    with pytest.raises(ContractError, match=r"the package elsewhere, .*requirements/serve\.in"):
        served_model.load_skops(project, file, project.problem_type)

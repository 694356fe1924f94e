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

from {{ cookiecutter.package_name }} import features, project, served_model
from {{ cookiecutter.package_name }}.contract import ContractError
from {{ cookiecutter.package_name }}.features import Ratios
from {{ cookiecutter.package_name }}.training import train

CLASSIFICATION = project.PROBLEM_TYPE == "classification"


@pytest.fixture(scope="module")
def inputs() -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame({n: random.normal(5, 1, 200).astype("float32") for n in ("a", "b", "c")})
    return table.assign(b=table["b"].where(table["b"] > 4))


def test_ratios_are_behind_the_columns():
    found = Ratios().fit_transform([[6, 3, 0], [1, np.nan, 2]])
    np.testing.assert_array_equal(found, [[6, 3, 0, 2, np.nan], [1, np.nan, 2, np.nan, np.nan]])


def test_a_transformer_of_features_goes_to_the_server(inputs, serve_python, tmp_path):
    ratio = inputs["a"] / inputs["c"]
    truth = np.where(ratio > 1, "up", "down") if CLASSIFICATION else ratio
    estimator = LogisticRegression() if CLASSIFICATION else LinearRegression()
    fitted = make_pipeline(Ratios(), SimpleImputer(), estimator).fit(inputs, truth)
    table = train.table_of(inputs)
    served, file, predict = train.choose_form(fitted, table)
    assert served.form == "skops"
    np.testing.assert_allclose(predict(table), train.from_sklearn(fitted)(table))
    (tmp_path / "served.skops").write_bytes(file)
    rows = tmp_path / "rows.npy"
    np.save(rows, inputs.to_numpy())
    code = f"""
import sys
import numpy as np
from pathlib import Path
from {{ cookiecutter.package_name }} import served_model
values = np.load({str(rows)!r})
file = Path({str(tmp_path / "served.skops")!r}).read_bytes()
predict = served_model.load_skops(file, {project.PROBLEM_TYPE!r})
np.save({str(tmp_path / "answers.npy")!r}, predict(dict(zip("abc", values.T))))
assert "pandas" not in sys.modules
assert "{{ cookiecutter.package_name }}.model" not in sys.modules
"""
    source = str(Path(features.__file__).parents[1])
    subprocess.run([serve_python, "-c", code], env=os.environ | {"PYTHONPATH": source}, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), predict(table))


def test_only_what_features_defines_itself_is_trusted(monkeypatch):
    def doubled(values):
        return values * 2

    def of_another(values):
        return values

    for function in (doubled, of_another):
        function.__module__, function.__qualname__ = features.__name__, function.__name__
        monkeypatch.setattr(features, function.__name__, function, raising=False)
    files = [skops.io.dumps(FunctionTransformer(f)) for f in (doubled, of_another)]
    of_another.__module__ = "os"  # as one that features.py imports
    assert served_model.trusted_types(files[0]) == [f"{features.__name__}.doubled"]
    with pytest.raises(ContractError, match=r"not trusted: .*of_another.*features.py defines"):
        served_model.trusted_types(files[1])


def test_a_package_that_features_names_is_trusted_and_must_be_there(monkeypatch, tmp_path):
    source = tmp_path / "elsewhere.py"
    source.write_text("from sklearn.linear_model import Ridge\nclass Other(Ridge): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    elsewhere = importlib.import_module("elsewhere")
    file = skops.io.dumps(elsewhere.Other())
    with pytest.raises(ContractError, match=r"not trusted: \['elsewhere.Other'\]"):
        served_model.load_skops(file, project.PROBLEM_TYPE)
    monkeypatch.setattr(features, "TRUSTED_PACKAGES", ("elsewhere",))
    served_model.load_skops(file, project.PROBLEM_TYPE)

    monkeypatch.delitem(sys.modules, "elsewhere")
    source.unlink()
    importlib.invalidate_caches()
    with pytest.raises(ContractError, match=r"the package elsewhere, .*requirements/serve\.in"):
        served_model.load_skops(file, project.PROBLEM_TYPE)

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator

from {{ cookiecutter.package_name }} import project, served_model
from {{ cookiecutter.package_name }}.contract import Contract, ContractError
from {{ cookiecutter.package_name }}.training import train
from {{ cookiecutter.package_name }}.training.by_position import by_position


class Foreign(BaseEstimator):
    """A type that nobody reviewed."""


def test_the_served_form_answers_what_scikit_learn_answers(model_dir, rows, trained):
    contract = Contract.read(model_dir)
    table = train.table_of(rows.inputs(rows.test))
    expected = train.from_sklearn(trained.model)(table)
    actual = served_model.load(model_dir, contract)(table)
    assert actual.shape == (len(rows.test), len(contract.output_names))
    assert not served_model.differs(actual, expected)


def test_skops_is_an_equal_form(rows, trained):
    table = train.table_of(rows.inputs(rows.test))
    file = skops.io.dumps(by_position(trained.model))
    loaded = served_model.load_skops(file, project.PROBLEM_TYPE)
    expected = train.from_sklearn(trained.model)(table)
    assert not served_model.differs(loaded(table), expected)


def test_a_value_near_zero_is_measured_by_the_usual_ones():
    expected = np.array([[0.0], [2000.0], [-4000.0]])  # 2000 on the average
    assert not served_model.differs(np.array([[0.019], [2000.0], [-4000.0]]), expected)
    assert served_model.differing_rows(np.array([[0.0], [2000.1], [-4000.0]]), expected) == [1]
    assert served_model.differs(expected[:, [0, 0]], expected)
    probabilities = np.array([[0.25, 0.75]])
    assert not served_model.differs(probabilities + 9e-6, probabilities)
    assert served_model.differs(probabilities + 4e-5, probabilities)


def test_golden_rows_hold_for_the_model_they_came_with(model_dir):
    contract = Contract.read(model_dir)
    served_model.check_golden(served_model.load(model_dir, contract), contract)


def test_another_model_breaks_the_golden_rows(model_dir):
    contract = Contract.read(model_dir)
    predict = served_model.load(model_dir, contract)
    with pytest.raises(ContractError, match=r"golden row 0 of \d+ differs"):
        served_model.check_golden(lambda table: predict(table) * 0.99, contract)


def test_golden_rows_try_every_nullable_feature(model_dir):
    contract = Contract.read(model_dir)
    nullable = {f.name for f in contract.features if f.nullable}
    tried = {n for row in contract.golden for n, value in row.inputs.items() if value is None}
    assert nullable <= tried


def test_a_missing_model_file_is_named(model_dir, tmp_path):
    contract = Contract.read(model_dir)
    with pytest.raises(ContractError, match=contract.served.file):
        served_model.load(tmp_path, contract)


def test_a_model_file_with_foreign_types_is_refused():
    with pytest.raises(ContractError, match=r"not trusted.*Foreign"):
        served_model.load_skops(skops.io.dumps(Foreign()), project.PROBLEM_TYPE)

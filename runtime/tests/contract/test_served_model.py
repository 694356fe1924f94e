import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator

from modelloop.contract import served_model
from modelloop.contract.contract import ContractError
from modelloop.training import train
from modelloop.training.by_position import by_position


class Foreign(BaseEstimator):
    """A type that is neither of features.py nor of a trusted package."""


def test_the_served_form_answers_what_scikit_learn_answers(
    either, either_rows, either_trained, tmp_path
):
    table = train.table_of(either_rows.inputs(either_rows.test))
    served = either_trained.served
    (tmp_path / served.file).write_bytes(either_trained.file)
    expected = train.from_sklearn(either_trained.model, either.problem_type)(table)

    actual = served_model.load_form(either, tmp_path, served, either.problem_type)(table)

    assert actual.shape == (len(either_rows.test), len(either_trained.classes) or 1)
    assert not served_model.differs(actual, expected)


def test_skops_is_an_equal_form(either, either_rows, either_trained):
    table = train.table_of(either_rows.inputs(either_rows.test))
    file = skops.io.dumps(by_position(either_trained.model, either.features))
    expected = train.from_sklearn(either_trained.model, either.problem_type)(table)

    loaded = served_model.load_skops(either, file, either.problem_type)

    assert not served_model.differs(loaded(table), expected)


def test_a_value_near_zero_is_measured_by_the_usual_ones():
    expected = np.array([[0.0], [2000.0], [-4000.0]])  # 2000 on the average
    assert not served_model.differs(np.array([[0.019], [2000.0], [-4000.0]]), expected)
    assert served_model.differing_rows(np.array([[0.0], [2000.1], [-4000.0]]), expected) == [1]
    assert served_model.differs(expected[:, [0, 0]], expected)
    probabilities = np.array([[0.25, 0.75]])
    assert not served_model.differs(probabilities + 9e-6, probabilities)
    assert served_model.differs(probabilities + 4e-5, probabilities)


def test_golden_rows_hold_for_the_model_they_came_with(project, model_dir, contract):
    served_model.check_golden(served_model.load(project, model_dir, contract), contract)


def test_another_model_breaks_the_golden_rows(project, model_dir, contract):
    predict = served_model.load(project, model_dir, contract)
    with pytest.raises(ContractError, match=r"golden row 0 of \d+ differs"):
        served_model.check_golden(lambda table: predict(table) * 0.99, contract)


def test_golden_rows_try_every_nullable_feature(contract):
    nullable = {f.name for f in contract.features if f.nullable}
    tried = {n for row in contract.golden for n, value in row.inputs.items() if value is None}
    assert nullable <= tried


def test_a_missing_model_file_is_named(project, contract, tmp_path):
    with pytest.raises(ContractError, match=contract.served.file):
        served_model.load(project, tmp_path, contract)


def test_a_model_file_with_foreign_types_is_refused(project):
    with pytest.raises(ContractError, match=r"not trusted.*Foreign"):
        served_model.load_skops(project, skops.io.dumps(Foreign()), project.problem_type)

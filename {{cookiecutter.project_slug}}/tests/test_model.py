"""The model's behaviour. Yours to extend with what your users would be surprised by."""

import numpy as np
import pytest
from modelloop.contract.served_model import differs
from modelloop.training import problem
from modelloop.training.train import from_sklearn, table_of, train

from {{ cookiecutter.package_name }} import features, model, project


@pytest.mark.parametrize("name", model.CANDIDATES)
def test_a_candidate_is_served_exactly_and_better_than_the_floor(rows, name):
    found = train(project, model.CANDIDATES[name], rows, model.SEED)
    table, kind = table_of(rows.inputs(rows.test)), problem.of_target(rows.target)
    outputs = found.predict(table)
    original = from_sklearn(found.model, project.problem_type)
    assert not differs(outputs, original(table)), found.served.reason
    truth = rows.test[model.TARGET].to_numpy()
    score = kind.score(truth, outputs, found.classes, None)[model.GATE.metric]
    if kind.HIGHER_IS_BETTER[model.GATE.metric]:
        assert score >= model.GATE.floor
    else:
        assert score <= model.GATE.floor


def test_a_row_is_predicted_alike_alone_and_among_others(rows, trained):
    table = table_of(rows.inputs(rows.test))
    together = trained.predict(table)
    alone = [trained.predict({k: v[i : i + 1] for k, v in table.items()})[0] for i in range(10)]
    np.testing.assert_allclose(alone, together[:10], rtol=1e-6, atol=1e-6)


def test_outputs_are_what_the_contract_says(contract, rows, trained):
    outputs = trained.predict(table_of(rows.inputs(rows.test)))
    assert outputs.shape == (len(rows.test), len(contract.output_names))
    assert np.isfinite(outputs).all()
    if contract.classes:
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)


def test_a_ratio_with_nothing_below_is_missing():
    """The example in features.py; remove it with the example."""
    found = features.Ratios().fit([[6, 3]]).transform([[6, 3], [1, 0]])
    np.testing.assert_array_equal(found, [[6, 3, 2], [1, 0, np.nan]])

"""The model's behaviour. Yours to extend with what your users would be surprised by."""

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import model
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.served_model import differs
from {{ cookiecutter.package_name }}.training import problem
from {{ cookiecutter.package_name }}.training.train import from_sklearn, table_of, train


@pytest.mark.parametrize("name", model.CANDIDATES)
def test_a_candidate_is_served_exactly_and_better_than_the_floor(rows, name):
    found = train(model.CANDIDATES[name], rows, model.SEED)
    table = table_of(rows.inputs(rows.test))
    outputs = found.predict(table)
    assert not differs(outputs, from_sklearn(found.model)(table)), found.served.reason
    truth = rows.test[model.TARGET].to_numpy()
    score = problem.score(truth, outputs, found.classes)[model.GATE.metric]
    if problem.HIGHER_IS_BETTER[model.GATE.metric]:
        assert score >= model.GATE.floor
    else:
        assert score <= model.GATE.floor


def test_a_row_is_predicted_alike_alone_and_among_others(rows, trained):
    table = table_of(rows.inputs(rows.test))
    together = trained.predict(table)
    alone = [trained.predict({k: v[i : i + 1] for k, v in table.items()})[0] for i in range(10)]
    np.testing.assert_allclose(alone, together[:10], rtol=1e-6, atol=1e-6)


def test_outputs_are_what_the_contract_says(model_dir, rows, trained):
    contract = Contract.read(model_dir)
    outputs = trained.predict(table_of(rows.inputs(rows.test)))
    assert outputs.shape == (len(rows.test), len(contract.output_names))
    assert np.isfinite(outputs).all()
    if contract.classes:
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)

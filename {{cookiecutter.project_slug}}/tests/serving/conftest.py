"""What the tests of the server and of its predictor read from the model's contract."""

from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import served_model
from {{ cookiecutter.package_name }}.contract import Contract


@pytest.fixture(scope="session")
def contract(model_dir: Path) -> Contract:
    """The contract of the model under test."""
    return Contract.read(model_dir)


@pytest.fixture(scope="session")
def names(contract: Contract) -> list[str]:
    """Its features, in order."""
    return [column.name for column in contract.features]


@pytest.fixture(scope="session")
def valid(contract: Contract, names: list[str]) -> list[list]:
    """The golden rows as a request has them."""
    return [[row.inputs[name] for name in names] for row in contract.golden]


@pytest.fixture(scope="session")
def expected(model_dir: Path, contract: Contract) -> np.ndarray:
    """What the model answers for them in this environment, without a server."""
    rows = [row.inputs for row in contract.golden]
    return served_model.load(model_dir, contract)(served_model.to_table(contract.features, rows))

"""What the tests of the server and of its predictor read from the model's contract."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.contract import Contract


@pytest.fixture(scope="session")
def contract(model_dir: Path) -> Contract:
    """The contract of the model under test."""
    return Contract.read(model_dir)


@pytest.fixture(scope="session")
def names(contract: Contract) -> list[str]:
    """Its features, in order."""
    return [column.name for column in contract.features]

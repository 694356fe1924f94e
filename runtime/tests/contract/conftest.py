"""A model of each problem type, trained."""

import pytest

from modelloop import Project
from modelloop.table.prepare import Rows
from modelloop.training import dataset, train
from modelloop.training.train import Trained


@pytest.fixture(scope="session")
def either_rows(either: Project) -> Rows:
    """The repository's own data, prepared and split."""
    return dataset.load(either)


@pytest.fixture(scope="session")
def either_trained(either: Project, either_rows: Rows) -> Trained:
    """The repository's first candidate, trained."""
    model = either.model
    return train.train(either, next(iter(model.CANDIDATES.values())), either_rows, model.SEED)

"""What the tests of the server and of its predictor read from the model's contract."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skops.io

from modelloop import Project
from modelloop.contract import served_model
from modelloop.contract.contract import Contract, ServedForm
from modelloop.testing import servers
from modelloop.training.by_position import by_position
from modelloop.training.train import Trained

Serve = Callable[..., AbstractContextManager[servers.Server]]


@pytest.fixture
def serve(project: Project, serve_python: str, tmp_path: Path) -> Serve:
    """Start a server of the test's own: `with serve(model_dir, **settings) as server`."""
    return partial(servers.running, project, serve_python, log=tmp_path / "log")


@pytest.fixture(scope="session")
def sklearn_dir(
    project: Project,
    trained: Trained,
    contract: Contract,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the model of `model_dir` in its other served form, scikit-learn's own."""
    folder = tmp_path_factory.mktemp("sklearn")
    form = ServedForm(form="skops", file="served.skops", largest_difference=0, reason="for a test")
    contract.model_copy(update={"served": form}).write(folder)
    model = by_position(trained.model, project.features)
    (folder / form.file).write_bytes(skops.io.dumps(model))
    return folder


@pytest.fixture(scope="session")
def names(contract: Contract) -> list[str]:
    """Its features, in order."""
    return [column.name for column in contract.features]


@pytest.fixture(scope="session")
def valid(contract: Contract, names: list[str]) -> list[list]:
    """The golden rows as a request has them."""
    return [[row.inputs[name] for name in names] for row in contract.golden]


@pytest.fixture(scope="session")
def expected(project: Project, model_dir: Path, contract: Contract) -> np.ndarray:
    """The model's outputs for them in this environment, without a server."""
    predict = served_model.load(project, model_dir, contract)
    rows = [row.inputs for row in contract.golden]
    return predict(served_model.to_table(contract.features, rows))

"""Fixtures for the tests of a model repository; pytest finds this plugin by itself.

What is trained or started is made once a session, and only when a test asks for it.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelloop.errors import UserError
from modelloop.project import Project, python_version

if TYPE_CHECKING:
    from modelloop.contract.contract import Contract
    from modelloop.table.prepare import Rows
    from modelloop.testing.servers import Server
    from modelloop.training.train import Trained


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say once that there is no model to test, not in every test."""
    try:
        found = Project.find(session.config.rootpath)
    except UserError:  # pytest runs somewhere else
        return
    if not found.model.TARGET:
        pytest.exit("model.py has no TARGET yet: data/README.md says what comes next", 1)


@pytest.fixture(scope="session")
def project(pytestconfig: pytest.Config) -> Project:
    """The repository that is tested."""
    return Project.find(pytestconfig.rootpath)


@pytest.fixture(scope="session")
def rows(project: Project) -> "Rows":
    """The repository's own data, prepared and split."""
    from modelloop.training import dataset

    return dataset.load(project)


@pytest.fixture(scope="session")
def trained(project: Project, rows: "Rows") -> "Trained":
    """The first candidate, trained."""
    from modelloop.training import train

    return train.train(
        project, next(iter(project.model.CANDIDATES.values())), rows, project.model.SEED
    )


@pytest.fixture(scope="session")
def model_dir(
    project: Project,
    rows: "Rows",
    trained: "Trained",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder as `make model` leaves it: the served file and the contract, version 7."""
    from modelloop.contract.contract import Provenance
    from modelloop.table import prepare
    from modelloop.training import describe

    folder = tmp_path_factory.mktemp("model")
    provenance = Provenance(
        candidate=next(iter(project.model.CANDIDATES)),
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit="0" * 40,
        data_uri="data.csv",
        data_sha256=prepare.fingerprint(rows.train, rows.test),
        rows_train=len(rows.train),
        rows_test=len(rows.test),
        python=python_version(),
        packages={},
        pipeline_run="test",
        mlflow_run="test",
        mlflow_model="test",
    )
    contract = describe.describe(
        project, rows, trained.predict, trained.classes, trained.served, provenance
    ).model_copy(update={"version": "7"})
    contract.write(folder)
    (folder / contract.served.file).write_bytes(trained.file)
    return folder


@pytest.fixture(scope="session")
def contract(model_dir: Path) -> "Contract":
    """The contract of the model in `model_dir`."""
    from modelloop.contract.contract import Contract

    return Contract.read(model_dir)


@pytest.fixture(scope="session")
def serve_python(project: Project) -> str:
    """The interpreter of the serving environment."""
    path = project.settings.serve_python
    assert path.exists(), f"{path} is not there: run `make setup`"
    return str(path)


@pytest.fixture(scope="session")
def server(
    project: Project,
    serve_python: str,
    model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["Server"]:
    """A server of the model in `model_dir`, in the serving environment; do not stop it."""
    from modelloop.testing import servers

    log = tmp_path_factory.mktemp("server") / "log"
    with servers.running(project, serve_python, model_dir, log) as running:
        yield running


@pytest.fixture(scope="session")
def programs(project: Project) -> None:
    """For tests that run Prometheus' and Alertmanager's programs: skipped without them."""
    from modelloop.laptop import tools

    try:
        for name in tools.PROGRAMS:
            tools.find(project, name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def empty_store(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; to make one takes a second or two."""
    from modelloop.registry import store as mlflow_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        patch.chdir(path.parent)
        mlflow_store.connect(project)
    return path


@pytest.fixture
def store(
    project: Project, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """The repository with an MLflow store of the test's own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return project


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model whose every answer is known."""
    from modelloop.testing import example_model

    folder = tmp_path_factory.mktemp("example")
    example_model.make(folder)
    return folder

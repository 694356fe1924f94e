"""Fixtures that several tests share."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import example_model
import pytest

from {{ cookiecutter.package_name }} import columns, data, model, settings
from {{ cookiecutter.package_name }} import store as mlflow_store
from {{ cookiecutter.package_name }}.contract import Provenance
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.monitoring import tools
from {{ cookiecutter.package_name }}.training import describe, prepare, train, validate


def pytest_sessionstart() -> None:
    """Say once that there is no model to test, not in every test."""
    if not model.TARGET:
        pytest.exit("model.py has no TARGET yet: data/README.md says what comes next", 1)


@pytest.fixture(scope="session")
def rows() -> prepare.Rows:
    """The repository's own data, prepared and split."""
    env = settings.Settings()
    valid = validate.validate(data.load(env.data_uri, env.data_query), data.SCHEMA)
    features = columns.column_rules(data.SCHEMA, model.FEATURES)
    target = columns.target_rule(data.SCHEMA, model.TARGET)
    table = prepare.prepare(valid, features, target, model.WEIGHT, model.SPLIT)
    train_rows, test_rows = prepare.split(table, model.TEST_SHARE, model.SPLIT)
    return prepare.Rows(train_rows, test_rows, features, target)


@pytest.fixture(scope="session")
def trained(rows: prepare.Rows) -> train.Trained:
    """The first candidate, trained."""
    return train.train(next(iter(model.CANDIDATES.values())), rows, model.SEED)


@pytest.fixture(scope="session")
def model_dir(
    rows: prepare.Rows, trained: train.Trained, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder as `make model` leaves it: the served file and the contract."""
    folder = tmp_path_factory.mktemp("model")
    provenance = Provenance(
        candidate=next(iter(model.CANDIDATES)),
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit="0" * 40,
        data_uri="data.csv",
        data_sha256=prepare.fingerprint(rows.train, rows.test),
        rows_train=len(rows.train),
        rows_test=len(rows.test),
        python=settings.python_version(),
        packages={},
        pipeline_run="test",
        mlflow_run="test",
        mlflow_model="test",
    )
    contract = describe.describe(
        rows, trained.predict, trained.classes, trained.served, provenance
    ).model_copy(update={"version": "7"})
    contract.write(folder)
    (folder / contract.served.file).write_bytes(trained.file)
    return folder


@pytest.fixture(scope="session")
def serve_python() -> str:
    """The interpreter of the serving environment."""
    path = settings.Settings().serve_python
    assert path.exists(), f"{path} is not there: run `make setup`"
    return str(path)


@pytest.fixture(scope="session")
def programs() -> None:
    """For tests that run Prometheus' and Alertmanager's programs."""
    try:
        for name in tools.PROGRAMS:
            tools.find(name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; to make one takes a second or two."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        patch.chdir(path.parent)
        mlflow_store.connect(settings.load())
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """An MLflow store of the test's own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return settings.load()


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model whose every answer is known."""
    folder = tmp_path_factory.mktemp("example")
    example_model.make(folder)
    return folder

"""Fixtures of the release tests: a registry with packaged versions, and a plan."""

import shutil
from pathlib import Path

import pytest

from modelloop import Project
from modelloop.contract.contract import Contract
from modelloop.registry import versions
from modelloop.registry.store import connect
from modelloop.release.plan import Plan
from release_parts import VERSIONS, Registry, package


@pytest.fixture(scope="session")
def packaged(
    project: Project, empty_store: Path, example: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An MLflow database with versions 1 to 3 of the example model, each with a package."""
    folder = tmp_path_factory.mktemp("packaged")
    database = Path(shutil.copy(empty_store, folder / "mlflow.db"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        client = connect(project)
        client.create_registered_model(project.slug)
        for version in VERSIONS:
            source = folder / version
            source.mkdir()
            Contract.read(example).model_copy(update={"version": version}).write(source)
            made = client.create_model_version(project.slug, source=source.as_uri())
            assert str(made.version) == version
            versions.tag(project, version, package=package(version))
    return database


@pytest.fixture
def registered(store: Project, packaged: Path) -> Registry:
    """Versions 1 to 3 in a registry of the test's own."""
    database = store.settings.mlflow_tracking_uri.removeprefix("sqlite:///")
    shutil.copy(packaged, database)
    return Registry(store)


@pytest.fixture
def plan() -> Plan:
    """Steps that take no time."""
    return Plan(
        strategy="canary",
        steps=[5, 25, 50, 100],
        step_minutes=0.00001,
        min_requests=10,
        max_error_share=0.01,
        max_latency_ratio=1.5,
        max_drift=0.2,
        ready_minutes=1,
    )

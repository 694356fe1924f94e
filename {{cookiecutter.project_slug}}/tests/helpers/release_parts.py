"""A registry with versions that are packaged, and what a release needs to reach them."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import registry
from {{ cookiecutter.package_name }}.contract import Contract, Decision
from {{ cookiecutter.package_name }}.model_reference import ModelReference
from {{ cookiecutter.package_name }}.release.plan import Plan
from {{ cookiecutter.package_name }}.settings import Settings
from {{ cookiecutter.package_name }}.store import connect

VERSIONS = ("1", "2", "3")


@dataclasses.dataclass(frozen=True)
class Registry:
    """The registered model, as a test sets it and looks at it."""

    settings: Settings

    def set(self, **aliases: str) -> None:
        """Let these be the aliases; no version is withdrawn or tried."""
        client = connect(self.settings)
        for alias in self.aliases:
            client.delete_registered_model_alias(registry.NAME, alias)
        for version in VERSIONS:
            for tag in {registry.WITHDRAWN, "canary"} & self.tags(version).keys():
                client.delete_model_version_tag(registry.NAME, version, tag)
        for alias, version in aliases.items():
            client.set_registered_model_alias(registry.NAME, alias, version)

    @property
    def aliases(self) -> dict[str, str]:
        """Versions by alias."""
        found = connect(self.settings).get_registered_model(registry.NAME).aliases
        return {alias: str(version) for alias, version in found.items()}

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        return connect(self.settings).get_model_version(registry.NAME, version).tags


@pytest.fixture(scope="session")
def versions(empty_store: Path, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with versions 1 to 3 of the example model, each with a package."""
    folder = tmp_path_factory.mktemp("versions")
    database = shutil.copy(empty_store, folder / "mlflow.db")
    store = Settings(mlflow_tracking_uri=f"sqlite:///{database}")
    client = connect(store)
    client.create_registered_model(registry.NAME)
    for version in VERSIONS:
        (folder / version).mkdir()
        Contract.read(example).model_copy(update={"version": version}).write(folder / version)
        made = client.create_model_version(registry.NAME, source=(folder / version).as_uri())
        assert str(made.version) == version
        registry.tag(store, version, package=package(version))
    return database


@pytest.fixture
def registered(store: Settings, versions: Path) -> Registry:
    """Versions 1 to 3 in a registry of the test's own."""
    shutil.copy(versions, store.tracking_uri.removeprefix("sqlite:///"))
    return Registry(store)


@pytest.fixture
def plan() -> Plan:
    """Steps that take no time."""
    return Plan(
        strategy="canary",
        steps=[5, 25, 50, 100],
        step_minutes=0.0005,
        min_requests=10,
        max_error_share=0.01,
        max_latency_ratio=1.5,
        max_drift=0.2,
        ready_minutes=1,
    )


def package(version: str) -> str:
    """What a version is deployed as."""
    return f"registry.test/serve@sha256:{version * 64}"


def model(version: str) -> ModelReference:
    """What the stages of CI hand on."""
    return ModelReference(
        name=registry.NAME,
        version=version,
        mlflow_run="run",
        mlflow_model="model",
        git_commit="0" * 40,
        contract_sha256="0" * 64,
        decision=Decision(passed=True, checks=[]),
        package=package(version),
    )

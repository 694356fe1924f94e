"""The registered model of the release tests: three versions, each with a package."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from modelloop import Project
from modelloop.contract.contract import Decision
from modelloop.registry import versions
from modelloop.registry.model_reference import ModelReference
from modelloop.registry.store import connect

VERSIONS = ("1", "2", "3")


@dataclass(frozen=True)
class Registry:
    """The registered model of a repository, as a test sets it and looks at it."""

    project: Project

    def set(self, **aliases: str) -> None:
        """Let these be the only aliases; no version is withdrawn or has been a canary."""
        client, name = connect(self.project), self.project.slug
        for alias in self.aliases:
            client.delete_registered_model_alias(name, alias)
        for version in VERSIONS:
            for tag in {versions.WITHDRAWN, "canary"} & self.tags(version).keys():
                client.delete_model_version_tag(name, version, tag)
        for alias, version in aliases.items():
            client.set_registered_model_alias(name, alias, version)

    def snapshot(self) -> sqlite3.Connection:
        """A copy of the whole store, in memory: to go back to it takes milliseconds."""
        copy = sqlite3.connect(":memory:")
        with closing(sqlite3.connect(self._file)) as database:
            database.backup(copy)
        return copy

    def restore(self, snapshot: sqlite3.Connection) -> None:
        """Let the store be as it was; its open connections see it."""
        with closing(sqlite3.connect(self._file)) as database:
            snapshot.backup(database)

    @property
    def _file(self) -> str:
        return self.project.settings.mlflow_tracking_uri.removeprefix("sqlite:///")

    @property
    def aliases(self) -> dict[str, str]:
        """Versions by alias."""
        found = connect(self.project).get_registered_model(self.project.slug).aliases
        return {alias: str(version) for alias, version in found.items()}

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        return connect(self.project).get_model_version(self.project.slug, version).tags


def package(version: str) -> str:
    """The image that a version is deployed as."""
    return f"registry.test/serve@sha256:{version * 64}"


def model(version: str) -> ModelReference:
    """A packaged version, as the stages of CI hand it on."""
    return ModelReference(
        name="model",
        version=version,
        mlflow_run="run",
        mlflow_model="model",
        git_commit="0" * 40,
        contract_sha256="0" * 64,
        decision=Decision(passed=True, checks=[]),
        package=package(version),
    )

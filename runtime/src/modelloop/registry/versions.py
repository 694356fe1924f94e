"""The model registry: versions, and the aliases challenger, champion and previous.

Aliases are the only state of a release: training sets @challenger, a release moves @champion and
keeps the former one as @previous, a rollback moves @champion back.
"""

import tempfile
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from modelloop.contract.contract import FILE_NAME, Contract
from modelloop.errors import UserError
from modelloop.locks import exclusive
from modelloop.project import Project
from modelloop.registry.store import connect

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
WITHDRAWN = "rolled_back"  # tag of a version that must not be promoted again
MODEL = "logged_model"  # tag: the id of the logged model that the version was made from


class RegistryError(UserError):
    """There is no alias to move, or another process moved it at the same time."""


def register(project: Project, model_id: str, contract: Contract) -> Contract:
    """Make a logged model a version of the registered model, and the challenger.

    The alias is set last: a version without one is never served. A retried step finds the version
    that its first attempt made.

    Returns:
        The contract with its version, as it is now stored beside the model.
    """
    client = connect(project)
    tags = {"candidate": contract.provenance.candidate, MODEL: model_id}
    known = client.search_model_versions(
        f"name = '{project.slug}' and tags.`{MODEL}` = '{model_id}'"
    )
    made = (
        known[0] if known else mlflow.register_model(f"models:/{model_id}", project.slug, tags=tags)
    )
    contract = contract.model_copy(update={"version": str(made.version)})
    with tempfile.TemporaryDirectory() as folder:
        client.log_model_artifact(model_id, str(contract.write(Path(folder))))
    client.update_registered_model(project.slug, description=project.description)
    client.set_registered_model_alias(project.slug, CHALLENGER, made.version)
    return contract


def promote(project: Project) -> tuple[str, str | None]:
    """Make the challenger the champion and the former champion the previous one.

    Returns:
        The new champion's version and the former one's, None on a first release.

    Raises:
        RegistryError: there is no challenger, it is the champion already, or it was rolled back.
    """
    client = connect(project)
    with exclusive(_lock(project)):
        challenger = find(project, client, CHALLENGER)
        champion = find(project, client, CHAMPION)
        if challenger is None:
            raise RegistryError(
                f"{project.slug} has no @challenger to promote: run `make train` first"
            )
        if champion and champion.version == challenger.version:
            raise RegistryError(
                f"{project.slug} version {champion.version} is @champion already: "
                "nothing to promote"
            )
        if WITHDRAWN in challenger.tags:
            raise RegistryError(
                f"{project.slug} version {challenger.version} was rolled back: "
                "`make train` makes a new one"
            )
        _crown(project, client, str(challenger.version), champion)
    return str(challenger.version), str(champion.version) if champion else None


def rollback(project: Project) -> tuple[str, str]:
    """Make the previous version the champion again.

    The withdrawn version is tagged, so that it is not promoted again, and @previous is removed, so
    that a second rollback at the same time is refused.

    Returns:
        The champion's version now, and the one that was withdrawn.

    Raises:
        RegistryError: there is no previous version.
    """
    client = connect(project)
    with exclusive(_lock(project)):
        champion = find(project, client, CHAMPION)
        previous = find(project, client, PREVIOUS)
        if previous is None or champion is None or previous.version == champion.version:
            raise RegistryError(f"{project.slug} has no @previous version to go back to")
        _return(project, client, str(previous.version), str(champion.version))
    return str(previous.version), str(champion.version)


def follow(project: Project, champion: str, withdrawn: str) -> bool:
    """Move @champion to the version that a release serves, after a promotion or a rollback.

    Args:
        project: the repository.
        champion: the version that is served.
        withdrawn: the version that a rollback withdrew; empty after a promotion.

    Returns:
        Whether an alias was moved.
    """
    client = connect(project)
    with exclusive(_lock(project)):
        now = find(project, client, CHAMPION)
        if now and str(now.version) == champion:
            return False
        if withdrawn and now and str(now.version) == withdrawn:
            _return(project, client, champion, withdrawn)
        else:
            _crown(project, client, champion, now)
    return True


def version(project: Project, alias: str) -> ModelVersion | None:
    """The version that an alias names; None when there is no such model or alias."""
    return find(project, connect(project), alias)


def tag(project: Project, number: str, **tags: str) -> None:
    """Set tags of a version."""
    client = connect(project)
    for key, value in tags.items():
        client.set_model_version_tag(project.slug, number, key, value)


def fetch(project: Project, alias: str, folder: Path) -> Contract:
    """Download the model that an alias names into a folder, whole or not at all.

    Raises:
        RegistryError: the alias names no version.
        ContractError: the version carries no valid contract.
    """
    found = version(project, alias)
    if found is None:
        hint = "run `make train`" if alias == CHALLENGER else "run `make train` and `make promote`"
        raise RegistryError(f"{project.slug} has no @{alias} version: {hint} first")
    return fetch_version(project, str(found.version), folder)


def fetch_version(project: Project, number: str, folder: Path) -> Contract:
    """Download a version's model into a folder, whole or not at all.

    Raises:
        ContractError: the version carries no valid contract.
    """
    connect(project)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        uri = f"models:/{project.slug}/{number}"
        new = mlflow.artifacts.download_artifacts(uri, dst_path=scratch + "/new")
        contract = Contract.read(Path(new))
        if folder.exists():
            folder.rename(scratch + "/old")
        Path(new).rename(folder)
    return contract


def contract(project: Project, number: str) -> Contract:
    """The contract of a version.

    Raises:
        ContractError: the version carries no valid contract.
    """
    connect(project)
    with tempfile.TemporaryDirectory() as folder:
        uri = f"models:/{project.slug}/{number}/{FILE_NAME}"
        mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        return Contract.read(Path(folder))


def find(project: Project, client: mlflow.MlflowClient, alias: str) -> ModelVersion | None:
    """The version that an alias names; None when there is no such model or alias."""
    try:
        return client.get_model_version_by_alias(project.slug, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _crown(
    project: Project, client: mlflow.MlflowClient, number: str, former: ModelVersion | None
) -> None:
    if former:
        client.set_registered_model_alias(project.slug, PREVIOUS, former.version)
    client.set_registered_model_alias(project.slug, CHAMPION, number)
    _confirm(project, client, CHAMPION, number)


def _return(project: Project, client: mlflow.MlflowClient, number: str, withdrawn: str) -> None:
    client.set_model_version_tag(project.slug, withdrawn, WITHDRAWN, "true")
    client.set_registered_model_alias(project.slug, CHAMPION, number)
    client.delete_registered_model_alias(project.slug, PREVIOUS)
    _confirm(project, client, CHAMPION, number)


def _lock(project: Project) -> Path:
    """The lock between processes of this machine; `_confirm` detects those of other machines."""
    project.mlruns.mkdir(parents=True, exist_ok=True)
    return project.mlruns / "aliases.lock"


def _confirm(project: Project, client: mlflow.MlflowClient, alias: str, number: str) -> None:
    found = find(project, client, alias)
    if found is None or str(found.version) != number:
        now = f"version {found.version}" if found else "nothing"
        raise RegistryError(
            f"somebody else moved @{alias} of {project.slug} at the same time: it is {now}"
        )

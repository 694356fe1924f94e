"""The model registry: versions, and the aliases challenger, champion and previous.

Aliases are the only state of a release. Training sets @challenger, a release moves @champion and
keeps the former one as @previous, a rollback moves @champion back.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from . import project
from .contract import FILE_NAME, Contract
from .errors import UserError
from .settings import ROOT, Settings
from .store import connect

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
WITHDRAWN = "rolled_back"  # tag of a version that must not come back as the challenger
MODEL = "logged_model"  # tag: what the version was made of
NAME = project.SLUG


class RegistryError(UserError):
    """There is nothing to move, or somebody else moved it."""


def register(settings: Settings, model_id: str, contract: Contract) -> Contract:
    """Make a logged model a version of the registered model, and the challenger.

    The alias is set last: a version without one is never served. A step that is tried again finds
    the version that it made before.

    Returns:
        The contract with its version, as it now lies beside the model.
    """
    client = connect(settings)
    tags = {"candidate": contract.provenance.candidate, MODEL: model_id}
    known = client.search_model_versions(f"name = '{NAME}' and tags.`{MODEL}` = '{model_id}'")
    made = known[0] if known else mlflow.register_model(f"models:/{model_id}", NAME, tags=tags)
    contract = contract.model_copy(update={"version": str(made.version)})
    with tempfile.TemporaryDirectory() as folder:
        client.log_model_artifact(model_id, str(contract.write(Path(folder))))
    client.update_registered_model(NAME, description=project.DESCRIPTION)
    client.set_registered_model_alias(NAME, CHALLENGER, made.version)
    return contract


def promote(settings: Settings) -> tuple[str, str | None]:
    """Make the challenger the champion and the former champion the previous one.

    Returns:
        The new champion's version and the former one's, None on a first release.

    Raises:
        RegistryError: there is no challenger, it is the champion already, or it was rolled back.
    """
    client = connect(settings)
    with _alone():
        challenger = find(client, CHALLENGER)
        champion = find(client, CHAMPION)
        if challenger is None:
            raise RegistryError(f"{NAME} has no @challenger to promote: run `make train` first")
        if champion and champion.version == challenger.version:
            raise RegistryError(
                f"{NAME} version {champion.version} is @champion already: nothing to promote"
            )
        if WITHDRAWN in challenger.tags:
            raise RegistryError(
                f"{NAME} version {challenger.version} was rolled back: `make train` makes a new one"
            )
        _crown(client, str(challenger.version), champion)
    return str(challenger.version), str(champion.version) if champion else None


def rollback(settings: Settings) -> tuple[str, str]:
    """Make the previous version the champion again.

    The withdrawn version is tagged, so that it is not promoted again, and @previous is removed, so
    that a second caller has nothing to move.

    Returns:
        The champion's version now, and the one that was withdrawn.

    Raises:
        RegistryError: there is no previous version.
    """
    client = connect(settings)
    with _alone():
        champion = find(client, CHAMPION)
        previous = find(client, PREVIOUS)
        if previous is None or champion is None or previous.version == champion.version:
            raise RegistryError(f"{NAME} has no @previous version to go back to")
        _return(client, str(previous.version), str(champion.version))
    return str(previous.version), str(champion.version)


def follow(settings: Settings, champion: str, withdrawn: str) -> bool:
    """Let @champion be what a release serves, after a promotion or a rollback.

    Args:
        settings: where the registry is.
        champion: the version that is served.
        withdrawn: the version that a rollback took back, empty after a promotion.

    Returns:
        Whether an alias was moved.
    """
    client = connect(settings)
    with _alone():
        now = find(client, CHAMPION)
        if now and str(now.version) == champion:
            return False
        if withdrawn and now and str(now.version) == withdrawn:
            _return(client, champion, withdrawn)
        else:
            _crown(client, champion, now)
    return True


def version(settings: Settings, alias: str) -> ModelVersion | None:
    """The version that an alias names, None when there is no such model or alias."""
    return find(connect(settings), alias)


def tag(settings: Settings, number: str, **tags: str) -> None:
    """Write tags onto a version."""
    client = connect(settings)
    for key, value in tags.items():
        client.set_model_version_tag(NAME, number, key, value)


def fetch(settings: Settings, alias: str, folder: Path) -> Contract:
    """Download the model that an alias names into a folder, whole or not at all.

    Raises:
        RegistryError: the alias names no version.
        ContractError: the version carries no valid contract.
    """
    found = version(settings, alias)
    if found is None:
        hint = "run `make train`" if alias == CHALLENGER else "run `make train` and `make promote`"
        raise RegistryError(f"{NAME} has no @{alias} version: {hint} first")
    return fetch_version(settings, str(found.version), folder)


def fetch_version(settings: Settings, number: str, folder: Path) -> Contract:
    """Download a version's model into a folder, whole or not at all.

    Raises:
        ContractError: the version carries no valid contract.
    """
    connect(settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        uri = f"models:/{NAME}/{number}"
        new = mlflow.artifacts.download_artifacts(uri, dst_path=scratch + "/new")
        contract = Contract.read(Path(new))
        if folder.exists():
            folder.rename(scratch + "/old")
        Path(new).rename(folder)
    return contract


def contract(settings: Settings, number: str) -> Contract:
    """The contract of a version.

    Raises:
        ContractError: the version carries no valid contract.
    """
    connect(settings)
    with tempfile.TemporaryDirectory() as folder:
        uri = f"models:/{NAME}/{number}/{FILE_NAME}"
        mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        return Contract.read(Path(folder))


def find(client: mlflow.MlflowClient, alias: str) -> ModelVersion | None:
    """The version that an alias names, None when there is no such model or alias."""
    try:
        return client.get_model_version_by_alias(NAME, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _crown(client: mlflow.MlflowClient, number: str, former: ModelVersion | None) -> None:
    if former:
        client.set_registered_model_alias(NAME, PREVIOUS, former.version)
    client.set_registered_model_alias(NAME, CHAMPION, number)
    _confirm(client, CHAMPION, number)


def _return(client: mlflow.MlflowClient, number: str, withdrawn: str) -> None:
    client.set_model_version_tag(NAME, withdrawn, WITHDRAWN, "true")
    client.set_registered_model_alias(NAME, CHAMPION, number)
    client.delete_registered_model_alias(NAME, PREVIOUS)
    _confirm(client, CHAMPION, number)


@contextmanager
def _alone() -> Iterator[None]:
    """One caller at a time on this machine; elsewhere the order of writes and `_confirm` help."""
    lock = ROOT / "mlruns" / "aliases.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _confirm(client: mlflow.MlflowClient, alias: str, number: str) -> None:
    found = find(client, alias)
    if found is None or str(found.version) != number:
        now = f"version {found.version}" if found else "nothing"
        raise RegistryError(f"somebody else moved @{alias} of {NAME} at the same time: it is {now}")

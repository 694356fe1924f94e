"""The target of a release: Seldon on Kubernetes, or Azure ML, as the repository's answers say."""

from typing import Literal, Protocol

from modelloop.contract.contract import Contract
from modelloop.project import Project
from modelloop.registry.model_reference import ModelReference
from modelloop.release.state import State
from modelloop.release.watch import Measured

Stage = Literal["staging", "production"]


class Target(Protocol):
    """One environment in which versions are served, with the state of its release.

    Attributes:
        name: the environment, as messages name it.
        most_mirrored: the largest share of requests that can be copied to a shadow, in per cent.
    """

    name: str
    most_mirrored: int

    def prepare(self, package: str) -> None:
        """Bring everything but the deployed versions up to date.

        Args:
            package: what the release deploys, for components that run it, too.
        """

    def read(self) -> State | None:
        """The current state; None where nothing is released.

        Raises:
            ReleaseError: what is there was not made by a release.
        """

    def write(self, before: State | None, after: State | None) -> None:
        """Replace the state `before` by `after`; None removes everything.

        Raises:
            ConflictError: the current state is not `before`.
        """

    def difference(self, after: State | None) -> str:
        """What a write would change, as a unified diff; empty where nothing would."""

    def wait(self, version: str) -> None:
        """Wait until a version is ready.

        Raises:
            ReleaseError: it is not in time, or has failed to start.
        """

    def prove(self, contract: Contract) -> None:
        """Send a running version its golden rows directly, whatever its traffic is.

        Raises:
            ReleaseError: another version responds, or its predictions differ from the contract's.
        """

    def measure(self, version: str, seconds: float) -> Measured:
        """Requests, errors, latency and drift of a version in the last `seconds`.

        Raises:
            UserError: the monitoring system does not respond.
        """


def connect(project: Project, stage: Stage, seconds: float) -> Target:
    """The target of a stage.

    Args:
        project: the repository; its `release_target` decides.
        stage: which of its environments.
        seconds: how long a version may take to start.

    Raises:
        UserError: the target's settings are wrong or missing.
    """
    if project.release_target == "azureml":
        from modelloop.release.azureml.target import Target as AzureTarget

        return AzureTarget(project, stage, seconds)
    from modelloop.release.seldon.target import Target as SeldonTarget

    return SeldonTarget(project, stage, seconds)


def package(project: Project, model: ModelReference) -> str:
    """Package a model for the target: push an image, or register it in Azure ML.

    Returns:
        The package's name: the image by digest, or `azureml:name:version`.

    Raises:
        UserError: it cannot be packaged, or is not the model that the gate judged.
    """
    if project.release_target == "azureml":
        from modelloop.release.azureml import target as azureml

        return azureml.package(project, model)
    from modelloop.release.seldon import target as seldon

    return seldon.package(project, model)

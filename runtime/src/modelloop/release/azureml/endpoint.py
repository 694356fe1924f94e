"""deploy/endpoint.toml: the settings of the endpoints, and Azure ML's own entities from them."""

import hashlib
import tomllib
from typing import Annotated, Any, Literal

from azure.ai.ml.entities import (
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    OnlineDeployment,
    OnlineEndpoint,
    OnlineRequestSettings,
    ProbeSettings,
)
from pydantic import Field, ValidationError, model_validator

from modelloop.contract.contract import Part
from modelloop.errors import UserError, explain
from modelloop.project import Project
from modelloop.settings import Environment

FILE = "deploy/endpoint.toml"
ENVIRONMENTS = {"staging": "stag", "production": "prod"}  # with the ending of its endpoint's name
NAME_LENGTH = 32  # Azure's limit

Count = Annotated[int, Field(ge=1)]
Name = Annotated[
    str, Field(pattern="^[a-zA-Z][-a-zA-Z0-9]*[a-zA-Z0-9]$", min_length=3, max_length=NAME_LENGTH)
]


class Workspace(Environment):
    """The workspace of Azure ML: one field per environment variable of the same name."""

    azure_subscription_id: str  # of the workspace, a UUID
    azure_resource_group: str  # in the subscription
    azure_ml_workspace: str  # in the group

    @classmethod
    def connected(cls) -> "Workspace":
        """Read the environment.

        Raises:
            UserError: a variable is not set; the message names it.
        """
        try:
            return cls()
        except ValidationError as error:
            missing = ", ".join(str(e["loc"][0]).upper() for e in error.errors())
            raise UserError(f"environment: {missing} must say where Azure ML is") from error


class Probe(Part):
    """The liveness and readiness probe of a container; all but the last in seconds."""

    initial_delay: Count
    period: Count
    timeout: Count
    failure_threshold: Count


class Endpoint(Part):
    """The settings of one environment; the comments of the file explain each one."""

    name: Name
    kind: Literal["managed", "kubernetes"]
    auth_mode: Literal["key", "aml_token", "aad_token"]
    compute: str = ""
    instance_type: Annotated[str, Field(min_length=1)]
    instance_count: Count
    concurrent_requests: Count
    request_timeout: Annotated[int, Field(ge=1, le=180)]
    liveness: Probe

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "Endpoint":
        if (self.kind == "kubernetes") != bool(self.compute):
            raise ValueError("`compute` names the attached cluster where `kind` is kubernetes only")
        if self.kind == "kubernetes" and self.auth_mode == "aad_token":
            raise ValueError("`auth_mode` is key or aml_token where `kind` is kubernetes")
        return self

    @classmethod
    def read(cls, project: Project, environment: str) -> "Endpoint":
        """Read deploy/endpoint.toml; a wrong setting of one environment is an error for both.

        Raises:
            UserError: it cannot be read, or holds a wrong value; the message names it.
        """
        path = project.root / FILE
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: {error}") from error
        own = {name: content.pop(name, {}) for name in ENVIRONMENTS}
        found = {}
        for name, table in own.items():
            try:
                found[name] = cls.model_validate(
                    {"name": default_name(project.slug, name)} | content | table
                )
            except ValidationError as error:
                raise UserError(f"{path}, for {name}: {explain(error)}") from error
        return found[environment]

    def endpoint(self, description: str, **tags: str) -> OnlineEndpoint:
        """The endpoint, without deployments."""
        given: dict[str, Any] = {
            "name": self.name,
            "description": description,
            "auth_mode": self.auth_mode,
            "tags": tags,
        }
        if self.kind == "kubernetes":
            return KubernetesOnlineEndpoint(compute=self.compute, **given)
        return ManagedOnlineEndpoint(**given)

    def deployment(self, name: str, model: str) -> OnlineDeployment:
        """A deployment of a registered MLflow model; Azure ML adds script and environment."""
        probe = ProbeSettings(success_threshold=1, **self.liveness.model_dump())
        managed = self.kind == "managed"
        return (ManagedOnlineDeployment if managed else KubernetesOnlineDeployment)(
            name=name,
            endpoint_name=self.name,
            model=model,
            instance_type=self.instance_type,
            instance_count=self.instance_count,
            request_settings=OnlineRequestSettings(
                request_timeout_ms=self.request_timeout * 1000,
                max_concurrent_requests_per_instance=self.concurrent_requests,
            ),
            liveness_probe=probe,
            readiness_probe=probe,
        )


def default_name(slug: str, environment: str) -> str:
    """The slug and the environment's ending; a long slug is cut, and a hash of it appended."""
    ending = f"-{ENVIRONMENTS[environment]}"
    room = NAME_LENGTH - len(ending)
    if len(slug) > room:
        digest = hashlib.sha256(slug.encode()).hexdigest()[:4]
        slug = f"{slug[: room - 5].rstrip('-')}-{digest}"
    return slug + ending

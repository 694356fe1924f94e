"""deploy/endpoint.toml: what the endpoints are like, as Azure ML's own entities."""

import hashlib
import tomllib
from typing import Annotated, Literal

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
from pydantic_settings import BaseSettings

from .. import project
from ..contract import Part
from ..errors import UserError
from ..settings import ROOT

PATH = ROOT / "deploy" / "endpoint.toml"
ENVIRONMENTS = {"staging": "stag", "production": "prod"}  # and the endings of their endpoints
NAME_LENGTH = 32  # Azure's limit

Count = Annotated[int, Field(ge=1)]
Name = Annotated[
    str, Field(pattern="^[a-zA-Z][-a-zA-Z0-9]*[a-zA-Z0-9]$", min_length=3, max_length=NAME_LENGTH)
]


class Workspace(BaseSettings, frozen=True, env_ignore_empty=True):
    """Where the endpoints are: one field per environment variable of the same name."""

    azure_subscription_id: str  # the subscription that holds it
    azure_resource_group: str  # the group within the subscription
    azure_ml_workspace: str  # the workspace within the group

    @classmethod
    def read(cls) -> "Workspace":
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
    """How a container is asked whether it lives; all but the last in seconds."""

    initial_delay: Count
    period: Count
    timeout: Count
    failure_threshold: Count


class Endpoint(Part):
    """The settings of one environment; the file's comments say what each one means."""

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
    def read(cls, environment: str) -> "Endpoint":
        """Read PATH; what is wrong for one environment is refused for the other, too.

        Raises:
            UserError: it cannot be read, or says what is not allowed; the message names it.
        """
        try:
            content = tomllib.loads(PATH.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{PATH}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{PATH}: {error}") from error
        own = {name: content.pop(name, {}) for name in ENVIRONMENTS}
        found = {}
        for name, table in own.items():
            try:
                found[name] = cls.model_validate({"name": default_name(name)} | content | table)
            except ValidationError as error:
                faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                raise UserError(f"{PATH}, for {name}: " + "; ".join(faults)) from error
        return found[environment]

    def endpoint(self, **tags: str) -> OnlineEndpoint:
        """The endpoint without deployments."""
        given = {
            "name": self.name,
            "description": project.DESCRIPTION,
            "auth_mode": self.auth_mode,
            "tags": tags,
        }
        if self.kind == "kubernetes":
            return KubernetesOnlineEndpoint(compute=self.compute, **given)
        return ManagedOnlineEndpoint(**given)

    def deployment(self, name: str, model: str) -> OnlineDeployment:
        """A deployment of a registered MLflow model: Azure ML brings script and environment."""
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


def default_name(environment: str) -> str:
    """The slug and the environment's ending; one that is too long is cut, with a hash instead."""
    ending = f"-{ENVIRONMENTS[environment]}"
    room = NAME_LENGTH - len(ending)
    slug = project.SLUG
    if len(slug) > room:
        digest = hashlib.sha256(slug.encode()).hexdigest()[:4]
        slug = f"{slug[: room - 5].rstrip('-')}-{digest}"
    return slug + ending

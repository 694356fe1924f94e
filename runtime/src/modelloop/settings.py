"""Everything that is read from the environment, and nothing else is."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from modelloop.addresses import without_credentials
from modelloop.errors import UserError, explain

Port = Annotated[int, Field(ge=1, le=65535)]


def _origins(value: str) -> str:
    for origin in filter(None, value.split(",")):
        if not re.fullmatch(r"\*|https?://[^\s/]+", origin):
            raise ValueError(f"{origin!r} is neither * nor an address such as https://example.com")
    return value


Origins = Annotated[str, AfterValidator(_origins)]


class Environment(BaseSettings, frozen=True, env_ignore_empty=True):
    """One field per environment variable of the same name in upper case; empty means unset.

    What is given to `read` are defaults: the environment comes first.

    Attributes:
        SHOWN: whether a message about a wrong value may show it.
    """

    SHOWN: ClassVar[bool] = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over defaults that are given in code."""
        return env_settings, init_settings

    @classmethod
    def read(cls, **defaults: Any) -> Self:
        """Read the environment.

        Raises:
            UserError: a variable is missing or holds what is not allowed; the message names it.
        """
        try:
            return cls(**defaults)
        except ValidationError as error:
            raise UserError(
                f"environment: {explain(error, upper=True, values=cls.SHOWN)}"
            ) from error


class Settings(Environment):
    """What a person, CI or a cluster may set."""

    SHOWN = True

    data_uri: str = ""  # path or address of the table; unset: the one in data/
    data_query: str = ""  # SQL, needed when DATA_URI is a database URL

    mlflow_tracking_uri: str = ""  # empty: a local store in mlruns/
    mlflow_experiment: str = ""  # where runs are kept; unset: the short name of the repository

    retrain_reason: str = ""  # why this training was started, and by which alert
    alert_fingerprint: str = ""  # which alert asked, as Alertmanager names it

    pipeline_image: str = ""  # image of the pipeline's steps; empty: registry/slug-python:commit
    git_commit: str = ""  # set in images, where there is no git; empty: asked from git

    kfp_url: str = ""  # Kubeflow Pipelines: the address of its pages, or of its API
    kfp_namespace: str = ""  # in a Kubeflow of several users; empty: it has one
    kfp_token_file: Path | None = None  # a bearer token; read for each request, as tokens rotate
    kfp_cookie_file: Path | None = None  # the text of the Cookie header behind a login page
    kfp_ca_file: Path | None = None  # certificates that vouch for KFP_URL

    model_dir: Path = Path("build/model")  # the model that is served
    serve_host: str = "127.0.0.1"  # 0.0.0.0 in a container
    serve_port: Port = 9000  # of predictions, over HTTP
    metrics_port: Port = 6000  # of what Prometheus reads
    serve_grpc: bool = False  # whether predictions are answered over gRPC, too
    grpc_port: Port = 9500  # of predictions, over gRPC
    serve_workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes
    serve_threads: Annotated[int, Field(ge=1, le=64)] = 1  # 1: in the worker's event loop
    cors_origins: Origins = ""  # whose web pages may read answers; addresses by commas, or *
    serve_python: Path = Path(".venv-serve/bin/python")  # starts the server
    model_url: str = ""  # where a server answers; empty: the one that `make serve` starts
    request_log: Path | None = None  # folder of the request log; empty: none is kept
    max_rows: Annotated[int, Field(ge=1)] = 10_000  # of a request
    max_body_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024  # of a request

    release_to: Literal["", "production"] = ""  # empty: promote and rollback move the aliases only
    prometheus_url: str = ""  # says how a canary does; unset: the address in pyproject.toml
    prometheus_token_file: Path | None = None  # a bearer token, where Prometheus asks for one
    kube_context: str = ""  # kubectl's context; empty: its current one

    container_tool: str = ""  # podman or docker; empty: the first that is there
    python_image: str = ""  # what the images start from; empty: the default of the Dockerfiles
    container_build_args: str = ""  # more arguments, such as --platform linux/arm64
    container_push_args: str = ""  # more arguments of the push

    @property
    def shown_data_uri(self) -> str:
        """The data's address as it may be printed and kept."""
        return without_credentials(self.data_uri)

    @property
    def server_url(self) -> str:
        """MODEL_URL, else the address of the server on this machine."""
        return self.model_url.rstrip("/") or f"http://127.0.0.1:{self.serve_port}"

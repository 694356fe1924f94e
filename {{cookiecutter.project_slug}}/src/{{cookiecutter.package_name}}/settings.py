"""Everything that is read from the environment, and nothing else is."""

import platform
import re
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings

from . import project
from .addresses import without_credentials
from .errors import UserError

ROOT = Path(__file__).resolve().parents[2]
Port = Annotated[int, Field(ge=1, le=65535)]


def _origins(value: str) -> str:
    for origin in filter(None, value.split(",")):
        if not re.fullmatch(r"\*|https?://[^\s/]+", origin):
            raise ValueError(f"{origin!r} is neither * nor an address such as https://example.com")
    return value


Origins = Annotated[str, AfterValidator(_origins)]


def tables_in_data() -> list[Path]:
    """The tables in data/; none in the server's image."""
    files = sorted((ROOT / "data").glob("*"))
    return [path for path in files if {".csv", ".parquet", ".pq"} & {*path.suffixes}]


def _table_in_data() -> str:
    """The only table in data/; empty where there is none, or several."""
    found = tables_in_data()
    return str(found[0]) if len(found) == 1 else ""


class Settings(BaseSettings, frozen=True, env_ignore_empty=True):
    """One field per environment variable of the same name in upper case; empty means unset."""

    data_uri: str = _table_in_data()  # path or address of the table; unset: the one in data/
    data_query: str = ""  # SQL, needed when DATA_URI is a database URL

    mlflow_tracking_uri: str = ""  # empty: a local store in mlruns/
    mlflow_experiment: str = project.SLUG  # where runs are kept

    retrain_reason: str = ""  # why this training was started, and by which alert
    alert_fingerprint: str = ""  # which alert asked, as Alertmanager names it

    pipeline_image: str = ""  # image of the pipeline's steps; empty: registry/slug-python:commit
    git_commit: str = ""  # set in images, where there is no git; empty: asked from git

    kfp_url: str = ""  # Kubeflow Pipelines: the address of its pages, or of its API
    kfp_namespace: str = ""  # in a Kubeflow of several users; empty: it has one
    kfp_token_file: Path | None = None  # a bearer token; read for each request, as tokens rotate
    kfp_cookie_file: Path | None = None  # the text of the Cookie header behind a login page
    kfp_ca_file: Path | None = None  # certificates that vouch for KFP_URL

    model_dir: Path = ROOT / "build" / "model"  # the model that is served
    serve_host: str = "127.0.0.1"  # 0.0.0.0 in a container
    serve_port: Port = 9000  # of predictions, over HTTP
    metrics_port: Port = 6000  # of what Prometheus reads
    serve_grpc: bool = False  # whether predictions are answered over gRPC, too
    grpc_port: Port = 9500  # of predictions, over gRPC
    serve_workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes
    serve_threads: Annotated[int, Field(ge=1, le=64)] = 1  # 1: in the worker's event loop
    cors_origins: Origins = ""  # whose web pages may read answers; addresses by commas, or *
    serve_python: Path = ROOT / ".venv-serve" / "bin" / "python"  # starts the server
    model_url: str = ""  # where a server answers; empty: the one that `make serve` starts
    request_log: Path | None = None  # folder of the request log; empty: none is kept
    max_rows: Annotated[int, Field(ge=1)] = 10_000  # of a request
    max_body_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024  # of a request

    release_to: Literal["", "production"] = ""  # empty: promote and rollback move the aliases only
    prometheus_url: str = project.PROMETHEUS_URL  # says how a canary does
    prometheus_token_file: Path | None = None  # a bearer token, where Prometheus asks for one
    kube_context: str = ""  # kubectl's context; empty: its current one

    container_tool: str = ""  # podman or docker; empty: the first that is there
    python_image: str = ""  # what the images start from; empty: the default of the Dockerfiles
    container_build_args: str = ""  # more arguments, such as --platform linux/arm64
    container_push_args: str = ""  # more arguments of the push

    @property
    def tracking_uri(self) -> str:
        """The MLflow store: MLFLOW_TRACKING_URI, else SQLite in the repository."""
        return self.mlflow_tracking_uri or f"sqlite:///{ROOT / 'mlruns' / 'mlflow.db'}"

    @property
    def shown_tracking_uri(self) -> str:
        """The MLflow store as it may be printed."""
        return without_credentials(self.mlflow_tracking_uri) or str(ROOT / "mlruns")

    @property
    def shown_data_uri(self) -> str:
        """The data's address as it may be printed and kept."""
        return without_credentials(self.data_uri)

    @property
    def server_url(self) -> str:
        """MODEL_URL, else the address of the server on this machine."""
        return self.model_url.rstrip("/") or f"http://127.0.0.1:{self.serve_port}"

    @cached_property
    def commit(self) -> str:
        """The git commit of this code; `-dirty` is added when the work tree differs from it."""
        if self.git_commit:
            return self.git_commit
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        return described.stdout.strip() if described.returncode == 0 else "unknown"

    @property
    def is_committed(self) -> bool:
        """Whether this code is that of a commit, and so can be had again."""
        return self.commit != "unknown" and not self.commit.endswith("-dirty")

    @property
    def tag(self) -> str:
        """The commit, as images and versions of the pipelines are named by it."""
        commit, dirty, _ = self.commit.partition("-dirty")
        return commit[:12] + dirty

    @property
    def image(self) -> str:
        """The image of the pipeline's steps."""
        return self.pipeline_image or self.image_of("python")

    def image_of(self, part: str) -> str:
        """An image's address, tagged by commit: caching never serves old code."""
        return f"{project.CONTAINER_REGISTRY}/{project.SLUG}-{part}:{self.tag}"


def load() -> Settings:
    """Read the settings.

    Raises:
        UserError: a variable holds what is not allowed; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}"
            for e in error.errors()
        ]
        raise UserError("environment: " + "; ".join(faults)) from error


def python_version() -> str:
    """The running Python, such as `3.12.1`."""
    return platform.python_version()

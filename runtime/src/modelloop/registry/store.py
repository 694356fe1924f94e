"""Reach the MLflow server, or the local store in mlruns/."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.engine import make_url

from modelloop.errors import UserError
from modelloop.locks import exclusive
from modelloop.project import Project
from modelloop.registry import location

SQLITE = "sqlite:///"
VARIABLE = "MLFLOW_TRACKING_URI"


def tracking_uri(project: Project) -> str:
    """The MLflow store: MLFLOW_TRACKING_URI, else SQLite in the repository.

    Raises:
        UserError: the installed SQLAlchemy can open no database in a folder of this name.
    """
    return project.settings.mlflow_tracking_uri or local_uri(project)


def local_uri(project: Project) -> str:
    """The SQLite store in the repository, whatever MLFLOW_TRACKING_URI says.

    SQLAlchemy ends the path at a question mark and decodes percent signs, so a path with either is
    encoded. MLflow makes the parent folder of the path without decoding it: with encoded slashes
    that is the current folder, and it makes no stray one.

    Raises:
        UserError: the installed SQLAlchemy can open no database in a folder of this name.
    """
    path = str(project.mlruns / "mlflow.db")
    for written in (path, quote(path, safe="")):
        if make_url(uri := SQLITE + written).database == path:
            return uri
    raise UserError(f"{path}: SQLAlchemy 2.1 or later is needed for ? and % in a folder's name")


def artifacts_uri(project: Project) -> str:
    """Where the store in the repository keeps artifacts."""
    return (project.root / location.ARTIFACTS).as_uri()


def connect(project: Project) -> mlflow.MlflowClient:
    """Point MLflow at the store; make the store and the experiment where they do not exist.

    A SQLite store is made by one process while others wait. The store in the repository follows it
    into another folder, see `location`.

    Raises:
        UserError: the installed SQLAlchemy can open no database in a folder of this name.
        MlflowException: a server cannot be reached, or the database is of another MLflow.
    """
    if not project.settings.mlflow_tracking_uri:
        return connect_local(project)
    uri = project.settings.mlflow_tracking_uri
    database = _file(uri)
    if database is None or location.is_ready(database, project.settings.mlflow_experiment, None):
        return _client(project, uri, None)
    with _alone(database):
        return _client(project, uri, None)


def connect_local(project: Project) -> mlflow.MlflowClient:
    """As `connect`, but always to the store in the repository."""
    uri, artifacts = local_uri(project), artifacts_uri(project)
    database = project.mlruns / "mlflow.db"
    if location.is_ready(database, project.settings.mlflow_experiment, project.root):
        return _client(project, uri, artifacts)
    with _alone(database):
        # MLflow would put its experiment `Default` into the current folder, and its SQL breaks at a
        # quote in a path, which a URI encodes.
        quiet()
        SqlAlchemyStore(uri, artifacts)
        location.follow(database, project.root)
        return _client(project, uri, artifacts)


def experiment_id(project: Project, client: mlflow.MlflowClient) -> str:
    """The id of the experiment; call `connect` before."""
    found = client.get_experiment_by_name(project.settings.mlflow_experiment)
    assert found, "connect has made it"
    made: str = found.experiment_id
    return made


def quiet() -> None:
    """Keep MLflow's and alembic's routine messages out of our output."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # uv has no pip: harmless


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    database.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(database.with_name(f"{database.name}.lock")):
        yield


def _client(project: Project, uri: str, artifacts: str | None) -> mlflow.MlflowClient:
    quiet()
    _set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    name = project.settings.mlflow_experiment
    if client.get_experiment_by_name(name) is None:
        client.create_experiment(name, artifact_location=artifacts)
    return client


def _set_tracking_uri(uri: str) -> None:
    """Point MLflow at a store, and leave the environment unchanged.

    MLflow sets its variable for subprocesses; ours must find there what a person has set.
    """
    before = os.environ.get(VARIABLE)
    mlflow.set_tracking_uri(uri)
    if before:
        os.environ[VARIABLE] = before
    else:
        os.environ.pop(VARIABLE, None)


def _file(uri: str) -> Path | None:
    """The file of a SQLite store; None for servers and for a database in memory."""
    if not uri.startswith(SQLITE):
        return None
    name = make_url(uri).database
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None

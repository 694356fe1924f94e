"""Reach the MLflow server, or the local store in mlruns/."""

import logging
from pathlib import Path

import mlflow

from .settings import ROOT, Settings

LOCAL = "sqlite:///"


def connect(settings: Settings) -> mlflow.MlflowClient:
    """Point MLflow at the store and make sure that it and the experiment exist.

    The pipeline's first step runs alone and makes them, so that parallel steps never do at once.
    """
    quiet()
    uri = settings.tracking_uri
    if uri.startswith(LOCAL):
        Path(uri.removeprefix(LOCAL)).parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    if client.get_experiment_by_name(settings.mlflow_experiment) is None:
        folder = None if settings.mlflow_tracking_uri else (ROOT / "mlruns" / "artifacts").as_uri()
        client.create_experiment(settings.mlflow_experiment, artifact_location=folder)
    return client


def quiet() -> None:
    """Keep MLflow's and alembic's routine messages out of our output."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # uv has no pip: harmless

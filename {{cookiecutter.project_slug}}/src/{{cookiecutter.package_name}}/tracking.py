"""What MLflow keeps: one parent run per pipeline run, one nested run per candidate."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
import skops.io
from matplotlib.figure import Figure
from mlflow.data import from_pandas
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from .settings import Settings, python_version
from .store import connect

PACKAGES = ("scikit-learn", "numpy", "pandas", "skops", "onnxruntime", "skl2onnx", "mlflow", "kfp")
RUN_KEY = "pipeline.run"  # tag that finds the parent run from any step
GATE = "gate"  # tag: pass or reject
TYPED_ROWS = 1000  # of a table, by which MLflow tells its schema: it looks at each value on its own


def packages() -> dict[str, str]:
    """The versions that training ran with."""
    return {name: version(name) for name in PACKAGES}


class ParentRun:
    """The MLflow run of one pipeline run."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        """Attach to an existing run."""
        self.client = connect(settings)
        self.id = run_id

    @classmethod
    def open(cls, settings: Settings, key: str, parameters: Mapping[str, object]) -> "ParentRun":
        """Start the run of the pipeline run `key`; a retried step finds the one it made before."""
        client = connect(settings)
        found = find(client, settings, key)
        if found:
            return cls(settings, found)
        experiment = client.get_experiment_by_name(settings.mlflow_experiment)
        tags = {
            RUN_KEY: key,
            "mlflow.source.git.commit": settings.commit,
            "python": python_version(),
            **{f"package.{name}": found for name, found in packages().items()},
        }
        run = client.create_run(experiment.experiment_id, run_name=f"pipeline {key}", tags=tags)
        for name, value in parameters.items():
            client.log_param(run.info.run_id, name, value)
        return cls(settings, run.info.run_id)

    def log_dataset(self, table: pd.DataFrame, file: Path, name: str, source: str) -> None:
        """Keep a table as a dataset (schema, size, digest), and its Parquet file as an artifact.

        The digest is the beginning of the file's SHA-256.
        """
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:8]
        first = from_pandas(table.head(TYPED_ROWS), name=name, digest=digest)
        size = json.dumps({"num_rows": len(table), "num_elements": table.size})
        # MLflow itself takes for a source only what it can read: no database.
        origin = json.dumps({"uri": source})
        dataset = Dataset(name, digest, "table", origin, first.to_dict()["schema"], size)
        tags = [InputTag("mlflow.data.context", name)]
        self.client.log_inputs(self.id, [DatasetInput(dataset, tags)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.parquet"
            path.symlink_to(file.resolve())
            self.client.log_artifact(self.id, str(path), "data")

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Keep metrics on the parent run."""
        for name, value in metrics.items():
            self.client.log_metric(self.id, name, value)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text or JSON artifact."""
        self.client.log_text(self.id, text, path)

    def tag(self, **tags: str) -> None:
        """Set tags on the run."""
        for name, value in tags.items():
            self.client.set_tag(self.id, name, value)

    def tag_reason(self, settings: Settings) -> None:
        """Say why the training was started, where an alert asked for it."""
        if settings.retrain_reason:
            reason, alert = settings.retrain_reason, settings.alert_fingerprint
            self.tag(**{"retrain.reason": reason, "retrain.alert": alert})

    @contextmanager
    def candidate(self, name: str) -> Iterator[str]:
        """A nested run for one candidate; FAILED when its body raises. Yields the run id.

        A step that is tried again goes on in the run that it opened before.
        """
        experiment = self.client.get_run(self.id).info.experiment_id
        tags = {"mlflow.parentRunId": self.id, "candidate": name}
        query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
        known = self.client.search_runs([experiment], query)
        with mlflow.start_run(
            run_id=known[0].info.run_id if known else None,
            experiment_id=experiment,
            run_name=name,
            tags=tags,
        ) as run:
            yield run.info.run_id


def log_candidate(
    model: Pipeline,
    example: pd.DataFrame,
    files: Mapping[str, bytes],
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    figures: Mapping[str, Figure],
) -> str:
    """Keep a fitted candidate in the active run: the model with signature, example and files.

    Returns:
        The id of the logged model.
    """
    # MLflow reads its copy once to check it. It is of our own making; the server never loads it,
    # only the served form, which training has held against what the server trusts.
    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    mlflow.log_params(parameters)
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(example, model.predict(example)),
        input_example=example,
        pip_requirements=[f"{name}=={found}" for name, found in packages().items()],
        skops_trusted_types=types,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        mlflow.MlflowClient().log_model_artifacts(info.model_id, folder)
    for name, value in metrics.items():
        mlflow.log_metric(name, value, model_id=info.model_id)
    return info.model_id


def download_model(model_id: str, folder: Path) -> Path:
    """Fetch a logged model's files; returns their folder."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(folder)))


def close(settings: Settings, key: str, *, succeeded: bool) -> None:
    """End the parent run of a pipeline run; nothing to do when its first step never made one."""
    client = connect(settings)
    run_id = find(client, settings, key)
    if run_id:
        client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")


def kill(settings: Settings, run_id: str) -> None:
    """End a parent run, and those of its candidates that are at work, as killed."""
    client = connect(settings)
    experiment = client.get_run(run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    for run in (client.get_run(run_id), *children):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def find(client: mlflow.MlflowClient, settings: Settings, key: str) -> str | None:
    """The id of the parent run of a pipeline run."""
    experiment = client.get_experiment_by_name(settings.mlflow_experiment)
    runs = client.search_runs([experiment.experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
    return runs[0].info.run_id if runs else None

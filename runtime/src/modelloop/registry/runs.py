"""Runs of MLflow: one for each run of the pipeline, and a nested one for each candidate.

A repository's tracking.py is written with these functions. Steps may be retried, and run in
parallel processes.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow.parquet as pq
import skops.io
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from modelloop.project import Project, python_version
from modelloop.registry.store import connect, experiment_id

PACKAGES = ("scikit-learn", "numpy", "pandas", "skops", "onnxruntime", "skl2onnx", "mlflow", "kfp")
RUN_KEY = "pipeline.run"  # tag that finds the parent run from any step
PARENT = "mlflow.parentRunId"
TYPED_ROWS = 1000  # from which MLflow infers a table's schema: it inspects value by value


def packages() -> dict[str, str]:
    """The versions that training runs with."""
    return {name: version(name) for name in PACKAGES}


def open_run(project: Project, key: str) -> str:
    """Start the run of the pipeline's run `key`, or find the one that an earlier attempt started.

    It is tagged with the commit, Python, and the packages' versions.

    Returns:
        Its id.
    """
    client = connect(project)
    found = find(project, key)
    if found:
        return found
    tags = {
        RUN_KEY: key,
        "mlflow.source.git.commit": project.commit,
        "python": python_version(),
        **{f"package.{name}": installed for name, installed in packages().items()},
    }
    run = client.create_run(experiment_id(project, client), run_name=f"pipeline {key}", tags=tags)
    made: str = run.info.run_id
    return made


def find(project: Project, key: str) -> str | None:
    """The id of the run of the pipeline's run `key`."""
    client = connect(project)
    runs = client.search_runs([experiment_id(project, client)], f"tags.`{RUN_KEY}` = '{key}'")
    return runs[0].info.run_id if runs else None


def log_params(project: Project, run_id: str, parameters: Mapping[str, object]) -> None:
    """Log parameters; a retry may log the same values again."""
    client = connect(project)
    for name, value in parameters.items():
        client.log_param(run_id, name, value)


def log_metrics(project: Project, run_id: str, metrics: Mapping[str, float]) -> None:
    """Log metrics."""
    client = connect(project)
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)


def set_tags(project: Project, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags."""
    client = connect(project)
    for name, value in tags.items():
        client.set_tag(run_id, name, value)


def log_text(project: Project, run_id: str, text: str, path: str) -> None:
    """Log a text or JSON artifact, at `path` in the run."""
    connect(project).log_text(run_id, text, path)


def log_dataset(project: Project, run_id: str, file: Path, name: str, source: str) -> None:
    """Log a table as a dataset (schema, size, digest), and its Parquet file as an artifact.

    The digest is the beginning of the file's SHA-256. MLflow fails when parallel runs log one new
    dataset at once: call it only from steps that run alone.

    Args:
        project: the repository.
        run_id: the run.
        file: the Parquet file.
        name: of the dataset, such as train.
        source: its address, without credentials.
    """
    client = connect(project)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:8]
    table = pq.ParquetFile(file)
    head = next(table.iter_batches(TYPED_ROWS), None)
    first = (head if head is not None else table.schema_arrow.empty_table()).to_pandas()
    schema = from_pandas(first, name=name, digest=digest).to_dict()["schema"]
    rows = table.metadata.num_rows
    size = json.dumps({"num_rows": rows, "num_elements": rows * first.shape[1]})
    # MLflow itself takes for a source only what it can read: no database.
    origin = json.dumps({"uri": source})
    dataset = Dataset(name, digest, "table", origin, schema, size)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", name)])])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.parquet"
        path.symlink_to(file.resolve())
        client.log_artifact(run_id, str(path), "data")


def tag_reason(project: Project, run_id: str) -> None:
    """Tag a run with the reason and the alert that requested the training, if there was one."""
    env = project.settings
    if env.retrain_reason:
        reason, alert = env.retrain_reason, env.alert_fingerprint
        set_tags(project, run_id, {"retrain.reason": reason, "retrain.alert": alert})


@contextmanager
def candidate_run(project: Project, run_id: str, name: str) -> Iterator[str]:
    """The active run of one candidate, nested in another; FAILED when the block raises.

    A retried step continues the run that its first attempt opened.

    Yields:
        Its id.
    """
    client = connect(project)
    experiment = client.get_run(run_id).info.experiment_id
    tags = {PARENT: run_id, "candidate": name}
    query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
    known = client.search_runs([experiment], query)
    with mlflow.start_run(
        run_id=known[0].info.run_id if known else None,
        experiment_id=experiment,
        run_name=name,
        tags=tags,
    ) as run:
        yield run.info.run_id


def log_model(model: Pipeline, example: pd.DataFrame, files: Mapping[str, bytes]) -> str:
    """Log a fitted pipeline in the active run, with signature, example, and other files.

    Args:
        model: the pipeline.
        example: some rows of its inputs.
        files: content by name, such as the file that the server loads.

    Returns:
        The id of the logged model.
    """
    # MLflow loads its copy once to check it. Its types are trusted, as we have just made it; the
    # server never loads it, only the served form, whose types training has checked.
    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
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
    model_id: str = info.model_id
    return model_id


def download_model(project: Project, model_id: str, folder: Path) -> Path:
    """Download a logged model's files; returns their folder."""
    connect(project)
    return Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(folder)))


def close_run(project: Project, key: str, *, succeeded: bool) -> None:
    """End the run of the pipeline's run `key`, if its first step has opened one."""
    run_id = find(project, key)
    if run_id:
        connect(project).set_terminated(run_id, "FINISHED" if succeeded else "FAILED")


def kill(project: Project, run_id: str) -> None:
    """End a run and its candidates' running ones as killed."""
    client = connect(project)
    experiment = client.get_run(run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`{PARENT}` = '{run_id}'")
    for run in (client.get_run(run_id), *children):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")

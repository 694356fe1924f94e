"""Kubeflow components: each one names its inputs and outputs and calls one step.

The body of a component runs from a file of its own, so it imports the package by its full name.
No `from __future__ import annotations` here: kfp reads the annotations.
"""

import functools

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from .. import settings

component = functools.partial(
    dsl.component, base_image=settings.load().image, install_kfp_package=False
)


@component
def ingest(key: str, run: Output[Artifact], raw: Output[Dataset]):
    """Open the MLflow run, load the raw table."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    run.metadata["run_id"] = steps.ingest(key, raw.path)


@component
def validate(raw: Input[Dataset], run: Input[Artifact], valid: Output[Dataset]):
    """Hold every row against the schema."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    valid.metadata["rows"] = steps.validate(raw.path, run.metadata["run_id"], valid.path)


@component
def prepare(
    valid: Input[Dataset],
    run: Input[Artifact],
    train_rows: Output[Dataset],
    test_rows: Output[Dataset],
):
    """Prepare the table and split it."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    counts = steps.prepare(valid.path, run.metadata["run_id"], train_rows.path, test_rows.path)
    train_rows.metadata["rows"], test_rows.metadata["rows"] = counts["rows"], counts["test_rows"]


@component
def train(
    candidate: str,
    train_rows: Input[Dataset],
    test_rows: Input[Dataset],
    run: Input[Artifact],
    model: Output[Model],
):
    """Train one candidate."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    found = steps.train(candidate, train_rows.path, test_rows.path, run.metadata["run_id"])
    model.metadata.update(found)


@component
def evaluate(
    models: Input[list[Model]],
    train_rows: Input[Dataset],
    test_rows: Input[Dataset],
    run: Input[Artifact],
    key: str,
    evaluated: Output[Artifact],
    metrics: Output[Metrics],
):
    """Choose the best candidate, measure it and the champion on the test rows."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    found = steps.evaluate(
        [model.metadata for model in models],
        train_rows.path,
        test_rows.path,
        run.metadata["run_id"],
        key,
        evaluated.path,
    )
    for name, value in found.items():
        metrics.log_metric(name, value)


@component
def gate(evaluated: Input[Artifact], run: Input[Artifact], decided: Output[Artifact]) -> str:
    """Judge the best candidate: "pass" or "reject"."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    return steps.gate(evaluated.path, run.metadata["run_id"], decided.path)


@component
def register(decided: Input[Artifact], run: Input[Artifact], registered: Output[Artifact]) -> str:
    """Make the model a version in the registry, as the challenger."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    return steps.register(decided.path, run.metadata["run_id"], registered.path)


@component
def close(status: dsl.PipelineTaskFinalStatus, key: str):
    """End the MLflow run, whatever happened before."""
    from {{ cookiecutter.package_name }}.pipeline import steps

    steps.close(key, succeeded=status.state == "SUCCEEDED")

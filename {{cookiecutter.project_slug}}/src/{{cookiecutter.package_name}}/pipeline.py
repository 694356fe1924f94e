"""The Kubeflow pipelines: `training` and `scoring`, at the end of the file, and their steps.

A component names what goes in and comes out. Its body runs in a process of its own, on a cluster in
a container of its own, from a file of its own: so it imports what it calls. `make train` runs the
training here, `make pipeline` compiles both for a cluster.
"""

import functools

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output
from modelloop.kubeflow.cluster import Cluster, Pod

from . import model, project

component = functools.partial(dsl.component, base_image=project.image, install_kfp_package=False)

# What the steps get on Kubeflow. `make train`, and GoCD by `make candidate`, run them on their own
# machine and ignore it. A GPU is `gpus=1` in a Pod; one step's nodes: `make docs`, page kubeflow.
CLUSTER = Cluster(
    pods={
        "train": Pod(cpu=("1", "2"), memory=("2Gi", "4Gi"), minutes=240),
        "score": Pod(cpu=("1", "2"), memory=("2Gi", "4Gi"), minutes=240),
    },
    node_selector={},  # such as {"pool": "ml"}
    tolerations=[],  # such as {"key": "ml", "operator": "Exists"}
    pull_secrets=[],  # names of the Secrets that open the image's registry
    credentials=[],  # what comes from the Secret besides MLflow's and S3's, such as "DATA_URI"
)
PARALLELISM = 4  # candidates that are trained at once


@component
def ingest(key: str, run: Output[Artifact], raw: Output[Dataset]):
    """Open the MLflow run, load the table with `load` of data.py."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    run.metadata["run_id"] = tracking.open_run(key)
    raw.metadata["rows"] = steps.ingest(project, raw.path)


@component
def validate(raw: Input[Dataset], run: Input[Artifact], valid: Output[Dataset]):
    """Hold every row against SCHEMA of data.py."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    tracking.log_table(run.metadata["run_id"], raw.path)
    valid.metadata["rows"] = steps.validate(project, raw.path, valid.path)


@component
def prepare(
    valid: Input[Dataset],
    run: Input[Artifact],
    train_rows: Output[Dataset],
    test_rows: Output[Dataset],
):
    """Prepare the rows as models take them, and split them as SPLIT of model.py says."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    train_rows.metadata["rows"], test_rows.metadata["rows"] = steps.prepare(
        project, valid.path, train_rows.path, test_rows.path
    )
    tracking.log_split(run.metadata["run_id"], train_rows.path, test_rows.path)


@component
def train(
    candidate: str,
    train_rows: Input[Dataset],
    test_rows: Input[Dataset],
    run: Input[Artifact],
    model: Output[Model],
):
    """Train one of CANDIDATES of model.py, in a nested MLflow run."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    with tracking.candidate_run(run.metadata["run_id"], candidate):
        trained = steps.train(project, candidate, train_rows.path, test_rows.path)
        model_id = tracking.log_candidate(trained)
    model.metadata.update(trained.summary(model_id))


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
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    found = steps.evaluate(
        project,
        [model.metadata for model in models],
        train_rows.path,
        test_rows.path,
        run.metadata["run_id"],
        key,
        evaluated.path,
    )
    tracking.log_evaluation(run.metadata["run_id"], found)
    for name, value in found.metrics.items():
        metrics.log_metric(name, value)


@component
def gate(evaluated: Input[Artifact], run: Input[Artifact], decided: Output[Artifact]) -> str:
    """Judge the best candidate by GATE of model.py: "pass" or "reject"."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    contract = steps.gate(project, evaluated.path, decided.path)
    tracking.log_decision(run.metadata["run_id"], contract)
    return steps.verdict(contract.decision)


@component
def register(decided: Input[Artifact], run: Input[Artifact], registered: Output[Artifact]) -> str:
    """Make the model a version in the registry, as the challenger."""
    from modelloop.training import steps

    from {{ cookiecutter.package_name }} import project, tracking

    contract = steps.register(project, decided.path, registered.path)
    tracking.log_version(run.metadata["run_id"], contract.version)
    return contract.version


@component
def close(status: dsl.PipelineTaskFinalStatus, key: str):
    """End the MLflow run, whatever happened before."""
    from {{ cookiecutter.package_name }} import tracking

    tracking.close_run(key, succeeded=status.state == "SUCCEEDED")


@component
def score(input: str, output: str, alias: str) -> int:
    """Score a file; returns how many rows were scored."""
    from modelloop.batch import job

    from {{ cookiecutter.package_name }} import project

    report = job.run(project, input, output, alias)
    print(report)
    return report.rows - report.refused


@dsl.pipeline(name=f"{project.slug}-training", description="From raw data to a registered model")
def training(candidates: list[str] = list(model.CANDIDATES)):  # noqa: B006 read by the compiler
    """Ingest, validate, prepare, train the candidates, evaluate, gate, register.

    Args:
        candidates: which of CANDIDATES of model.py compete.
    """
    # `key` is the id of this pipeline run, `run` holds the id of the MLflow run that `ingest` opens
    # for it. `close` finds that one by `key`, for `ingest` may have failed.
    key = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    end = close(key=key)
    with dsl.ExitHandler(end, name="tracked"):
        ingested = ingest(key=key).set_caching_options(False)
        run = ingested.outputs["run"]
        validated = validate(raw=ingested.outputs["raw"], run=run)
        prepared = prepare(valid=validated.outputs["valid"], run=run)
        rows = {name: prepared.outputs[name] for name in ("train_rows", "test_rows")}
        with dsl.ParallelFor(candidates, name="candidates", parallelism=PARALLELISM) as candidate:
            trained = train(candidate=candidate, run=run, **rows)
        evaluated = evaluate(
            models=dsl.Collected(trained.outputs["model"]), run=run, key=key, **rows
        ).set_caching_options(False)
        judged = gate(evaluated=evaluated.outputs["evaluated"], run=run)
        judged.set_caching_options(False)
        with dsl.If(judged.outputs["Output"] == "pass", name="passed"):
            registered = register(decided=judged.outputs["decided"], run=run)
            registered.set_caching_options(False)
    for task in (ingested, validated, prepared, trained, evaluated, judged, registered, end):
        CLUSTER.configure(project, task)


@dsl.pipeline(name=f"{project.slug}-batch", description="Score a file with the released model")
def scoring(input: str, output: str, alias: str = "champion"):
    """Score a file.

    Args:
        input: address of a CSV or Parquet file, such as s3://bucket/rows.parquet.
        output: address of the file to write.
        alias: which version of the registry scores it.
    """
    scored = score(input=input, output=output, alias=alias)
    # The same address may hold other rows, and the alias name another version.
    CLUSTER.configure(project, scored.set_caching_options(False))

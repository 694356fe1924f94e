"""What MLflow keeps of a training: one run for the pipeline, a nested one for each candidate.

The steps of pipeline.py call these functions. Yours to extend: a figure, a metric or a tag more is
a line here. `runs` finds a run again when a step is tried again, and `make mlflow` shows them all.
"""

from contextlib import AbstractContextManager
from pathlib import Path

import mlflow
from modelloop import Contract
from modelloop.registry import runs
from modelloop.training.steps import Evaluated, TrainedCandidate, verdict

from . import data, model, project


def open_run(key: str) -> str:
    """Start the MLflow run of the pipeline run `key`, with what data.py and model.py ask for.

    Returns:
        The id of the MLflow run.
    """
    run_id = runs.open_run(project, key)
    parameters = {
        "data_uri": project.settings.shown_data_uri,  # without credentials
        "target": model.TARGET,
        "features": ",".join(model.FEATURES),
        "candidates": ",".join(model.CANDIDATES),
        "test_share": model.TEST_SHARE,
        "split": model.SPLIT,
        "weight": model.WEIGHT,
        "seed": model.SEED,
    }
    runs.log_params(project, run_id, parameters)
    runs.tag_reason(project, run_id)
    return run_id


def log_table(run_id: str, raw_path: str) -> None:
    """Keep the schema, and the raw table as a dataset with its file."""
    runs.log_text(project, run_id, data.SCHEMA.to_json(indent=2), "schema.json")
    source = project.settings.shown_data_uri
    runs.log_dataset(project, run_id, Path(raw_path), "raw", source)


def log_split(run_id: str, train_path: str, test_path: str) -> None:
    """Keep the rows that train and those that test, as datasets with their files."""
    source = project.settings.shown_data_uri
    runs.log_dataset(project, run_id, Path(train_path), "train", source)
    runs.log_dataset(project, run_id, Path(test_path), "test", source)


def candidate_run(run_id: str, candidate: str) -> AbstractContextManager[str]:
    """The nested run of a candidate, active in the block; it has failed when the block raises."""
    return runs.candidate_run(project, run_id, candidate)


def log_candidate(candidate: TrainedCandidate) -> str:
    """Keep a trained candidate in the active run: parameters, plots, the model, its metrics.

    Returns:
        The id of the logged model.
    """
    trained = candidate.trained
    mlflow.log_params({"candidate": candidate.name, **candidate.parameters})
    for name, figure in candidate.figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    files = {trained.served.file: trained.file}  # beside the model: what the server loads
    model_id = runs.log_model(trained.model, candidate.example, files)
    for name, value in trained.cross_validation.items():
        mlflow.log_metric(f"cv_{name}", value, model_id=model_id)
    for name, value in candidate.test_metrics.items():
        mlflow.log_metric(f"test_{name}", value, model_id=model_id)
    return model_id


def log_evaluation(run_id: str, evaluated: Evaluated) -> None:
    """Keep what was measured of the best candidate."""
    metrics = {f"test_{name}": value for name, value in evaluated.metrics.items()}
    runs.log_metrics(project, run_id, metrics | {"latency_ms": evaluated.latency_ms})
    runs.set_tags(project, run_id, {"candidate": evaluated.candidate})


def log_decision(run_id: str, contract: Contract) -> None:
    """Keep the gate's decision with every number, and the contract."""
    decision = contract.decision
    runs.log_text(project, run_id, decision.model_dump_json(indent=2), "gate.json")
    runs.log_text(project, run_id, decision.table() + "\n", "gate.txt")
    runs.log_text(project, run_id, contract.model_dump_json(indent=2), "contract.json")
    reasons = "; ".join(decision.reasons) or "none"
    runs.set_tags(project, run_id, {"gate": verdict(decision), "gate.reasons": reasons})


def log_version(run_id: str, version: str) -> None:
    """Say which version the registry made of it."""
    runs.set_tags(project, run_id, {"version": version})


def close_run(key: str, *, succeeded: bool) -> None:
    """End the MLflow run of the pipeline run `key`; nothing to do where `open_run` made none."""
    runs.close_run(project, key, succeeded=succeeded)

"""What MLflow keeps of a training, in a store of the test's own."""

import json

import pytest
from modelloop.registry.store import connect
from modelloop.training.steps import TrainedCandidate
from modelloop.training.train import table_of

from {{ cookiecutter.package_name }} import data, model, tracking


@pytest.fixture
def run_id(store) -> str:
    return tracking.open_run("a-test")


def test_a_run_says_what_was_asked_for(store, run_id):
    assert tracking.open_run("a-test") == run_id  # of a step that is tried again
    kept = connect(store).get_run(run_id).data
    assert kept.params["target"] == model.TARGET
    assert kept.params["features"] == ",".join(model.FEATURES)
    assert kept.tags["mlflow.source.git.commit"] == store.commit


def test_the_table_is_kept_with_its_schema(store, run_id, rows, tmp_path):
    rows.train.to_parquet(tmp_path / "raw")
    tracking.log_table(run_id, str(tmp_path / "raw"))
    client = connect(store)
    (dataset,) = client.get_run(run_id).inputs.dataset_inputs
    assert json.loads(dataset.dataset.profile)["num_rows"] == len(rows.train)
    schema = client.download_artifacts(run_id, "schema.json", str(tmp_path))
    with open(schema, encoding="utf-8") as file:
        assert json.load(file)["columns"].keys() == data.SCHEMA.columns.keys()


def test_a_candidate_is_a_nested_run_with_its_model(store, run_id, rows, trained):
    inputs = rows.inputs(rows.test)
    assert len(trained.predict(table_of(inputs))) == len(inputs)
    candidate = TrainedCandidate(
        name="first", trained=trained, example=inputs.head(3), parameters={"seed": model.SEED},
        test_metrics={"score": 0.5}, figures={}, metric=model.GATE.metric,
    )  # fmt: skip
    with tracking.candidate_run(run_id, "first") as nested:
        model_id = tracking.log_candidate(candidate)
    client = connect(store)
    kept = client.get_run(nested)
    assert kept.data.tags["mlflow.parentRunId"] == run_id
    assert kept.info.status == "FINISHED"
    assert kept.data.metrics["test_score"] == 0.5
    assert client.get_logged_model(model_id).source_run_id == nested


def test_closing_ends_the_run(store, run_id):
    tracking.close_run("a-test", succeeded=False)
    assert connect(store).get_run(run_id).info.status == "FAILED"

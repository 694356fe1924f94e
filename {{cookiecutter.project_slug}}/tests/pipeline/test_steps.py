"""The steps in order, in one process, against an MLflow store of their own."""

import dataclasses
import hashlib
import json
import math
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from {{ cookiecutter.package_name }} import data, model, registry, settings, tracking
from {{ cookiecutter.package_name }}.columns import DataError
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.pipeline import steps
from {{ cookiecutter.package_name }}.store import connect
from {{ cookiecutter.package_name }}.tables import TableError
from {{ cookiecutter.package_name }}.training.split import by_time

KEY = "test-run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run up to the evaluation, with the first candidate: (folder, run id)."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        run_id = steps.ingest(KEY, str(folder / "raw"))
        steps.validate(str(folder / "raw"), run_id, str(folder / "valid"))
        train, test = str(folder / "train"), str(folder / "test")
        steps.prepare(str(folder / "valid"), run_id, train, test)
        found = steps.train(next(iter(model.CANDIDATES)), train, test, run_id)
        steps.evaluate([found], train, test, run_id, KEY, str(folder / "evaluated"))
        yield folder, run_id


@pytest.fixture
def client(run) -> mlflow.MlflowClient:
    return connect(settings.load())


def artifacts(client, run_id: str, path: str = "") -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, path)}


def test_the_parent_run_keeps_data_schema_and_provenance(run, client):
    _, run_id = run
    kept = client.get_run(run_id)
    names = {d.dataset.name for d in kept.inputs.dataset_inputs}
    assert names == {"raw", "train", "test"}
    for dataset in (d.dataset for d in kept.inputs.dataset_inputs):
        file = Path(client.download_artifacts(run_id, f"data/{dataset.name}.parquet"))
        assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(dataset.digest)
        table = pd.read_parquet(file)
        size = {"num_rows": len(table), "num_elements": table.size}
        assert json.loads(dataset.profile) == size
        schema = json.loads(dataset.schema)["mlflow_colspec"]
        assert [column["name"] for column in schema] == [*table.columns]
    files = {f"data/{name}.parquet" for name in names}
    assert artifacts(client, run_id, "data") == files
    assert "schema.json" in artifacts(client, run_id)
    assert kept.data.tags["python"] == settings.python_version()
    assert kept.data.tags["mlflow.source.git.commit"] == settings.load().commit
    assert kept.data.params["target"] == model.TARGET


def test_a_candidate_keeps_parameters_metrics_plots_and_a_loadable_model(run, client):
    folder, run_id = run
    experiment = client.get_run(run_id).info.experiment_id
    (child,) = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert child.info.status == "FINISHED"
    assert {f"cv_{model.GATE.metric}", f"test_{model.GATE.metric}"} <= child.data.metrics.keys()
    assert "random_state" in child.data.params
    plots = artifacts(client, child.info.run_id, "plots")
    assert "plots/feature_importance.png" in plots
    assert len(plots) == 2
    loaded = mlflow.pyfunc.load_model(f"runs:/{child.info.run_id}/model")
    test = pd.read_parquet(folder / "test")
    assert len(loaded.predict(test[model.FEATURES])) == len(test)
    assert loaded.metadata.signature.inputs.input_names() == model.FEATURES
    assert loaded.input_example is not None


def test_a_candidate_that_passes_becomes_the_challenger(run, client):
    folder, run_id = run
    assert steps.gate(str(folder / "evaluated"), run_id, str(folder / "decided")) == "pass"
    version = steps.register(str(folder / "decided"), run_id, str(folder / "registered"))
    challenger = client.get_model_version_by_alias(registry.NAME, "challenger")
    assert str(challenger.version) == version
    fetched = registry.fetch(settings.load(), "challenger", folder / "model")
    assert fetched.version == version
    assert fetched.decision.passed
    assert fetched == Contract.read(folder / "model")
    assert (folder / "model" / fetched.served.file).exists()


def test_a_step_that_is_tried_again_makes_nothing_twice(run, client):
    folder, run_id = run
    assert steps.ingest(KEY, str(folder / "raw")) == run_id
    paths = (str(folder / "train"), str(folder / "test"))
    steps.train(next(iter(model.CANDIDATES)), *paths, run_id)
    experiment = client.get_run(run_id).info.experiment_id
    (child,) = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert child.info.status == "FINISHED"
    assert len(client.search_runs([experiment])) == 2

    steps.gate(str(folder / "evaluated"), run_id, str(folder / "decided"))
    versions = [
        steps.register(str(folder / "decided"), run_id, str(folder / name)) for name in ("a", "b")
    ]
    assert versions[0] == versions[1]
    assert len(client.search_model_versions(f"name = '{registry.NAME}'")) == 1
    assert Contract.read(folder / "a") == Contract.read(folder / "b")


def test_a_candidate_that_fails_is_visible_with_every_reason_and_not_registered(
    run, client, monkeypatch
):
    folder, run_id = run
    worst = -math.inf if model.GATE.metric in ("rmse", "mae") else math.inf
    strict = dataclasses.replace(model.GATE, floor=worst, latency_ms=0.0)
    monkeypatch.setattr(model, "GATE", strict)
    before = client.search_model_versions(f"name = '{registry.NAME}'")
    assert steps.gate(str(folder / "evaluated"), run_id, str(folder / "rejected")) == "reject"
    tags = client.get_run(run_id).data.tags
    assert tags["gate"] == "reject"
    assert "floor" in tags["gate.reasons"]
    assert "latency" in tags["gate.reasons"]
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/gate.json")
    failed = [c["name"] for c in json.loads(text)["checks"] if not c["passed"]]
    assert failed == ["floor", "latency"]
    with pytest.raises(UserError, match="only a model that passed"):
        steps.register(str(folder / "rejected"), run_id, str(folder / "registered"))
    assert client.search_model_versions(f"name = '{registry.NAME}'") == before


def test_a_champion_is_scored_on_the_same_rows(run):
    folder, run_id = run
    env = settings.load()
    steps.gate(str(folder / "evaluated"), run_id, str(folder / "decided"))
    steps.register(str(folder / "decided"), run_id, str(folder / "registered"))
    version, _ = registry.promote(env)
    found = steps.train(
        next(iter(model.CANDIDATES)), str(folder / "train"), str(folder / "test"), run_id
    )
    paths = (str(folder / "train"), str(folder / "test"))
    steps.evaluate([found], *paths, run_id, KEY, str(folder / "second"))
    measured = json.loads((folder / "second" / steps.EVALUATION).read_text())
    assert measured["champion_note"] == f"champion version {version}"
    assert measured["champion"] == measured["score"]


def test_weights_and_time_go_through_every_step(store, tmp_path, monkeypatch):
    load, random = data.load, np.random.default_rng(0)
    extra = {"day": pa.Column(int), "trust": pa.Column(float), "order": pa.Column(str)}

    def with_more(uri: str, query: str) -> pd.DataFrame:
        table = load(uri, query)
        return table.assign(day=random.permutation(len(table)), trust=1.5, order="id")

    monkeypatch.setattr(data, "load", with_more)
    monkeypatch.setattr(data, "SCHEMA", data.SCHEMA.add_columns(extra))
    monkeypatch.setattr(model, "SPLIT", by_time("day"))
    monkeypatch.setattr(model, "WEIGHT", "trust")
    run_id = steps.ingest(KEY, str(tmp_path / "raw"))
    steps.validate(str(tmp_path / "raw"), run_id, str(tmp_path / "valid"))
    paths = str(tmp_path / "train"), str(tmp_path / "test")
    counts = steps.prepare(str(tmp_path / "valid"), run_id, *paths)
    sides = [pd.read_parquet(path) for path in paths]
    assert [*counts.values()] == [*map(len, sides)]
    assert sides[0]["__time__"].max() < sides[1]["__time__"].min()
    assert {"trust", "order"}.isdisjoint(sides[0].columns)
    found = steps.train(next(iter(model.CANDIDATES)), *paths, run_id)
    steps.evaluate([found], *paths, run_id, KEY, str(tmp_path / "evaluated"))
    contract = Contract.read(tmp_path / "evaluated")
    assert [c.name for c in contract.features] == model.FEATURES
    kept = connect(store).get_run(run_id).data.params
    assert (kept["split"], kept["weight"]) == ("by_time(day)", "trust")


def test_a_table_is_kept_with_its_address_whatever_that_is(run, store, tmp_path, monkeypatch):
    folder, _ = run
    monkeypatch.setenv("DATA_URI", "postgresql://me:secret@db.example/sales")
    found = tracking.ParentRun.open(store, KEY, {})
    steps.validate(str(folder / "raw"), found.id, str(tmp_path / "valid"))
    (kept,) = found.client.get_run(found.id).inputs.dataset_inputs
    assert json.loads(kept.dataset.source) == {"uri": "postgresql://db.example/sales"}


def test_a_column_that_the_schema_does_not_know_is_named(run, monkeypatch):
    folder, run_id = run
    monkeypatch.setattr(model, "WEIGHT", "heft")
    with pytest.raises(UserError, match=r"model\.py names \['heft'\], but SCHEMA in data\.py has"):
        steps.prepare(str(folder / "valid"), run_id, str(folder / "a"), str(folder / "b"))


def test_a_table_that_breaks_the_schema_is_refused(run, tmp_path):
    folder, run_id = run
    pd.read_parquet(folder / "raw").drop(columns=model.TARGET).to_parquet(tmp_path / "raw")
    with pytest.raises(DataError, match=f"column {re.escape(model.TARGET)}: not in the table"):
        steps.validate(str(tmp_path / "raw"), run_id, str(tmp_path / "valid"))


def test_a_wrong_address_fails_in_a_run_that_can_be_seen(run, client, monkeypatch):
    folder, _ = run
    monkeypatch.setenv("DATA_URI", "nowhere.csv")
    with pytest.raises(TableError, match=r"DATA_URI nowhere\.csv: .*No such file"):
        steps.ingest("lost", str(folder / "lost"))
    steps.close("lost", succeeded=False)
    found = connect(settings.load())
    run_id = tracking.find(found, settings.load(), "lost")
    assert found.get_run(run_id).info.status == "FAILED"


def test_closing_ends_the_run(run, client):
    _, run_id = run
    steps.close(KEY, succeeded=False)
    assert client.get_run(run_id).info.status == "FAILED"


def test_closing_a_run_that_never_began_is_no_fault(run):
    steps.close("unknown", succeeded=False)

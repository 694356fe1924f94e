"""The steps in order, in one process, with what tracking.py keeps of them in an MLflow store."""

import dataclasses
import hashlib
import importlib
import json
import math
import re
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from modelloop import Project
from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.project import python_version
from modelloop.registry import runs, versions
from modelloop.registry.store import connect
from modelloop.table.columns import DataError
from modelloop.table.read import TableError
from modelloop.table.split import by_time
from modelloop.training import steps

KEY = "test-run"


class Run:
    """A run of the pipeline: each step and the calls of tracking.py, as pipeline.py has them."""

    def __init__(self, project: Project, folder: Path, key: str = KEY) -> None:
        self.project, self.folder, self.key = project, folder, key
        self.tracking = importlib.import_module(f"{project.package}.tracking")
        self.sides = (self.path("train"), self.path("test"))

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def to_evaluation(self) -> "Run":
        """From the table to the measured candidate, the first of CANDIDATES."""
        self.ingest()
        self.validate()
        self.prepare()
        self.evaluate(self.train())
        return self

    def ingest(self) -> int:
        self.id = self.tracking.open_run(self.key)
        return steps.ingest(self.project, self.path("raw"))

    def validate(self) -> int:
        self.tracking.log_table(self.id, self.path("raw"))
        return steps.validate(self.project, self.path("raw"), self.path("valid"))

    def prepare(self) -> tuple[int, int]:
        counts = steps.prepare(self.project, self.path("valid"), *self.sides)
        self.tracking.log_split(self.id, *self.sides)
        return counts

    def train(self) -> dict[str, object]:
        candidate = next(iter(self.project.model.CANDIDATES))
        with self.tracking.candidate_run(self.id, candidate):
            trained = steps.train(self.project, candidate, *self.sides)
            model_id = self.tracking.log_candidate(trained)
        return trained.summary(model_id)

    def evaluate(self, summary: dict[str, object], out: str = "evaluated") -> steps.Evaluated:
        found = steps.evaluate(
            self.project, [summary], *self.sides, self.id, self.key, self.path(out)
        )
        self.tracking.log_evaluation(self.id, found)
        return found

    def gate(self, out: str = "decided") -> str:
        contract = steps.gate(self.project, self.path("evaluated"), self.path(out))
        self.tracking.log_decision(self.id, contract)
        return steps.verdict(contract.decision)

    def register(self, decided: str = "decided", out: str = "registered") -> str:
        contract = steps.register(self.project, self.path(decided), self.path(out))
        self.tracking.log_version(self.id, contract.version)
        return contract.version


@pytest.fixture(scope="module")
def run(either, empty_store, tmp_path_factory):
    """A run up to the evaluation."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        yield Run(either, folder).to_evaluation()


@pytest.fixture
def client(run) -> mlflow.MlflowClient:
    return connect(run.project)


def candidate_runs(client, run) -> list[mlflow.entities.Run]:
    experiment = client.get_run(run.id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.id}'")


def artifacts(client, run_id: str, path: str = "") -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, path)}


def test_the_parent_run_keeps_data_schema_and_provenance(run, client):
    kept = client.get_run(run.id)
    names = {d.dataset.name for d in kept.inputs.dataset_inputs}
    assert names == {"raw", "train", "test"}
    for dataset in (d.dataset for d in kept.inputs.dataset_inputs):
        file = Path(client.download_artifacts(run.id, f"data/{dataset.name}.parquet"))
        assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(dataset.digest)
        table = pd.read_parquet(file)
        size = {"num_rows": len(table), "num_elements": table.size}
        assert json.loads(dataset.profile) == size
        schema = json.loads(dataset.schema)["mlflow_colspec"]
        assert [column["name"] for column in schema] == [*table.columns]
    files = {f"data/{name}.parquet" for name in names}
    assert artifacts(client, run.id, "data") == files
    assert "schema.json" in artifacts(client, run.id)
    assert kept.data.tags["python"] == python_version()
    assert kept.data.tags["mlflow.source.git.commit"] == run.project.commit
    assert kept.data.params["target"] == run.project.model.TARGET


def test_a_candidate_keeps_parameters_metrics_plots_and_a_loadable_model(run, client):
    model = run.project.model
    (child,) = candidate_runs(client, run)
    assert child.info.status == "FINISHED"
    assert {f"cv_{model.GATE.metric}", f"test_{model.GATE.metric}"} <= child.data.metrics.keys()
    assert "random_state" in child.data.params
    plots = artifacts(client, child.info.run_id, "plots")
    assert "plots/feature_importance.png" in plots
    assert len(plots) == 2
    loaded = mlflow.pyfunc.load_model(f"runs:/{child.info.run_id}/model")
    test = pd.read_parquet(run.path("test"))
    assert len(loaded.predict(test[model.FEATURES])) == len(test)
    assert loaded.metadata.signature.inputs.input_names() == model.FEATURES
    assert loaded.input_example is not None


def test_the_parent_run_keeps_the_measurements_of_the_best_candidate(run, client):
    kept, model = client.get_run(run.id).data, run.project.model
    measured = Contract.read(Path(run.path("evaluated"))).metrics
    assert {f"test_{name}" for name in measured} <= kept.metrics.keys()
    assert kept.metrics[f"test_{model.GATE.metric}"] == measured[model.GATE.metric]
    assert kept.metrics["latency_ms"] > 0
    assert kept.tags["candidate"] == next(iter(model.CANDIDATES))


def test_a_candidate_that_passes_becomes_the_challenger(run, client):
    assert run.gate() == "pass"
    version = run.register()
    challenger = client.get_model_version_by_alias(run.project.slug, "challenger")
    assert str(challenger.version) == version
    tags = client.get_run(run.id).data.tags
    assert (tags["gate"], tags["gate.reasons"], tags["version"]) == ("pass", "none", version)
    assert {"gate.json", "gate.txt", "contract.json"} <= artifacts(client, run.id)
    model = run.folder / "model"
    fetched = versions.fetch(run.project, "challenger", model)
    assert fetched.version == version
    assert fetched.decision.passed
    assert fetched == Contract.read(model)
    assert (model / fetched.served.file).exists()


def test_a_step_that_is_tried_again_makes_nothing_twice(run, client):
    again = Run(run.project, run.folder)
    again.ingest()
    assert again.id == run.id
    again.train()
    (child,) = candidate_runs(client, run)
    assert child.info.status == "FINISHED"
    assert len(client.search_runs([child.info.experiment_id])) == 2

    run.gate()
    assert run.register(out="a") == again.register(out="b")
    assert len(client.search_model_versions(f"name = '{run.project.slug}'")) == 1
    assert Contract.read(run.folder / "a") == Contract.read(run.folder / "b")


def test_a_candidate_that_fails_is_visible_with_every_reason_and_not_registered(
    run, client, monkeypatch
):
    model, query = run.project.model, f"name = '{run.project.slug}'"
    worst = -math.inf if model.GATE.metric in ("rmse", "mae") else math.inf
    strict = dataclasses.replace(model.GATE, floor=worst, latency_ms=0.0)
    monkeypatch.setattr(model, "GATE", strict)
    before = client.search_model_versions(query)
    assert run.gate(out="rejected") == "reject"
    tags = client.get_run(run.id).data.tags
    assert tags["gate"] == "reject"
    assert "floor" in tags["gate.reasons"]
    assert "latency" in tags["gate.reasons"]
    text = mlflow.artifacts.load_text(f"runs:/{run.id}/gate.json")
    failed = [c["name"] for c in json.loads(text)["checks"] if not c["passed"]]
    assert failed == ["floor", "latency"]
    with pytest.raises(UserError, match="only a model that passed"):
        run.register(decided="rejected")
    assert client.search_model_versions(query) == before


@pytest.mark.slow
def test_a_champion_is_scored_on_the_same_rows(run):
    run.gate()
    run.register()
    version, _ = versions.promote(run.project)
    run.evaluate(run.train(), out="second")
    measured = json.loads((run.folder / "second" / steps.EVALUATION).read_text())
    assert measured["champion_note"] == f"champion version {version}"
    assert measured["champion"] == measured["score"]


@pytest.mark.slow
def test_weights_and_time_go_through_every_step(store, tmp_path, monkeypatch):
    data, model = store.data, store.model
    load, random = data.load, np.random.default_rng(0)
    extra = {"day": pa.Column(int), "trust": pa.Column(float), "order": pa.Column(str)}

    def with_more(uri: str, query: str) -> pd.DataFrame:
        table = load(uri, query)
        return table.assign(day=random.permutation(len(table)), trust=1.5, order="id")

    monkeypatch.setattr(data, "load", with_more)
    monkeypatch.setattr(data, "SCHEMA", data.SCHEMA.add_columns(extra))
    monkeypatch.setattr(model, "SPLIT", by_time("day"))
    monkeypatch.setattr(model, "WEIGHT", "trust")
    run = Run(store, tmp_path)
    assert run.ingest() == len(pd.read_parquet(run.path("raw")))
    assert run.validate() == len(pd.read_parquet(run.path("valid")))
    counts = run.prepare()
    sides = [pd.read_parquet(path) for path in run.sides]
    assert counts == tuple(map(len, sides))
    assert sides[0]["__time__"].max() < sides[1]["__time__"].min()
    assert {"trust", "order"}.isdisjoint(sides[0].columns)
    run.evaluate(run.train())
    contract = Contract.read(tmp_path / "evaluated")
    assert [c.name for c in contract.features] == model.FEATURES
    kept = connect(store).get_run(run.id).data.params
    assert (kept["split"], kept["weight"]) == ("by_time(day)", "trust")


def test_a_table_is_kept_with_its_address_whatever_that_is(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_URI", "postgresql://me:secret@db.example/sales")
    run = Run(store, tmp_path)
    run.id = run.tracking.open_run(KEY)
    pd.DataFrame({"a": [1]}).to_parquet(run.path("raw"))
    run.tracking.log_table(run.id, run.path("raw"))
    found = connect(store).get_run(run.id)
    (kept,) = found.inputs.dataset_inputs
    assert json.loads(kept.dataset.source) == {"uri": "postgresql://db.example/sales"}
    assert found.data.params["data_uri"] == "postgresql://db.example/sales"


def test_the_alert_that_requested_the_training_is_kept(store, tmp_path, monkeypatch):
    monkeypatch.setenv("RETRAIN_REASON", "ModelInputDrift")
    monkeypatch.setenv("ALERT_FINGERPRINT", "0a1b")
    run = Run(store, tmp_path)
    tags = connect(store).get_run(run.tracking.open_run(KEY)).data.tags
    assert (tags["retrain.reason"], tags["retrain.alert"]) == ("ModelInputDrift", "0a1b")


def test_a_column_that_the_schema_does_not_know_is_named(project, tmp_path, monkeypatch):
    monkeypatch.setattr(project.model, "WEIGHT", "heft")
    with pytest.raises(UserError, match=r"model\.py names \['heft'\], but SCHEMA in data\.py has"):
        steps.prepare(project, *(str(tmp_path / name) for name in ("valid", "a", "b")))


def test_a_table_that_breaks_the_schema_is_refused(run, tmp_path):
    target = run.project.model.TARGET
    pd.read_parquet(run.path("raw")).drop(columns=target).to_parquet(tmp_path / "raw")
    with pytest.raises(DataError, match=f"column {re.escape(target)}: not in the table"):
        steps.validate(run.project, str(tmp_path / "raw"), str(tmp_path / "valid"))


def test_a_wrong_address_fails_in_a_run_that_can_be_seen(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_URI", "nowhere.csv")
    run = Run(store, tmp_path, "lost")
    with pytest.raises(TableError, match=r"DATA_URI nowhere\.csv: .*No such file"):
        run.ingest()
    run.tracking.close_run("lost", succeeded=False)
    assert runs.find(store, "lost") == run.id
    assert connect(store).get_run(run.id).info.status == "FAILED"


def test_a_candidate_that_cannot_be_trained_has_failed_visibly(store, tmp_path):
    run = Run(store, tmp_path)
    run.id = run.tracking.open_run(KEY)
    with pytest.raises(RuntimeError), run.tracking.candidate_run(run.id, "broken"):
        raise RuntimeError
    (child,) = candidate_runs(connect(store), run)
    assert (child.info.run_name, child.info.status) == ("broken", "FAILED")


@pytest.mark.parametrize(("succeeded", "status"), [(True, "FINISHED"), (False, "FAILED")])
def test_closing_ends_the_run(store, tmp_path, succeeded, status):
    run = Run(store, tmp_path)
    run.id = run.tracking.open_run(KEY)
    run.tracking.close_run(KEY, succeeded=succeeded)
    assert connect(store).get_run(run.id).info.status == status


def test_closing_a_run_that_never_began_is_no_fault(store, tmp_path):
    Run(store, tmp_path).tracking.close_run("unknown", succeeded=False)

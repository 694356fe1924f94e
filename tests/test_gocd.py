"""The GoCD pipelines of a rendered repository, run for real by GoCD's rules."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import commit, git
from gocd import RefusedError, Server
from repository import Repository, keep_environments
from test_loop import RUNS, aliases, mlflow_server, own_render

pytestmark = pytest.mark.execute

PIPELINE = "penguins-train"
# What a team's tests look at is not what these tests look at.
QUICK = {"PYTEST_ADDOPTS": "tests/test_settings.py"}
SECRETS = {("mlops", "mlflow-username"): "somebody", ("mlops", "mlflow-password"): "s3cr3t-word"}


@dataclass(frozen=True)
class Delivery:
    """A repository, a GoCD server for it and the MLflow server that both use."""

    repository: Repository
    server: Server
    mlflow: str

    def registered(self) -> dict[str, str]:
        return aliases(self.repository, MLFLOW_TRACKING_URI=self.mlflow)

    def runs(self) -> list[dict]:
        return self.repository.ask(RUNS, MLFLOW_TRACKING_URI=self.mlflow)


@pytest.fixture(scope="module", params=["classification", "regression"])
def delivery(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Delivery]:
    folder = tmp_path_factory.mktemp("gocd")
    repository = own_render(template, folder, {"problem_type": request.param})
    agent = repository.environment | {"PYTEST_ADDOPTS": "-m 'not slow'"}
    agent.pop("PYTHONPATH")
    (config,) = repository.folder.glob("ci/*.gocd.yaml")
    server = Server(config, repository.folder, folder / "server", agent, SECRETS, keep_environments)
    with mlflow_server(folder) as url:
        yield Delivery(repository, server, url)


def test_a_push_or_an_alert_leads_to_a_challenger(delivery: Delivery):
    reason = {"RETRAIN_REASON": "ModelFeatureDrift:age", "ALERT_FINGERPRINT": "95076be0"}
    ran = delivery.server.run(PIPELINE, MLFLOW_TRACKING_URI=delivery.mlflow, **reason)

    assert ran.stages == {"test": "passed", "train": "passed", "gate": "passed"}, ran.log
    assert (ran.artifacts / "test" / "test" / "tests" / "tests.xml").stat().st_size > 0
    model = json.loads((ran.artifacts / "train" / "train" / "model" / "model.json").read_text())
    assert (model["name"], model["version"]) == ("penguins", "1")
    assert delivery.registered() == {"challenger": "1"}
    (parent,) = [run for run in delivery.runs() if "mlflow.parentRunId" not in run["tags"]]
    assert parent["tags"]["retrain.reason"] == "ModelFeatureDrift:age"
    assert parent["tags"]["retrain.alert"] == "95076be0"
    assert parent["tags"]["mlflow.source.git.commit"] == model["git_commit"]
    assert "version 1 is @challenger" in ran.log["gate/gate"]
    assert SECRETS["mlops", "mlflow-password"] not in "".join(ran.log.values())


def test_a_rejected_candidate_turns_the_gate_red_and_is_not_registered(
    delivery: Delivery, tmp_path: Path
):
    before = delivery.registered()
    git(tmp_path, "clone", "--quiet", str(delivery.repository.folder), "other")
    worse = tmp_path / "other" / "src" / "penguins" / "model.py"
    text = worse.read_text()
    for old, new in [("floor=0.80", "floor=0.9999"), ("floor=400.0", "floor=1.0")]:
        text = text.replace(old, new)
    assert text != worse.read_text()
    worse.write_text(text)
    commit(tmp_path / "other", "Ask for too much")
    agent = delivery.server.agent | QUICK
    server = replace(delivery.server, repository=tmp_path / "other", agent=agent)

    ran = server.run(PIPELINE, MLFLOW_TRACKING_URI=delivery.mlflow)

    assert ran.stages == {"test": "passed", "train": "passed", "gate": "failed"}, ran.log
    assert "error: rejected: floor: " in ran.log["gate/gate"]
    assert delivery.registered() == before


def test_a_failing_test_ends_the_pipeline_before_a_training(delivery: Delivery, tmp_path: Path):
    runs = len(delivery.runs())
    git(tmp_path, "clone", "--quiet", str(delivery.repository.folder), "other")
    (tmp_path / "other" / "tests" / "test_settings.py").write_text(
        "def test():\n    assert 1 == 2\n"
    )
    commit(tmp_path / "other", "Break a test")
    agent = delivery.server.agent | QUICK
    server = replace(delivery.server, repository=tmp_path / "other", agent=agent)

    ran = server.run(PIPELINE, MLFLOW_TRACKING_URI=delivery.mlflow)

    assert ran.stages == {"test": "failed"}
    assert "1 failed" in ran.log["test/test"]
    assert len(delivery.runs()) == runs


def test_a_training_that_fails_leads_to_no_gate(delivery: Delivery):
    server = replace(delivery.server, agent=delivery.server.agent | QUICK)

    ran = server.run(PIPELINE, MLFLOW_TRACKING_URI=delivery.mlflow, DATA_URI="/nowhere.csv")

    assert ran.stages == {"test": "passed", "train": "failed"}, ran.log
    assert "/nowhere.csv" in ran.log["train/train"]


def test_a_variable_that_is_not_declared_is_refused(delivery: Delivery):
    with pytest.raises(RefusedError, match="MODEL"):
        delivery.server.run(PIPELINE, MODEL="x")

"""The GoCD pipelines of a rendered repository, run for real by GoCD's rules.

What is not here: a cluster, whose kubectl is a stand-in that keeps Kubernetes' and Seldon's rules,
with real model servers as its pods; Prometheus' answers; and podman (tests/containers has it).
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import container_tool
import pytest
from answers import Answers
from conftest import ROOT, commit, git
from gocd import AgentDiedError, Ran, RefusedError, Server
from repository import Repository, keep_environments
from test_loop import RUNS, aliases, mlflow_server, own_render, processes_in

pytestmark = pytest.mark.execute

TRAIN, DEPLOY = "penguins-train", "penguins-deploy"
RELEASERS = ("model-release",)
SECRETS = {("mlops", "mlflow-username"): "somebody", ("mlops", "mlflow-password"): "s3cr3t-word"}


@dataclass(frozen=True)
class Delivery:
    """A repository, a GoCD server for it, and what both use.

    Attributes:
        repository: the render; its steps of a canary take no time.
        server: GoCD.
        mlflow: the address of the MLflow server.
        cluster: the stand-in for a cluster (modelloop/testing/kubectl.py).
        prometheus: the stand-in for Prometheus (modelloop/testing/prometheus_server.py).
    """

    repository: Repository
    server: Server
    mlflow: str
    cluster: object
    prometheus: object

    def train(self, server: Server, **trigger: str) -> Ran:
        return server.run(TRAIN, MLFLOW_TRACKING_URI=self.mlflow, **trigger)

    def deploy(self, server: Server) -> Ran:
        """Run what follows a training, up to the stage that is started by hand."""
        urls = {"MLFLOW_TRACKING_URI": self.mlflow, "PROMETHEUS_URL": self.prometheus.url}
        return server.run(DEPLOY, **urls)

    def registered(self) -> dict[str, str]:
        return aliases(self.repository, MLFLOW_TRACKING_URI=self.mlflow)

    def runs(self) -> list[dict]:
        return self.repository.ask(RUNS, MLFLOW_TRACKING_URI=self.mlflow)

    def traffic(self, environment: str = "") -> dict[str, int]:
        return self.cluster.traffic(f"models{environment}", "penguins")


def stand_in(name: str) -> ModuleType:
    """A stand-in of modelloop.testing, which needs nothing but Python."""
    path = ROOT / "runtime" / "src" / "modelloop" / "testing" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def delivering(
    template: Path, folder: Path, answers: Answers, tool: dict[str, str] | None = None
) -> Iterator[Delivery]:
    """Everything that a delivery needs, until the block ends.

    Args:
        template: what is rendered.
        folder: where everything lies.
        answers: to the template's questions.
        tool: the environment of a container tool; a stand-in's where there is none.
    """
    repository = own_render(template, folder, answers)
    plan = repository.folder / "deploy" / "release.toml"
    plan.write_text(plan.read_text().replace("step_minutes = 10", "step_minutes = 0.005"))
    card = repository.folder / "docs" / "model-card.md"
    card.write_text(card.read_text().replace("FILL IN:", "Answered:"))
    commit(repository.folder, "Release at once, with an answered card")
    cluster = stand_in("kubectl").Cluster(folder / "cluster")
    agent = {
        **repository.environment,
        **cluster.install(),
        **(tool or container_tool.install(folder / "podman")),
        "PYTEST_ADDOPTS": "tests/test_ci.py",  # all of them: test_generated_tests.py
    }
    agent.pop("PYTHONPATH")
    (config,) = repository.folder.glob("ci/*.gocd.yaml")
    server = Server(config, repository.folder, folder / "server", agent, SECRETS, keep_environments)
    with (
        mlflow_server(folder) as url,
        stand_in("prometheus_server").running() as prometheus,
    ):
        yield Delivery(repository, server, url, cluster, prometheus)
    assert processes_in(folder) == []


@pytest.fixture(scope="class")
def delivery(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Delivery]:
    folder = tmp_path_factory.mktemp("gocd")
    with delivering(template, folder, {"problem_type": request.cls.problem_type}) as found:
        yield found


def edited(delivery: Delivery, folder: Path, file: str, *changes: tuple[str, str]) -> Server:
    """A server that clones a repository in which somebody has changed a file."""
    git(folder, "clone", "--quiet", str(delivery.repository.folder), "other")
    path = folder / "other" / file
    text = path.read_text()
    for old, new in changes:
        text = text.replace(old, new)
    assert text != path.read_text()
    path.write_text(text)
    commit(folder / "other", "A change")
    return replace(delivery.server, repository=folder / "other")


class Delivered:
    """What holds of a repository of either problem type, in the order in which it happens."""

    problem_type: str

    def test_a_push_or_an_alert_leads_to_a_challenger(self, delivery: Delivery):
        reason = {"RETRAIN_REASON": "ModelFeatureDrift:age", "ALERT_FINGERPRINT": "95076be0"}
        ran = delivery.train(delivery.server, **reason)

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
        assert delivery.server.downstream(ran) == [DEPLOY]

    def test_what_passed_is_packaged_and_tried_in_staging_by_itself(self, delivery: Delivery):
        ran = delivery.deploy(delivery.server)

        assert ran.stages == {"package": "passed", "deploy-staging": "passed"}, ran.log
        assert delivery.traffic("-staging") == {"v1": 100}
        assert delivery.traffic() == {}
        model = json.loads((ran.artifacts / "package/package/model/model.json").read_text())
        assert re.fullmatch(
            "registry.example.com/models/penguins-serve@sha256:[0-9a-f]{64}", model["package"]
        )
        assert "Version 1 is ready and answers its" in ran.log["deploy-staging/deploy"]

    def test_the_first_release_needs_a_person_who_may_and_is_the_champion(self, delivery: Delivery):
        ran = delivery.server.runs[DEPLOY]
        with pytest.raises(RefusedError, match="403"):
            delivery.server.start(ran, "canary")
        assert delivery.traffic() == {}

        delivery.server.start(ran, "canary", RELEASERS)

        assert [*ran.stages.values()] == ["passed"] * 4, ran.log
        assert delivery.traffic() == {"v1": 100}
        assert delivery.registered() == {"challenger": "1", "champion": "1"}

    def test_the_next_version_gets_more_and_more_and_takes_over(self, delivery: Delivery):
        assert delivery.train(delivery.server).stages["gate"] == "passed"
        ran = delivery.deploy(delivery.server)
        before = len(delivery.cluster.writes)

        delivery.server.start(ran, "canary", RELEASERS)

        assert [*ran.stages.values()] == ["passed"] * 4, ran.log
        shares = re.findall(r"version 1 (\d+) %, version 2 (\d+) %", ran.log["canary/canary"])
        pairs = [("100", "0"), ("95", "5"), ("75", "25"), ("50", "50"), ("0", "100")]
        assert [*dict.fromkeys(shares)] == pairs
        # Apply what is beside it, then every share, then "held", and all of it in the promotion.
        assert delivery.cluster.writes[before:] == ["apply", *["replace"] * 7]
        assert delivery.traffic() == {"v2": 100}
        assert delivery.registered() == {"challenger": "2", "champion": "2", "previous": "1"}

    def test_one_command_takes_it_back(self, delivery: Delivery):
        agent = delivery.server.agent | {"MLFLOW_TRACKING_URI": delivery.mlflow}
        done = delivery.repository.make("rollback", **agent, RELEASE_TO="production")

        assert done.returncode == 0, done.stderr
        assert delivery.traffic() == {"v1": 100}
        assert delivery.registered() == {"challenger": "2", "champion": "1"}

    def test_a_canary_that_errs_is_rolled_back_and_not_promoted(self, delivery: Delivery):
        assert delivery.train(delivery.server).stages["gate"] == "passed"
        ran = delivery.deploy(delivery.server)
        delivery.prometheus.numbers["3"] = {"errors": 100.0}

        delivery.server.start(ran, "canary", RELEASERS)

        assert ran.stages["canary"] == "failed"
        assert "promote" not in ran.stages
        assert "errors: 10.00% of the requests failed" in ran.log["canary/canary"]
        assert "Version 3 was taken back" in ran.log["canary/canary"]
        assert delivery.traffic() == {"v1": 100}
        assert delivery.registered() == {"challenger": "3", "champion": "1"}

    def test_a_cancelled_canary_is_rolled_back(self, delivery: Delivery):
        ran = delivery.server.runs[DEPLOY]
        delivery.prometheus.numbers.clear()
        delivery.cluster.fail(3, "hang")  # with five per cent

        delivery.server.start(ran, "canary", RELEASERS, cancel=lambda: delivery.cluster.hangs)

        assert ran.stages["canary"] == "cancelled"
        assert "Version 3 was taken back" in ran.log["canary/canary"]
        assert delivery.traffic() == {"v1": 100}

    def test_an_agent_that_dies_in_the_promotion_leaves_it_to_the_next(self, delivery: Delivery):
        ran = delivery.server.runs[DEPLOY]
        (delivery.cluster.folder / "hangs").unlink()
        delivery.cluster.fail(8, "hang")  # the write of the promotion

        with pytest.raises(AgentDiedError, match="promote"):
            delivery.server.start(ran, "canary", RELEASERS, die=lambda: delivery.cluster.hangs)
        assert ran.stages["canary"] == "passed", ran.log
        assert delivery.registered()["champion"] == "1"

        delivery.server.start(ran, "promote")

        assert ran.stages["promote"] == "passed", ran.log
        assert delivery.traffic() == {"v3": 100}
        assert delivery.registered() == {"challenger": "3", "champion": "3", "previous": "1"}

    def test_no_secret_is_printed(self, delivery: Delivery):
        logs = "".join(text for ran in delivery.server.runs.values() for text in ran.log.values())
        assert len(logs) > 1000
        assert SECRETS["mlops", "mlflow-password"] not in logs


class TestClassification(Delivered):
    problem_type = "classification"

    def test_a_rejected_candidate_turns_the_gate_red_and_is_not_released(
        self, delivery: Delivery, tmp_path: Path
    ):
        before = delivery.registered()
        floor = ("floor=0.80", "floor=0.9999")
        server = edited(delivery, tmp_path, "src/penguins/model.py", floor)

        ran = delivery.train(server)

        assert ran.stages == {"test": "passed", "train": "passed", "gate": "failed"}, ran.log
        assert "error: rejected: floor: " in ran.log["gate/gate"]
        assert delivery.registered() == before
        assert server.downstream(ran) == []

    def test_a_failing_test_ends_the_pipeline_before_a_training(
        self, delivery: Delivery, tmp_path: Path
    ):
        runs = len(delivery.runs())
        whole = (delivery.repository.folder / "tests" / "test_ci.py").read_text()
        broken = (whole, "def test():\n    assert 1 == 2\n")
        server = edited(delivery, tmp_path, "tests/test_ci.py", broken)

        ran = delivery.train(server)

        assert ran.stages == {"test": "failed"}
        assert "1 failed" in ran.log["test/test"]
        assert len(delivery.runs()) == runs
        assert server.downstream(ran) == []

    def test_a_training_that_fails_leads_to_no_gate(self, delivery: Delivery):
        ran = delivery.train(delivery.server, DATA_URI="/nowhere.csv")

        assert ran.stages == {"test": "passed", "train": "failed"}, ran.log
        assert "/nowhere.csv" in ran.log["train/train"]
        assert delivery.server.downstream(ran) == []

    def test_a_variable_that_is_not_declared_is_refused(self, delivery: Delivery):
        with pytest.raises(RefusedError, match="MODEL"):
            delivery.server.run(TRAIN, MODEL="x")


class TestRegression(Delivered):
    problem_type = "regression"

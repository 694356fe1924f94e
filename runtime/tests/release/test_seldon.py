"""A release on Kubernetes: the calls of kubectl, and what the cluster holds after them."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelloop import Project
from modelloop.cli import main
from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.release import state
from modelloop.release.plan import Plan
from modelloop.release.plan import path_of as plan_of
from modelloop.release.release import Release
from modelloop.release.seldon.kubectl import KubectlError
from modelloop.release.seldon.prometheus import drift
from modelloop.release.seldon.target import Target
from modelloop.release.state import ConflictError, ReleaseError
from modelloop.testing import kubectl, prometheus_server, servers
from release_parts import Registry, model, package


@pytest.fixture(scope="session")
def pods(
    project: Project, serve_python: str, example: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """Real servers of versions 1 and 2: their ports by version."""
    folder = tmp_path_factory.mktemp("pods")
    for version in ("1", "2"):
        shutil.copytree(example, folder / version)
        contract = Contract.read(example).model_copy(update={"version": version})
        contract.write(folder / version)
    with (
        servers.running(project, serve_python, folder / "1", folder / "1.log") as first,
        servers.running(project, serve_python, folder / "2", folder / "2.log") as second,
    ):
        yield {"1": first.port, "2": second.port}


def install(
    cluster: kubectl.Cluster, slug: str, pods: dict[str, int], patch: pytest.MonkeyPatch
) -> None:
    """Let `kubectl` be this cluster's, whose pods of versions 1 and 2 are those servers."""
    for name, value in cluster.install().items():
        patch.setenv(name, value)
    for version, port in pods.items():
        cluster.serve(f"{slug}-v{version}", port)


@pytest.fixture
def cluster(
    project: Project, pods: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> kubectl.Cluster:
    """An empty cluster."""
    found = kubectl.Cluster(tmp_path / "cluster")
    install(found, project.slug, pods, monkeypatch)
    return found


@dataclass(frozen=True)
class Production:
    """What the cluster holds of production."""

    cluster: kubectl.Cluster
    project: Project

    def find(self, kind: str, name: str = "") -> dict | None:
        """An object; without a name, the model's."""
        return self.cluster.find(self.project.kubernetes_namespace, kind, name or self.project.slug)

    @property
    def predictors(self) -> list[dict]:
        """Those of the SeldonDeployment."""
        return self.find(kubectl.SELDON)["spec"]["predictors"]

    @property
    def traffic(self) -> dict[str, int]:
        """Per cent of the requests by predictor."""
        return self.cluster.traffic(self.project.kubernetes_namespace, self.project.slug)


@pytest.fixture
def production(project: Project, cluster: kubectl.Cluster) -> Production:
    return Production(cluster, project)


@pytest.fixture
def prometheus(monkeypatch: pytest.MonkeyPatch) -> Iterator[prometheus_server.Prometheus]:
    with prometheus_server.running() as found:
        monkeypatch.setenv("PROMETHEUS_URL", found.url)
        yield found


@pytest.fixture
def target(
    registered: Registry, cluster: kubectl.Cluster, prometheus: prometheus_server.Prometheus
) -> Target:
    """Production, with nothing released."""
    return Target(registered.project, "production", 5)


@pytest.fixture(scope="session")
def first_release(
    project: Project,
    packaged: Path,
    pods: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> kubectl.Cluster:
    """A cluster after the release of version 1, which takes a second."""
    folder = tmp_path_factory.mktemp("first-release")
    cluster = kubectl.Cluster(folder / "cluster")
    database = shutil.copy(packaged, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        install(cluster, project.slug, pods, patch)
        Registry(project).set(challenger="1")
        plan = Plan.read(plan_of(project))
        release = Release(project, Target(project, "production", 5), plan, report=lambda _: None)
        release.canary(model("1"))
        release.promote()
        assert Registry(project).aliases == {"challenger": "1", "champion": "1"}
    return cluster


@pytest.fixture
def release(
    registered: Registry,
    target: Target,
    cluster: kubectl.Cluster,
    first_release: kubectl.Cluster,
    plan: Plan,
) -> Release:
    """A release to production; version 1 is the champion there, version 2 the challenger."""
    shutil.copytree(first_release.folder, cluster.folder, dirs_exist_ok=True)
    registered.set(champion="1", challenger="2")
    return Release(registered.project, target, plan, report=lambda _: None)


def run_process(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in the repository, as its Makefile does."""
    return subprocess.run(
        [sys.executable, "-m", "modelloop", *words],
        cwd=project.root,
        env=os.environ | {"RELEASE_TO": "production"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def run(project: Project, *words: str) -> Result:
    """Run a verb in this process, which takes less time."""
    command = ["--project", str(project.root), *words]
    return CliRunner(env={"RELEASE_TO": "production"}).invoke(main, command, catch_exceptions=False)


def test_a_version_goes_all_the_way_and_back(
    release: Release, registered: Registry, production: Production
):
    release.canary(model("2"))
    held = production.predictors
    release.promote()
    assert production.traffic == {"v2": 100}
    assert registered.aliases["champion"] == "2"
    release.rollback()
    assert production.traffic == {"v1": 100}
    assert registered.aliases["champion"] == "1"
    assert [image(predictor) for predictor in held] == [package("1"), package("2")]
    assert [predictor["labels"]["version"] for predictor in held] == ["1", "2"]
    namespace = f"--namespace={registered.project.kubernetes_namespace}"
    calls = production.cluster.calls
    assert all(namespace in call for call in calls if call[0] != "kustomize")


def test_what_belongs_to_the_model_is_applied_before_it_is_served(
    release: Release, production: Production
):
    assert production.cluster.writes[:2] == ["apply", "create"]
    assert production.find("ServiceAccount")
    assert production.find("PrometheusRule")


def test_the_retraining_receiver_runs_in_the_image_of_the_newest_release(
    release: Release, production: Production
):
    release.canary(model("2"))
    receiver = production.find(kubectl.DEPLOYMENT, f"{production.project.slug}-retraining")
    (container,) = receiver["spec"]["template"]["spec"]["containers"]
    assert container["image"] == package("2")


def test_staging_is_a_namespace_of_its_own(
    registered: Registry, target: Target, production: Production, plan: Plan
):
    project = registered.project
    staging = Target(project, "staging", 5)
    Release(project, staging, plan, report=lambda _: None).deploy(model("2"))
    namespace = f"{project.kubernetes_namespace}-staging"
    assert production.cluster.traffic(namespace, project.slug) == {"v2": 100}
    assert production.find(kubectl.SELDON) is None
    assert registered.aliases == {}


def test_a_shadow_is_a_predictor_that_gets_copies(
    registered: Registry, target: Target, release: Release, production: Production, plan: Plan
):
    shadow = plan.model_copy(update={"strategy": "shadow"})
    Release(registered.project, target, shadow, report=lambda _: None).canary(model("2"))
    first, second = production.predictors
    assert (first["name"], first["traffic"], "shadow" in first) == ("v1", 100, False)
    assert (second["name"], second["traffic"], second["shadow"]) == ("v2", 100, True)
    release.promote()
    (only,) = production.predictors
    assert (only["name"], only["traffic"], "shadow" in only) == ("v2", 100, False)


def test_pods_that_do_not_start_end_a_canary_that_no_request_reached(
    release: Release, production: Production
):
    production.cluster.break_image(package("2"))
    with pytest.raises(ReleaseError, match="does not start: ErrImagePull"):
        release.canary(model("2"))
    assert production.traffic == {"v1": 100, "v2": 0}


def test_a_pod_that_serves_another_version_is_detected(
    project: Project, release: Release, cluster: kubectl.Cluster, pods: dict[str, int]
):
    cluster.serve(f"{project.slug}-v2", pods["1"])
    with pytest.raises(ReleaseError, match="serves version 1, not 2"):
        release.canary(model("2"))


def test_the_operator_may_write_meanwhile_and_another_releaser_may_not(
    target: Target, release: Release
):
    """The stand-in's operator writes at every read, so each replacement meets a conflict."""
    before = target.read()
    other = state.served("2", package("2"))
    target.write(before, other)
    with pytest.raises(ConflictError, match="somebody else changed"):
        target.write(before, state.served("3", package("3")))
    assert target.read() == other


def test_what_was_not_made_by_a_release_is_left_alone(
    project: Project, release: Release, cluster: kubectl.Cluster
):
    with cluster.open() as content:
        key = f"{project.kubernetes_namespace}/{kubectl.SELDON}/{project.slug}"
        del content["objects"][key]["metadata"]["annotations"]["release"]
    writes = cluster.writes
    with pytest.raises(ReleaseError, match="not made by a release"):
        release.canary(model("2"))
    assert cluster.writes == writes


@pytest.mark.slow
@pytest.mark.parametrize("how", ["die-before", "die-after"])
def test_an_agent_that_dies_in_a_promotion_leaves_it_to_the_next_one(
    project: Project,
    release: Release,
    registered: Registry,
    production: Production,
    tmp_path: Path,
    how: str,
):
    release.canary(model("2"))
    file = tmp_path / "model.json"
    file.write_text(model("2").model_dump_json())
    production.cluster.fail(1, how)
    died = run_process(project, "promote", f"--model={file}")
    assert died.returncode == -9
    assert registered.aliases["champion"] == "1"

    done = run_process(project, "promote", f"--model={file}")

    assert done.returncode == 0, done.stderr
    assert production.traffic == {"v2": 100}
    assert registered.aliases == {"challenger": "2", "champion": "2", "previous": "1"}


def test_a_dry_run_shows_the_manifest_as_a_diff(
    project: Project, release: Release, registered: Registry, cluster: kubectl.Cluster
):
    release.canary(model("2"))
    before = cluster.writes
    done = run(project, "promote", "--dry-run")
    assert done.exit_code == 0, done.output
    assert re.search("^-.*name: v1$", done.stdout, re.MULTILINE), done.stdout
    assert not re.search("^-.*name: v2$", done.stdout, re.MULTILINE), done.stdout
    assert "Nothing was changed." in done.stdout
    assert cluster.writes == before
    assert registered.aliases["champion"] == "1"


def test_what_is_served_is_shown(project: Project, release: Release):
    done = run(project, "released")
    assert done.exit_code == 0, done.output
    assert "stable: version 1 100 %" in done.stdout
    assert "@challenger: version 2" in done.stdout


def test_a_cluster_that_does_not_respond_is_an_error_that_says_so(
    release: Release, cluster: kubectl.Cluster
):
    cluster.fail(1, "refuse")
    with pytest.raises(KubectlError, match=r"kubectl apply: Error from server \(ServiceU"):
        release.canary(model("2"))
    release.canary(model("2"))  # the cluster responds again


def test_what_kubectl_logs_of_its_attempts_is_left_out(target: Target, cluster: kubectl.Cluster):
    (cluster.folder / "bin" / "kubectl").write_text(
        "#!/bin/sh\n"
        "echo 'E1125 22:18:33.312509 22688 memcache.go:265] \"Unhandled Error\"' >&2\n"
        "echo 'The connection to the server was refused' >&2\n"
        "exit 1\n"
    )
    with pytest.raises(KubectlError) as raised:
        target.read()
    assert str(raised.value) == "kubectl get: The connection to the server was refused"


def test_without_kubectl_the_message_names_it(
    registered: Registry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(KubectlError, match="/nowhere/kubectl: No such file"):
        Target(registered.project, "production", 5).read()


def test_a_canary_with_errors_gets_no_requests_any_more(
    release: Release, production: Production, prometheus: prometheus_server.Prometheus
):
    prometheus.numbers["2"] = {"errors": 50.0}
    with pytest.raises(ReleaseError, match=r"errors: 5.00% of the requests failed"):
        release.canary(model("2"))
    assert production.traffic == {"v1": 100, "v2": 0}


def test_a_prometheus_that_does_not_respond_lets_nothing_pass(
    release: Release, production: Production, prometheus: prometheus_server.Prometheus
):
    prometheus.status = 503
    with pytest.raises(UserError, match=r"Prometheus at .* answers 503"):
        release.canary(model("2"))
    assert production.traffic == {"v1": 95, "v2": 5}


def test_prometheus_is_sent_the_token_of_the_file(
    project: Project,
    prometheus: prometheus_server.Prometheus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "token").write_text("s3cr3t\n")
    monkeypatch.setenv("PROMETHEUS_TOKEN_FILE", str(tmp_path / "token"))
    measured = Target(project, "production", 5).measure("2", 60.0)
    assert prometheus.authorization == "Bearer s3cr3t"
    assert (measured.requests, measured.errors, measured.latency) == (1000.0, 0.0, 0.02)
    assert all('model_version="2"' in query for query in prometheus.queries)


def test_drift_is_the_index_of_the_alerts():
    """By hand: q = (.5, .5), counts (80, 0), 20 rows of q more: p = (.9, .1)."""
    expected = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    assert drift({"a": 80.0}, {"a": 0.5, "b": 0.5}) == pytest.approx(expected)
    assert drift({"a": 80.0}, {}) is None


def test_the_annotation_holds_what_the_predictors_do_not(
    project: Project, release: Release, production: Production
):
    metadata = production.find(kubectl.SELDON)["metadata"]
    note = json.loads(metadata["annotations"]["release"])
    assert note == {"phase": "stable", "champion": "1", "candidate": "", "withdrawn": ""}
    assert metadata["name"] == project.slug


def image(predictor: dict) -> str:
    """What a predictor runs."""
    (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
    return container["image"]

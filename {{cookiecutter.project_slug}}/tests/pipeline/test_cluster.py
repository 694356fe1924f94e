"""What the compiled pipelines ask of a cluster, for every step."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from {{ cookiecutter.package_name }} import project, registry, settings
from {{ cookiecutter.package_name }}.pipeline import cluster
from {{ cookiecutter.package_name }}.pipeline.definition import training
from {{ cookiecutter.package_name }}.pipeline.portable import faults

COMMITS = {"first": "a" * 40, "second": "b" * 40, "dirty": "a" * 40 + "-dirty"}
PIPELINES = ("training", "batch")
STEPS = {"ingest", "validate", "prepare", "train", "evaluate", "gate", "register", "close", "score"}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each commit, and one more for the first: what `make pipeline` writes."""
    root = tmp_path_factory.mktemp("compiled")
    processes = []
    for name in (*COMMITS, "again"):
        environment = {
            **os.environ,
            "PYTHONPATH": str(settings.ROOT / "src"),
            "GIT_COMMIT": COMMITS.get(name, COMMITS["first"]),
            "PIPELINE_IMAGE": "",
            "MLFLOW_TRACKING_PASSWORD": "hunter2",
        }
        command = [sys.executable, "-m", registry.__package__, "pipeline", str(root / name)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    assert [process.wait(120) for process in processes] == [0] * len(processes)
    return root


def documents(compiled: Path, commit: str, pipeline: str) -> tuple[dict, dict]:
    return tuple(yaml.safe_load_all((compiled / commit / f"{pipeline}.yaml").read_text()))


def executors(compiled: Path, commit: str) -> dict[str, tuple[dict, dict]]:
    """Of both pipelines, by step: the container, and what Kubernetes is told."""
    found = {}
    for pipeline in PIPELINES:
        ir, platforms = documents(compiled, commit, pipeline)
        kubernetes = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for name, executor in ir["deploymentSpec"]["executors"].items():
            found[name.removeprefix("exec-")] = executor["container"], kubernetes[name]
    return found


def tasks(compiled: Path, commit: str) -> dict[str, dict]:
    """The tasks of both pipelines that are steps, by name."""
    found = {}
    for pipeline in PIPELINES:
        ir, _ = documents(compiled, commit, pipeline)
        dags = [ir["root"], *(c for c in ir["components"].values() if "dag" in c)]
        found |= {n: task for dag in dags for n, task in dag["dag"]["tasks"].items() if n in STEPS}
    return found


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_compiling_twice_gives_the_same_bytes_without_faults_or_secrets(compiled, pipeline):
    first, again = (compiled / n / f"{pipeline}.yaml" for n in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert first.stat().st_size < 64 * 1024
    assert faults(*documents(compiled, "first", pipeline)) == []
    assert "hunter2" not in first.read_text()


def test_no_image_of_two_commits_is_the_same(compiled):
    images = [
        {name: container["image"] for name, (container, _) in executors(compiled, commit).items()}
        for commit in COMMITS
    ]
    assert {*images[0]} == STEPS
    for name in STEPS:
        assert len({of[name] for of in images}) == len(COMMITS)


def test_every_step_gets_resources_a_time_limit_and_retries(compiled):
    for name, (container, kubernetes) in executors(compiled, "first").items():
        pod = cluster.STEPS.get(name, cluster.DEFAULT)
        resources = container["resources"]
        assert resources["resourceCpuRequest"] == pod.cpu[0]
        assert resources["resourceCpuLimit"] == pod.cpu[1]
        assert resources["resourceMemoryRequest"] == pod.memory[0]
        assert resources["resourceMemoryLimit"] == pod.memory[1]
        assert int(kubernetes["activeDeadlineSeconds"]) == pod.minutes * 60
        retry = tasks(compiled, "first")[name]["retryPolicy"]
        assert retry["maxRetryCount"] == pod.retries
        assert retry["backoffDuration"] == cluster.BACK_OFF["backoff_duration"]


def test_every_step_gets_addresses_credentials_where_there_are_any_and_no_root(compiled):
    for _, kubernetes in executors(compiled, "first").values():
        (addresses,) = kubernetes["configMapAsEnv"]
        assert addresses["configMapName"] == f"{project.SLUG}-pipeline"
        assert {pair["envVar"] for pair in addresses["keyToEnv"]} == {*cluster.ADDRESSES}
        (credentials,) = kubernetes["secretAsEnv"]
        assert credentials["secretName"] == f"{project.SLUG}-pipeline"
        assert credentials["optional"] is True
        assert {pair["envVar"] for pair in credentials["keyToEnv"]} == {*cluster.CREDENTIALS}
        context = kubernetes["securityContext"]
        assert context == {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True}
        assert [mount["mountPath"] for mount in kubernetes["emptyDirMounts"]] == ["/tmp"]
        assert kubernetes["imagePullPolicy"] == "IfNotPresent"


def test_the_config_map_has_every_address():
    (config_map,) = yaml.safe_load_all(
        (settings.ROOT / "deploy" / "pipeline-settings.yaml").read_text()
    )
    assert config_map["metadata"]["name"] == cluster.NAME
    assert {*config_map["data"]} == {*cluster.ADDRESSES}


def test_code_of_no_commit_is_neither_cached_nor_taken_from_the_node(compiled):
    cached = {n for n, task in tasks(compiled, "first").items() if task["cachingOptions"]}
    assert cached >= {"validate", "prepare", "train"}
    assert not any(task["cachingOptions"] for task in tasks(compiled, "dirty").values())
    for _, kubernetes in executors(compiled, "dirty").values():
        assert kubernetes["imagePullPolicy"] == "Always"


def test_candidates_are_trained_at_once_as_far_as_the_table_says(compiled):
    text = (compiled / "first" / "training.yaml").read_text()
    assert f"parallelismLimit: {cluster.PARALLELISM}" in text


def test_the_table_names_steps_that_there_are():
    assert {*cluster.STEPS} <= STEPS


def test_what_a_team_sets_in_the_table_arrives(tmp_path, monkeypatch):
    @dsl.component(base_image="registry.example.com/x-python:1", install_kfp_package=False)
    def step():
        pass

    monkeypatch.setattr(cluster, "STEPS", {"step": replace(cluster.DEFAULT, gpus=2)})
    monkeypatch.setattr(cluster, "NODE_SELECTOR", {"pool": "ml"})
    monkeypatch.setattr(cluster, "TOLERATIONS", [{"key": "ml", "operator": "Exists"}])
    monkeypatch.setattr(cluster, "PULL_SECRETS", ["registry"])

    @dsl.pipeline(name="test")
    def pipeline():
        cluster.configure(step())

    compiler.Compiler().compile(pipeline, str(tmp_path / "test.yaml"))
    ir, platforms = yaml.safe_load_all((tmp_path / "test.yaml").read_text())
    accelerator = ir["deploymentSpec"]["executors"]["exec-step"]["container"]["resources"][
        "accelerator"
    ]
    assert accelerator["resourceType"] == "nvidia.com/gpu"
    assert accelerator["resourceCount"] == "2"
    (kubernetes,) = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert kubernetes["nodeSelector"]["labels"] == {"pool": "ml"}
    assert kubernetes["tolerations"][0]["key"] == "ml"
    assert kubernetes["imagePullSecret"][0]["secretName"] == "registry"


def test_a_secret_in_what_only_a_cluster_reads_is_found():
    platforms = {"platforms": {"kubernetes": {"env": {"name": "API_TOKEN", "value": "hunter2"}}}}
    ir = {"root": {"dag": {"tasks": {}}}, "deploymentSpec": {"executors": {}}}
    assert faults(ir) == []
    assert any("use a Secret" in fault for fault in faults(ir, platforms))


def test_a_run_on_this_machine_tries_nothing_again():
    spec = type(training.pipeline_spec)()
    spec.CopyFrom(training.pipeline_spec)
    cluster.forget_retries(spec)
    parts = (spec.root, *spec.components.values())
    assert not any(t.HasField("retry_policy") for part in parts for t in part.dag.tasks.values())

"""The compiled pipelines give every step what it needs on a cluster."""

from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from modelloop import Project
from modelloop.kubeflow import cluster
from modelloop.kubeflow.cluster import Cluster, Pod
from modelloop.kubeflow.portable import faults

PIPELINES = ("training", "batch")
STEPS = {"ingest", "validate", "prepare", "train", "evaluate", "gate", "register", "close", "score"}


def documents(compiled: Path, commit: str, pipeline: str) -> tuple[dict, dict]:
    return tuple(yaml.safe_load_all((compiled / commit / f"{pipeline}.yaml").read_text()))


def executors(compiled: Path, commit: str) -> dict[str, tuple[dict, dict]]:
    """Of both pipelines, by step: the container, and the settings that only Kubernetes reads."""
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
        for commit in ("first", "second", "dirty")
    ]
    assert {*images[0]} == STEPS
    for name in STEPS:
        assert len({of[name] for of in images}) == len(images)


def test_every_step_gets_resources_a_time_limit_and_retries(compiled, project):
    table = project.pipeline.CLUSTER
    for name, (container, kubernetes) in executors(compiled, "first").items():
        pod = table.pods.get(name, table.default)
        resources = container["resources"]
        assert resources["resourceCpuRequest"] == pod.cpu[0]
        assert resources["resourceCpuLimit"] == pod.cpu[1]
        assert resources["resourceMemoryRequest"] == pod.memory[0]
        assert resources["resourceMemoryLimit"] == pod.memory[1]
        assert int(kubernetes["activeDeadlineSeconds"]) == pod.minutes * 60
        retry = tasks(compiled, "first")[name]["retryPolicy"]
        assert retry["maxRetryCount"] == pod.retries
        assert retry["backoffDuration"] == cluster.BACK_OFF["backoff_duration"]


def test_every_step_gets_addresses_credentials_where_there_are_any_and_no_root(compiled, project):
    for _, kubernetes in executors(compiled, "first").values():
        (addresses,) = kubernetes["configMapAsEnv"]
        assert addresses["configMapName"] == f"{project.slug}-pipeline"
        assert {pair["envVar"] for pair in addresses["keyToEnv"]} == {*cluster.ADDRESSES}
        (credentials,) = kubernetes["secretAsEnv"]
        assert credentials["secretName"] == f"{project.slug}-pipeline"
        assert credentials["optional"] is True
        assert {pair["envVar"] for pair in credentials["keyToEnv"]} == {*cluster.CREDENTIALS}
        context = kubernetes["securityContext"]
        assert context == {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True}
        assert [mount["mountPath"] for mount in kubernetes["emptyDirMounts"]] == ["/tmp"]
        assert kubernetes["imagePullPolicy"] == "IfNotPresent"


def test_the_config_map_has_every_address(project):
    text = (project.root / "deploy" / "pipeline-settings.yaml").read_text()
    (config_map,) = yaml.safe_load_all(text)
    assert config_map["metadata"]["name"] == cluster.settings_name(project)
    assert {*config_map["data"]} == {*cluster.ADDRESSES}


def test_code_of_no_commit_is_neither_cached_nor_taken_from_the_node(compiled):
    cached = {n for n, task in tasks(compiled, "first").items() if task["cachingOptions"]}
    assert cached >= {"validate", "prepare", "train"}
    assert not any(task["cachingOptions"] for task in tasks(compiled, "dirty").values())
    for _, kubernetes in executors(compiled, "dirty").values():
        assert kubernetes["imagePullPolicy"] == "Always"


def test_candidates_are_trained_at_once_as_far_as_the_pipeline_says(compiled, project):
    text = (compiled / "first" / "training.yaml").read_text()
    assert f"parallelismLimit: {project.pipeline.PARALLELISM}" in text


def test_the_table_names_steps_that_there_are(project):
    pods = project.pipeline.CLUSTER.pods
    assert pods
    assert {*pods} <= STEPS


def test_what_a_team_sets_in_the_table_arrives(project: Project, tmp_path: Path):
    @dsl.component(base_image="versions.example.com/x-python:1", install_kfp_package=False)
    def step():
        pass

    table = Cluster(
        pods={"step": Pod(gpus=2)},
        node_selector={"pool": "ml"},
        tolerations=[{"key": "ml", "operator": "Exists"}],
        pull_secrets=["registry"],
        credentials=["DATA_URI", "WAREHOUSE_TOKEN"],
    )

    @dsl.pipeline(name="test")
    def pipeline():
        table.configure(project, step())

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
    (addresses,), (credentials,) = kubernetes["configMapAsEnv"], kubernetes["secretAsEnv"]
    from_config_map = {pair["envVar"] for pair in addresses["keyToEnv"]}
    assert from_config_map == {"MLFLOW_TRACKING_URI", "DATA_QUERY"}
    from_secret = {pair["envVar"]: pair["secretKey"] for pair in credentials["keyToEnv"]}
    names = (*cluster.CREDENTIALS, "DATA_URI", "WAREHOUSE_TOKEN")
    assert from_secret == {name: name for name in names}


def test_a_secret_in_what_only_a_cluster_reads_is_found():
    platforms = {"platforms": {"kubernetes": {"env": {"name": "API_TOKEN", "value": "hunter2"}}}}
    ir = {"root": {"dag": {"tasks": {}}}, "deploymentSpec": {"executors": {}}}
    assert faults(ir) == []
    assert any("use a Secret" in fault for fault in faults(ir, platforms))


def test_a_run_on_this_machine_retries_nothing(project):
    training = project.pipeline.training.pipeline_spec
    spec = type(training)()
    spec.CopyFrom(training)

    def retried() -> list[str]:
        parts = (spec.root, *spec.components.values())
        return [n for p in parts for n, t in p.dag.tasks.items() if t.HasField("retry_policy")]

    assert retried()
    cluster.forget_retries(spec)
    assert retried() == []

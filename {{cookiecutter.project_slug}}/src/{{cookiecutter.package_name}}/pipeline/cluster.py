"""What a step gets on a cluster: edit the table. Local runs ignore all of it."""

from dataclasses import dataclass

from kfp import dsl, kubernetes
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from .. import project, settings


@dataclass(frozen=True)
class Pod:
    """One step's request and limit of each resource, its time limit and its retries."""

    cpu: tuple[str, str] = ("250m", "1")
    memory: tuple[str, str] = ("1Gi", "2Gi")
    gpus: int = 0
    gpu_type: str = "nvidia.com/gpu"
    minutes: int = 30  # of each try
    retries: int = 2


DEFAULT = Pod()
STEPS = {
    "train": Pod(cpu=("1", "2"), memory=("2Gi", "4Gi"), minutes=240),
    "score": Pod(cpu=("1", "2"), memory=("2Gi", "4Gi"), minutes=240),
}
PARALLELISM = 4  # candidates that are trained at once
BACK_OFF = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "600s"}
NODE_SELECTOR: dict[str, str] = {}  # such as {"pool": "ml"}
TOLERATIONS: list[dict[str, str]] = []  # such as {"key": "ml", "operator": "Exists"}
PULL_SECRETS: list[str] = []  # names of the Secrets that open the image's registry

# Addresses come from the ConfigMap that deploy/pipeline-settings.yaml is, credentials from a Secret
# of the same name, where there is one. A DATA_URI with a password in it belongs to the latter.
NAME = f"{project.SLUG}-pipeline"
ADDRESSES = ("MLFLOW_TRACKING_URI", "DATA_URI", "DATA_QUERY")
CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
USER = 1000  # of the image
COMMITTED = settings.load().is_committed


def configure(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give a step what the table says, the addresses, and what the image needs.

    Addresses are no literals in the pipeline: those would win over the environment of a local run.
    """
    pod = STEPS.get(task.component_spec.name, DEFAULT)
    task.set_cpu_request(pod.cpu[0]).set_cpu_limit(pod.cpu[1])
    task.set_memory_request(pod.memory[0]).set_memory_limit(pod.memory[1])
    if pod.gpus:
        task.set_accelerator_type(pod.gpu_type).set_accelerator_limit(pod.gpus)
    task.set_retry(pod.retries, **BACK_OFF)
    kubernetes.set_timeout(task, pod.minutes * 60)
    for label, value in NODE_SELECTOR.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in TOLERATIONS:
        kubernetes.add_toleration(task, **toleration)
    if PULL_SECRETS:
        kubernetes.set_image_pull_secrets(task, PULL_SECRETS)
    if not COMMITTED:  # the tag may have been another image before
        task.set_caching_options(False)
    kubernetes.set_image_pull_policy(task, "IfNotPresent" if COMMITTED else "Always")
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, "tmp", "/tmp")  # the image's HOME, too
    kubernetes.use_config_map_as_env(task, NAME, {name: name for name in ADDRESSES})
    return kubernetes.use_secret_as_env(
        task, NAME, {name: name for name in CREDENTIALS}, optional=True
    )


def forget_retries(pipeline: PipelineSpec) -> None:
    """Take the retries out of a pipeline that runs here: kfp's local runner would wait and repeat.

    What fails on a laptop fails again, and a person waits for it.
    """
    for component in (pipeline.root, *pipeline.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")

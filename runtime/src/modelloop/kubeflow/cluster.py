"""What a step gets on a cluster. Local runs ignore all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kfp import dsl, kubernetes
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from modelloop.project import Project

BACK_OFF = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "600s"}
# Addresses come from the ConfigMap in deploy/pipeline-settings.yaml, credentials from a Secret of
# the same name, where there is one.
ADDRESSES = ("MLFLOW_TRACKING_URI", "DATA_URI", "DATA_QUERY")
CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
USER = 1000  # of the image


@dataclass(frozen=True)
class Pod:
    """One step's resources, its time limit and its retries.

    Attributes:
        cpu: request and limit, as Kubernetes writes them.
        memory: request and limit, as Kubernetes writes them.
        gpus: how many of `gpu_type`.
        gpu_type: the resource that the cluster's nodes offer.
        minutes: time limit of each attempt.
        retries: attempts after the first one.
    """

    cpu: tuple[str, str] = ("250m", "1")
    memory: tuple[str, str] = ("1Gi", "2Gi")
    gpus: int = 0
    gpu_type: str = "nvidia.com/gpu"
    minutes: int = 30
    retries: int = 2


@dataclass(frozen=True)
class Cluster:
    """What the steps of a repository's pipelines get.

    Attributes:
        pods: by the name of the step's component; others get `default`.
        default: of steps that have no line in `pods`.
        node_selector: labels of the nodes that steps run on, such as {"pool": "ml"}.
        tolerations: such as {"key": "ml", "operator": "Exists"}.
        pull_secrets: names of the Secrets that open the image's registry.
        credentials: variables that steps read from the Secret besides CREDENTIALS. An address,
            such as a DATA_URI with a password in it, then comes from the Secret alone.
    """

    pods: Mapping[str, Pod] = field(default_factory=dict)
    default: Pod = Pod()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    pull_secrets: Sequence[str] = ()
    credentials: Sequence[str] = ()

    def configure(self, project: Project, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Give a step its resources, the addresses, and what the image needs.

        Addresses are not literals in the pipeline: those would override the environment of a local
        run. A step of code that is not committed is never cached.
        """
        if task.container_spec is not None:
            # Each setter checks that, but first reads the sources of the whole call stack for the
            # message: more than a second in all.
            task._ensure_container_spec_exists = lambda: None
        pod = self.pods.get(task.component_spec.name, self.default)
        task.set_cpu_request(pod.cpu[0]).set_cpu_limit(pod.cpu[1])
        task.set_memory_request(pod.memory[0]).set_memory_limit(pod.memory[1])
        if pod.gpus:
            task.set_accelerator_type(pod.gpu_type).set_accelerator_limit(pod.gpus)
        task.set_retry(pod.retries, **BACK_OFF)
        kubernetes.set_timeout(task, pod.minutes * 60)
        for label, value in self.node_selector.items():
            kubernetes.add_node_selector(task, label, value)
        for toleration in self.tolerations:
            kubernetes.add_toleration(task, **toleration)
        if self.pull_secrets:
            kubernetes.set_image_pull_secrets(task, [*self.pull_secrets])
        committed = project.is_committed
        if not committed:  # the tag may have named another image before
            task.set_caching_options(False)
        kubernetes.set_image_pull_policy(task, "IfNotPresent" if committed else "Always")
        kubernetes.set_security_context(
            task, run_as_user=USER, run_as_group=USER, run_as_non_root=True
        )
        kubernetes.empty_dir_mount(task, "tmp", "/tmp")  # the image's HOME, too
        name = settings_name(project)
        # From both, the variable would be set twice.
        addresses = [key for key in ADDRESSES if key not in self.credentials]
        kubernetes.use_config_map_as_env(task, name, {key: key for key in addresses})
        return kubernetes.use_secret_as_env(
            task, name, {key: key for key in (*CREDENTIALS, *self.credentials)}, optional=True
        )


def settings_name(project: Project) -> str:
    """The name of the ConfigMap with addresses, and of the Secret with credentials."""
    return f"{project.slug}-pipeline"


def forget_retries(pipeline: PipelineSpec) -> None:
    """Take the retries out of a pipeline that runs here: kfp's local runner would carry them out.

    A step that fails on a laptop fails again, and a person waits for it.
    """
    for component in (pipeline.root, *pipeline.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")

"""Settings that only a cluster reads; local runs ignore them."""

from kfp import dsl, kubernetes

from .. import project

CONFIG_MAP = f"{project.SLUG}-pipeline"  # deploy/pipeline-settings.yaml


def configure(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give a step the addresses of MLflow and the data from the cluster's ConfigMap.

    Not as literals in the pipeline: those would win over the environment of a local run too.
    """
    return kubernetes.use_config_map_as_env(
        task,
        config_map_name=CONFIG_MAP,
        config_map_key_to_env={n: n for n in ("MLFLOW_TRACKING_URI", "DATA_URI")},
    )

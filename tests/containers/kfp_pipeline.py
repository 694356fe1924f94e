"""Run the training pipeline with a container for each step; runs in the training environment.

kfp 2.17 lets a container vanish when it ends and takes one that it does not find for a success
(kubeflow/pipelines#13332), so the function that runs a container is replaced.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from kfp import local
from kfp.local import docker_task_handler
from modelloop.kubeflow.cluster import forget_retries

CONFINED = {
    "network_mode": "host",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
ended: list[dict[str, float]] = []  # exit code and seconds of each container


def run_container(client, image: str, command: list[str], volumes: dict, **options) -> int:
    """Run a step to its end and keep its log; returns its exit code."""
    container = client.containers.create(image, command, volumes=volumes, **options)
    start = time.monotonic()
    try:
        container.start()
        code = container.wait()["StatusCode"]
        ended.append({"code": code, "seconds": round(time.monotonic() - start, 1)})
        sys.stderr.write(container.logs().decode(errors="replace"))
        return code
    finally:
        container.remove(force=True)


def main(package: str, folder: str, environment: str) -> None:
    """Run it; prints how the containers ended as JSON, last."""
    docker_task_handler.run_docker_container = run_container
    runner = local.DockerRunner(environment=json.loads(environment), **CONFINED)
    root = Path(folder) / "artifacts"
    root.mkdir()
    root.chmod(0o777)  # the steps' user is another
    local.init(runner=runner, pipeline_root=str(root))
    pipeline = importlib.import_module(f"{package}.pipeline")
    forget_retries(pipeline.training.pipeline_spec)
    try:
        pipeline.training()
    finally:
        print(json.dumps(ended))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The model server on this machine, in the serving environment."""

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from modelloop import subprocesses
from modelloop.project import Project
from modelloop.serving.client import READY


def running(
    project: Project, port: int, metrics_port: int, log: Path | None = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Serve the model in MODEL_DIR on 127.0.0.1 until the block ends.

    Args:
        project: the repository.
        port: of predictions.
        metrics_port: of what Prometheus reads.
        log: where the server's output goes; None means this process's own output.

    Raises:
        UserError: the server is not ready in time; raised when the block begins.
    """
    return subprocesses.running(
        "the model server",
        [project.settings.serve_python, "-m", "modelloop", "serve"],
        f"http://127.0.0.1:{port}{READY}",
        log,
        project.root,
        MODEL_DIR=str(project.settings.model_dir.resolve()),
        SERVE_HOST="127.0.0.1",
        SERVE_PORT=str(port),
        METRICS_PORT=str(metrics_port),
    )

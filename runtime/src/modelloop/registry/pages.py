"""MLflow's own pages of the local store."""

import os
import sys
from typing import NoReturn

from modelloop.project import Project
from modelloop.registry import store


def serve(project: Project, port: int) -> NoReturn:
    """Become the MLflow server of the store in the repository, on 127.0.0.1, until it is ended.

    Its jobs are left out: with them it takes two gigabytes.

    Raises:
        UserError: the installed SQLAlchemy can open no database in a folder of this name.
    """
    store.connect_local(project)  # so that the addresses of artifacts are right
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store.local_uri(project)]
    command += ["--default-artifact-root", store.artifacts_uri(project)]
    os.execve(
        sys.executable, command, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    )

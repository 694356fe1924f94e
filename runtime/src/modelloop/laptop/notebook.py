"""JupyterLab in an image, as Kubeflow's notebook controller starts it."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from modelloop.project import Project


def run(project: Project, options: list[str]) -> NoReturn:
    """Replace this process by JupyterLab, in the home directory.

    Kubeflow sets NB_PREFIX, and its gateway controls access. Elsewhere Jupyter makes a token and
    logs it.

    Args:
        project: the repository, whose notebooks are copied where the home has none.
        options: more options of JupyterLab.
    """
    home = Path.home()
    # The home directory is a volume that hides what an image has there.
    if not (home / "notebooks").exists():
        shutil.copytree(project.root / "notebooks", home / "notebooks")
    prefix = os.environ.get("NB_PREFIX", "")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=0.0.0.0",
        f"--port={os.environ.get('NB_PORT', '8888')}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={home}",
        f"--ServerApp.base_url={prefix or '/'}",
        *(["--IdentityProvider.token="] if prefix else []),
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *options,
    ]  # fmt: skip
    os.execv(sys.executable, command)

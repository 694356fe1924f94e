"""What the tests of Kubeflow share: the command in a process of its own, the compiled pipelines."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from modelloop import Project
from modelloop.kubeflow.compiled import write

Start = Callable[..., subprocess.Popen[str]]
COMMITS = {"first": "a" * 40, "again": "a" * 40, "dirty": "a" * 40 + "-dirty"}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `modelloop` in a process group of its own; a variable that is None is not set."""
    with starting() as start:
        yield start


@pytest.fixture(scope="session")
def compiled(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of COMMITS, and `second` for the repository's own commit.

    Each has training.yaml and batch.yaml, as `make pipeline` writes them.
    """
    root = tmp_path_factory.mktemp("compiled")
    secret = {"PIPELINE_IMAGE": "", "MLFLOW_TRACKING_PASSWORD": "hunter2"}
    with starting() as start:
        processes = [
            start(project, "pipeline", str(root / name), GIT_COMMIT=commit, **secret)
            for name, commit in COMMITS.items()
        ]
        for process in processes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, out + err
    write(project.pipeline.training, root / "second" / "training.yaml")
    write(project.pipeline.scoring, root / "second" / "batch.yaml")
    return root


@contextmanager
def starting() -> Iterator[Start]:
    """What `start` gives; at the end of the block everything that it started is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(project: Project, *arguments: str, **variables: str | None) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, sys.path))
        given = {**os.environ, "PYTHONPATH": path, **variables}
        process = subprocess.Popen(
            [sys.executable, "-m", "modelloop", "--project", str(project.root), *arguments],
            env={name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    try:
        yield start
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

"""The image of the pipeline's steps, and the pipeline with a container for each step."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_loop import PACKAGE, RUNS, aliases, mlflow_server

from .conftest import Company, Image
from .engine import MINUTES, Engine

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("kfp_pipeline.py")
STEPS = 10  # ingest, validate, prepare, train for each of 3, evaluate, gate, register, close


@contextmanager
def docker_socket(podman: Engine) -> Iterator[str]:
    """podman's answers to Docker's clients while the block runs; yields the address."""
    path = podman.folder / "docker.sock"
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{path}"],
        env=os.environ | podman.environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 30
        while not path.exists():
            assert service.poll() is None, "podman's service has ended"
            assert time.monotonic() < end, "podman's service does not start"
            time.sleep(0.05)  # between two looks
        yield f"unix://{path}"
    finally:
        service.terminate()
        service.wait()
        path.unlink(missing_ok=True)


def run_pipeline(
    company: Company, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the pipeline, a container for each step; the steps get the variables."""
    with docker_socket(company.engine) as address:
        return subprocess.run(
            [company.repository.python, SCRIPT, PACKAGE, folder, json.dumps(variables)],
            cwd=company.repository.folder,
            env=company.repository.environment | {"DOCKER_HOST": address},
            capture_output=True,
            text=True,
            timeout=10 * MINUTES,
        )


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


def test_it_carries_the_commit_and_no_model(company: Company, podman: Engine, train_image: Image):
    shown = json.loads(podman.podman("image", "inspect", train_image.tag).stdout)[0]
    model = json.loads((company.repository.folder / "build/model.json").read_text())
    assert shown["Config"]["User"] == "1000:1000"
    assert f"GIT_COMMIT={model['git_commit']}" in shown["Config"]["Env"]
    assert shown["Config"]["Labels"]["org.opencontainers.image.revision"] == model["git_commit"]
    assert train_image.tag.endswith(f"/penguins-python:{model['git_commit'][:12]}")
    assert podman.run(train_image.tag, "ls", "/app").split() == ["data", "pyproject.toml", "src"]


def test_the_pipeline_in_containers_leads_to_a_challenger(
    company: Company, train_image: Image, mlflow: str, tmp_path: Path, measured: dict[str, str]
):
    start = time.monotonic()
    done = run_pipeline(company, tmp_path, MLFLOW_TRACKING_URI=mlflow)
    assert done.returncode == 0, done.stdout + done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])
    measured["pipeline, a container for each step"] = f"{time.monotonic() - start:.0f} s"
    measured["its containers"] = ", ".join(f"{step['seconds']}" for step in ended) + " s"
    assert [step["code"] for step in ended] == [0] * STEPS
    assert aliases(company.repository, MLFLOW_TRACKING_URI=mlflow) == {"challenger": "1"}
    runs = company.repository.ask(RUNS, MLFLOW_TRACKING_URI=mlflow)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run["tags"]]
    assert {run["status"] for run in runs} == {"FINISHED"}
    assert parent["tags"]["mlflow.source.git.commit"][:12] == train_image.tag.rpartition(":")[2]


@pytest.mark.usefixtures("train_image")
def test_a_step_that_fails_in_its_container_fails_the_pipeline(
    company: Company, mlflow: str, tmp_path: Path
):
    given = {"MLFLOW_TRACKING_URI": mlflow, "MLFLOW_EXPERIMENT": "without-data"}
    done = run_pipeline(company, tmp_path, **given, DATA_URI="/app/data/there-is-none.csv")
    assert done.returncode != 0
    ended = json.loads(done.stdout.splitlines()[-1])
    assert [step["code"] for step in ended] == [1, 0]  # ingest, and what closes the MLflow run
    assert "there-is-none.csv" in done.stderr
    (run,) = company.repository.ask(RUNS, **given)
    assert run["status"] == "FAILED"

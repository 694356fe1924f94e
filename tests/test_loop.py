"""A rendered repository does what it says: every test runs it and looks at the effects."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from answers import Answers
from conftest import fresh
from repository import ENVIRONMENTS, MINUTES, Repository

pytestmark = pytest.mark.execute

PACKAGE = "penguins"
Looped = tuple[Repository, str]

# Candidates that learn nothing, and floors that let anything pass: only the champion is in the way.
WORSE = {
    "classification": [
        ("LogisticRegression(max_iter=1000)", "LogisticRegression(C=1e-12)"),
        ("floor=0.80", "floor=0.0"),
        ("slice_floor=0.65", "slice_floor=0.0"),
    ],
    "regression": [
        ("Ridge(alpha=1.0)", "Ridge(alpha=1e9)"),
        ("floor=400.0", "floor=1e6"),
        ("slice_floor=500.0", "slice_floor=1e6"),
    ],
}


ALIASES = f"""
import json
from {PACKAGE} import project
from modelloop.registry import store
model = store.connect(project).get_registered_model(project.slug)
print(json.dumps({{name: str(version) for name, version in model.aliases.items()}}))
"""
RUNS = f"""
import json
from {PACKAGE} import project
from modelloop.registry import store
client = store.connect(project)
experiment = store.experiment_id(project, client)
def paths(run, folder=None):
    for item in client.list_artifacts(run, folder):
        yield from paths(run, item.path) if item.is_dir else [item.path]
print(json.dumps([
    {{"status": run.info.status, "tags": run.data.tags, "metrics": run.data.metrics,
      "params": run.data.params, "artifacts": sorted(paths(run.info.run_id)),
      "datasets": sorted(d.dataset.name for d in run.inputs.dataset_inputs)}}
    for run in client.search_runs([experiment])
]))
"""
OFFLINE = f"""
import json
import mlflow
from {PACKAGE} import data, model, project
from modelloop.registry import store
from modelloop.table import prepare, validate
from modelloop.training import dataset, train
env = project.settings
store.connect(project)
valid = validate.validate(data.load(env.data_uri), data.SCHEMA)
inputs = prepare.prepare(valid, *dataset.rules(project))[model.FEATURES]
champion = mlflow.sklearn.load_model(f"models:/{{project.slug}}@champion")
predict = train.from_sklearn(champion, project.problem_type)
outputs = predict(train.table_of(inputs))
known = lambda value: None if value != value or value == "missing" else value
rows = [[known(value) for value in row] for row in inputs.to_dict("split")["data"]]
print(json.dumps([model.FEATURES, rows, outputs.tolist()]))
"""


def aliases(repository: Repository, **variables: str) -> dict[str, str]:
    """The aliases in a repository's registry."""
    return repository.ask(ALIASES, **variables)


def own_render(template: Path, folder: Path, answers: Answers) -> Repository:
    """Render for one test that changes what it renders."""
    problem_type = answers.get("problem_type", "classification")
    return Repository(fresh(template, folder, answers), problem_type)


@pytest.fixture(scope="class")
def looped(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Looped]:
    """A repository of the class's problem type after its demo, and what the demo printed."""
    folder = tmp_path_factory.mktemp("loop")
    repository = own_render(template, folder, {"problem_type": request.cls.problem_type})
    done = repository.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    yield repository, done.stdout
    assert processes_in(repository.folder) == []


def processes_in(folder: Path) -> list[str]:
    """The processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve().is_relative_to(folder):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile, or is not ours to look at
            continue
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(url: str, *command: str | Path, folder: Path, environment: dict) -> Iterator[None]:
    """Run a server until the end of the block; `url` answers 200 when it is ready."""
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 2 * MINUTES
        while True:
            assert server.poll() is None, f"{command} ended with {server.returncode}"
            assert time.monotonic() < end, f"{url} does not answer"
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)  # between two questions
        yield
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run an MLflow server that keeps everything in a folder; yields its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (
        ENVIRONMENTS / "main" / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port",
        str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db",
        "--artifacts-destination", str(folder / "artifacts"),
    )  # fmt: skip
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(f"{url}/health", *command, folder=folder, environment=environment):
        yield url


def post(url: str, body: object) -> dict:
    """Send JSON, read JSON."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


class Loop:
    """What holds of a repository of either problem type, in the order in which it happens."""

    problem_type: str

    def test_the_demo_shows_each_step_and_where_to_look(self, looped: Looped):
        repository, printed = looped
        steps = re.findall(r"^  done   (\w+)", printed, re.MULTILINE)
        assert [step for step in steps if step != "train"] == [
            "ingest", "validate", "prepare", "evaluate", "gate", "register", "close",
        ]  # fmt: skip
        assert steps.count("train") == 3
        assert "gate: pass" in printed
        assert "version 1, @champion" in printed
        contract = json.loads((repository.folder / "build/model/contract.json").read_text())
        assert contract["version"] == "1"
        assert contract["problem_type"] == repository.problem_type
        assert contract["served"]["form"] == "onnx"

    def test_mlflow_keeps_everything_of_the_run(self, looped: Looped):
        repository, _ = looped
        runs = repository.ask(RUNS)
        parents = [run for run in runs if "mlflow.parentRunId" not in run["tags"]]
        children = [run for run in runs if "mlflow.parentRunId" in run["tags"]]
        plot = "confusion_matrix" if repository.problem_type == "classification" else "residuals"
        metric = "accuracy" if repository.problem_type == "classification" else "rmse"
        (parent,) = parents
        assert {run["status"] for run in runs} == {"FINISHED"}
        assert parent["datasets"] == ["raw", "test", "train"]
        assert parent["artifacts"] == [
            "contract.json", "data/raw.parquet", "data/test.parquet", "data/train.parquet",
            "gate.json", "gate.txt", "schema.json",
        ]  # fmt: skip
        assert re.fullmatch("[0-9a-f]{40}", parent["tags"]["mlflow.source.git.commit"])
        assert parent["tags"]["gate"] == "pass"
        assert parent["tags"]["python"].startswith("3.")
        assert "package.scikit-learn" in parent["tags"]
        assert {run["tags"]["candidate"] for run in children} == {"linear", "forest", "boosting"}
        for child in children:
            plots = {"plots/feature_importance.png", f"plots/{plot}.png"}
            assert set(child["artifacts"]) == plots
            assert {f"cv_{metric}", f"test_{metric}"} <= child["metrics"].keys()

    def test_the_first_release_is_the_champion(self, looped: Looped):
        repository, printed = looped
        assert "no champion yet" in printed
        assert aliases(repository) == {"challenger": "1", "champion": "1"}

    def test_the_server_answers_what_the_model_predicts_offline(self, looped: Looped):
        repository, _ = looped
        names, rows, expected = repository.ask(OFFLINE)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        variables = {"SERVE_PORT": str(port), "METRICS_PORT": str(free_port())}
        serve = ("make", "serve")
        environment = repository.environment | variables
        ready = f"{url}/health/status"
        with running(ready, *serve, folder=repository.folder, environment=environment):
            message = {"data": {"names": names, "ndarray": rows}}
            answer = post(f"{url}/api/v1.0/predictions", message)
            predicted = repository.make("predict", **variables)
            with urllib.request.urlopen(f"{url}/metadata", timeout=10) as response:
                metadata = json.load(response)
        actual = answer["data"]["ndarray"]
        assert len(actual) == len(expected) > 300
        for one, other in zip(actual, expected, strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
        assert predicted.returncode == 0, predicted.stderr
        assert PACKAGE in json.dumps(metadata)

    def test_a_worse_candidate_is_rejected_and_not_registered(self, looped: Looped):
        repository, _ = looped
        model = repository.folder / "src" / PACKAGE / "model.py"
        original = text = model.read_text()
        for old, new in WORSE[repository.problem_type]:
            assert old in text
            text = text.replace(old, new)
        text = re.sub(r'    "(forest|boosting)": \w+,\n', "", text)
        model.write_text(text)
        before = aliases(repository)
        try:
            done = repository.make("train")
        finally:
            model.write_text(original)
        assert done.returncode != 0
        assert re.search("^FAIL +champion", done.stdout, re.MULTILINE), done.stdout
        assert "gate: reject" in done.stdout
        assert "register" not in done.stdout.partition("gate ")[2].partition("Best")[0]
        assert aliases(repository) == before
        rejected = [run for run in repository.ask(RUNS) if run["tags"].get("gate") == "reject"]
        assert len(rejected) == 1
        assert "champion" in rejected[0]["tags"]["gate.reasons"]
        assert rejected[0]["status"] == "FINISHED"

    def test_a_second_training_is_promoted_and_rolled_back(self, looped: Looped):
        repository, _ = looped
        for verb in ("train", "promote"):
            done = repository.make(verb)
            assert done.returncode == 0, done.stdout + done.stderr
        assert aliases(repository) == {"challenger": "2", "champion": "2", "previous": "1"}
        assert repository.make("rollback").returncode == 0
        assert aliases(repository) == {"challenger": "2", "champion": "1"}
        again = repository.make("rollback")
        assert again.returncode != 0
        assert "no @previous version" in again.stderr

    def test_drift_is_told_and_leads_to_one_training_and_a_new_challenger(self, looped: Looped):
        repository, _ = looped
        before = aliases(repository)
        done = repository.make("loop")
        assert done.returncode == 0, done.stdout + done.stderr
        steps = [
            "clean traffic, 150 requests",
            "the largest drift of any input is 0.0",
            "drifted traffic",
            "ModelFeatureDrift fires",
            "ticket firing: ModelFeatureDrift",
            "a new version is @challenger",
            "1 training; notifications by outcome",
            "clean traffic again",
            "ModelFeatureDrift has resolved",
        ]
        places = [done.stdout.find(step) for step in steps]
        assert -1 not in places, done.stdout
        assert places == sorted(places), done.stdout
        assert float(re.search(r"drift to firing alert +([\d.]+) s", done.stdout)[1]) < 15

        after = aliases(repository)
        assert int(after.pop("challenger")) == int(before.pop("challenger")) + 1
        assert after == before
        folder = repository.folder / "build" / "loop"
        assert [log.name[:5] for log in folder.glob("0*.log")] == ["0001-"]
        assert "@challenger" in next(folder.glob("0001-*.log")).read_text()
        assert (folder / "dashboard.png").read_bytes().startswith(b"\x89PNG")

    def test_a_tampered_model_is_not_served(self, looped: Looped, tmp_path: Path):
        repository, _ = looped
        folder = tmp_path / "model"
        shutil.copytree(repository.folder / "build" / "model", folder)
        path = folder / "contract.json"
        contract = json.loads(path.read_text())
        contract["golden"][0]["outputs"][0] *= 0.98
        path.write_text(json.dumps(contract))
        done = subprocess.run(
            [repository.environment["SERVE_PYTHON"], "-m", "modelloop", "serve"],
            cwd=repository.folder,
            env=repository.environment
            | {"MODEL_DIR": str(folder), "SERVE_PORT": str(free_port())}
            | {"METRICS_PORT": str(free_port())},
            capture_output=True,
            text=True,
            timeout=MINUTES,
        )
        assert done.returncode != 0
        assert "golden row 0" in done.stderr
        assert "Traceback" not in done.stderr


class TestClassification(Loop):
    problem_type = "classification"


class TestRegression(Loop):
    problem_type = "regression"


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Iterator[Repository]:
    """A fresh repository."""
    found = own_render(template, tmp_path, {})
    yield found
    assert processes_in(found.folder) == []


def test_a_tracking_server_is_used_when_it_is_named(repository: Repository, tmp_path: Path):
    with mlflow_server(tmp_path) as url:
        remote = {"MLFLOW_TRACKING_URI": url}
        done = repository.make("train", "promote", "model", **remote)
        assert done.returncode == 0, done.stdout + done.stderr
        assert aliases(repository, **remote) == {"challenger": "1", "champion": "1"}
    assert (repository.folder / "build/model/model.onnx").stat().st_size > 0
    assert not (repository.folder / "mlruns/mlflow.db").exists()


def test_an_unknown_kfp_is_run_by_its_own_runner_with_a_warning(repository: Repository):
    code = f"""
import sys
from modelloop.kubeflow import local, warm
from {PACKAGE} import project
warm.misfit = lambda: "a test"
if __name__ == "__main__":
    local.run(project, ["linear"])
"""
    script = repository.folder / "stock.py"
    script.write_text(code)
    done = subprocess.run(
        [repository.python, script],
        cwd=repository.folder,
        env=repository.environment,
        capture_output=True,
        text=True,
        timeout=5 * MINUTES,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: unknown kfp (a test)" in done.stderr
    assert aliases(repository) == {"challenger": "1"}

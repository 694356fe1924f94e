"""What the processes of the serving environment read from the environment, and import."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelloop import Project, subprocesses
from modelloop.contract.contract import Contract
from modelloop.serving import client
from modelloop.testing.servers import GrpcClient

PREPARE = """
import os
from modelloop.serving import environment
environment.prepare()
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], os.path.isdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
"""


def prepared(**variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_folder_is_made_and_goes_with_the_process(tmp_path):
    folder, was_there = prepared(TMPDIR=str(tmp_path), PROMETHEUS_MULTIPROC_DIR="")
    assert Path(folder).parent == tmp_path
    assert was_there == "True"
    assert not Path(folder).exists()


def test_a_folder_that_is_named_stays_and_only_old_metrics_leave_it(tmp_path):
    for name in ("counter_12.db", "gauge_livemax_3.db", "counter_of_mine.db", "data.db", "notes"):
        (tmp_path / name).touch()
    folder, _ = prepared(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert folder == str(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"counter_of_mine.db", "data.db", "notes"}


# Imports

# What only training needs: hundreds of megabytes, and seconds of every start.
OF_TRAINING = {"kfp", "matplotlib", "mlflow", "pandas", "pandera", "pyarrow"}
# Python imports a sitecustomize.py at its start. This one records each module that is looked for,
# whether it is found or not, with the module that imports it: an import behind try/except, or
# within a function that answers a request, is seen like any other.
RECORDER = """
import os, sys


class Recorder:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        importer = frame.f_globals.get("__name__") if frame else None
        with open(os.environ["IMPORTS"], "a") as record:
            record.write(f"{name} {importer}\\n")


sys.meta_path.insert(0, Recorder())
"""


@dataclass(frozen=True)
class Imports:
    """The imports of the processes that run with `variables`, and of those that they start."""

    project: Project
    record: Path
    variables: dict[str, str]

    @property
    def everything(self) -> set[str]:
        """The names of all modules that were looked for, by any module."""
        return {name for name, _ in self._lines}

    @property
    def ours(self) -> set[str]:
        """The packages that the library or the repository looked for."""
        return {
            name.partition(".")[0]
            for name, importer in self._lines
            if importer.partition(".")[0] in ("modelloop", self.project.package)
        }

    @property
    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.record.read_text().splitlines()]


@pytest.fixture
def imports(project: Project, tmp_path: Path) -> Imports:
    folder = tmp_path / "recorder"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(RECORDER)
    path = filter(None, [str(folder), os.environ.get("PYTHONPATH")])
    record = folder / "imports"
    variables = {"PYTHONPATH": os.pathsep.join(path), "IMPORTS": str(record)}
    return Imports(project, record, variables)


def test_what_only_training_needs_is_not_installed(serve_python: str):
    find = "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv))"
    found = subprocess.run(
        [serve_python, "-c", find.replace("sys.argv", "sys.argv[1:]"), "numpy", *OF_TRAINING],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["numpy"]


@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_serving_imports_nothing_that_only_training_needs(
    request, project, serve, serve_python, imports, form, tmp_path
):
    folder: Path = request.getfixturevalue({"onnx": "model_dir", "skops": "sklearn_dir"}[form])
    contract = Contract.read(folder)
    settings = {"SERVE_GRPC": 1, "REQUEST_LOG": tmp_path / "requests"}

    with serve(folder, **imports.variables, **settings) as server:
        answer = server.predict(client.golden(contract))
        assert answer.status == 200
        feedback = {"response": answer.json, "reward": 1}
        assert client.feedback(f"http://127.0.0.1:{server.port}", feedback) == client.COUNTED
        with GrpcClient(serve_python, server.grpc_port) as grpc:
            assert grpc.call("Predict", client.golden(contract))["code"] == "OK"
        assert server.call("GET", "/metrics", port=server.metrics_port).status == 200

    assert {f"{project.package}.serving", f"{project.package}.metrics"} <= imports.everything
    assert imports.ours >= {"numpy", "prometheus_client", "grpc"}
    assert not imports.ours & OF_TRAINING
    # An ONNX model does without scikit-learn, which the team's features.py imports.
    features = {"sklearn", f"{project.package}.features"}
    assert features & imports.everything == (features if form == "skops" else set())


def test_receiving_alerts_imports_nothing_that_only_training_needs(
    project, serve_python, imports, tmp_path
):
    (port,) = subprocesses.free_ports(1)
    token = tmp_path / "token"
    token.write_text("a-token")
    settings = {
        "RETRAIN_PORT": str(port),
        "RETRAIN_TOKEN_FILE": str(token),
        "RETRAIN_STATE": str(tmp_path / "state.db"),
        "RETRAIN_BACKEND": "local",
    }
    with subprocesses.running(
        "the receiver",
        [serve_python, "-m", "modelloop", "--project", str(project.root), "receive"],
        f"http://127.0.0.1:{port}/healthz",
        tmp_path / "log",
        **imports.variables,
        **settings,
    ):
        pass

    assert "modelloop.retrain.receiver" in imports.everything
    assert not imports.ours & OF_TRAINING


@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_proving_a_model_imports_nothing_that_only_training_needs(
    request, project, serve_python, imports, form
):
    folder = request.getfixturevalue({"onnx": "model_dir", "skops": "sklearn_dir"}[form])
    done = subprocess.run(
        [serve_python, "-m", "modelloop", "--project", project.root, "prove", folder],
        env=os.environ | imports.variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "modelloop.release.prove" in imports.everything
    assert not imports.ours & OF_TRAINING

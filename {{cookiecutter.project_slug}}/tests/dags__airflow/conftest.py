"""The DAGs in an Airflow of the tests' own: `make airflow-test`.

Elsewhere there is no Airflow, and nothing of this folder is collected.
"""

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubeflow_server import KubeflowServer

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "{{ cookiecutter.package_name }}"
PREFIX = PACKAGE.upper()
SLUG = "{{ cookiecutter.project_slug }}"
# The library is in the training environment; its Kubeflow server runs in any Python.
STAND_IN = """
from importlib.util import find_spec
print(find_spec("modelloop.testing.kubeflow_server").origin)
"""

if importlib.util.find_spec("airflow") is None:
    collect_ignore_glob = ["*"]
else:
    # Airflow reads them when it is imported.
    HOME = tempfile.mkdtemp(prefix="airflow-")
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)
    for given in [name for name in os.environ if name.startswith(("AIRFLOW", f"{PREFIX}_"))]:
        del os.environ[given]
    os.environ |= {
        "AIRFLOW_HOME": HOME,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NO_PROXY": "127.0.0.1",
    }
    importlib.import_module("airflow.settings")  # it lets the plugins be imported
    training = ROOT / os.environ.get("VENV", ".venv") / "bin" / "python"
    found = subprocess.run([training, "-c", STAND_IN], capture_output=True, text=True, check=True)
    sys.path.append(str(Path(found.stdout.strip()).parent))


@pytest.fixture(scope="session")
def database() -> None:
    """Airflow's tables, which `dag.test()` needs."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Read the DAG file of a repository with some settings, such as `RUN_ON="here"`."""

    def read(repository: Path = ROOT, **settings: str) -> ModuleType:
        for name, value in settings.items():
            monkeypatch.setenv(f"{PREFIX}_{name}", value)
        file = repository / "dags" / f"{PACKAGE}.py"
        place = importlib.util.spec_from_file_location("dags_of_tests", file)
        module = importlib.util.module_from_spec(place)
        place.loader.exec_module(module)
        return module

    return read


@pytest.fixture
def run(database: None) -> Callable[..., dict[str, str]]:
    """Run a DAG, with retries at once.

    Returns the state of the run, as that of "", and of each task: "failed", "success, try 2".
    """

    def test(dag, parameters: dict | None = None, **options) -> dict[str, str]:
        dag.deadline = None  # apache/airflow#73428: it cannot be tested with one
        for task in dag.tasks:
            task.retry_delay, task.poke_interval = timedelta(0), 0.2
        done = dag.test(run_conf=parameters, **options)
        states = {"": done.state.value}
        for task in done.get_task_instances():
            again = f", try {task.try_number}" if task.try_number > 1 else ""
            states[task.task_id] = f"{task.state}{again}"
        return states

    return test


@pytest.fixture
def events() -> Callable[[str], int]:
    """Count how often Airflow was told of an asset."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    def count(name: str) -> int:
        with create_session() as session:
            told = session.query(AssetEvent).join(AssetModel, AssetEvent.asset_id == AssetModel.id)
            return told.filter(AssetModel.name == name).count()

    return count


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tell Airflow where Kubeflow is, and who asks."""

    def connect(**connection: object) -> None:
        text = json.dumps({"conn_type": "http", **connection})
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW", text)

    return connect


@pytest.fixture
def kubeflow(connected: Callable[..., None]) -> Iterator["KubeflowServer"]:
    """A Kubeflow server that has a version of each pipeline; Airflow's connection leads there."""
    from kubeflow_server import KubeflowServer

    with KubeflowServer() as server:
        for name in ("training", "batch"):
            server.add_version(f"{SLUG}-{name}", "0123456789ab")
        connected(host=server.url)
        yield server

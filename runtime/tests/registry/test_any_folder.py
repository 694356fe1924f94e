"""The whole way in a repository whose folder has an unusual name, and that is moved and copied."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

import modelloop
from modelloop import Project, subprocesses
from modelloop.registry import runs

FIRST = " a?b#c%20d 'e' \"f\" ü"
SECOND = "ß%3F &x?y#z 'q' \"w\" "
THIRD = "copy?%41"
PAGES = """
import sys
from pathlib import Path
from modelloop import Project
from modelloop.registry import pages
pages.serve(Project.at(Path(sys.argv[1])), int(sys.argv[2]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Variables of commands: this library, the local store."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return kept | {"PYTHONPATH": str(Path(modelloop.__file__).parents[1])}


def run(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    """Run a verb of `modelloop` in a repository."""
    command = [sys.executable, "-m", "modelloop", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(project, environment, tmp_path_factory) -> Project:
    """A repository with one candidate, trained and moved after that; do not change it."""
    folder = tmp_path_factory.mktemp("repositories")
    shutil.copytree(project.root, folder / FIRST)
    with (folder / FIRST / "src" / project.package / "model.py").open("a") as model:
        model.write("\nCANDIDATES = dict([next(iter(CANDIDATES.items()))])\n")
    assert "Registered as version 1" in run(environment, folder / FIRST, "train")
    assert [path.name for path in folder.iterdir()] == [FIRST]
    (folder / FIRST).rename(folder / SECOND)
    return Project.at(folder / SECOND)


def test_a_moved_repository_releases_scores_and_trains_again(trained, environment, tmp_path):
    root = shutil.copytree(trained.root, tmp_path / "repositories" / THIRD)
    assert "version 1 is @champion" in run(environment, root, "promote")
    run(environment, root, "fetch")
    assert json.loads((root / "build" / "model" / "contract.json").read_text())["version"] == "1"
    (table,) = (root / "data").glob("*.csv")
    scored = run(environment, root, "batch", str(table), str(root / "build" / "scores.csv"))
    assert "rows are scored" in scored
    again = run(environment, root, "train")
    assert "champion version 1 has" in again
    assert "Registered as version 2" in again
    assert "version 2 is @champion" in run(environment, root, "promote")
    assert [path.name for path in root.parent.iterdir()] == [THIRD]
    assert [path.name for path in trained.root.parent.iterdir()] == [SECOND]


def test_mlflow_shows_the_artifacts_of_a_moved_repository(trained, environment, tmp_path):
    root = shutil.copytree(trained.root, tmp_path / "repositories" / THIRD)
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        query = f"SELECT run_uuid FROM tags WHERE key = '{runs.RUN_KEY}'"
        ((parent,),) = database.execute(query).fetchall()
    (port,) = subprocesses.free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", PAGES, str(root), str(port)]
    log = tmp_path / "log"
    with subprocesses.running("MLflow", command, f"{url}/health", log, tmp_path, **environment):
        page = f"{url}/api/2.0/mlflow/artifacts/list?run_id={parent}"
        with urllib.request.urlopen(page) as answer:
            shown = json.load(answer)
        assert shown["root_uri"].startswith(f"{root.as_uri()}/mlruns/artifacts/")
        assert {"gate.txt", "data"} <= {file["path"] for file in shown["files"]}
        with urllib.request.urlopen(f"{url}/get-artifact?path=gate.txt&run_uuid={parent}") as text:
            assert b"gate: pass" in text.read()

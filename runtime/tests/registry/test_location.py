"""A repository may lie in any folder, and be moved or copied: its local store goes with it."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sqlalchemy import text

import modelloop
from modelloop import Contract, Project
from modelloop.registry import location, runs, versions
from modelloop.registry.store import connect, local_uri
from modelloop.testing import example_model
from modelloop.testing.servers import wait_until

FIRST = " a?b#c%20d 'e' \"f\" ü"
SECOND = "ß%3F &x?y#z 'q' \"w\" "
# Where the database names the folder of the repository: addresses of artifacts, and our note.
ADDRESSES = {
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    (location.TABLE, "folder"),
}
# What names the former folder and is no address: where the table was read from.
HISTORY = {("params", "value"), ("datasets", "dataset_source")}
CONNECT = """
import sys
from pathlib import Path
from modelloop import Project
from modelloop.registry.store import connect, local_uri
project = Project.at(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
connect(project)
"""


@pytest.fixture(autouse=True)
def local_store(monkeypatch, tmp_path):
    """No MLflow server, and a current folder in which nothing may appear."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield
    assert [*elsewhere.iterdir()] == []


def repository(project: Project, folder: Path) -> Project:
    """A repository without code."""
    folder.mkdir(parents=True)
    shutil.copy(project.root / "pyproject.toml", folder)
    return Project.at(folder)


def train(project: Project, key: str, folder: Path) -> str:
    """Log and register a model as the pipeline does; returns the version."""
    inputs = pd.DataFrame({"size": np.arange(20.0)})
    model = make_pipeline(LogisticRegression()).fit(inputs, inputs["size"] > 9)
    run = runs.open_run(project, key)
    runs.log_params(project, run, {"data_uri": str(project.root / "data" / "rows.csv")})
    inputs.to_parquet(folder / f"{key}.parquet")
    runs.log_dataset(project, run, folder / f"{key}.parquet", "raw", str(project.root / "rows.csv"))
    runs.log_text(project, run, key, "key.txt")
    with runs.candidate_run(project, run, "only"):
        model_id = runs.log_model(model, inputs.head(3), {"served.txt": key.encode()})
    runs.close_run(project, key, succeeded=True)
    contract = example_model.make(folder)
    provenance = contract.provenance.model_copy(update={"mlflow_model": model_id})
    contract = contract.model_copy(update={"provenance": provenance})
    return versions.register(project, model_id, contract).version


def check(project: Project, version: str, key: str, folder: Path) -> None:
    """The version, its run and its model can be read, by us and by MLflow."""
    contract = versions.fetch_version(project, version, folder / f"model {version}")
    assert contract == versions.contract(project, version)
    assert contract == Contract.read(folder / f"model {version}")
    assert (folder / f"model {version}" / "served.txt").read_text() == key
    run = runs.find(project, key)
    assert mlflow.artifacts.load_text(f"runs:/{run}/key.txt") == key
    client = connect(project)
    assert {file.path for file in client.list_artifacts(run)} == {"key.txt", "data"}
    # Without a folder to download to, MLflow would decode the %20 of a path that is no URI.
    copied = folder / f"loaded {version}"
    copied.mkdir()
    loaded = mlflow.pyfunc.load_model(f"models:/{project.slug}/{version}", dst_path=str(copied))
    assert loaded.predict(pd.DataFrame({"size": [1.0, 15.0]})).tolist() == [False, True]


def naming(project: Project, folder: Path) -> set[tuple[str, str]]:
    """The tables and columns of the store that name a folder, as a path, in JSON or as a URI."""
    names = (str(folder), json.dumps(str(folder))[1:-1], folder.as_uri())
    found = set()
    with closing(sqlite3.connect(project.mlruns / "mlflow.db")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            rows = database.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, map(str, row), strict=True):
                    if any(name in value for name in names):
                        found.add((table, column))
    return found


def content(project: Project) -> dict[str, tuple[int, str]]:
    """What is in a repository, with times."""
    return {
        str(path.relative_to(project.root)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in project.root.rglob("*")
    }


@contextmanager
def processes(project: Project, number: int) -> Iterator[list[subprocess.Popen]]:
    """Processes that have imported everything, and connect at a line of input."""
    command = [sys.executable, "-c", CONNECT, str(project.root)]
    environment = os.environ | {"PYTHONPATH": str(Path(modelloop.__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [
        subprocess.Popen(command, text=True, env=environment, **pipes) for _ in range(number)
    ]
    try:
        for process in started:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def connect_at_once(project: Project, number: int) -> None:
    with processes(project, number) as started:
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def trained(project, tmp_path_factory) -> Project:
    """A repository in a folder of an unusual name, with version 1; do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    made = repository(project, folder / FIRST)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(made.root)
        assert train(made, "first", tmp_path_factory.mktemp("scratch")) == "1"
    assert [path.name for path in folder.iterdir()] == [FIRST]
    return made


@pytest.fixture
def original(trained, tmp_path) -> Project:
    """A copy of it, of the test's own, that has been connected to."""
    copy = Project.at(shutil.copytree(trained.root, tmp_path / "repositories" / FIRST))
    connect(copy)
    assert naming(copy, copy.root) == ADDRESSES
    return copy


def test_everything_lies_in_the_repository(trained, tmp_path):
    assert (trained.mlruns / "mlflow.db").is_file()
    assert naming(trained, trained.root) == ADDRESSES | HISTORY
    experiments = connect(trained).search_experiments()
    assert {each.name for each in experiments} == {"Default", trained.slug}
    artifacts = f"{trained.root.as_uri()}/mlruns/artifacts"
    assert all(each.artifact_location.startswith(artifacts) for each in experiments)
    check(trained, "1", "first", tmp_path)


@pytest.mark.parametrize("name", [*" ?#%'\"ü:&+;\\@~$*[", "%41", "a b", "é", "e\u0301"])
def test_mlflow_opens_the_database_in_a_folder_of_any_name(project, tmp_path, name):
    made = repository(project, tmp_path / "one" / f"x{name}x")
    made.mlruns.mkdir()
    engine = create_sqlalchemy_engine_with_retry(local_uri(made))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (two)"))
    engine.dispose()
    with closing(sqlite3.connect(made.mlruns / "mlflow.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("one",)]
    assert [path.name for path in (tmp_path / "one").iterdir()] == [f"x{name}x"]


def test_a_moved_repository_goes_on(original, tmp_path):
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    assert versions.promote(moved) == ("1", None)
    assert versions.fetch(moved, "champion", tmp_path / "champion").version == "1"
    check(moved, "1", "first", tmp_path)
    assert train(moved, "second", tmp_path) == "2"
    assert versions.promote(moved) == ("2", "1")
    check(moved, "2", "second", tmp_path)
    assert versions.rollback(moved) == ("1", "2")
    assert naming(moved, moved.root) >= ADDRESSES
    assert naming(moved, original.root) == set()
    assert not original.root.exists()


def test_a_repository_that_is_moved_back_is_at_home_again(original, tmp_path):
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    connect(moved)
    assert naming(moved, original.root) == set()
    moved.root.rename(original.root)
    connect(original)
    assert naming(original, original.root) == ADDRESSES
    check(original, "1", "first", tmp_path)


def test_a_copy_never_writes_into_the_original(original, tmp_path):
    copy = Project.at(shutil.copytree(original.root, original.root.with_name(SECOND)))
    before = content(original)
    assert train(copy, "second", tmp_path) == "2"
    versions.promote(copy)
    check(copy, "2", "second", tmp_path)
    assert naming(copy, original.root) == set()
    assert content(original) == before
    assert versions.version(original, "champion") is None
    check(original, "1", "first", tmp_path)


def test_a_copy_does_not_need_the_original(original, tmp_path):
    copy = Project.at(shutil.copytree(original.root, original.root.with_name(SECOND)))
    shutil.rmtree(original.root)
    check(copy, "1", "first", tmp_path)


def test_only_the_history_of_a_moved_store_names_the_former_folder(trained, tmp_path):
    moved = Project.at(shutil.copytree(trained.root, tmp_path / "repositories" / SECOND))
    connect(moved)
    assert naming(moved, trained.root) == HISTORY
    assert naming(moved, moved.root) == ADDRESSES


def test_experiments_that_were_made_by_hand_follow(original, tmp_path):
    client = connect(original)
    address = (original.root / "own").as_uri()
    client.create_experiment("in the repository", artifact_location=address)
    client.create_experiment("elsewhere", artifact_location=tmp_path.as_uri())
    client.create_experiment("in a bucket", artifact_location="s3://bucket/a")
    # What MLflow writes for an experiment without an address: a path that is no URI.
    client.create_experiment("plain", artifact_location=str(original.mlruns / "7"))
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    client = connect(moved)
    found = {each.name: each.artifact_location for each in client.search_experiments()}
    assert found["in the repository"] == (moved.root / "own").as_uri()
    assert found["plain"] == (moved.mlruns / "7").as_uri()
    assert found["elsewhere"] == tmp_path.as_uri()
    assert found["in a bucket"] == "s3://bucket/a"


def test_a_repository_that_is_moved_into_its_former_folder_goes_on(original, tmp_path, monkeypatch):
    aside = original.root.rename(tmp_path / "aside")
    original.root.mkdir()
    moved = Project.at(aside.rename(original.root / "inner"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT", "another")
    artifacts = f"{moved.root.as_uri()}/mlruns/artifacts"
    for experiment in connect(moved).search_experiments():
        assert experiment.artifact_location.startswith(artifacts)
    monkeypatch.delenv("MLFLOW_EXPERIMENT")
    check(moved, "1", "first", tmp_path)


def test_a_store_that_an_earlier_version_made_follows_too(original, tmp_path):
    with closing(sqlite3.connect(original.mlruns / "mlflow.db")) as database:
        database.execute(f"DROP TABLE {location.TABLE}")
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    check(moved, "1", "first", tmp_path)
    assert naming(moved, original.root) == set()


def test_a_store_elsewhere_is_left_as_it_is(original, monkeypatch):
    database = original.mlruns / "mlflow.db"
    other = shutil.copy(database, original.root.with_name("other.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    before = Path(other).read_bytes()
    connect(Project.at(original.root.rename(original.root.with_name(SECOND))))
    assert Path(other).read_bytes() == before


@pytest.mark.slow
def test_of_processes_that_meet_a_fresh_store_all_find_it_complete(project, tmp_path):
    made = repository(project, tmp_path / FIRST)
    connect_at_once(made, 3)
    assert {each.name for each in connect(made).search_experiments()} == {"Default", made.slug}


@pytest.mark.slow
def test_processes_that_meet_a_moved_store_correct_it_once(original, tmp_path):
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    connect_at_once(moved, 3)
    assert naming(moved, original.root) == set()
    check(moved, "1", "first", tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_corrects_leaves_a_store_that_is_corrected_later(
    original, tmp_path
):
    moved = Project.at(original.root.rename(original.root.with_name(SECOND)))
    file = moved.mlruns / "mlflow.db"
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"CREATE TRIGGER slow AFTER UPDATE ON model_versions BEGIN {forever}; END")
    with processes(moved, 1) as (process,):
        process.stdin.write("go\n")
        process.stdin.flush()
        journal = file.with_name("mlflow.db-journal")
        wait_until(journal.exists, "a transaction", 60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TRIGGER slow")
    assert naming(moved, original.root) == ADDRESSES
    assert naming(moved, moved.root) == set()
    check(moved, "1", "first", tmp_path)
    assert naming(moved, moved.root) == ADDRESSES
    assert naming(moved, original.root) == set()

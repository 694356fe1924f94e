"""The pipeline through kfp's local runner, as `make train` runs it."""

import os
import subprocess
import sys

import pytest

from {{ cookiecutter.package_name }} import model, registry, settings
from {{ cookiecutter.package_name }}.store import connect

pytestmark = pytest.mark.slow


def train(store: settings.Settings, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(settings.ROOT / "src"), **variables}
    return subprocess.run(
        [sys.executable, "-m", registry.__package__, "train"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def processes_in_group(group: int) -> list[str]:
    """The commands that run in a process group; those that have ended do not count."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def parents(store: settings.Settings) -> list:
    client = connect(store)
    experiment = client.get_experiment_by_name(store.mlflow_experiment)
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


def test_training_ends_in_a_challenger(store):
    done = train(store)
    assert done.returncode == 0, done.stdout + done.stderr
    order = ["ingest", "validate", "prepare", "evaluate", "gate", "register", "close"]
    seen = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  done ")]
    assert [step for step in seen if step != "train"] == order
    assert seen.count("train") == len(model.CANDIDATES)
    assert "gate: pass" in done.stdout
    assert "Warning" not in done.stderr  # of what only a cluster reads
    (parent,) = parents(store)
    assert parent.info.status == "FINISHED"
    challenger = connect(store).get_model_version_by_alias(registry.NAME, "challenger")
    assert parent.data.tags["version"] == str(challenger.version)


def test_a_signal_ends_the_steps_too(store):
    command = [sys.executable, "-m", registry.__package__, "train"]
    environment = {**os.environ, "PYTHONPATH": str(settings.ROOT / "src")}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    line = ""
    while "prepare" not in line:
        line = process.stdout.readline()
        assert line, "training ended early"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert processes_in_group(process.pid) == []  # no step goes on alone
    (parent,) = parents(store)
    assert parent.info.status == "KILLED"


def test_a_step_that_fails_ends_the_run_before_training(store, tmp_path):
    failed = train(store, DATA_URI=str(tmp_path / "nowhere.csv"))
    assert failed.returncode == 1
    assert failed.stdout.count("FAILED ingest") == 1  # only a cluster tries again
    assert "nowhere.csv: [Errno 2] No such file" in failed.stdout
    assert "train" not in failed.stdout.partition("ingest")[2]
    assert "Traceback" not in failed.stdout + failed.stderr
    (parent,) = parents(store)
    assert parent.info.status == "FAILED"

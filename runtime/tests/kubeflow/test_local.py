"""The pipeline through kfp's local runner, as `make train` runs it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from modelloop import Project
from modelloop.registry.store import connect

pytestmark = pytest.mark.slow

HERE: dict[str, str | None] = {"MLFLOW_TRACKING_URI": None, "DATA_URI": None, "DATA_QUERY": None}


def processes_in_group(group: int) -> list[str]:
    """The commands that run in a process group; those that have ended do not count."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def parents(project: Project) -> list:
    client = connect(project)
    experiment = client.get_experiment_by_name(project.settings.mlflow_experiment)
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags]


@pytest.fixture
def elsewhere(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the repository in a folder whose name no URL, shell or query may read."""
    root = shutil.copytree(project.root, tmp_path / " a?b#c%20d 'e' ü" / "repository")
    for made in ("build", "mlruns"):
        shutil.rmtree(root / made, ignore_errors=True)
    for name in HERE:
        monkeypatch.delenv(name, raising=False)
    return project.model_copy(update={"root": root})


def test_training_ends_in_a_challenger_wherever_the_repository_is(project, elsewhere, start):
    process = start(elsewhere, "train", **HERE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    order = ["ingest", "validate", "prepare", "evaluate", "gate", "register", "close"]
    seen = [line.split()[1] for line in out.splitlines() if line.startswith("  done ")]
    assert [step for step in seen if step != "train"] == order
    assert seen.count("train") == len(project.model.CANDIDATES)
    assert "gate: pass" in out
    assert "Warning" not in err  # of what only a cluster reads
    (parent,) = parents(elsewhere)
    assert parent.info.status == "FINISHED"
    challenger = connect(elsewhere).get_model_version_by_alias(elsewhere.slug, "challenger")
    assert parent.data.tags["version"] == str(challenger.version)
    # All of it is in the repository.
    assert {file.name for file in elsewhere.build.iterdir()} == {"model.json"}
    assert (elsewhere.mlruns / "mlflow.db").exists()
    assert [folder.name for folder in elsewhere.root.parent.iterdir()] == ["repository"]
    assert [folder.name for folder in elsewhere.root.parents[1].iterdir()] == [
        elsewhere.root.parent.name
    ]


def test_a_signal_ends_the_steps_too(store, start):
    process = start(store, "train")
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


def test_a_step_that_fails_ends_the_run_before_training(store, start, tmp_path):
    failed = start(store, "train", DATA_URI=str(tmp_path / "nowhere.csv"))
    out, err = failed.communicate(timeout=300)
    assert failed.returncode == 1
    assert out.count("FAILED ingest") == 1  # only a cluster retries
    assert "nowhere.csv: [Errno 2] No such file" in out
    assert "train" not in out.partition("ingest")[2]
    assert "Traceback" not in out + err
    (parent,) = parents(store)
    assert parent.info.status == "FAILED"

"""`RUN_ON=here`: verbs of the repository, in its own environment."""

import csv
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLUG = "{{ cookiecutter.project_slug }}"
# Writes the table that the repository learns from.
ROWS = """
import sys
from {{ cookiecutter.package_name }} import data, project
env = project.settings
data.load(env.data_uri, env.data_query).to_csv(sys.argv[1], index=False)
"""
# What the verbs were given, one a line.
MAKEFILE = """
SEEN = { printf '%s\\n' $@ "$(INPUT)" "$(OUTPUT)" "$(ALIAS)" "$$PYTHONPATH" "$$VIRTUAL_ENV" \\
	$$(compgen -A variable | grep ^AIRFLOW); } > seen.txt
SHELL := /bin/bash
candidate batch:
	@echo >> trainings.txt; $(SEEN); test ! -f broken
gate:
	@test ! -f rejected
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository, which uses the environments of this one."""
    venv = os.path.abspath(ROOT / os.environ.get("VENV", ".venv"))
    monkeypatch.setenv("VENV", venv)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    made = shutil.ignore_patterns(".git", ".venv*", "build", "mlruns", "__pycache__")
    return shutil.copytree(ROOT, tmp_path / "repository", ignore=made)


@pytest.fixture
def verbs(tmp_path: Path) -> Path:
    """A repository whose verbs only tell what they were given."""
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


@pytest.mark.slow
def test_a_training_ends_in_a_challenger_that_scores(load, run, events, repository, tmp_path):
    before = [events(f"{SLUG}-{name}") for name in ("model", "scores")]
    module = load(repository, RUN_ON="here")
    assert run(module.training_dag) == {"": "success", "train": "success", "gate": "success"}
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        aliases = store.execute("SELECT name, alias, version FROM registered_model_aliases")
        assert aliases.fetchall() == [(SLUG, "challenger", 1)]
        (reason,) = store.execute("SELECT value FROM tags WHERE key = 'retrain.reason'").fetchone()
    assert reason.startswith("airflow/manual__")

    rows, scores = tmp_path / "rows.csv", tmp_path / "scores.csv"
    python = Path(os.environ["VENV"], "bin", "python")
    made = subprocess.run([python, "-c", ROWS, rows], cwd=repository / "src", capture_output=True)
    assert made.returncode == 0, made.stderr
    given = {"input": str(rows), "output": str(scores), "alias": "challenger"}
    assert run(module.batch_dag, given) == {"": "success", "score": "success"}
    with rows.open(newline="") as asked, scores.open(newline="") as answered:
        rows = [*csv.DictReader(answered)]
        assert len(rows) == len([*csv.DictReader(asked)])
    assert all(row["prediction"] and row["model_version"] == "1" for row in rows)
    assert [events(f"{SLUG}-{name}") - 1 for name in ("model", "scores")] == before


def test_nothing_of_airflows_environment_reaches_the_repository(load, run, verbs, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/airflow")
    monkeypatch.setenv("VIRTUAL_ENV", "/airflow")
    assert run(load(verbs, RUN_ON="here").training_dag)[""] == "success"
    assert (verbs / "seen.txt").read_text().split() == ["candidate"]


def test_addresses_come_to_the_verb_as_they_are(load, run, verbs):
    rows = "{% raw %}s3://rows of a day/{{ ds }};x.csv{% endraw %}"
    dag = load(verbs, RUN_ON="here", BATCH_INPUT=rows, BATCH_OUTPUT="out #1 & more.csv").batch_dag
    assert run(dag)[""] == "success"
    seen = (verbs / "seen.txt").read_text().splitlines()
    assert seen[0] == "batch"
    assert seen[1].startswith("s3://rows of a day/20")
    assert seen[1].endswith(";x.csv")
    assert seen[2:4] == ["out #1 & more.csv", "champion"]


def test_a_rejected_candidate_is_not_trained_again(load, run, events, verbs):
    before = events(f"{SLUG}-model")
    (verbs / "rejected").touch()
    states = run(load(verbs, RUN_ON="here").training_dag)
    assert states == {"": "failed", "train": "success", "gate": "failed"}
    assert (verbs / "trainings.txt").read_text() == "\n"
    assert events(f"{SLUG}-model") == before


def test_a_training_that_breaks_off_is_tried_three_times(load, run, verbs):
    (verbs / "broken").touch()
    states = run(load(verbs, RUN_ON="here").training_dag)
    assert states == {"": "failed", "train": "failed, try 3", "gate": "upstream_failed"}
    assert (verbs / "trainings.txt").read_text() == "\n\n\n"

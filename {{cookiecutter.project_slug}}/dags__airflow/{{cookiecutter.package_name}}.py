"""Trains the model when its table is new, scores a file every day: `make docs`, page airflow."""

import os
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AsyncCallback, DeadlineAlert, DeadlineReference, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import TemplateError

from {{ cookiecutter.package_name }}_deadline import late
from {{ cookiecutter.package_name }}_kubeflow import Kubeflow

# fmt: off
SLUG = {{ cookiecutter.project_slug|quoted }}
OWNER = {{ cookiecutter.owner_team|quoted }}
RUNBOOK = "{{ cookiecutter.repository_url }}/blob/main/docs/runbooks.md#airflowrunlate"
# kubeflow: the newest version that `make upload` has uploaded; here: `make` in this repository.
RUN_ON = os.environ.get("{{ cookiecutter.package_name|upper }}_RUN_ON", "kubeflow")
# Such as {% raw %}s3://bucket/{{ ds }}.parquet{% endraw %}; the DAG is scheduled where both are given.
INPUT = os.environ.get("{{ cookiecutter.package_name|upper }}_BATCH_INPUT")
OUTPUT = os.environ.get("{{ cookiecutter.package_name|upper }}_BATCH_OUTPUT")
if RUN_ON not in ("kubeflow", "here"):
    raise ValueError(f"{{ cookiecutter.package_name|upper }}_RUN_ON={RUN_ON!r}; allowed: kubeflow, here")
# fmt: on

TRAIN_WHEN = Asset(f"{SLUG}-table")  # an outlet of the DAG that writes it; or cron: "0 3 * * 1"
SCORE_WHEN = "0 5 * * *"  # or an asset
MODEL = Asset(f"{SLUG}-model")  # there is a new @challenger
SCORES = Asset(f"{SLUG}-scores")
LATE_AFTER = timedelta(hours=4)  # somebody is told
OVER_AFTER = timedelta(hours=8)  # the DAG run has failed; a run on Kubeflow goes on
REPOSITORY = Path(__file__).resolve().parents[1]
# Airflow's Python is not the repository's.
MAKE = "unset ${!AIRFLOW@} PYTHONHOME PYTHONPATH VIRTUAL_ENV MAKEFLAGS MAKELEVEL; exec make "
DATES = ("ds", "ds_nodash", "ts", "ts_nodash", "data_interval_start", "data_interval_end")


def settings(name: str) -> dict[str, Any]:
    """What both DAGs have in common."""
    told = AsyncCallback(late, kwargs={"model": SLUG, "runbook": RUNBOOK})
    return {
        "dag_id": f"{SLUG}-{name}",
        "tags": [SLUG, name],
        "doc_md": __doc__,
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": OVER_AFTER,
        "deadline": DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, LATE_AFTER, told),
        "default_args": {
            "owner": OWNER,
            "retries": 2,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(minutes=5),
        },
    }


def arguments(context: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the run that are given, with its dates filled in.

    Nothing else is filled in: templates of whoever may start the DAG could read connections.

    Raises:
        AirflowFailException: a parameter wants a date that the run has not, or is no address.
    """
    dates = {name: context[name] for name in DATES if name in context}
    given = {}
    for name, value in context["params"].items():
        try:
            filled = context["task"].render_template(value, dates)
        except TemplateError as error:
            raise AirflowFailException(f"{name}={value!r}: {error}") from error
        if isinstance(filled, str) and re.search(r"[\"'`$\\{}\r\n]", filled):
            raise AirflowFailException(f"{name}={filled!r}: no quotes, $, \\, braces or line ends")
        given |= {name: filled} if filled else {}
    return given


@task
def submit(pipeline: str, **context: Any) -> str:
    """Start the pipeline, or find the run that an earlier try has started."""
    name = f"airflow/{context['run_id']}"
    return Kubeflow().start(pipeline, SLUG, name, arguments(context))


@task.sensor(poke_interval=60, timeout=OVER_AFTER.total_seconds(), mode="reschedule")
def wait(run: str, step: str) -> bool:
    """Wait for the run; between two looks no worker is held."""
    return Kubeflow().succeeded(run, step)


@task.bash(
    cwd=str(REPOSITORY),
    env={"RETRAIN_REASON": "{% raw %}airflow/{{ run_id }}{% endraw %}"},
    append_env=True,
    execution_timeout=OVER_AFTER,
)
def make(verb: str, **context: Any) -> str:
    """Run a verb of the repository's Makefile."""
    values = (f"{name.upper()}={shlex.quote(value)}" for name, value in arguments(context).items())
    return " ".join([MAKE + verb, *values])


def address(title: str, default: str | None) -> Param:
    """A parameter that must be given where the environment says nothing."""
    return Param(*filter(None, [default]), type="string", minLength=1, title=title)


CANDIDATES = Param(None, type=["null", "array"], title="Candidates that compete; none: all")
ALIAS = Param("champion", type="string", title="Version that scores", pattern="^[A-Za-z0-9_.-]+$")
CHOICE = {"candidates": CANDIDATES} if RUN_ON == "kubeflow" else {}
FILES = {
    "input": address("Address of the rows", INPUT),
    "output": address("Address to write the scores to", OUTPUT),
    "alias": ALIAS,
}


@dag(schedule=TRAIN_WHEN, params=CHOICE, **settings("training"))
def training() -> None:
    """Train and judge; a candidate that the gate rejects ends it as failed."""
    if RUN_ON == "here":
        trained = make.override(task_id="train")("candidate")
        trained >> make.override(task_id="gate", retries=0, outlets=[MODEL])("gate")
    else:
        wait.override(outlets=[MODEL])(submit(f"{SLUG}-training"), "register")


@dag(schedule=SCORE_WHEN if INPUT and OUTPUT else None, params=FILES, **settings("batch"))
def batch() -> None:
    """Score a file; without addresses in the environment, whoever starts it gives them."""
    if RUN_ON == "here":
        make.override(task_id="score", outlets=[SCORES])("batch")
    else:
        wait.override(outlets=[SCORES])(submit(f"{SLUG}-batch"), "score")


training_dag = training()
batch_dag = batch()

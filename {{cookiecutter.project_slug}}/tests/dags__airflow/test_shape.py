"""What Airflow makes of the DAG file before anything runs."""

import ast
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset
from airflow.serialization.serialized_objects import DagSerialization

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "{{ cookiecutter.package_name }}"
SLUG = "{{ cookiecutter.project_slug }}"
FILE = ROOT / "dags" / f"{PACKAGE}.py"
RUN_ON = f"{PACKAGE.upper()}_RUN_ON"
# Processor seconds for the DAG file alone, and all modules.
READ = """
import runpy, sys, time
import httpx
from airflow.sdk import Asset, AsyncCallback, DeadlineAlert, DeadlineReference, Param, dag, task
sys.path.insert(0, "plugins")
start = time.process_time()
runpy.run_path(sys.argv[1])
print(time.process_time() - start, *sys.modules)
"""


def found(monkeypatch: pytest.MonkeyPatch, where: str) -> DagBag:
    """Read the folder as the DAG processor does."""
    monkeypatch.setenv(RUN_ON, where)
    return DagBag(dag_folder=str(FILE.parent))


@pytest.mark.parametrize(
    ("where", "training", "batch"),
    [
        ("kubeflow", ["submit", "wait"], ["submit", "wait"]),
        ("here", ["train", "gate"], ["score"]),
    ],
)
def test_airflow_finds_both_dags(monkeypatch, where, training, batch):
    bag = found(monkeypatch, where)
    assert bag.import_errors == {}
    for name, tasks in (("training", training), ("batch", batch)):
        dag = bag.dags.pop(f"{SLUG}-{name}")
        assert [task.task_id for task in dag.topological_sort()] == tasks
    assert bag.dags == {}


def test_another_place_to_run_is_refused_with_what_is_allowed(monkeypatch):
    (error,) = found(monkeypatch, "moon").import_errors.values()
    assert f"ValueError: {RUN_ON}='moon'; allowed: kubeflow, here" in error.splitlines()


@pytest.mark.parametrize("where", ["kubeflow", "here"])
def test_no_run_is_forgotten_doubled_or_caught_up(load, where):
    module = load(RUN_ON=where)
    for dag in (module.training_dag, module.batch_dag):
        assert not dag.catchup
        assert dag.max_active_runs == 1
        assert dag.dagrun_timeout == timedelta(hours=8)
        assert SLUG in dag.tags
        assert dag.doc_md
        for task in dag.tasks:
            assert task.owner == module.OWNER
            assert task.retries == (0 if task.task_id == "gate" else 2)
            assert task.retry_exponential_backoff
            assert timedelta(0) < task.execution_timeout <= dag.dagrun_timeout
        (alert,) = dag.deadline
        assert alert.interval < dag.dagrun_timeout
        assert alert.callback.path == f"{PACKAGE}_deadline.late"


@pytest.mark.parametrize("where", ["kubeflow", "here"])
def test_the_table_starts_a_training_whose_end_tells_of_a_model(load, where):
    dag = load(RUN_ON=where).training_dag
    assert dag.timetable.asset_condition == Asset(f"{SLUG}-table")
    outlets = {task.task_id: task.outlets for task in dag.tasks if task.outlets}
    assert [*outlets.values()] == [[Asset(f"{SLUG}-model")]]
    assert {*outlets} == {dag.topological_sort()[-1].task_id}


def test_files_are_scored_daily_only_where_the_environment_names_them(load):
    assert load().batch_dag.schedule is None
    rows = "{% raw %}s3://rows/{{ ds }}.parquet{% endraw %}"
    dag = load(BATCH_INPUT=rows, BATCH_OUTPUT="s3://scores/all.parquet").batch_dag
    assert dag.schedule == "0 5 * * *"
    assert dag.params["input"] == rows


def test_the_scheduler_can_keep_them(load):
    module = load(BATCH_INPUT="s3://a", BATCH_OUTPUT="s3://b")
    for dag in (module.training_dag, module.batch_dag):
        kept = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        assert kept.dag_id == dag.dag_id
        assert {*kept.task_ids} == {*dag.task_ids}


def test_the_parameters_are_those_of_the_pipelines(load):
    """The pipelines cannot be imported here: there is no kfp."""
    module = load()
    source = ROOT / "src" / PACKAGE / "pipeline.py"
    body = ast.parse(source.read_text(encoding="utf-8")).body
    for function, dag in (("training", module.training_dag), ("scoring", module.batch_dag)):
        (pipeline,) = [one for one in body if getattr(one, "name", "") == function]
        assert [*dag.params] == [argument.arg for argument in pipeline.args.args]
        (wait,) = [task for task in dag.tasks if task.task_id == "wait"]
        called = [n.func for n in ast.walk(pipeline) if isinstance(n, ast.Call)]
        assert wait.op_args[1] in [getattr(f, "attr", getattr(f, "id", "")) for f in called]


def test_reading_the_file_is_cheap_and_needs_nothing_of_the_training():
    done = subprocess.run(
        [sys.executable, "-c", READ, FILE], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, *modules = done.stdout.splitlines()[-1].split()
    assert {"kfp", "mlflow", "pandas", "sklearn", PACKAGE} & {*modules} == set()
    assert f"{PACKAGE}_kubeflow" in modules
    assert float(seconds) < 2

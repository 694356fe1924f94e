"""`RUN_ON=kubeflow`, against a server that answers as Kubeflow Pipelines does."""

import threading
import time
from collections.abc import Callable

import pendulum
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubeflow_server import KubeflowServer

from {{ cookiecutter.package_name }}_kubeflow import Kubeflow, PassingError

SLUG = "{{ cookiecutter.project_slug }}"
TRAINING = f"{SLUG}-training"
NAME = "airflow/scheduled__1"
DAY = pendulum.datetime(2026, 3, 1)


@pytest.fixture
def then(kubeflow):
    """Let something happen to the first run, as soon as the server has one."""
    threads = []

    def watch(act: Callable[[dict], None]) -> None:
        end = time.monotonic() + 60
        while not kubeflow.runs and time.monotonic() < end:
            time.sleep(0.02)  # between two looks
        act(kubeflow.runs[0])

    def begin(act: Callable[[dict], None]) -> None:
        threads.append(threading.Thread(target=watch, args=[act]))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def start() -> str:
    return Kubeflow().start(TRAINING, SLUG, NAME, {})


def succeed(kubeflow: KubeflowServer, run: dict, last: str) -> None:
    """Let a run succeed that has come to this step."""
    with kubeflow.lock:
        kubeflow.task(run["run_id"], last, "SUCCEEDED")
        kubeflow.finish(run["run_id"], "SUCCEEDED")


def test_a_training_is_submitted_waited_for_and_told(load, run, kubeflow, then, events):
    before = events(f"{SLUG}-model")
    then(lambda one: succeed(kubeflow, one, "register"))
    states = run(load().training_dag, {"candidates": ["forest"]})
    assert states == {"": "success", "submit": "success", "wait": "success"}
    (started,) = kubeflow.runs
    assert started["display_name"].startswith("airflow/manual__")
    assert started["runtime_config"] == {"parameters": {"candidates": ["forest"]}}
    assert events(f"{SLUG}-model") == before + 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_a_run_that_does_not_succeed_ends_the_dag_at_once(load, run, kubeflow, then, events, state):
    before = events(f"{SLUG}-model")
    then(lambda one: kubeflow.finish(one["run_id"], state))
    states = run(load().training_dag)
    assert states == {"": "failed", "submit": "success", "wait": "failed"}
    assert len(kubeflow.runs) == 1
    assert events(f"{SLUG}-model") == before


def test_a_rejected_candidate_tells_of_no_model(load, run, kubeflow, then, events):
    before = events(f"{SLUG}-model")
    then(lambda one: succeed(kubeflow, one, "gate"))
    states = run(load().training_dag)
    assert states == {"": "failed", "submit": "success", "wait": "failed"}
    assert events(f"{SLUG}-model") == before


def test_a_lost_answer_starts_no_second_training(load, run, kubeflow, then):
    kubeflow.fail_next("lose", path="POST /experiments")
    kubeflow.fail_next("lose", path="POST /runs")
    then(lambda one: succeed(kubeflow, one, "register"))
    states = run(load().training_dag)
    assert states == {"": "success", "submit": "success, try 3", "wait": "success"}
    assert len(kubeflow.runs) == len(kubeflow.experiments) == 1


def test_a_server_that_is_away_for_a_while_is_waited_for(load, run, kubeflow, then):
    def act(one: dict) -> None:
        with kubeflow.lock:
            kubeflow.fail_next(503, times=2, path="GET /runs/")
            kubeflow.fail_next("close", path="GET /runs/")
            succeed(kubeflow, one, "register")

    then(act)
    states = run(load().training_dag)
    assert states == {"": "success", "submit": "success", "wait": "success"}
    looks = [path for method, path, *_ in kubeflow.requests if path.startswith("/runs/")]
    assert len(looks) >= 4


def test_rows_of_a_day_are_scored(load, run, kubeflow, then, events):
    before = events(f"{SLUG}-scores")
    then(lambda one: succeed(kubeflow, one, "score"))
    rows = "{% raw %}s3://rows/{{ ds }}.parquet{% endraw %}"
    dag = load(BATCH_INPUT=rows, BATCH_OUTPUT="s3://scores/all.parquet").batch_dag
    assert run(dag, {"alias": "challenger"}, logical_date=DAY)[""] == "success"
    (started,) = kubeflow.runs
    assert started["runtime_config"]["parameters"] == {
        "input": "s3://rows/2026-03-01.parquet",
        "output": "s3://scores/all.parquet",
        "alias": "challenger",
    }
    assert events(f"{SLUG}-scores") == before + 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{% raw %}{{ conn.kubeflow.password }}{% endraw %}", "'conn' is undefined"),
        ("{% raw %}s3://rows/{{ month }}{% endraw %}", "'month' is undefined"),
        ("{% raw %}s3://rows/{{ '{{ ds }}' }}{% endraw %}", "no quotes, $"),
        ("s3://rows/$(id)", "no quotes, $"),
        ("rows' 'x", "no quotes, $"),
    ],
)
def test_what_is_more_than_an_address_is_refused(load, address, said):
    module = load()
    context = {"params": {"input": address}, "task": module.batch_dag.get_task("submit"), "ds": "d"}
    with pytest.raises(AirflowFailException) as caught:
        module.arguments(context)
    assert str(caught.value).startswith("input=")
    assert said in str(caught.value)


def test_a_second_try_goes_on_with_the_run_of_the_first(kubeflow):
    first = start()
    for state in ("PENDING", "RUNNING", "SUCCEEDED"):
        kubeflow.finish(first, state)
        assert start() == first
    assert len(kubeflow.runs) == 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_what_ended_badly_is_started_anew(kubeflow, state):
    first = start()
    kubeflow.finish(first, state)
    assert start() != first


def test_a_scoring_is_not_taken_for_a_training_of_the_same_name(kubeflow):
    assert start() != Kubeflow().start(f"{SLUG}-batch", SLUG, NAME, {})
    assert len(kubeflow.experiments) == 1


def test_the_newest_version_that_is_a_commits_is_started(kubeflow):
    newest = kubeflow.add_version(TRAINING, "ba9876543210")
    kubeflow.add_version(TRAINING, "ba9876543210-dirty")
    start()
    (started,) = kubeflow.runs
    keys = ("pipeline_id", "pipeline_version_id")
    assert started["pipeline_version_reference"] == {key: newest[key] for key in keys}


def test_where_nothing_was_uploaded_the_message_says_how(kubeflow):
    said = f"no pipeline {TRAINING} at {kubeflow.url}: run `make upload`"
    kubeflow.versions.clear()
    with pytest.raises(AirflowFailException, match=said):
        start()
    kubeflow.pipelines.clear()
    with pytest.raises(AirflowFailException, match=said):
        start()


def test_the_reason_of_a_failure_is_told(kubeflow):
    run_id = start()
    kubeflow.task(run_id, "ingest", "SUCCEEDED")
    kubeflow.task(run_id, "train", "FAILED")
    kubeflow.finish(run_id, "FAILED", "out of memory")
    with pytest.raises(AirflowFailException) as caught:
        Kubeflow().succeeded(run_id, "register")
    page = f"{kubeflow.url}/#/runs/details/{run_id}"
    assert str(caught.value) == f"{page} is FAILED: out of memory; failed steps: ['train']"


def test_a_run_that_is_gone_is_not_waited_for(kubeflow):
    run_id = start()
    kubeflow.runs.clear()
    with pytest.raises(AirflowFailException, match="404"):
        Kubeflow().succeeded(run_id, "register")


@pytest.mark.parametrize("how", [500, 502, 503, 429, "close"])
def test_passing_faults_are_left_to_airflows_retries(kubeflow, how):
    kubeflow.fail_next(how)
    with pytest.raises(PassingError):
        start()
    start()


def test_a_server_that_is_down_passes(kubeflow, connected):
    connected(host="http://127.0.0.1:9")
    with pytest.raises(PassingError, match=r"no answer from Kubeflow at http://127\.0\.0\.1:9"):
        start()


def test_the_token_is_sent_and_never_told(kubeflow, connected):
    kubeflow.tokens = ("good-token",)
    connected(host=kubeflow.url, password="bad-token")
    with pytest.raises(AirflowException, match=r"401 .*password of the connection") as caught:
        start()
    assert not isinstance(caught.value, PassingError | AirflowFailException)  # it may be renewed
    assert "bad-token" not in str(caught.value)
    connected(host=kubeflow.url, password="good-token")
    assert start()


def test_a_namespace_is_named_where_the_connection_has_one(kubeflow, connected):
    kubeflow.namespaces = ("models",)
    kubeflow.pipelines[0]["namespace"] = "models"
    connected(host=kubeflow.url, extra={"namespace": "models"})
    start()
    assert kubeflow.experiments[0]["namespace"] == "models"
    connected(host=kubeflow.url)
    kubeflow.experiments.clear()
    with pytest.raises(AirflowFailException, match="empty namespace"):
        start()


def test_a_login_page_is_no_answer(kubeflow):
    kubeflow.cookie = "session=1"
    with pytest.raises(PassingError, match="no answer from Kubeflow"):
        start()


@pytest.mark.parametrize("host", ["", "kubeflow:8888", "ftp://kubeflow"])
def test_a_connection_without_an_address_is_refused(connected, host):
    connected(host=host)
    with pytest.raises(AirflowFailException, match=f"connection kubeflow: host is '{host}'"):
        Kubeflow()

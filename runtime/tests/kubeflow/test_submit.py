"""Submit, upload, schedule and show runs: through kfp's client, against a stand-in for Kubeflow."""

import json
import os
import re
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import kfp_server_api
import pytest
import yaml

from modelloop import Contract, Project
from modelloop.cli import main
from modelloop.contract.contract import Check, Decision
from modelloop.kubeflow import api as kubeflow_api
from modelloop.kubeflow import run as kubeflow_run
from modelloop.kubeflow import submit
from modelloop.registry import model_reference, runs
from modelloop.registry.model_reference import ModelReference
from modelloop.registry.store import connect
from modelloop.testing.kubeflow_server import KubeflowServer
from modelloop.testing.servers import wait_until

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = COMMIT[:12]
Run = Callable[..., int]


@pytest.fixture
def server() -> Iterator[KubeflowServer]:
    with KubeflowServer() as running:
        yield running


@pytest.fixture(autouse=True)
def here(server, store, monkeypatch) -> None:
    """This process as one that may use the server: a commit, its address, no waiting."""
    for name in ("KFP_NAMESPACE", "KFP_TOKEN_FILE", "KFP_COOKIE_FILE", "KFP_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KFP_URL", server.url)
    monkeypatch.setenv("GIT_COMMIT", COMMIT)
    monkeypatch.setattr(kubeflow_run, "POLL", 0.01)


@pytest.fixture
def run(project: Project) -> Iterator[Run]:
    """Call `modelloop` in this process; returns its exit code."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> int:
        try:
            main(["--project", str(project.root), *arguments], standalone_mode=False)
        except SystemExit as error:
            return int(error.code or 0)
        return 0

    yield call
    signal.signal(signal.SIGTERM, before)


@contextmanager
def when_started(server: KubeflowServer, act: Callable[[str], None]) -> Iterator[None]:
    """Do something with the next run, given its id, while the block waits for it."""
    known = len(server.runs)
    block_ended = threading.Event()

    def wait_and_act() -> None:
        wait_until(lambda: len(server.runs) > known or block_ended.is_set(), "a run is started", 60)
        run_id = server.runs[-1]["run_id"]
        try:
            act(run_id)
        except BaseException:
            server.finish(run_id, "FAILED")  # the block must not wait for ever
            raise

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        block_ended.set()
        thread.join()


def judged(project: Project, run_id: str, contract: Contract) -> None:
    """What the steps of a run log to MLflow."""
    parent = runs.open_run(project, run_id)
    runs.log_text(project, parent, contract.model_dump_json(), "contract.json")


# The stand-in is faithful.


def test_its_responses_have_the_names_and_types_of_kubeflows_client(server, run, capsys):
    assert run("upload") == 0
    with when_started(server, lambda run_id: server.finish(run_id, "FAILED", "no")):
        run("submit")
    server.task(server.runs[0]["run_id"], "train", "FAILED", message="no")
    assert run("schedule", "0 3 * * 1") == 0
    (training, _) = server.pipelines

    def check(found: object, kind: str) -> None:
        """Every name of an answer is one of the model's, and every value of its type."""
        inner = re.fullmatch(r"list\[(.+)\]|dict\(str, (.+)\)", kind)
        if inner:
            values = found if inner[1] else found.values()
            for value in values:
                check(value, inner[1] or inner[2])
        elif kind in ("str", "int", "bool", "datetime", "object"):
            python = {"int": int, "bool": bool, "object": object}.get(kind, str)
            assert isinstance(found, python), (found, kind)
        else:
            model = getattr(kfp_server_api, kind)
            if not model.openapi_types:  # an enumeration
                assert found in model.allowable_values
                return
            types = {model.attribute_map[name]: t for name, t in model.openapi_types.items()}
            assert {*found} <= {*types}, kind
            for name, value in found.items():
                check(value, types[name])

    pipeline = f"pipelines/{training['pipeline_id']}"
    version = f"{pipeline}/versions/{server.versions[0]['pipeline_version_id']}"
    for path, kind in {
        "healthz": "V2beta1GetHealthzResponse",
        "experiments": "V2beta1ListExperimentsResponse",
        f"experiments/{server.experiments[0]['experiment_id']}": "V2beta1Experiment",
        "pipelines": "V2beta1ListPipelinesResponse",
        pipeline: "V2beta1Pipeline",
        f"pipelines/names/{training['name']}": "V2beta1Pipeline",
        f"{pipeline}/versions": "V2beta1ListPipelineVersionsResponse",
        version: "V2beta1PipelineVersion",
        "runs": "V2beta1ListRunsResponse",
        f"runs/{server.runs[0]['run_id']}": "V2beta1Run",
        "recurringruns": "V2beta1ListRecurringRunsResponse",
        f"recurringruns/{server.recurring_runs[0]['recurring_run_id']}": "V2beta1RecurringRun",
    }.items():
        with urllib.request.urlopen(f"{server.url}/apis/v2beta1/{path}", timeout=10) as answer:
            check(json.load(answer), kind)


# Versions.


def test_an_upload_makes_both_pipelines_versions_of_the_commit_once(server, run, capsys, project):
    assert run("upload") == 0
    assert [p["name"] for p in server.pipelines] == [
        f"{project.slug}-training",
        f"{project.slug}-batch",
    ]
    assert [v["name"] for v in server.versions] == [NAME, NAME]
    for version in server.versions:
        ir, platforms = yaml.safe_load_all(version["content"])
        assert ir["pipelineInfo"]["name"].startswith(project.slug)
        assert platforms["platforms"]
        assert COMMIT in version["description"]
    assert server.runs == []

    assert run("upload") == 0
    assert len(server.versions) == 2
    assert "is in Kubeflow" in capsys.readouterr().out


def test_a_name_never_stands_for_other_content(server, run, capsys, project):
    of_somebody_else = server.add_version(f"{project.slug}-training", NAME)
    assert run("upload") == 0
    assert run("upload") == 0
    pipeline_id = of_somebody_else["pipeline_id"]
    names = [v["name"] for v in server.versions if v["pipeline_id"] == pipeline_id]
    assert names[0] == NAME
    assert re.fullmatch(NAME + "-[0-9a-f]{8}", names[1])
    assert len(names) == 2


@pytest.mark.parametrize("commit", [COMMIT + "-dirty", "unknown"])
@pytest.mark.parametrize("command", [["upload"], ["schedule", "0 3 * * 1"]])
def test_what_others_run_has_to_be_a_commit(server, run, monkeypatch, capsys, commit, command):
    monkeypatch.setenv("GIT_COMMIT", commit)
    assert run(*command) == 1
    assert "no commit" in capsys.readouterr().err
    assert server.requests == []


# A run.


def test_a_run_is_shown_step_by_step_and_found_by_its_name(server, run, capsys):
    def succeed(run_id: str) -> None:
        server.task(run_id, "ingest-driver", "SUCCEEDED")
        server.task(run_id, "ingest", "SUCCEEDED", seconds=12.3)
        seen = len(server.requests)
        wait_until(lambda: len(server.requests) > seen + 3, "it is looked at more than once")
        server.task(run_id, "candidates", "SUCCEEDED")
        for state in ("RUNNING", "SUCCEEDED", "SUCCEEDED", "RUNNING"):
            server.task(run_id, "train", state)
        server.task(run_id, "register", "SKIPPED", seconds=0)
        server.finish(run_id, "SUCCEEDED")

    with when_started(server, succeed):
        assert run("submit") == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert lines == [
        ["SUCCEEDED", "ingest", "12.3", "s"],
        ["SUCCEEDED", "train", "1.0", "s"],
        ["SUCCEEDED", "train", "1.0", "s"],
        ["SKIPPED", "register", "0.0", "s"],
    ]
    (started,) = server.runs
    assert started["display_name"].startswith(f"{NAME} 20")
    assert started["pipeline_version_reference"] == {
        "pipeline_id": server.versions[0]["pipeline_id"],
        "pipeline_version_id": server.versions[0]["pipeline_version_id"],
    }
    assert started["experiment_id"] == server.experiments[0]["experiment_id"]
    assert f"{server.url}/#/runs/details/{started['run_id']}" in out


def test_code_of_no_commit_may_be_tried(server, run, monkeypatch, capsys):
    monkeypatch.setenv("GIT_COMMIT", COMMIT + "-dirty")
    server.final_state = "SUCCEEDED"
    assert run("submit") == 0
    assert f"warning: {NAME}-dirty is no commit" in capsys.readouterr().err
    assert server.versions[0]["name"] == f"{NAME}-dirty"


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_every_other_end_is_an_error(server, run, capsys, state):
    with when_started(server, lambda run_id: server.finish(run_id, state)):
        assert run("submit") == 1
    assert f"error: the run has {state}; its logs: {server.url}/#/runs" in capsys.readouterr().err


def test_a_failed_step_is_named_with_what_kubeflow_says_of_it(server, run, capsys):
    def fail(run_id: str) -> None:
        server.task(run_id, "validate", "FAILED", message="OOMKilled (exit code 137)")
        server.finish(run_id, "FAILED")

    with when_started(server, fail):
        assert run("submit") == 1
    shown = capsys.readouterr()
    assert "  FAILED    validate" in shown.out
    assert "the run has FAILED in the step validate: OOMKilled (exit code 137); its" in shown.err


def test_a_passing_fault_is_waited_out(server, run, capsys):
    def trouble(run_id: str) -> None:
        for how in (503, "close", 500):
            server.fail_next(how, times=2, path="GET /runs/")
        server.finish(run_id, "SUCCEEDED")

    with when_started(server, trouble):
        assert run("submit") == 0
    assert capsys.readouterr().err.count("waiting goes on") == 1


def test_a_fault_that_stays_ends_the_waiting_but_not_the_run(server, run, monkeypatch, capsys):
    monkeypatch.setattr(kubeflow_run, "PATIENCE", 0.1)
    server.fail_next(503, times=1000, path="GET /runs/")
    assert run("submit") == 1
    err = capsys.readouterr().err
    assert "error: could not get run: Kubeflow answers 503" in err
    assert "The run goes on: " + server.url in err
    assert server.runs[0]["state"] == "PENDING"


def test_a_run_that_is_removed_ends_the_waiting(server, run, capsys):
    with when_started(server, lambda _: server.runs.clear()):
        assert run("submit") == 1
    assert "was removed while it was waited for" in capsys.readouterr().err


def test_an_older_model_is_not_taken_for_that_of_the_run(server, run, capsys, project):
    path = model_reference.path_of(project)
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    server.final_state = "SUCCEEDED"
    assert run("submit") == 0
    assert not path.exists()
    assert "MLFLOW_TRACKING_URI has to be the cluster's" in capsys.readouterr().err
    assert run("submit", "--judge-later") == 1


def test_a_store_that_does_not_answer_leaves_the_decision_open(server, run, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server.final_state = "SUCCEEDED"
    assert run("submit") == 0
    err = capsys.readouterr().err
    assert "MLflow (http://127.0.0.1:9) was asked" in err
    assert "hunter2" not in err


@pytest.fixture
def rejected(model_dir) -> Contract:
    check = Check(name="floor", value=0.1, limit=0.9, passed=False, detail="0.1 is below 0.9")
    decision = Decision(passed=False, checks=[check])
    return Contract.read(model_dir).model_copy(update={"decision": decision, "version": ""})


@pytest.mark.parametrize(("flags", "code"), [([], 1), (["--judge-later"], 0)])
def test_a_rejection_ends_as_that_of_a_training_here(
    server, run, store, rejected, monkeypatch, capsys, flags, code
):
    monkeypatch.setenv("RETRAIN_REASON", "ModelFeatureDrift")

    def reject(run_id: str) -> None:
        judged(store, run_id, rejected)
        server.finish(run_id, "SUCCEEDED")

    with when_started(server, reject):
        assert run("submit", *flags) == code
    shown = capsys.readouterr()
    assert "FAIL  floor" in shown.out
    assert "Rejected: nothing was registered." in shown.err
    assert ModelReference.read(store).version == ""
    found = runs.find(store, server.runs[0]["run_id"])
    assert connect(store).get_run(found).data.tags["retrain.reason"] == "ModelFeatureDrift"


# Addresses and credentials.


def test_an_address_is_needed(run, monkeypatch, capsys):
    monkeypatch.setenv("KFP_URL", "")
    for command in (["submit"], ["upload"], ["schedule", "off"], ["runs"]):
        assert run(*command) == 1
        assert capsys.readouterr().err == (
            "error: KFP_URL is not set: the address of Kubeflow Pipelines is needed\n"
        )


@pytest.mark.parametrize("url", ["kubeflow:8888", "https://me:hunter2@submit.example.com"])
def test_an_address_of_another_form_is_refused(run, monkeypatch, capsys, url):
    monkeypatch.setenv("KFP_URL", url)
    assert run("runs") == 1
    err = capsys.readouterr().err
    assert "error: KFP_URL=" in err
    assert "hunter2" not in err


def test_a_server_that_is_not_there(run, monkeypatch, capsys):
    with KubeflowServer() as stopped:
        monkeypatch.setenv("KFP_URL", stopped.url)
    assert run("submit") == 1
    err = capsys.readouterr().err
    assert f"error: could not list pipelines: {stopped.url} (KFP_URL) does not answer" in err
    assert len(err.splitlines()) == 1


def test_a_server_without_a_trusted_certificate(server, run, monkeypatch, capsys):
    monkeypatch.setenv("KFP_URL", server.url.replace("http", "https"))
    assert run("runs") == 1
    assert "KFP_CA_FILE names the certificates" in capsys.readouterr().err


def test_a_server_that_does_not_answer(server, run, monkeypatch, capsys):
    monkeypatch.setattr(kubeflow_api, "TIMEOUT", (0.1, 0.1))
    server.fail_next("hang", times=10)
    assert run("runs") == 1
    assert "(KFP_URL) does not answer: " in capsys.readouterr().err


def test_a_start_whose_answer_is_lost_may_have_worked(server, run, capsys):
    server.fail_next("lose", path="POST /runs")
    assert run("submit") == 1
    assert "`make runs` shows whether it was started" in capsys.readouterr().err
    assert len(server.runs) == 1


def test_a_token_is_read_anew_for_each_request(server, run, monkeypatch, tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text("first\n")
    server.tokens = ("first", "second")
    monkeypatch.setenv("KFP_TOKEN_FILE", str(file))

    def rotate(run_id: str) -> None:
        (tmp_path / "next").write_text("second\n")
        (tmp_path / "next").replace(file)
        wait_until(lambda: server.tokens == ("second",), "the second token is used", 60)
        server.finish(run_id, "SUCCEEDED")

    with when_started(server, rotate):
        assert run("submit") == 0


def test_a_token_that_expires_while_a_run_is_waited_for(server, run, monkeypatch, tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text("hunter2")
    server.tokens = ("hunter2",)
    monkeypatch.setenv("KFP_TOKEN_FILE", str(file))

    def expire(_: str) -> None:
        server.tokens = ("another",)

    with when_started(server, expire):
        assert run("submit") == 1
    shown = capsys.readouterr()
    assert f"(401): KFP_TOKEN_FILE={file}: expired, or of somebody else" in shown.err
    assert "The run goes on: " in shown.err
    assert "hunter2" not in shown.out + shown.err


def test_a_server_that_needs_credentials(server, run, capsys):
    server.tokens = ("token",)
    assert run("runs") == 1
    err = capsys.readouterr().err
    assert err == (
        "error: Kubeflow does not know who asks (401): set KFP_TOKEN_FILE or KFP_COOKIE_FILE\n"
    )


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_token_file_that_holds_none(run, monkeypatch, tmp_path, capsys, content):
    if content:
        (tmp_path / "token").write_text(content)
    monkeypatch.setenv("KFP_TOKEN_FILE", str(tmp_path / "token"))
    assert run("runs") == 1
    assert f"error: KFP_TOKEN_FILE={tmp_path}/token: " in capsys.readouterr().err


def test_a_cookie_opens_what_lies_behind_a_login_page(server, run, monkeypatch, tmp_path, capsys):
    server.cookie = "session=hunter2"
    assert run("runs") == 1
    assert "with a web page" in capsys.readouterr().err
    (tmp_path / "cookie").write_text("session=hunter2\n")
    monkeypatch.setenv("KFP_COOKIE_FILE", str(tmp_path / "cookie"))
    assert run("runs") == 0
    assert server.pipelines == []


def test_a_namespace_that_is_not_ones_own_or_is_not_there(server, run, monkeypatch, capsys):
    server.namespaces = ("team",)
    monkeypatch.setenv("KFP_NAMESPACE", "nobody")
    assert run("upload") == 1
    err = capsys.readouterr().err
    assert "error: could not list pipelines (403): User" in err
    assert "There may be no such namespace (KFP_NAMESPACE=nobody)" in err

    monkeypatch.setenv("KFP_NAMESPACE", "team")
    server.final_state = "SUCCEEDED"
    assert run("submit") == 0
    assert {p["namespace"] for p in server.pipelines + server.experiments} == {"team"}


@pytest.mark.parametrize("status", [400, 409, 500])
def test_an_upload_that_is_refused(server, run, capsys, status):
    server.fail_next(status, path="upload_version")
    assert run("upload") == 1
    expected = (
        f"error: could not upload pipeline version: Kubeflow answers {status}: answer {status}"
    )
    assert expected in capsys.readouterr().err
    assert run("upload") == 0  # what was there before does not stand in the way


# The schedule.


def schedules(server: KubeflowServer) -> list[tuple[str, str]]:
    return [
        (each["trigger"]["cron_schedule"]["cron"], each["status"]) for each in server.recurring_runs
    ]


def test_a_schedule_runs_this_commit_one_at_a_time_without_catch_up(server, run, capsys, project):
    assert run("schedule", "0 3 * * 1") == 0
    (made,) = server.recurring_runs
    assert schedules(server) == [("0 0 3 * * 1", "ENABLED")]
    assert made["display_name"] == f"{project.slug}-training"
    assert made["max_concurrency"] == "1"
    assert made["no_catchup"] is True
    version = server.versions[0]
    assert version["name"] == NAME
    assert (
        made["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    )
    assert server.runs == []


def test_a_new_schedule_is_made_before_the_old_one_is_removed(server, run, monkeypatch, capsys):
    assert run("schedule", "0 3 * * 1") == 0
    monkeypatch.setenv("GIT_COMMIT", "f" * 40)
    server.requests.clear()
    assert run("schedule", "30 4 * * mon-fri") == 0
    changes = [(m, p) for m, p, *_ in server.requests if "recurring" in p and m != "GET"]
    assert [method for method, _ in changes] == ["POST", "DELETE"]
    assert schedules(server) == [("0 30 4 * * MON-FRI", "ENABLED")]
    assert [v["name"] for v in server.versions] == [NAME, "f" * 12]


def test_a_failed_change_never_leaves_no_schedule_and_is_repaired_by_the_next(server, run, capsys):
    assert run("schedule", "0 3 * * 1") == 0
    server.fail_next(500, path="DELETE")
    assert run("schedule", "0 4 * * 1") == 1
    assert "could not delete recurring run" in capsys.readouterr().err
    assert len(server.recurring_runs) == 2
    assert run("schedule", "0 5 * * 1") == 0
    assert schedules(server) == [("0 0 5 * * 1", "ENABLED")]


def test_only_schedules_of_its_name_are_removed(server, run, capsys):
    assert run("schedule", "0 3 * * 1") == 0
    (mine,) = server.recurring_runs
    for name in [f"other-{i}" for i in range(130)]:
        server.recurring_runs.insert(0, mine | {"display_name": name, "recurring_run_id": name})
    assert run("schedule", "off") == 0
    assert len(server.recurring_runs) == 130
    assert run("schedule", "OFF") == 0
    assert "has no schedule" in capsys.readouterr().out


def test_many_schedules_of_its_name_are_removed_page_by_page(server, run, capsys):
    assert run("schedule", "0 3 * * 1") == 0
    (mine,) = server.recurring_runs
    server.recurring_runs += [mine | {"recurring_run_id": str(i)} for i in range(250)]
    assert run("schedule", "0 4 * * 1") == 0
    assert schedules(server) == [("0 0 4 * * 1", "ENABLED")]


# Runs are shown.


def test_runs_and_the_schedule_are_shown(server, run, capsys):
    assert run("runs") == 0
    assert "No run yet" in capsys.readouterr().out
    assert server.experiments == []

    server.final_state = "SUCCEEDED"
    run("submit")
    (first,) = server.runs
    server.runs += [first | {"run_id": str(i)} for i in range(submit.SHOWN)]
    server.finish(server.runs[-1]["run_id"], "RUNNING")
    run("schedule", "0 3 * * 1")
    capsys.readouterr()
    assert run("runs") == 0
    _, *rows, last = capsys.readouterr().out.splitlines()
    assert len(rows) == submit.SHOWN
    assert rows[0].split()[0] == server.runs[-1]["run_id"]
    assert "  RUNNING  " in rows[0]
    assert "  SUCCEEDED  " in rows[1]
    assert all(row.endswith(f"    0.0  {NAME}") for row in rows)
    assert last == f'Schedule "0 3 * * 1" (UTC), enabled, version {NAME}'
    server.versions.clear()
    assert run("runs") == 0
    assert "  removed" in capsys.readouterr().out


# A signal ends the waiting.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_waiting_and_not_the_run(server, run, capsys, number, code):
    def interrupt(run_id: str) -> None:
        wait_until(lambda: server.runs[0]["state"] == "RUNNING", "the run is waited for")
        os.kill(os.getpid(), number)

    with when_started(server, interrupt):
        assert run("submit") == code
    assert "The run goes on: `make runs`" in capsys.readouterr().err
    assert server.runs[0]["state"] == "RUNNING"


# The steps are executed.


@pytest.mark.slow
def test_submitting_and_scheduling_end_in_a_challenger(store, run, monkeypatch, capsys):
    monkeypatch.setattr(kubeflow_run, "POLL", 0.5)  # the steps need the processor
    with KubeflowServer(execute=store.root) as executing:
        monkeypatch.setenv("KFP_URL", executing.url)
        assert run("submit") == 0
        out = capsys.readouterr().out
        steps = [line.split()[1] for line in out.splitlines() if line.startswith("  SUCCEEDED ")]
        assert {*steps} >= {"ingest", "train", "gate", "register", "close"}
        challenger = connect(store).get_model_version_by_alias(store.slug, "challenger")
        assert f"Registered as version {challenger.version}, @challenger" in out
        parent = connect(store).get_run(runs.find(store, executing.runs[0]["run_id"]))
        assert parent.info.status == "FINISHED"
        written = ModelReference.read(store)
        assert written.version == str(challenger.version)
        assert written.mlflow_run == parent.info.run_id

        assert run("schedule", "0 3 * * 1") == 0
        # Its time comes: Kubeflow starts what the schedule says, which is what submit has started.
        (made,) = executing.recurring_runs
        fields = ("experiment_id", "pipeline_version_reference", "runtime_config")
        body = {"display_name": "by schedule"} | {name: made[name] for name in fields}
        assert all(executing.runs[0][name] == body[name] for name in fields)
        candidate = next(iter(store.model.CANDIDATES))
        body["runtime_config"] = {"parameters": {"candidates": [candidate]}}  # one is enough
        request = urllib.request.Request(
            f"{executing.url}/apis/v2beta1/runs",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()
        ended = lambda: executing.runs[-1]["state"] in kubeflow_run.ENDS  # noqa: E731
        wait_until(ended, "the run of the schedule has ended", 300)
        assert executing.runs[-1]["state"] == "SUCCEEDED"
    newer = connect(store).get_model_version_by_alias(store.slug, "challenger")
    assert int(newer.version) == int(challenger.version) + 1


@pytest.mark.slow
def test_a_step_that_fails_on_the_cluster_fails_the_command(store, start, tmp_path):
    environment = {"DATA_URI": str(tmp_path / "nowhere.csv")}
    with KubeflowServer(execute=store.root, environment=environment) as executing:
        process = start(store, "submit", KFP_URL=executing.url)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "  FAILED    ingest" in out
    assert "error: the run has FAILED in the step ingest: Error (exit code 1); its logs" in err
    assert "Traceback" not in err

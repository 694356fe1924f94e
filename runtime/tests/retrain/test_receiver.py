"""The retraining receiver: alerts start one training, whatever breaks on the way."""

import hashlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelloop import Project, webhooks
from modelloop.errors import UserError
from modelloop.monitoring import rules
from modelloop.retrain import backends
from modelloop.retrain import policy as policies
from modelloop.retrain import receiver as receivers
from modelloop.testing import gocd_server
from modelloop.testing.servers import wait_until

MODEL = "penguins"
PIPELINE = "penguins-train"
CONFIG = policies.Config(
    cooldown_hours=6, per_week=3, pipelines={"ModelFeatureDrift": PIPELINE, "ModelStale": PIPELINE}
)  # the limits of a repository's monitoring/retraining.toml
HOUR = 3600
DAY = 24 * HOUR
TOKEN = "alertmanagers-token"


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def alert(
    name: str = "ModelFeatureDrift", since: str = "2026-01-05T08:00:00.123456789Z", **labels: str
) -> dict:
    """A firing alert as Alertmanager sends it."""
    given = {
        "alertname": name,
        "model_name": MODEL,
        "model_version": "3",
        "feature": "age",
    } | labels
    return {
        "status": "firing",
        "labels": given,
        "annotations": {"summary": f"{MODEL}: drifted", "runbook_url": "https://example.com/r.md"},
        "startsAt": since,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=model%3Afeature_psi%3A1h",
        "fingerprint": hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16],
    }


def resolved(alert: dict) -> dict:
    return alert | {"status": "resolved", "endsAt": "2026-01-05T09:00:00Z"}


def notification(*alerts: dict) -> dict:
    """Alertmanager's webhook, version 4."""
    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "receiver": "retrain",
        "status": "firing" if firing else "resolved",
        "alerts": list(alerts),
        "groupLabels": {"model_name": MODEL},
        "commonLabels": {"model_name": MODEL},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com",
        "version": "4",
        "groupKey": '{}/{action="retrain"}:{model_name="' + MODEL + '"}',
        "truncatedAlerts": 0,
    }


@pytest.fixture
def gocd() -> Iterator[gocd_server.GoCD]:
    with gocd_server.running(PIPELINE) as server:
        server.pipelines[PIPELINE].runs.clear()
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def open_policy(gocd: gocd_server.GoCD, state: Path, clock: Clock) -> policies.Policy:
    """A policy as it is when the receiver starts."""
    backend = backends.GoCD(gocd.url, gocd.token, seconds=0.3)
    return policies.Policy(MODEL, CONFIG, policies.State(state), backend, clock=clock)


@pytest.fixture
def policy(gocd: gocd_server.GoCD, state: Path, clock: Clock) -> policies.Policy:
    return open_policy(gocd, state, clock)


def decide(policy: policies.Policy, *alerts: dict) -> str:
    note = policies.Notification.model_validate(notification(*(alerts or [alert()])))
    return policy.decide(note).get(PIPELINE, "ignored")


def counted(policy: policies.Policy) -> dict[str, float]:
    """The outcomes that were counted."""
    name, labels = "retrain_requests_total", {"model_name": MODEL}
    get = policy.metrics.registry.get_sample_value
    counts = {str(o): get(name, labels | {"outcome": str(o)}) for o in policies.Outcome}
    return {outcome: count for outcome, count in counts.items() if count}


# What starts a training


def test_a_drift_starts_the_pipeline_with_its_reason(policy, gocd):
    drift = alert()

    assert decide(policy, drift) == "started"

    (call,) = gocd.asked
    assert call.path == f"/go/api/pipelines/{PIPELINE}/schedule"
    expected = {
        "Accept": "application/vnd.go.cd.v1+json",
        "Authorization": f"bearer {gocd.token}",
        "Content-Type": "application/json",
        "X-GoCD-Confirm": "true",
    }
    assert call.headers | expected == call.headers
    body = json.loads(call.body)
    assert sorted(body) == ["environment_variables", "update_materials_before_scheduling"]
    assert body["update_materials_before_scheduling"] is True
    (run,) = gocd.runs
    assert run.variables == {
        "RETRAIN_REASON": "ModelFeatureDrift:age",
        "ALERT_FINGERPRINT": drift["fingerprint"],
    }


def test_the_allow_list_is_every_alert_that_asks_for_a_training(either: Project):
    config = policies.Config.read(either.root / "monitoring" / "retraining.toml")
    retraining = {
        rule["alert"]
        for group in rules.groups(either, rules.ALERTS)
        for rule in group["rules"]
        if rule.get("labels", {}).get("action") == "retrain"
    }
    assert retraining == {*config.pipelines}
    assert {*config.pipelines.values()} == {f"{either.slug}-train"}
    assert (config.cooldown_hours, config.per_week) == (CONFIG.cooldown_hours, CONFIG.per_week)


def test_many_drifted_features_are_one_training(policy, gocd):
    since = [f"2026-01-05T08:{minute:02}:00Z" for minute in range(30)]
    alerts = [alert(feature=f"f{i}", since=time) for i, time in enumerate(since)][::-1]

    assert decide(policy, *alerts) == "started"

    (run,) = gocd.runs
    assert run.variables["ALERT_FINGERPRINT"] == alerts[-1]["fingerprint"]  # of the oldest
    assert run.variables["RETRAIN_REASON"].endswith("and 20 more")


def test_what_a_label_says_is_no_command(policy, gocd):
    decide(policy, alert(feature='`id`; $(id) "${x}"\n\x00'))
    (run,) = gocd.runs
    assert run.variables["RETRAIN_REASON"] == "ModelFeatureDrift:?id?? ??id? ???x????"


@pytest.mark.parametrize(
    "nothing",
    [
        resolved(alert()),
        alert(model_name="another-model"),
        alert("ModelInputMissing", signal="data_quality", action="retrain"),
        alert("ModelOutlierRateHigh", signal="outliers", action="retrain"),
        alert("ModelDown"),
        alert("TeamsOwnAlert", action="retrain"),
    ],
    ids=["resolved", "another model's", "missing inputs", "outliers", "down", "not listed"],
)
def test_other_alerts_start_nothing(policy, gocd, nothing):
    assert decide(policy, nothing) == "ignored"
    assert gocd.calls == []
    assert counted(policy) == {"ignored": 1}


# How often


def test_an_alert_that_is_repeated_starts_nothing_again(policy, gocd, clock):
    decide(policy)
    clock.passes(12 * HOUR)
    another_feature = alert(feature="mass", since="2026-01-05T09:00:00Z")
    assert decide(policy, alert(), another_feature) == "duplicate"
    assert len(gocd.asked) == 1


def test_after_a_start_the_next_episode_waits_for_the_cool_down(policy, gocd, clock):
    decide(policy)
    again = alert(since="2026-01-05T12:00:00Z")
    clock.passes(6 * HOUR - 1)
    assert decide(policy, again) == "cooldown"
    clock.passes(2)
    assert decide(policy, again) == "started"
    assert len(gocd.runs) == 2


def test_a_new_version_of_the_model_is_a_new_episode(policy, clock):
    decide(policy)
    clock.passes(7 * HOUR)
    assert decide(policy, alert(model_version="4")) == "started"


def test_a_pipeline_has_a_weekly_budget(policy, gocd, clock):
    for day in (5, 6, 7):
        assert decide(policy, alert(since=f"2026-01-0{day}T08:00:00Z")) == "started"
        clock.passes(DAY)
    assert decide(policy, alert(since="2026-01-08T08:00:00Z")) == "budget"
    clock.passes(4 * DAY + 1)
    assert decide(policy, alert(since="2026-01-12T08:00:00Z")) == "started"
    assert len(gocd.runs) == 4


def test_what_was_started_is_known_after_a_restart(policy, gocd, state, clock):
    decide(policy)
    policy.close()
    clock.passes(60)

    restarted = open_policy(gocd, state, clock)

    assert decide(restarted) == "duplicate"
    assert decide(restarted, alert(since="2026-01-05T12:00:00Z")) == "cooldown"
    last = restarted.metrics.registry.get_sample_value(
        "retrain_last_start_timestamp_seconds", {"model_name": MODEL}
    )
    assert last == clock.now - 60


# What GoCD answers


@pytest.mark.parametrize("why", ["paused", "locked", "first_stage_runs"])
def test_a_pipeline_that_runs_or_is_paused_ends_the_episode(policy, gocd, clock, why):
    setattr(gocd.pipelines[PIPELINE], why, True)
    assert decide(policy) == "busy"
    setattr(gocd.pipelines[PIPELINE], why, False)
    assert decide(policy) == "duplicate"
    assert gocd.runs == []
    for hour in (9, 16, 23):  # it was no start: neither the cool-down nor the budget knows of it
        assert decide(policy, alert(since=f"2026-01-05T{hour:02}:00:00Z")) == "started"
        clock.passes(7 * HOUR)


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_is_logged_and_the_next_notification_tries_again(policy, gocd, status, caplog):
    right = gocd.token, gocd.may_operate, dict(gocd.pipelines)
    if status == 401:
        gocd.token = "another"
    elif status == 403:
        gocd.may_operate = False
    elif status == 404:
        gocd.pipelines.clear()
    else:
        gocd.pipelines[PIPELINE].variables = frozenset()

    assert decide(policy) == "refused"

    assert f"GoCD answered {status}: " in caplog.text
    gocd.token, gocd.may_operate, gocd.pipelines = right
    gocd.pipelines[PIPELINE].variables = gocd_server.Pipeline.variables
    assert decide(policy) == "started"
    assert counted(policy) == {"refused": 1, "started": 1}


def test_a_page_that_is_no_history_is_a_refusal(policy, gocd, monkeypatch):
    monkeypatch.setattr(gocd_server, "history", lambda *_: {"please": "log in"})
    assert decide(policy) == "refused"
    assert gocd.asked == []


def test_a_server_in_maintenance_gets_retries(policy, gocd):
    gocd.in_maintenance = True
    assert [decide(policy) for _ in range(3)] == ["unavailable"] * 3
    gocd.in_maintenance = False
    assert decide(policy) == "started"
    assert len(gocd.runs) == 1


def test_a_server_that_was_down_gets_one_request_when_it_is_up(state, clock):
    with gocd_server.running(PIPELINE) as before:
        port = int(before.url.rpartition(":")[2])
    policy = open_policy(before, state, clock)
    assert [decide(policy) for _ in range(3)] == ["unavailable"] * 3
    with gocd_server.running(PIPELINE, port=port) as gocd:
        assert [decide(policy) for _ in range(3)] == ["started", "duplicate", "duplicate"]
        assert len(gocd.asked) == 1


# When the answer is lost


@pytest.mark.parametrize("failure", ["hang", "break", 500, 502, 504])
def test_a_start_whose_answer_was_lost_is_found_in_the_history(policy, gocd, clock, failure):
    gocd.after_taking = failure
    assert decide(policy) == "unavailable"
    clock.passes(1)
    assert [decide(policy) for _ in range(2)] == ["started", "duplicate"]
    assert len(gocd.asked) == len(gocd.runs) == 1
    assert counted(policy) == {"unavailable": 1, "started": 1, "duplicate": 1}


def test_a_run_that_shows_late_is_waited_for(policy, gocd, clock):
    gocd.after_taking, gocd.show_after = "break", 3
    outcomes = []
    for _ in range(5):
        outcomes.append(decide(policy))
        clock.passes(60)
    assert outcomes == ["unavailable"] * 4 + ["started"]
    assert len(gocd.asked) == len(gocd.runs) == 1


@pytest.mark.parametrize("restarts", [False, True], ids=["", "over a restart"])
def test_a_start_that_did_not_happen_is_requested_again(policy, gocd, state, clock, restarts):
    gocd.instead_of_taking = "break"
    assert decide(policy) == "unavailable"
    gocd.instead_of_taking = "answer"
    if restarts:
        policy.close()
        policy = open_policy(gocd, state, clock)
    clock.passes(299)
    assert decide(policy) == "unavailable"
    assert len(gocd.asked) == 1
    clock.passes(2)
    assert [decide(policy) for _ in range(2)] == ["started", "duplicate"]
    assert len(gocd.runs) == 1


def test_a_lost_start_counts_although_another_alert_asks_next(policy, gocd, clock):
    gocd.after_taking = "break"
    decide(policy)
    clock.passes(HOUR)
    assert decide(policy, alert(since="2026-01-05T12:00:00Z")) == "cooldown"
    assert decide(policy) == "duplicate"
    assert len(gocd.asked) == 1
    assert counted(policy)["started"] == 1


def test_what_cannot_be_recorded_is_not_requested(policy, gocd):
    policy.close()
    assert decide(policy) == "unavailable"
    assert gocd.calls == []


# Over HTTP


@dataclass(frozen=True)
class Receiver:
    """Where a receiver listens."""

    port: int

    def call(
        self, method: str, path: str, body: object = None, token: str | None = TOKEN
    ) -> tuple[int, str]:
        """Send a request; returns the status and the body of the answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def notify(self, *alerts: dict) -> tuple[int, str]:
        return self.call("POST", "/alerts", notification(*(alerts or [alert()])))

    @property
    def is_up(self) -> bool:
        try:
            return self.call("GET", "/healthz")[0] == 200
        except OSError:
            return False


@pytest.fixture
def receiver(policy: policies.Policy) -> Iterator[Receiver]:
    listener = webhooks.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with webhooks.Server(receivers.Receiver(policy, TOKEN).respond, listener).serving():
        yield Receiver(port)


def test_a_storm_of_alerts_starts_one_training(receiver, policy, gocd):
    storm = [
        [alert(feature=f"f{i}", since=f"2026-01-05T08:{n:02}:{i:02}Z") for i in range(20)]
        for n in range(50)
    ]

    with ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(lambda alerts: receiver.notify(*alerts), storm)]

    assert len(gocd.asked) == len(gocd.runs) == 1
    assert Counter(status for status, _ in answers) == {202: 1, 200: 49}
    assert counted(policy) == {"started": 1, "cooldown": 49}


def test_the_status_says_what_alertmanager_does_next(receiver, gocd):
    def answered(outcome: str) -> str:
        return json.dumps({PIPELINE: outcome})

    gocd.in_maintenance = True
    assert receiver.notify() == (503, answered("unavailable"))  # again, soon
    gocd.in_maintenance, gocd.may_operate = False, False
    assert receiver.notify() == (424, answered("refused"))  # failed
    gocd.may_operate = True
    gocd.pipelines[PIPELINE].locked = True
    assert receiver.notify() == (200, answered("busy"))  # done
    gocd.pipelines[PIPELINE].locked = False
    again = alert(since="2026-01-05T12:00:00Z")
    assert receiver.notify(again) == (202, answered("started"))
    assert receiver.notify(again) == (200, answered("duplicate"))
    assert receiver.notify(resolved(again)) == (200, "{}")


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "tökén"])
def test_without_the_token_nothing_is_done(receiver, gocd, token):
    body = notification(alert())
    assert receiver.call("POST", "/alerts", body, token)[0] == 401
    assert gocd.calls == []


BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff",
    "nested": b"[" * 100_000,
    "a list": [],
    "another version": notification(alert()) | {"version": "3"},
    "no alerts": {"version": "4"},
    "an alert without labels": notification({k: v for k, v in alert().items() if k != "labels"}),
    "no length": None,
    "labels that are no text": notification(alert(feature=1)),
    "no time": notification(alert(since="yesterday")),
    "a fingerprint that is a path": notification(alert() | {"fingerprint": "../../x"}),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_no_notification_is_a_bad_request(receiver, gocd, body):
    status, text = receiver.call("POST", "/alerts", body)
    assert (status, "version 4" in text or "Content-Length" in text) == (400, True)
    assert gocd.calls == []


def test_a_body_over_a_megabyte_is_too_large(receiver):
    assert receiver.call("POST", "/alerts", b" " * (webhooks.BODY_BYTES + 1))[0] == 413
    assert receiver.call("POST", "/alerts", b" " * webhooks.BODY_BYTES)[0] == 400


def test_other_paths_are_not_found(receiver):
    assert receiver.call("POST", "/", notification(alert()))[0] == 404
    assert receiver.call("GET", "/alerts")[0] == 404


def test_clients_that_stall_block_no_other_and_are_disconnected(receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "READ_SECONDS", 2.0)
    head = b"POST /alerts HTTP/1.1\r\nHost: receiver\r\n"
    stalls = {
        head + b"Content-Length: 10\r\n\r\n{": b" 408 ",
        head + b"Content-": b" 400 ",
        b"": b"",
    }
    with ExitStack() as stack:
        address = ("127.0.0.1", receiver.port)
        clients = [stack.enter_context(socket.create_connection(address, 10)) for _ in stalls]
        for client, sent in zip(clients, stalls, strict=True):
            client.sendall(sent)
        assert receiver.notify()[0] == 202
        assert select.select(clients, [], [], 0)[0] == []  # none has an answer yet
        for client, answer in zip(clients, stalls.values(), strict=True):
            assert answer in client.recv(1000)


def test_a_client_that_sends_slowly_is_disconnected_too(receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "READ_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", receiver.port), 10) as client:
        client.sendall(b"POST /alerts HTTP/1.1\r\nHost: receiver\r\nContent-Length: 500\r\n\r\n")
        while not select.select([client], [], [], 0.05)[0]:
            client.sendall(b" ")
        assert b" 408 " in client.recv(1000)


def test_every_outcome_is_counted_from_0(receiver):
    def page() -> list[str]:
        return receiver.call("GET", "/metrics", token=None)[1].splitlines()

    requests = 'retrain_requests_total{model_name="' + MODEL + '",outcome="%s"} %.1f'
    last_start = 'retrain_last_start_timestamp_seconds{model_name="' + MODEL + '"} 0.0'
    assert {requests % (o, 0) for o in policies.Outcome} | {last_start} <= {*page()}
    receiver.notify()
    assert requests % ("started", 1) in page()


# On this machine

UNTIL_END = "until test -e end; do sleep 0.02; done"
WAITING = ("sh", "-c", f'echo "$RETRAIN_REASON $ALERT_FINGERPRINT"; {UNTIL_END}')


def training(fingerprint: str = "f1") -> backends.Training:
    return backends.Training(PIPELINE, "episode", "ModelStale", fingerprint)


def test_a_training_on_this_machine_runs_alone_and_keeps_its_log(tmp_path):
    folder = tmp_path / "retrain"
    local = backends.Local(folder, tmp_path, WAITING)
    assert local.newest_run(PIPELINE) == 0

    local.start(training())
    with pytest.raises(backends.BusyError):
        local.start(training("f2"))
    (tmp_path / "end").touch()
    wait_until(lambda: not local.busy(), "the training ends")
    local.start(training())  # the same alert may fire again

    wait_until(lambda: not local.busy(), "the second training ends")
    assert local.newest_run(PIPELINE) == 2
    logs = {log.name: log.read_text() for log in folder.glob("*.log")}
    assert logs == {"0001-f1.log": "ModelStale f1\n", "0002-f1.log": "ModelStale f1\n"}


def test_a_training_outlives_the_receiver_and_is_not_started_twice(tmp_path, state, clock):
    folder = tmp_path / "retrain"
    local = backends.Local(folder, tmp_path, WAITING)
    code = f"""
import os, pathlib, signal
from modelloop.retrain import backends, policy
local = backends.Local(pathlib.Path({str(folder)!r}), {str(tmp_path)!r}, {WAITING!r})
class Dies:
    newest_run = local.newest_run
    def start(self, training):
        local.start(training)
        os.killpg(0, signal.SIGKILL)
config = policy.Config.model_validate({CONFIG.model_dump()!r})
state = policy.State(pathlib.Path({str(state)!r}))
notification = policy.Notification.model_validate({notification(alert())!r})
policy.Policy({MODEL!r}, config, state, Dies()).decide(notification)
"""
    killed = subprocess.run([sys.executable, "-c", code], start_new_session=True)
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: local.newest_run(PIPELINE) == 1, "the training's log is there")

    policy = policies.Policy(MODEL, CONFIG, policies.State(state), local, clock=clock)

    assert decide(policy) == "started"
    with pytest.raises(backends.BusyError):
        local.start(training())
    (tmp_path / "end").touch()
    wait_until(lambda: not local.busy(), "the training ends")
    assert local.newest_run(PIPELINE) == 1


def test_a_command_that_is_not_there_is_a_refusal(tmp_path):
    local = backends.Local(tmp_path, tmp_path, ["no-such-command"])
    with pytest.raises(backends.RefusedError, match="no-such-command"):
        local.start(training())


# The process


@dataclass(frozen=True)
class Process(Receiver):
    """A receiver in a process of its own."""

    process: subprocess.Popen
    log: Path


@contextmanager
def running(
    project: Project, python: str, gocd: gocd_server.GoCD, folder: Path, **settings: object
) -> Iterator[Process]:
    """The real receiver, in the serving environment; it is killed if it does not end itself."""
    for name, secret in {"token": TOKEN, "gocd-token": gocd.token}.items():
        (folder / name).write_text(secret + "\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    variables = {
        "RETRAIN_PORT": port,
        "RETRAIN_TOKEN_FILE": folder / "token",
        "RETRAIN_STATE": folder / "state.db",
        "GOCD_URL": gocd.url,
        "GOCD_TOKEN_FILE": folder / "gocd-token",
    } | settings
    log = folder / "log"
    with log.open("a") as output:
        process = subprocess.Popen(
            [python, "-m", "modelloop", "--project", project.root, "receive"],
            env=os.environ | {name: str(value) for name, value in variables.items()},
            stdout=output,
            stderr=output,
        )
    try:
        receiver = Process(port, process, log)
        wait_until(lambda: receiver.is_up or process.poll() is not None, "the receiver is up")
        assert process.poll() is None, log.read_text()
        yield receiver
    finally:
        process.kill()
        process.wait()


def kill_in_the_middle(receiver: Process, gocd: gocd_server.GoCD) -> None:
    """Kill the receiver while it waits for GoCD's answer."""

    def notify() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            receiver.notify()

    waiting = threading.Thread(target=notify)
    waiting.start()
    wait_until(lambda: len(gocd.asked) == 1, "GoCD has the request")
    receiver.process.kill()
    receiver.process.wait()
    waiting.join()


@pytest.mark.slow
def test_a_receiver_killed_before_the_answer_does_not_start_twice(
    project, serve_python, gocd, tmp_path
):
    gocd.after_taking = "hang"
    with running(project, serve_python, gocd, tmp_path) as receiver:
        kill_in_the_middle(receiver, gocd)
    gocd.after_taking = "answer"

    with running(project, serve_python, gocd, tmp_path) as receiver:
        assert [receiver.notify()[0] for _ in range(3)] == [202, 200, 200]

    assert len(gocd.asked) == len(gocd.runs) == 1


@pytest.mark.slow
def test_a_receiver_killed_before_gocd_heard_starts_after_the_grace(
    project, serve_python, gocd, tmp_path
):
    gocd.instead_of_taking = "hang"
    with running(project, serve_python, gocd, tmp_path) as receiver:
        kill_in_the_middle(receiver, gocd)
    gocd.instead_of_taking = "answer"

    with running(project, serve_python, gocd, tmp_path) as receiver:
        assert receiver.notify()[0] == 503
        assert gocd.runs == []
    with running(project, serve_python, gocd, tmp_path, RETRAIN_GRACE_SECONDS=0.1) as receiver:
        assert [receiver.notify()[0] for _ in range(3)] == [202, 200, 200]

    assert len(gocd.runs) == 1


@pytest.mark.slow
def test_sigterm_ends_it_when_what_is_under_way_is_answered(project, serve_python, gocd, tmp_path):
    gocd.after_taking = "hang"
    with running(project, serve_python, gocd, tmp_path) as receiver, ThreadPoolExecutor() as pool:
        waiting = pool.submit(receiver.notify)
        wait_until(lambda: gocd.asked, "GoCD has the request")
        assert receiver.is_up
        receiver.process.terminate()
        wait_until(lambda: not receiver.is_up, "nothing new is taken")
        gocd.released.set()
        assert waiting.result()[0] == 503
        assert receiver.process.wait(5) == 0
        lines = receiver.log.read_text().splitlines()
    assert f"unavailable: {PIPELINE}, ModelFeatureDrift:age" in lines[1]
    assert [line.rpartition(" ")[2] for line in lines[2:]] == ["stopped"]


@pytest.mark.slow
def test_no_token_is_in_the_log_or_the_database(project, serve_python, gocd, tmp_path):
    with running(project, serve_python, gocd, tmp_path) as receiver:
        receiver.call("POST", "/alerts", notification(alert()), TOKEN + "-almost")
        gocd.instead_of_taking = 418
        receiver.notify()
        gocd.instead_of_taking = "answer"
        receiver.notify()
        kept = receiver.log.read_bytes() + b"".join(p.read_bytes() for p in tmp_path.glob("*.db*"))
    assert b"418" in kept
    assert TOKEN.encode() not in kept
    assert gocd.token.encode() not in kept


# Settings


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("per_week = 3\n[pipelines]", "cooldown_hours: Field required"),
        ("cooldown_hours = 6\nper_week = 3", "pipelines: Field required"),
        ("cooldown_hours = 6\nper_week = 3\nper_day = 1\n[pipelines]", "per_day: Extra"),
        ("cooldown_hours = -1\nper_week = 3\n[pipelines]", "cooldown_hours: "),
        ("cooldown_hours = nan\nper_week = 3\n[pipelines]", "cooldown_hours: "),
        ("cooldown_hours = 6\nper_week = '3'\n[pipelines]", "per_week: "),
        ("cooldown_hours = 6\nper_week = 3\n[pipelines]\nA = 'x/../y'", "pipelines.A: "),
        ("cooldown_hours: 6", "line 1"),
    ],
)
def test_a_fault_in_the_configuration_is_named(tmp_path, text, fault):
    path = tmp_path / "retraining.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=fault):
        policies.Config.read(path)


def test_an_empty_allow_list_starts_nothing(gocd, state, clock):
    config = CONFIG.model_copy(update={"pipelines": {}})
    backend = backends.GoCD(gocd.url, gocd.token)
    policy = policies.Policy(MODEL, config, policies.State(state), backend, clock=clock)
    assert decide(policy) == "ignored"


def test_the_settings_have_safe_defaults(project, monkeypatch):
    monkeypatch.setenv("RETRAIN_TOKEN_FILE", "/secret")
    loaded = receivers.load(project)
    assert (loaded.retrain_host, loaded.retrain_port) == ("127.0.0.1", 9300)
    assert (loaded.retrain_backend, loaded.gocd_url) == ("gocd", project.gocd_url)
    assert loaded.retrain_state.is_relative_to(project.build)


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"RETRAIN_TOKEN_FILE": ""}, "RETRAIN_TOKEN_FILE: Field required"),
        ({"RETRAIN_TOKEN_FILE": "/nowhere/token"}, "RETRAIN_TOKEN_FILE='/nowhere/token': No such"),
        ({"GOCD_TOKEN_FILE": ""}, "GOCD_TOKEN_FILE: needed"),
        ({"GOCD_TOKEN_FILE": "empty"}, "GOCD_TOKEN_FILE='empty': one line"),
        ({"GOCD_TOKEN_FILE": "two"}, "GOCD_TOKEN_FILE='two': one line"),
        ({"GOCD_URL": "gocd:8153"}, "GOCD_URL: "),
        ({"GOCD_URL": "http://gocd:99999"}, "GOCD_URL: "),
        ({"RETRAIN_BACKEND": "jenkins"}, "RETRAIN_BACKEND: "),
        ({"RETRAIN_CONFIG": "nowhere.toml"}, "nowhere.toml: No such"),
        ({"RETRAIN_STATE": "token/state.db"}, "RETRAIN_STATE='token/state.db': "),
        ({"RETRAIN_STATE": "two"}, "RETRAIN_STATE='two': file is not a database"),
    ],
)
def test_a_wrong_setting_is_named(project, tmp_path, monkeypatch, variables, fault):
    monkeypatch.chdir(tmp_path)
    for name, text in {"token": "secret", "empty": "\n", "two": "secret\nsecret" * 99}.items():
        Path(name).write_text(text)
    good = {"RETRAIN_TOKEN_FILE": "token", "GOCD_TOKEN_FILE": "token", "RETRAIN_STATE": "state.db"}
    for name, value in (good | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=fault) as caught:
        receivers.run(project)
    assert "secret" not in str(caught.value)


def test_a_taken_port_is_named(project, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("secret")
    monkeypatch.setenv("RETRAIN_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("RETRAIN_STATE", str(tmp_path / "state.db"))
    monkeypatch.setenv("RETRAIN_BACKEND", "local")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("RETRAIN_PORT", str(taken.getsockname()[1]))
        with pytest.raises(UserError, match="RETRAIN_HOST and RETRAIN_PORT"):
            receivers.run(project)

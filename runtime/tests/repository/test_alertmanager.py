"""Every alert reaches who has to act on it: routes, inhibition, and a real Alertmanager."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import alertmanager
from modelloop import Project
from modelloop.laptop import tools
from modelloop.monitoring import rules
from modelloop.retrain import policy
from modelloop.testing.servers import wait_until

pytestmark = pytest.mark.usefixtures("programs")

PEOPLE = {"page": "pager", "ticket": "tickets", "none": "dead-mans-switch"}
SECRETS = "/etc/alertmanager/secrets/"

Alerts = dict[str, dict[str, str]]  # by name, their labels


@pytest.fixture(scope="module")
def config(project: Project) -> Path:
    return project.root / "monitoring" / "alertmanager.yml"


@pytest.fixture(scope="module")
def alerts(project: Project, regression: Project) -> Alerts:
    """The alerts of models of both problem types."""
    return {
        rule["alert"]: rule["labels"] | {"alertname": rule["alert"], "model_name": project.slug}
        for each in (project, regression)
        for group in rules.groups(each, rules.ALERTS)
        for rule in group["rules"]
    }


def test_alertmanager_takes_the_configuration(project: Project, config: Path):
    checked = amtool(project, "check-config", config)
    assert checked.returncode == 0, checked.stderr + checked.stdout


def test_every_alert_reaches_who_has_to_act_on_it(project: Project, config: Path, alerts: Alerts):
    for name, labels in alerts.items():
        expected = ["retrain"] if labels.get("action") == "retrain" else []
        expected.append(PEOPLE[labels["severity"]])
        assert routed(project, config, **labels) == expected, name


def test_no_route_is_without_an_alert(config: Path, alerts: Alerts):
    used = {PEOPLE[labels["severity"]] for labels in alerts.values()} | {"retrain"}
    receivers = yaml.safe_load(config.read_text())["receivers"]
    assert {receiver["name"] for receiver in receivers} == used


def test_an_alert_of_the_teams_own_is_a_ticket(project: Project, config: Path):
    assert routed(project, config, alertname="TeamsOwn") == ["tickets"]


def test_both_problem_types_have_the_same_routes(project: Project, regression: Project):
    first, second = (
        (each.root / "monitoring" / "alertmanager.yml").read_text().replace(each.slug, "this-model")
        for each in (project, regression)
    )
    assert first == second


def test_every_inhibition_names_alerts_that_exist(config: Path, alerts: Alerts):
    for rule in yaml.safe_load(config.read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, pattern = re.fullmatch('([a-z]+)=~?"(.+)"', matcher).groups()
            for part in pattern.split("|"):
                found = [a for a in alerts.values() if re.fullmatch(part, a.get(label, ""))]
                assert found, f"no alert has {label}={part}"


def test_no_key_is_in_the_configuration(config: Path):
    text = config.read_text()
    keys = re.findall(r"\b(\w*(?:key|password|secret|token|credentials|api_url)\w*): (.+)", text)
    assert len({value for _, value in keys}) == 4
    for name, value in keys:
        assert name.endswith("_file"), name
        assert value.startswith(SECRETS), value


def routed(project: Project, config: Path, **labels: str) -> list[str]:
    """The receivers of an alert."""
    pairs = (f"{label}={json.dumps(value)}" for label, value in labels.items())
    done = amtool(project, "config", "routes", "test", f"--config.file={config}", *pairs)
    assert done.stdout, done.stderr
    return done.stdout.strip().split(",")


def amtool(project: Project, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [tools.find(project, "amtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


# A real Alertmanager, which sends to a local inbox


@dataclass(frozen=True)
class Running:
    """An Alertmanager with the repository's configuration, and where it sends."""

    alertmanager: alertmanager.Alertmanager
    inbox: alertmanager.Inbox
    alerts: Alerts

    def fire(self, name: str, **labels: str) -> None:
        said = {"summary": f"{name} fires", "description": "7"}
        pages = {"runbook_url": f"http://r/#{name}", "dashboard_url": "http://g/d/model-health"}
        self.alertmanager.fire(self.alerts[name] | labels, **said, **pages)

    def got(self, path: str) -> list[dict]:
        return self.inbox.at(path)

    def names(self, path: str) -> set[tuple[str, str]]:
        """Which alerts came to a webhook, of which model."""
        return {
            (alert["labels"]["alertname"], alert["labels"]["model_name"])
            for body in self.got(path)
            for alert in body["alerts"]
        }


ALWAYS = [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]
NEVER = [{"years": ["1999"]}]


@pytest.fixture
def office_hours(request: pytest.FixtureRequest) -> list[dict]:
    """When the office is open: always, unless a test says otherwise."""
    return getattr(request, "param", ALWAYS)


@pytest.fixture
def running(
    project: Project, config: Path, alerts: Alerts, office_hours: list[dict], tmp_path: Path
) -> Iterator[Running]:
    """The configuration with other addresses, quick, and with the given office hours."""
    with alertmanager.inbox() as inbox:
        text = config.read_text().replace(SECRETS, f"{tmp_path}/")
        text = re.sub("https?://(127.0.0.1:9300|dead-mans-switch.example.com)", inbox.url, text)
        text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text)
        changed = yaml.safe_load(text)
        changed["global"] = {"pagerduty_url": f"{inbox.url}/page"}
        changed["time_intervals"][0]["time_intervals"] = office_hours
        path = tmp_path / "alertmanager.yml"
        path.write_text(yaml.safe_dump(changed))
        for name in ("pagerduty-routing-key", "retrain-token", "dead-mans-switch-token"):
            (tmp_path / name).write_text(f"the-{name}")
        (tmp_path / "chat-webhook-url").write_text(f"{inbox.url}/chat")
        with alertmanager.running(project, path, tmp_path) as started:
            yield Running(started, inbox, alerts)


def test_the_drift_of_a_dead_model_starts_nothing_and_another_models_does(running):
    running.fire("ModelDown", model_name="dead")
    wait_until(lambda: running.got("/page"), "the pager is called")
    running.fire("ModelFeatureDrift", model_name="dead", feature="age")
    running.fire("ModelReplicaDown", model_name="dead")
    running.fire("ModelFeatureDrift", model_name="alive", feature="age")

    wait_until(lambda: running.got("/alerts"), "the receiver gets an alert")
    wait_until(lambda: running.got("/chat"), "the chat gets a message")

    assert running.names("/alerts") == {("ModelFeatureDrift", "alive")}
    titles = [body["attachments"][0]["title"] for body in running.got("/chat")]
    assert titles == ["FIRING: ModelFeatureDrift, alive"]


@pytest.mark.parametrize("wrong", ["ModelAccuracyLow", "ModelErrorHigh"])
def test_each_receiver_gets_what_it_needs_to_act(project, running, wrong):
    running.fire(wrong)
    running.fire("ModelStale")
    running.fire("Watchdog")
    for path in ("/page", "/alerts", "/chat", f"/{project.slug}"):
        wait_until(lambda path=path: running.got(path), f"{path} gets a message")

    (page,) = running.got("/page")
    assert page["routing_key"] == "the-pagerduty-routing-key"
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"].endswith(" fires")
    links = {link["text"]: link["href"] for link in page["links"]}
    assert links["Runbook"] == f"http://r/#{wrong}"
    assert links["Dashboard"] == "http://g/d/model-health"
    tokens = {m.path: m.headers.get("Authorization") for m in running.inbox.messages}
    assert tokens["/alerts"] == "Bearer the-retrain-token"
    assert tokens[f"/{project.slug}"] == "Bearer the-dead-mans-switch-token"
    asked = policy.Notification.model_validate(running.got("/alerts")[0])
    pipelines = {name: "train" for name, labels in running.alerts.items() if "action" in labels}
    (training,) = policy.wanted(asked, pipelines, project.slug)
    assert training.pipeline == "train"
    assert running.names(f"/{project.slug}") == {("Watchdog", project.slug)}
    assert running.got("/chat")[0]["attachments"][0]["text"] == "ModelStale fires: 7\n"


@pytest.mark.parametrize("office_hours", [NEVER], indirect=True)
def test_outside_office_hours_a_page_is_sent_and_a_ticket_is_not(running):
    running.fire("ModelFeatureDrift", feature="age")
    wait_until(lambda: running.got("/alerts"), "the receiver gets an alert, at any hour")
    running.fire("ModelMemoryHigh")
    wait_until(lambda: running.got("/page"), "the pager is called")
    assert running.got("/chat") == []

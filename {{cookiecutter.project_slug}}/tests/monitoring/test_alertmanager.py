"""Every alert reaches who has to act on it: routes, inhibition, and a real Alertmanager."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import alertmanager
import pytest
import yaml
from servers import wait_until

from {{ cookiecutter.package_name }}.monitoring import retrain_policy, tools
from {{ cookiecutter.package_name }}.project import SLUG
from {{ cookiecutter.package_name }}.settings import ROOT

pytestmark = pytest.mark.usefixtures("programs")

CONFIG = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
RULES = ROOT / "monitoring" / "prometheus" / "alerts.rules.yml"
ALERTS = {
    rule["alert"]: {"alertname": rule["alert"], "model_name": SLUG} | rule["labels"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
PIPELINES = {name: "train" for name, labels in ALERTS.items() if "action" in labels}
PEOPLE = {"page": "pager", "ticket": "tickets", "none": "dead-mans-switch"}
SECRETS = "/etc/alertmanager/secrets/"


def amtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tools.find("amtool"), *arguments], capture_output=True, text=True)


def test_alertmanager_takes_the_configuration():
    checked = amtool("check-config", CONFIG)
    assert checked.returncode == 0, checked.stderr + checked.stdout


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_reaches_who_has_to_act_on_it(name):
    labels = ALERTS[name]
    expected = ["retrain"] if labels.get("action") == "retrain" else []
    expected.append(PEOPLE[labels["severity"]])

    routed = amtool(
        "config", "routes", "test", f"--config.file={CONFIG}",
        *(f"{label}={json.dumps(value)}" for label, value in labels.items()),
    )  # fmt: skip

    assert routed.stdout.strip().split(",") == expected, routed.stderr


def test_no_route_is_without_an_alert():
    used = {PEOPLE[labels["severity"]] for labels in ALERTS.values()} | {"retrain"}
    config = yaml.safe_load(CONFIG.read_text())
    assert {receiver["name"] for receiver in config["receivers"]} == used


def test_an_alert_that_nobody_foresaw_is_a_ticket():
    routed = amtool("config", "routes", "test", f"--config.file={CONFIG}", "alertname=TeamsOwn")
    assert routed.stdout.strip() == "tickets"


def test_every_inhibition_names_alerts_that_exist():
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, pattern = re.fullmatch('([a-z]+)=~?"(.+)"', matcher).groups()
            for part in pattern.split("|"):
                found = [a for a in ALERTS.values() if re.fullmatch(part, a.get(label, ""))]
                assert found, f"no alert has {label}={part}"


def test_no_key_is_in_the_configuration():
    text = CONFIG.read_text()
    keys = re.findall(r"\b(\w*(?:key|password|secret|token|credentials|api_url)\w*): (.+)", text)
    assert len({value for _, value in keys}) == 4
    for name, value in keys:
        assert name.endswith("_file"), name
        assert value.startswith(SECRETS), value


# A real Alertmanager, which sends to a local inbox


@dataclass(frozen=True)
class Running:
    """An Alertmanager with the repository's configuration, and where it sends."""

    alertmanager: alertmanager.Alertmanager
    inbox: alertmanager.Inbox

    def fire(self, name: str, **labels: str) -> None:
        said = {"summary": f"{name} fires", "description": "7"}
        pages = {"runbook_url": f"http://r/{name}.md", "dashboard_url": "http://g/d/model-health"}
        self.alertmanager.fire(ALERTS[name] | labels, **said, **pages)

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
def running(tmp_path: Path, office_hours: list[dict]) -> Iterator[Running]:
    """The configuration with other addresses, quick, and with the given office hours."""
    with alertmanager.inbox() as inbox:
        text = CONFIG.read_text().replace(SECRETS, f"{tmp_path}/")
        text = re.sub("https?://(127.0.0.1:9300|dead-mans-switch.example.com)", inbox.url, text)
        text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text)
        config = yaml.safe_load(text)
        config["global"] = {"pagerduty_url": f"{inbox.url}/page"}
        config["time_intervals"][0]["time_intervals"] = office_hours
        path = tmp_path / "alertmanager.yml"
        path.write_text(yaml.safe_dump(config))
        for name in ("pagerduty-routing-key", "retrain-token", "dead-mans-switch-token"):
            (tmp_path / name).write_text(f"the-{name}")
        (tmp_path / "chat-webhook-url").write_text(f"{inbox.url}/chat")
        with alertmanager.running(path, tmp_path) as started:
            yield Running(started, inbox)


@pytest.mark.slow
def test_the_drift_of_a_dead_model_starts_nothing_and_another_models_does(running):
    running.fire("ModelDown", model_name="dead")
    wait_until(lambda: running.got("/page"), "the pager is called")
    running.fire("ModelFeatureDrift", model_name="dead", feature="age")
    running.fire("ModelReplicaDown", model_name="dead")
    running.fire("ModelFeatureDrift", model_name="alive", feature="age")

    wait_until(lambda: running.got("/alerts"), "the receiver is asked")
    wait_until(lambda: running.got("/chat"), "the team is told")

    assert running.names("/alerts") == {("ModelFeatureDrift", "alive")}
    titles = [body["attachments"][0]["title"] for body in running.got("/chat")]
    assert titles == ["FIRING: ModelFeatureDrift, alive"]


@pytest.mark.slow
def test_each_receiver_gets_what_it_needs_to_act(running):
    running.fire("ModelAccuracyLow" if "ModelAccuracyLow" in ALERTS else "ModelErrorHigh")
    running.fire("ModelStale")
    running.fire("Watchdog")
    for path in ("/page", "/alerts", "/chat", f"/{SLUG}"):
        wait_until(lambda path=path: running.got(path), f"{path} gets a message")

    (page,) = running.got("/page")
    assert page["routing_key"] == "the-pagerduty-routing-key"
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"].endswith(" fires")
    links = {link["text"]: link["href"] for link in page["links"]}
    assert links["Runbook"].startswith("http://r/Model")
    assert links["Dashboard"] == "http://g/d/model-health"
    tokens = {m.path: m.headers.get("Authorization") for m in running.inbox.messages}
    assert tokens["/alerts"] == "Bearer the-retrain-token"
    assert tokens[f"/{SLUG}"] == "Bearer the-dead-mans-switch-token"
    asked = retrain_policy.Notification.model_validate(running.got("/alerts")[0])
    assert [training.pipeline for training in retrain_policy.wanted(asked, PIPELINES)] == ["train"]
    assert running.names(f"/{SLUG}") == {("Watchdog", SLUG)}
    assert running.got("/chat")[0]["attachments"][0]["text"] == "ModelStale fires: 7\n"


@pytest.mark.slow
@pytest.mark.parametrize("office_hours", [NEVER], indirect=True)
def test_outside_office_hours_a_page_is_sent_and_a_ticket_is_not(running):
    running.fire("ModelFeatureDrift", feature="age")
    wait_until(lambda: running.got("/alerts"), "the receiver is asked, at any hour")
    running.fire("ModelMemoryHigh")
    wait_until(lambda: running.got("/page"), "the pager is called")
    assert running.got("/chat") == []

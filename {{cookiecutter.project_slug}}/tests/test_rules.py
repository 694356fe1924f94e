"""The rules of Prometheus: they load, their alerts fire, and each has its runbook."""

import re

import pytest
from modelloop.monitoring import rules
from modelloop.testing import promtool


def test_the_alerts_fire_as_alerts_test_says(project, programs):
    assert promtool.check(project, project.root / "monitoring" / "alerts_test.yaml") == ""


@pytest.mark.parametrize("name", [rules.RECORDING, rules.ALERTS])
def test_every_rule_watches_this_model(project, name):
    for group in rules.groups(project, name):
        for rule in group["rules"]:
            others = set(re.findall('model_name="([^"]+)"', rule["expr"])) - {project.slug}
            assert not others, rule


def test_every_alert_has_a_runbook(project):
    page = (project.root / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = set(re.findall("^## (.+)$", page, re.MULTILINE))
    alerts = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for group in rules.groups(project, rules.ALERTS)
        for rule in group["rules"]
    }
    assert headings >= alerts.keys()
    for alert, url in alerts.items():
        assert url.endswith(f"/docs/runbooks.md#{alert.lower()}")

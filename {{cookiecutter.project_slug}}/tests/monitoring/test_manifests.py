import promtool
import yaml

from {{ cookiecutter.package_name }} import project
from {{ cookiecutter.package_name }}.monitoring import manifests


def test_the_manifest_is_made_of_the_rules():
    written = manifests.MANIFEST.read_text(encoding="utf-8")
    assert written == manifests.prometheus_rule(), "the rules have changed: run `make manifests`"


def test_the_cluster_gets_the_very_rules_that_are_tested():
    found = yaml.safe_load(manifests.prometheus_rule())
    rules = [promtool.groups(f"{name}.rules.yml") for name in ("recording", "alerts")]
    assert found["spec"]["groups"] == rules[0] + rules[1]


def test_the_cluster_is_scraped_as_this_machine_is():
    def loaded(path):
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    pods = loaded(manifests.MANIFEST.with_name("pod-monitor.yaml"))
    (endpoint,) = pods["spec"]["podMetricsEndpoints"]
    set_by = {r["targetLabel"]: r["replacement"] for r in endpoint["relabelings"]}
    here = loaded(promtool.FOLDER / "prometheus.yml")
    (job,) = [job for job in here["scrape_configs"] if job["job_name"] == "model"]
    assert set_by == {"job": job["job_name"], "model_name": project.SLUG}
    assert job["static_configs"][0]["labels"] == {"model_name": project.SLUG}
    assert endpoint["honorLabels"] is job["honor_labels"] is True
    assert endpoint["interval"] == here["global"]["scrape_interval"]

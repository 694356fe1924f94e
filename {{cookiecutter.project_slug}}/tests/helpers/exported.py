"""The series that the model server and the retraining receiver export, asked of their own code."""

import tempfile
from pathlib import Path

import example_model
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from {{ cookiecutter.package_name }} import custom_metrics, project
from {{ cookiecutter.package_name }}.monitoring import retrain_policy
from {{ cookiecutter.package_name }}.serving.metrics import Metrics

MODEL = {"model_name", "model_version"}
# What this process, which is no server, tells of itself.
OF_THIS_PROCESS = ("python_", "process_")


def exported() -> dict[str, set[str]]:
    """The labels of each series, without those that Prometheus adds."""
    return server(project.PROBLEM_TYPE) | custom() | receiver()


def server(problem_type: str) -> dict[str, set[str]]:
    """Those of a server whose model answers classes or values."""
    with tempfile.TemporaryDirectory() as folder:
        contract = example_model.make_for(problem_type, Path(folder))
    return labels(Metrics(contract).page())


def custom() -> dict[str, set[str]]:
    """The team's own."""
    assert custom_metrics.observe  # its import has registered them
    found = labels(generate_latest(REGISTRY))
    return {
        name: own
        for name, own in found.items()
        # Added up over processes, there are no times of creation.
        if not (name.startswith(OF_THIS_PROCESS) or name.endswith("_created"))
    }


def receiver() -> dict[str, set[str]]:
    """Those of the retraining receiver."""
    return labels(generate_latest(retrain_policy.Metrics().registry))


def labels(page: bytes) -> dict[str, set[str]]:
    """The labels of each series on a page of metrics."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _of_one() -> dict[str, dict[str, set[str]]]:
    both = {problem: server(problem) for problem in ("classification", "regression")}
    first, second = both.values()
    return {
        problem: {name: own - MODEL for name, own in found.items() if name in first.keys() ^ second}
        for problem, found in both.items()
    }


# What only servers of one problem type export.
OF_ONE = _of_one()

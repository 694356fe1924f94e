"""The series that the model server, the team's metrics and the retraining receiver export."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modelloop import Project
from modelloop.retrain import policy
from modelloop.serving.metrics import Metrics
from modelloop.testing import example_model

# What a process exports of itself.
OF_PROCESS = ("python_", "process_")
# A process of its own: prometheus_client's registry is one for all that a process imports.
PRINT_CUSTOM = """
import sys
from pathlib import Path
from modelloop import Project
from prometheus_client import REGISTRY, generate_latest
assert Project.at(Path(sys.argv[1])).metrics.observe
print(generate_latest(REGISTRY).decode())
"""


def exported(problem_type: str) -> dict[str, set[str]]:
    """The labels of each series that the rules may read, without those that Prometheus adds."""
    return server(problem_type) | receiver()


@cache
def server(problem_type: str) -> dict[str, set[str]]:
    """The series of a server whose model predicts classes or values."""
    with tempfile.TemporaryDirectory() as folder:
        contract = example_model.make_for(problem_type, Path(folder))
    return labels(Metrics(contract).page())


@cache
def custom(project: Project) -> dict[str, set[str]]:
    """The team's own series."""
    command = [sys.executable, "-c", PRINT_CUSTOM, project.root]
    done = subprocess.run(command, capture_output=True, check=True)
    return {
        name: own
        for name, own in labels(done.stdout).items()
        # Added up over processes, there are no times of creation.
        if not (name.startswith(OF_PROCESS) or name.endswith("_created"))
    }


@cache
def receiver() -> dict[str, set[str]]:
    """The series of the retraining receiver."""
    return labels(generate_latest(policy.Metrics("a-model").registry))


def labels(page: bytes) -> dict[str, set[str]]:
    """The labels of each series on a page of metrics."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found

"""Everything that watches the model, really running, with a model that is old, fails and dies."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import dashboard
import exported
from modelloop import Project, subprocesses
from modelloop.laptop import local_config
from modelloop.laptop import stack as stacks
from modelloop.testing import example_model
from modelloop.testing.servers import FEEDBACK, JSON, Server, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("programs")]


@pytest.fixture(scope="module")
def stack(
    programs: None, either: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[stacks.Stack]:
    """The example model under the repository's name, watched; no alert starts a training."""
    folder = tmp_path_factory.mktemp("stack")
    example_model.make_for(either.problem_type, folder, either.slug)
    config = folder / "retraining.toml"
    config.write_text("cooldown_hours = 1\nper_week = 1\n[pipelines]\n")
    ports = local_config.Ports(*subprocesses.free_ports(6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETRAIN_CONFIG", str(config))
        patch.setenv("MODEL_DIR", str(folder))
        with stacks.running(either, ports, fast=True, folder=folder / "run", state=folder) as stack:
            yield stack


@pytest.fixture(scope="module")
def server(stack: stacks.Stack) -> Server:
    ports = stack.ports
    return Server(stack.server, ports.serve, ports.metrics, 0, None)


@pytest.fixture(scope="module")
def absent(either: Project, project: Project, regression: Project) -> set[str]:
    """The series that only models of the other problem type have."""
    both = dashboard.known_series(project, regression)
    return both.keys() - dashboard.known_series(either).keys()


@pytest.fixture(scope="module")
def truth(either: Project) -> str | float:
    """The label with which the predictions of ROW are right."""
    return "low" if either.problem_type == "classification" else 9


def ask(server: Server, truth: str | float, *row: object) -> int:
    """The status of a prediction, which is followed by its label where it is one."""
    message = {"data": {"names": example_model.NAMES, "ndarray": [[*row]]}}
    answer = server.predict(message)
    if answer.status == 200:
        feedback = {"response": answer.json, "truth": {"data": {"ndarray": [[truth]]}}}
        assert server.call("POST", FEEDBACK, json.dumps(feedback), JSON).status == 200
    return answer.status


def test_an_old_model_is_a_ticket(stack):
    wait_until(lambda: stack.inbox.about("ModelStale"), "a ticket comes", 30)
    (message, *_) = stack.inbox.about("ModelStale")
    assert (message.kind, message.status) == ("ticket", "firing")


def test_server_errors_are_a_page(stack, server, truth):
    with ThreadPoolExecutor(2) as clients:
        ages = [example_model.FAILS if i % 2 else 36 for i in range(200)]
        statuses = list(clients.map(lambda age: ask(server, truth, 2.5, age, "red"), ages))
    assert sorted(set(statuses)) == [200, 500]
    wait_until(lambda: stack.inbox.about("ModelErrorBudgetBurnFast"), "a page comes", 30)
    (message, *_) = stack.inbox.about("ModelErrorBudgetBurnFast")
    assert (message.kind, message.status) == ("page", "firing")


def test_the_server_exports_what_the_rules_and_panels_are_held_against(either, server):
    page = server.call("GET", "/metrics", port=server.metrics_port).text
    found = exported.labels(page.encode())
    assert found == exported.server(either.problem_type) | exported.custom(either)


def test_every_panel_of_the_dashboard_has_data(either, stack, server, truth, absent):
    url = f"http://127.0.0.1:{stack.ports.prometheus}"
    chosen = {"model_name": either.slug}
    faults = ["not checked yet"]

    def right() -> bool:
        ask(server, truth, 2.5, 36, "red")
        faults[:] = dashboard.check_live(url, dashboard.committed(), chosen, absent)
        return not faults

    try:
        wait_until(right, "every query has an answer", 60)
    except pytest.fail.Exception:
        pytest.fail("\n".join(faults))


def test_a_server_that_is_killed_is_a_page(either, stack, server):
    server.process.kill()
    wait_until(lambda: stack.inbox.about("ModelDown"), "a page comes", 30)
    (message, *_) = stack.inbox.about("ModelDown")
    assert (message.kind, message.status) == ("page", "firing")
    ((labels, value),) = stack.query('up{job="model"}')
    assert (labels["model_name"], value) == (either.slug, 0)

"""Everything that watches the model, really running: who is told when it ages, fails and dies."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dashboard
import example_model
import exported
import pytest
from servers import FEEDBACK, JSON, Server, wait_until

from {{ cookiecutter.package_name }} import children, project
from {{ cookiecutter.package_name }}.monitoring import local_config
from {{ cookiecutter.package_name }}.monitoring import stack as stacks
from {{ cookiecutter.package_name }}.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("programs")]


@pytest.fixture(scope="module")
def stack(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Stack]:
    """The example model under this repository's name, watched; no alert starts a training."""
    folder = tmp_path_factory.mktemp("stack")
    example_model.make_for(project.PROBLEM_TYPE, folder, project.SLUG)
    config = folder / "retraining.toml"
    config.write_text("cooldown_hours = 1\nper_week = 1\n[pipelines]\n")
    env = Settings(model_dir=folder)
    ports = local_config.Ports(*children.free_ports(6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETRAIN_CONFIG", str(config))
        with stacks.running(env, ports, fast=True, folder=folder / "run", state=folder) as stack:
            yield stack


@pytest.fixture(scope="module")
def server(stack: stacks.Stack) -> Server:
    ports = stack.ports
    return Server(stack.server, ports.serve, ports.metrics, 0, None)


def ask(server: Server, *row: object) -> int:
    """The status of the answer; right ones are told that they were right."""
    message = {"data": {"names": example_model.NAMES, "ndarray": [[*row]]}}
    answer = server.predict(message)
    if answer.status == 200:
        truth = {"data": {"ndarray": [["low" if project.PROBLEM_TYPE == "classification" else 9]]}}
        feedback = {"response": answer.json, "truth": truth}
        assert server.call("POST", FEEDBACK, json.dumps(feedback), JSON).status == 200
    return answer.status


def test_an_old_model_is_a_ticket(stack):
    wait_until(lambda: stack.inbox.about("ModelStale"), "a ticket comes", 30)
    (message, *_) = stack.inbox.about("ModelStale")
    assert (message.kind, message.status) == ("ticket", "firing")


def test_server_errors_are_a_page(stack, server):
    with ThreadPoolExecutor(2) as clients:
        ages = [example_model.FAILS if i % 2 else 36 for i in range(200)]
        statuses = list(clients.map(lambda age: ask(server, 2.5, age, "red"), ages))
    assert sorted(set(statuses)) == [200, 500]
    wait_until(lambda: stack.inbox.about("ModelErrorBudgetBurnFast"), "a page comes", 30)
    (message, *_) = stack.inbox.about("ModelErrorBudgetBurnFast")
    assert (message.kind, message.status) == ("page", "firing")


def test_the_server_exports_what_the_rules_and_panels_are_held_against(server):
    page = server.call("GET", "/metrics", port=server.metrics_port).text
    found = exported.labels(page.encode())
    assert found == exported.server(project.PROBLEM_TYPE) | exported.custom()


def test_every_panel_of_the_dashboard_has_data(stack, server):
    url = f"http://127.0.0.1:{stack.ports.prometheus}"
    faults = ["not asked yet"]

    def right() -> bool:
        ask(server, 2.5, 36, "red")
        faults[:] = dashboard.check_live(url, dashboard.committed(), {"model_name": project.SLUG})
        return not faults

    try:
        wait_until(right, "every query has an answer", 60)
    except pytest.fail.Exception:
        pytest.fail("\n".join(faults))


def test_a_server_that_is_killed_is_a_page(stack, server):
    server.process.kill()
    wait_until(lambda: stack.inbox.about("ModelDown"), "a page comes", 30)
    (message, *_) = stack.inbox.about("ModelDown")
    assert (message.kind, message.status) == ("page", "firing")
    ((labels, value),) = stack.query('up{job="model"}')
    assert (labels["model_name"], value) == (project.SLUG, 0)

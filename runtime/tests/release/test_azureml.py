"""The Azure ML target, with Azure's own SDK against an Azure Resource Manager in memory."""

import copy
import io
import itertools
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import yaml

import release_parts
from release_parts import Registry

pytest.importorskip("azure.ai.ml", reason="only repositories that release to Azure ML have its SDK")

from azure.ai.ml import MLClient, load_online_deployment, load_online_endpoint
from azure.ai.ml.entities import Model
from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.monitor.querymetrics import MetricsQueryResult

from modelloop import Project
from modelloop.contract import served_model
from modelloop.contract.contract import Contract, Decision
from modelloop.errors import UserError
from modelloop.registry import runs, versions
from modelloop.registry.model_reference import ModelReference
from modelloop.registry.store import connect
from modelloop.release import state
from modelloop.release.azureml import endpoint, monitor, scoring, target
from modelloop.release.plan import Plan
from modelloop.release.release import Release
from modelloop.release.state import ConflictError, ReleaseError, State
from modelloop.release.watch import Measured
from modelloop.table.prepare import Rows
from modelloop.testing import example_model
from modelloop.training.train import Trained

TEMPLATE = Path(__file__).parents[3] / "{{cookiecutter.project_slug}}"
SLUG = "penguins"  # of the repository that classifies
WORKSPACE = "/providers/Microsoft.MachineLearningServices/workspaces/ws"
ENVIRONMENT = {
    "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "AZURE_RESOURCE_GROUP": "rg",
    "AZURE_ML_WORKSPACE": "ws",
}


class Interrupted(BaseException):
    """The end of the process at this point: no code handles it."""


class RefusedError(Exception):
    """Azure refuses a call: HTTP status and message."""


class ResourceManager(requests.adapters.BaseAdapter):
    """Azure's side: the endpoints and deployments of one workspace, by path.

    Azure's rules that it follows: a deployment needs its endpoint, and is removed only when it has
    no traffic; traffic goes to deployments that run, and sums to 100 or 0; copies of at most half
    of the requests go to one deployment; scoring needs the endpoint's key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resources: dict[str, dict] = {}
        self.unable: set[str] = set()  # deployments that do not start
        self.busy = False  # another change is in progress
        self.answer: Callable[[dict, str], object] = lambda request, deployment: []
        self.calls: list[str] = []
        self.touched: Callable[[str], None] = lambda call: None

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        host, _, path = request.url.removeprefix("https://").partition("?")[0].partition("/")
        body = json.loads(request.body) if request.body else {}
        call = f"{request.method} {path.rpartition('/workspaces/ws')[2] or path}"
        self.calls.append(call)
        self.touched(call)
        status = 200
        try:
            if host == "management.azure.com":
                content = self._manage(request.method, "/" + path, body)
            else:
                content = self._score(request.headers, host, body)
        except RefusedError as error:
            status, message = error.args
            content = {"error": {"code": "Refused", "message": message}}
        if request.method in ("PUT", "DELETE"):
            self.touched(f"{call} is done")
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = status, request, request.url
        answer.headers["Content-Type"] = "application/json"
        answer.raw = io.BytesIO(json.dumps(content).encode())
        return answer

    def close(self) -> None:
        """There is no connection."""

    def _manage(self, method: str, path: str, body: dict) -> object:
        if path.endswith(WORKSPACE):
            return {"id": path, "name": "ws", "location": "eastus", "properties": {}}
        if path.endswith("/listKeys"):
            return {"primaryKey": "first", "secondaryKey": "second"}
        if path.endswith("/deployments"):
            return {"value": [r for p, r in self.resources.items() if p.startswith(path + "/")]}
        if method == "GET" and path not in self.resources:
            raise RefusedError(404, f"{path.rpartition('/')[2]} is not there")
        if method == "GET":
            return self.resources[path]
        if self.busy:
            raise RefusedError(409, "there is already an operation in progress")
        parent, _, deployment = path.partition("/deployments/")
        if method == "DELETE":
            if deployment in self._with_traffic(self.resources[parent]["properties"]):
                raise RefusedError(400, f"{deployment} has traffic")
            return self.resources.pop(path)
        if deployment:
            self._check_deployment(parent, body)
        else:
            self._check_traffic(path, body["properties"])
        body["properties"]["provisioningState"] = (
            "Failed" if deployment in self.unable else "Succeeded"
        )
        name = path.rpartition("/")[2]
        if deployment:
            body["properties"] |= {
                "scaleSettings": {"scaleType": "Default"},
                "containerResourceRequirements": {},
            }
        else:
            body["properties"]["scoringUri"] = f"https://{name}.eastus.inference.ml.azure.com/score"
        self.resources[path] = {**body, "id": path, "name": name}
        return self.resources[path]

    def _check_deployment(self, parent: str, body: dict) -> None:
        if parent not in self.resources:
            raise RefusedError(404, "the endpoint is not there")
        kind = body["properties"]["endpointComputeType"]
        attached = "compute" in self.resources[parent]["properties"]
        if (kind == "Kubernetes") != attached:
            raise RefusedError(400, f"no {kind} deployment in this endpoint")

    def _check_traffic(self, path: str, properties: dict) -> None:
        live, copies = properties["traffic"], properties["mirrorTraffic"]
        running = {
            p.rpartition("/")[2]
            for p, r in self.resources.items()
            if p.startswith(path + "/") and r["properties"]["provisioningState"] == "Succeeded"
        }
        if not self._with_traffic(properties) <= running:
            raise RefusedError(400, "a deployment that gets traffic does not run")
        if sum(live.values()) not in (0, 100) or set(live) & set(copies):
            raise RefusedError(400, f"the traffic {live}, copies {copies}, is not allowed")
        if len(copies) > 1 or sum(copies.values()) > 50:
            raise RefusedError(400, f"the copies {copies} are not allowed")

    def _with_traffic(self, properties: dict) -> set[str]:
        return {*properties["traffic"], *properties["mirrorTraffic"]}

    def _score(self, headers: dict, host: str, body: dict) -> object:
        deployment = headers["azureml-model-deployment"]
        path = f"/onlineEndpoints/{host.partition('.')[0]}/deployments/{deployment}"
        if headers["Authorization"] != "Bearer first":
            raise RefusedError(401, "the key is wrong")
        if not any(p.endswith(path) for p in self.resources):
            raise RefusedError(404, "the deployment is not there")
        return self.answer(body, deployment)

    def deployments(self) -> dict[str, str]:
        """The version of the model by deployment."""
        found = {p.rpartition("/")[2]: r for p, r in self.resources.items() if "/deployments/" in p}
        return {n: r["properties"]["model"].rpartition("/")[2] for n, r in found.items()}

    @property
    def endpoint(self) -> dict:
        """What is there of the endpoint."""
        (found,) = [r for p, r in self.resources.items() if "/deployments/" not in p]
        return found


class Credential:
    """A valid identity."""

    def get_token(self, *scopes: str, **_) -> AccessToken:
        return AccessToken("token", 2**40)


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> ResourceManager:
    """An empty workspace, and an SDK whose requests end there."""
    manager = ResourceManager()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(target, "DefaultAzureCredential", Credential)
    session = requests.Session()
    session.mount("https://", manager)
    transport = RequestsTransport(session=session, session_owner=False)
    monkeypatch.setattr(target, "MLClient", partial(MLClient, transport=transport))
    return manager


@pytest.fixture(scope="session")
def released(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository that releases to Azure ML."""
    root = shutil.copytree(
        project.root, tmp_path_factory.mktemp("azureml") / "repository", symlinks=True
    )
    shutil.copy(TEMPLATE / "deploy" / "endpoint__azureml.toml", root / endpoint.FILE)
    pyproject = root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    answer = 'release_target = "seldon"'
    assert text.count(answer) == 1
    pyproject.write_text(text.replace(answer, 'release_target = "azureml"'), encoding="utf-8")
    found = Project.at(root)
    assert found.slug == SLUG
    return found


@pytest.fixture
def prod(azure: ResourceManager, released: Project) -> target.Target:
    """The endpoint of production, with nothing released."""
    made = target.Target(released, "production", seconds=5)
    made.prepare(package("1"))
    return made


@pytest.fixture
def change(released: Project, tmp_path: Path) -> Callable[..., Project]:
    """Makes a repository whose endpoint.toml has other values, and more text at its end."""
    own = (released.root / endpoint.FILE).read_text(encoding="utf-8")
    changed = released.model_copy(update={"root": tmp_path})
    file = tmp_path / endpoint.FILE
    file.parent.mkdir()

    def write(more: str = "", **lines: str) -> Project:
        text = own
        for name, value in lines.items():
            text, found = re.subn(rf"(?m)^(# )?{name} = .*$", f"{name} = {value}", text, count=1)
            assert found, f"{name} is not in the file"
        file.write_text(text + more, encoding="utf-8")
        return changed

    return write


def package(version: str) -> str:
    return f"azureml:{SLUG}:{version}"


def walk() -> list[tuple[State | None, State | None]]:
    """Every kind of write of a release: the first, a canary, promoted, rolled back, a shadow."""
    first = state.begin(None, "1", package("1"))
    one = state.served("1", package("1"))
    beside = state.begin(one, "2", package("2"))
    some, all_ = state.shift(beside, 25), state.shift(beside, 100)
    two = state.promoted(state.held(all_))
    back = state.returning(two, "1", package("1"))
    third = state.begin(state.returned(back), "3", package("3"))
    copied = state.mirror(third, 50)
    states = [None, first, None, one, beside, some, all_, state.held(all_), two, back]
    states += [state.returned(back), third, copied, state.without_candidate(copied), None]
    return [*itertools.pairwise(states)]


WALK = walk()


def reach(made: target.Target, step: int) -> None:
    """Make the writes of the walk before a step."""
    made.prepare(package("1"))
    for before, after in WALK[:step]:
        made.write(before, after)


def test_every_state_of_a_release_is_read_back_as_it_was_written(
    azure: ResourceManager, prod: target.Target
):
    assert prod.read() is None
    for before, after in WALK:
        prod.write(before, after)
        assert prod.read() == after
        wanted = {f"version-{d.version}": d.version for d in after.deployed} if after else {}
        assert azure.deployments() == wanted


def test_requests_and_copies_are_split_as_the_state_says(
    azure: ResourceManager, prod: target.Target
):
    for before, after in WALK[:5]:
        prod.write(before, after)
    properties = azure.endpoint["properties"]
    assert (properties["traffic"], properties["mirrorTraffic"]) == (
        {"version-1": 75, "version-2": 25},
        {},
    )
    for before, after in WALK[5:12]:
        prod.write(before, after)
    properties = azure.endpoint["properties"]
    assert (properties["traffic"], properties["mirrorTraffic"]) == (
        {"version-1": 100},
        {"version-3": 50},
    )


@pytest.mark.parametrize(
    "step",
    [0, 1, 3, 4, 7, 8, 11],
    ids=["first", "nothing", "canary", "more", "promoted", "returning", "shadow"],
)
def test_a_write_that_was_interrupted_anywhere_is_completed_by_the_next(
    azure: ResourceManager, released: Project, step: int
):
    before, after = WALK[step]
    made = target.Target(released, "production", seconds=5)
    reach(made, step)
    reached = copy.deepcopy(azure.resources)
    for point in itertools.count():
        azure.resources = copy.deepcopy(reached)
        points = itertools.count()

        def interrupt(_: str, points: Iterator[int] = points, point: int = point) -> None:
            if next(points) == point:
                raise Interrupted

        azure.touched = interrupt
        try:
            made.write(before, after)
        except Interrupted:
            azure.touched = lambda _: None
            assert made.read() in (before, after)
            made.write(before, after)
            assert made.read() == after
            versions = {d.version for d in after.deployed} if after else set()
            assert set(azure.deployments().values()) == versions
        else:
            assert point > 10, "the write was never interrupted"
            return


def test_a_version_that_does_not_start_gets_no_traffic(azure: ResourceManager, prod: target.Target):
    one = state.served("1", package("1"))
    two = state.begin(one, "2", package("2"))
    prod.write(None, one)
    azure.unable.add("version-2")
    with pytest.raises(ReleaseError, match="version 2 does not start"):
        prod.write(one, two)
    assert prod.read() == one
    azure.unable.clear()
    prod.write(one, two)
    assert prod.read() == two


def test_what_a_failed_release_left_is_removed_by_the_next_one(
    azure: ResourceManager, prod: target.Target
):
    one = state.served("1", package("1"))
    prod.write(None, one)
    azure.unable.add("version-2")
    with suppress(ReleaseError):
        prod.write(one, state.begin(one, "2", package("2")))
    assert set(azure.deployments()) == {"version-1", "version-2"}
    prod.write(one, state.begin(one, "3", package("3")))
    assert set(azure.deployments()) == {"version-1", "version-3"}


def test_instances_that_run_are_left_as_they_are(azure: ResourceManager, prod: target.Target):
    one = state.served("1", package("1"))
    prod.write(None, one)
    azure.calls.clear()
    prod.write(one, state.begin(one, "2", package("2")))
    changed = [c for c in azure.calls if c.startswith("PUT") and "/deployments/" in c]
    assert [c.rpartition("/")[2] for c in changed] == ["version-2"]


def test_a_second_release_is_refused(azure: ResourceManager, prod: target.Target):
    one, other = state.served("1", package("1")), state.served("2", package("2"))
    prod.write(None, one)
    with pytest.raises(ConflictError, match="somebody else changed production"):
        prod.write(None, other)
    assert prod.read() == one
    assert azure.deployments() == {"version-1": "1"}


def test_a_second_release_is_detected_while_a_version_starts(
    azure: ResourceManager, prod: target.Target
):
    one, two = state.served("1", package("1")), state.served("2", package("2"))

    def meanwhile(call: str) -> None:
        if call.startswith("PUT") and call.endswith("deployments/version-1 is done"):
            azure.touched = lambda _: None
            prod.write(None, two)

    azure.touched = meanwhile
    with pytest.raises(ReleaseError):
        prod.write(None, one)
    assert prod.read() == two


@pytest.mark.parametrize(
    "moment",
    ["GET /onlineEndpoints/NAME/deployments/version-2", "PUT /onlineEndpoints/NAME is done"],
    ids=["before it writes", "after it wrote"],
)
def test_a_second_release_of_the_same_versions_is_detected(
    azure: ResourceManager, prod: target.Target, moment: str
):
    one = state.served("1", package("1"))
    two = state.begin(one, "2", package("2"))
    prod.write(None, one)
    prod.write(one, two)
    moment = moment.replace("NAME", azure.endpoint["name"])

    def meanwhile(call: str) -> None:
        if call == moment:
            azure.touched = lambda _: None
            prod.write(prod.read(), state.shift(two, 50))

    azure.touched = meanwhile
    with pytest.raises(ConflictError, match="version 2 50 %"):
        prod.write(two, state.shift(two, 5))
    assert prod.read() == state.shift(two, 50)


def test_another_change_in_progress_is_a_conflict(azure: ResourceManager, prod: target.Target):
    azure.busy = True
    with pytest.raises(ConflictError, match=r"another change is under way: .*in progress"):
        prod.write(None, state.served("1", package("1")))


def test_an_endpoint_that_no_release_made_is_left_alone(
    azure: ResourceManager, prod: target.Target
):
    azure.endpoint["tags"] = {"made-by": "hand"}
    with pytest.raises(ReleaseError, match="has no tag `release`"):
        prod.write(None, state.served("1", package("1")))
    assert azure.endpoint["tags"] == {"made-by": "hand"}


def test_traffic_that_was_changed_by_hand_is_an_error(azure: ResourceManager, prod: target.Target):
    prod.write(None, state.served("1", package("1")))
    azure.endpoint["properties"]["traffic"] = {"version-1": 60, "blue": 40}
    with pytest.raises(ReleaseError, match=r"changed by hand to .*'blue': 40"):
        prod.read()


def test_tags_and_deployments_of_others_are_kept(azure: ResourceManager, prod: target.Target):
    azure.endpoint["tags"]["cost-centre"] = "12"
    path = f"{azure.endpoint['id']}/deployments/blue"
    prod.write(None, state.served("1", package("1")))
    azure.resources[path] = {**azure.resources[path.replace("blue", "version-1")], "name": "blue"}
    one = state.served("1", package("1"))
    prod.write(one, state.begin(one, "2", package("2")))
    assert azure.endpoint["tags"]["cost-centre"] == "12"
    assert set(azure.deployments()) == {"version-1", "version-2", "blue"}


def test_a_deployment_that_was_removed_by_hand_is_made_again(
    azure: ResourceManager, prod: target.Target
):
    one = state.served("1", package("1"))
    two = state.begin(one, "2", package("2"))
    prod.write(None, one)
    prod.write(one, two)
    del azure.resources[f"{azure.endpoint['id']}/deployments/version-2"]
    assert prod.read() == two
    with pytest.raises(ReleaseError, match="version-2 is not there"):
        prod.wait("2")
    prod.write(two, state.shift(two, 5))
    assert set(azure.deployments()) == {"version-1", "version-2"}


def test_the_tag_fits_whatever_the_versions_are(prod: target.Target, azure: ResourceManager):
    stable = state.served("123456", package("123456"), withdrawn="123457")
    prod.write(None, stable)
    after = state.returning(stable, "123455", package("123455"))
    prod.write(stable, after)
    assert len(azure.endpoint["tags"]["release"]) <= 256


def test_a_deployment_that_cannot_be_removed_is_an_error_that_undoes_nothing(
    azure: ResourceManager, prod: target.Target
):
    one, two = state.served("1", package("1")), state.served("2", package("2"))
    prod.write(None, one)

    def busy(call: str) -> None:
        azure.busy = call.startswith("DELETE")

    azure.touched = busy
    with pytest.raises(ReleaseError, match=r"was not removed.*The next release removes it"):
        prod.write(one, two)
    assert prod.read() == two


def test_a_shadow_gets_at_most_half_of_the_requests(azure: ResourceManager, prod: target.Target):
    one = state.served("1", package("1"))
    beside = state.begin(one, "2", package("2"))
    prod.write(None, one)
    prod.write(one, beside)
    with pytest.raises(ReleaseError, match="at most 50 %"):
        prod.write(beside, state.mirror(beside, 100))
    assert prod.read() == beside


def test_on_kubernetes_everything_but_a_shadow_works(
    azure: ResourceManager, change: Callable[..., Project]
):
    changed = change(kind='"kubernetes"', compute='"aks"', instance_type='"small"')
    made = target.Target(changed, "production", seconds=5)
    made.prepare(package("1"))
    for before, after in WALK[:11]:
        made.write(before, after)
        assert made.read() == after
    assert azure.endpoint["properties"]["compute"].endswith(f"{WORKSPACE}/computes/aks")
    with pytest.raises(ReleaseError, match="no copies of requests on Kubernetes"):
        made.write(*WALK[11])


def test_an_endpoint_of_the_other_kind_is_refused(
    azure: ResourceManager, prod: target.Target, change: Callable[..., Project]
):
    changed = change(kind='"kubernetes"', compute='"aks"')
    other = target.Target(changed, "production", seconds=5)
    with pytest.raises(ReleaseError, match="not of the kind kubernetes"):
        other.prepare(package("1"))


def test_a_change_is_shown_before_it_is_made(azure: ResourceManager, prod: target.Target):
    one = state.served("1", package("1"))
    prod.write(None, one)
    azure.calls.clear()
    shown = prod.difference(state.begin(one, "2", package("2")))
    assert f"+  package: {package('2')}" in shown
    assert "-phase: stable\n+phase: canary" in shown
    assert prod.difference(one) == ""
    assert not [c for c in azure.calls if not c.startswith("GET")]


def test_waiting_ends_when_azure_gives_up_or_time_does(
    azure: ResourceManager,
    prod: target.Target,
    released: Project,
    monkeypatch: pytest.MonkeyPatch,
):
    prod.write(None, state.served("1", package("1")))
    prod.wait("1")
    (found,) = [r for p, r in azure.resources.items() if "/deployments/" in p]
    found["properties"]["provisioningState"] = "Updating"
    monkeypatch.setattr(target, "POLL_SECONDS", 0.01)
    slow = target.Target(released, "production", seconds=0.05)
    with pytest.raises(ReleaseError, match="not ready in 0 s"):
        slow.wait("1")
    found["properties"]["provisioningState"] = "Failed"
    with pytest.raises(ReleaseError, match=r"does not start.*get-logs"):
        prod.wait("1")


@pytest.fixture(params=["classification", "regression"])
def contract(request: pytest.FixtureRequest, tmp_path: Path) -> Contract:
    """Of the example model, with one golden row."""
    return example_model.make_for(request.param, tmp_path, SLUG)


def test_a_version_that_predicts_its_golden_rows_passes(
    azure: ResourceManager, prod: target.Target, contract: Contract
):
    prod.write(None, state.served(contract.version, package(contract.version)))
    calls = []

    def answer(request: dict, deployment: str) -> list:
        calls.append((deployment, request["input_data"]))
        return ["low"] if contract.classes else [example_model.VALUE]

    azure.answer = answer
    prod.prove(contract)
    rows = {"columns": example_model.NAMES, "index": [0], "data": [example_model.ROW]}
    assert calls == [(f"version-{contract.version}", rows)]


@pytest.mark.parametrize("answer", [["mid"], ["low", "low"], [], [9.9], {"error": "x"}, [None]])
def test_a_version_with_any_other_response_is_refused(
    azure: ResourceManager, prod: target.Target, contract: Contract, answer: object
):
    prod.write(None, state.served(contract.version, package(contract.version)))
    azure.answer = lambda request, deployment: answer
    with pytest.raises(ReleaseError, match="answers"):
        prod.prove(contract)


def test_a_deployment_that_runs_another_model_is_refused(
    azure: ResourceManager, prod: target.Target, contract: Contract
):
    prod.write(None, state.served(contract.version, package(contract.version)))
    (found,) = [r for p, r in azure.resources.items() if "/deployments/" in p]
    found["properties"]["model"] = found["properties"]["model"][:-1] + "9"
    with pytest.raises(ReleaseError, match=f"runs {package('9')}"):
        prod.prove(contract)


def test_the_logged_model_predicts_the_golden_request_like_its_contract(
    store: Project, trained: Trained, rows: Rows, model_dir: Path, tmp_path: Path
):
    contract = Contract.read(model_dir)
    holes = dict.fromkeys(contract.golden[0].inputs)
    inputs = [row.inputs for row in contract.golden] + [holes]
    outputs = trained.predict(served_model.to_table(contract.features, inputs))
    golden = [
        contract.golden[0].model_copy(update={"inputs": i, "outputs": list(o)})
        for i, o in zip(inputs, outputs, strict=True)
    ]
    contract = contract.model_copy(update={"golden": golden})
    connect(store)
    with mlflow.start_run():
        example = rows.inputs(rows.test).head(3)
        model_id = runs.log_model(trained.model, example, {})
    folder = runs.download_model(store, model_id, tmp_path)
    scoring.drop_example(folder)

    logged = mlflow.pyfunc.load_model(str(folder))
    assert logged.metadata.saved_input_example_info is None
    request = json.loads(json.dumps(scoring.golden_request(contract)))["input_data"]
    sent = zip(contract.features, request["data"][-1], strict=True)
    assert {(f.kind, value) for f, value in sent} <= {("category", "missing"), ("number", None)}
    # As Azure ML's scoring script does: a frame with the types of the signature.
    schema = logged.metadata.signature.inputs
    types = dict(zip(schema.input_names(), schema.pandas_types(), strict=True))
    frame = pd.DataFrame(request["data"], request["index"], request["columns"]).astype(types)
    answers = np.asarray(logged.predict(frame)).tolist()
    assert not scoring.wrong_rows(contract, answers).size
    assert scoring.wrong_rows(contract, answers[::-1]).size or len(set(map(str, answers))) == 1


def test_the_verbs_of_a_release_go_from_the_first_model_to_the_second_and_back(
    azure: ResourceManager,
    registered: Registry,
    released: Project,
    plan: Plan,
    prod: target.Target,
    monkeypatch: pytest.MonkeyPatch,
):
    for version in ("1", "2"):
        versions.tag(released, version, package=package(version))
    first, second = (
        release_parts.model(v).model_copy(update={"package": package(v)}) for v in ("1", "2")
    )
    azure.answer = lambda request, deployment: [example_model.VALUE]
    monkeypatch.setattr(monitor, "MetricsClient", FakeMetricsClient)
    verbs = Release(released, prod, plan, report=lambda _: None)

    registered.set(challenger="1")
    verbs.canary(first)
    verbs.promote(first)
    assert prod.read() == state.served("1", package("1"))
    registered.set(champion="1", challenger="2")
    verbs.canary(second)
    verbs.promote(second)
    assert prod.read() == state.served("2", package("2"))
    assert registered.aliases["champion"] == "2"
    verbs.rollback()
    assert prod.read() == state.served("1", package("1"), withdrawn="2")
    assert registered.aliases["champion"] == "1"
    assert azure.deployments() == {"version-1": "1"}


class Models:
    """The models of a workspace; uploads are taken as they are checked by the SDK."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Model] = {}
        self.files: dict[str, str] = {}

    def get(self, name: str, version: str) -> Model:
        if (name, version) not in self.kept:
            raise ResourceNotFoundError("not there")
        return self.kept[name, version]

    def create_or_update(self, model: Model) -> Model:
        model._to_rest_object()  # refuses what Azure does not know
        self.files = {p.name: p.read_text("latin-1") for p in Path(model.path).iterdir()}
        assert "MLmodel" in self.files
        self.kept[model.name, model.version] = model
        return model


@pytest.fixture
def models(azure: ResourceManager, monkeypatch: pytest.MonkeyPatch) -> Models:
    """The models of the workspace; their files would go to a storage account."""
    kept = Models()
    monkeypatch.setattr(MLClient, "models", kept)
    return kept


@pytest.fixture
def judged(store: Project, released: Project, tmp_path: Path) -> ModelReference:
    """Version 1 in the registry, and what CI hands on of it."""
    client = connect(released)
    client.create_registered_model(SLUG)
    folder = tmp_path / "version-1"
    folder.mkdir()
    contract = example_model.make(folder, SLUG).model_copy(
        update={"version": "1", "decision": Decision(passed=True, checks=[])}
    )
    contract.write(folder)
    (folder / "MLmodel").write_text("saved_input_example_info: {}\nflavors: {}\n")
    client.create_model_version(SLUG, source=folder.as_uri())
    return ModelReference.of(contract)


def test_the_whole_mlflow_model_is_registered(
    released: Project, models: Models, judged: ModelReference, tmp_path: Path
):
    assert target.package(released, judged) == package("1")
    (made,) = models.kept.values()
    assert (made.name, made.version, made.type) == (SLUG, "1", "mlflow_model")
    assert made.tags == {
        "contract_sha256": judged.contract_sha256,
        "git_commit": judged.git_commit,
    }
    assert {"MLmodel", "contract.json", "model.onnx"} <= set(models.files)
    assert yaml.safe_load(models.files["MLmodel"]) == {"flavors": {}}
    # The registry's own is as it was.
    kept = versions.fetch_version(released, "1", tmp_path / "again")
    assert "saved_input_example_info" in (tmp_path / "again" / "MLmodel").read_text()
    assert kept.sha256 == judged.contract_sha256


def test_a_model_that_is_registered_already_is_kept(
    released: Project, models: Models, judged: ModelReference
):
    target.package(released, judged)
    (made,) = models.kept.values()
    assert target.package(released, judged) == package("1")
    assert [*models.kept.values()] == [made]


def test_another_model_under_the_same_version_is_refused(
    released: Project, models: Models, judged: ModelReference
):
    target.package(released, judged)
    other = judged.model_copy(update={"contract_sha256": "f" * 64})
    with pytest.raises(ReleaseError, match="is another model than the gate judged"):
        target.package(released, other)


def test_a_model_that_the_gate_did_not_judge_is_not_registered(
    released: Project, models: Models, judged: ModelReference
):
    other = judged.model_copy(update={"contract_sha256": "f" * 64})
    with pytest.raises(ReleaseError, match="is another model than the gate judged"):
        target.package(released, other)
    assert not models.kept


def test_azure_gets_only_the_calls_that_a_release_needs(
    azure: ResourceManager, prod: target.Target
):
    assert prod._client._operation_config.enable_telemetry is False
    prod.write(None, state.served("1", package("1")))
    assert all(re.match(r"(GET|PUT) (/onlineEndpoints/|subscriptions/)", c) for c in azure.calls)


@pytest.mark.parametrize("kind", ["managed", "kubernetes"])
def test_azures_own_schema_takes_the_entities(
    kind: str, change: Callable[..., Project], tmp_path: Path
):
    changed = change(kind=f'"{kind}"', compute='"aks"' if kind == "kubernetes" else '""')
    config = endpoint.Endpoint.read(changed, "production")
    for entity, load in (
        (config.endpoint("A model", release="null"), load_online_endpoint),
        (config.deployment("version-7", package("7")), load_online_deployment),
    ):
        path = tmp_path / "entity.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(entity._to_dict()))))
        again = load(path)
        assert type(again) is type(entity)
        assert again._to_dict() == entity._to_dict()


def test_the_settings_of_the_file_reach_azure(
    azure: ResourceManager, prod: target.Target, released: Project
):
    prod.write(None, state.served("1", package("1")))
    (found,) = [r for p, r in azure.resources.items() if "/deployments/" in p]
    content = tomllib.loads((released.root / endpoint.FILE).read_text())
    assert found["sku"]["capacity"] == content["production"]["instance_count"]
    assert found["properties"]["instanceType"] == content["instance_type"]
    assert found["properties"]["requestSettings"]["requestTimeout"] == "PT5S"
    assert found["properties"]["livenessProbe"]["initialDelay"] == "PT10S"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"kind": '"cloud"'}, "kind: Input should be 'managed' or 'kubernetes'"),
        ({"kind": '"kubernetes"'}, "`compute` names the attached cluster"),
        ({"compute": '"aks"'}, "`compute` names the attached cluster"),
        ({"auth_mode": '"none"'}, "auth_mode: Input should be 'key'"),
        ({"instance_count": "0"}, "instance_count: Input should be greater than or equal to 1"),
        ({"request_timeout": "600"}, "request_timeout: Input should be less than or equal to 180"),
        ({"period": '"often"'}, "liveness.period: Input should be a valid integer"),
        ({"name": '"a_b"'}, "name: String should match pattern"),
        ({"name": f'"{"a" * 33}"'}, "name: String should have at most 32 characters"),
        ({"instance_type": "3\ncolour = 2"}, "colour: Extra inputs are not permitted"),
        ({"kind": "managed"}, "Invalid value"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    change: Callable[..., Project], lines: dict[str, str], message: str
):
    changed = change(**lines)
    with pytest.raises(UserError, match=re.escape(message)):
        endpoint.Endpoint.read(changed, "staging")


def test_a_mistake_in_the_settings_of_production_stops_staging(change: Callable[..., Project]):
    changed = change(more="colour = 2\n")
    with pytest.raises(UserError, match="for production: colour"):
        endpoint.Endpoint.read(changed, "staging")


def test_missing_names_of_the_workspace_are_an_error(monkeypatch: pytest.MonkeyPatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "rg")
    with pytest.raises(UserError, match="AZURE_SUBSCRIPTION_ID, AZURE_ML_WORKSPACE must say"):
        endpoint.Workspace.connected()


@pytest.mark.parametrize("slug", ["a", "churn", "a" * 27, "a" * 28, "a" * 22 + "-" + "b" * 17])
def test_the_name_of_an_endpoint_is_one_that_azure_allows(released: Project, slug: str):
    def names(slug: str) -> set[str]:
        renamed = released.model_copy(update={"slug": slug})
        return {endpoint.Endpoint.read(renamed, e).name for e in endpoint.ENVIRONMENTS}

    found = names(slug)
    assert len(found) == 2
    for name in found:
        made = endpoint.Endpoint.read(released, "staging").model_copy(update={"name": name})
        made.endpoint("A model")._to_rest_online_endpoint("eastus")  # Azure's own check
    other = slug[:-1] + ("c" if len(slug) > 27 else slug[-1])
    assert (names(other) == found) is (other == slug)


NOW = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "minutes"), [(30, 1), (60, 1), (61, 2), (600, 10)])
def test_a_query_covers_whole_minutes_of_one_deployment(seconds: float, minutes: int):
    query = monitor.query("RequestsPerMinute", "/endpoint", "version-2", seconds, NOW)
    assert query["timespan"] == (NOW - timedelta(minutes=minutes), NOW)
    assert query["filter"] == "deployment eq 'version-2' and statusCodeClass eq '*'"
    query = monitor.query("RequestLatency_P95", "/endpoint", "version-2", seconds, NOW)
    assert query["filter"] == "deployment eq 'version-2'"


def result(metric: str, **series: list[float | None]) -> MetricsQueryResult:
    """A response of Azure Monitor: values by minute, for each class of status codes."""
    return MetricsQueryResult._from_generated(
        {
            "timespan": "2026-01-02T03:00:00Z/2026-01-02T03:04:00Z",
            "interval": "PT1M",
            "value": [
                {
                    "id": f"/endpoint/{metric}",
                    "type": "Microsoft.Insights/metrics",
                    "name": {"value": metric, "localizedValue": metric},
                    "unit": "Count",
                    "timeseries": [
                        {
                            "metadatavalues": [
                                {"name": {"value": "statuscodeclass"}, "value": class_.strip("_")}
                            ],
                            "data": [
                                {"timeStamp": f"2026-01-02T03:0{i}:00Z"}
                                | ({} if value is None else {"average": value})
                                for i, value in enumerate(values)
                            ],
                        }
                        for class_, values in series.items()
                    ],
                }
            ],
        }
    )


def test_requests_errors_and_latency_are_read_from_the_responses():
    requests_ = result("RequestsPerMinute", _2xx=[100.0, None, 50.0], _4xx=[4.0], _5xx=[2.0, 1.0])
    latency = result("RequestLatency_P95", _=[20.0, None, 40.0])
    measured = monitor.read([requests_], [latency])
    assert measured == Measured(requests=157.0, errors=3.0, latency=0.03, drift=None)


def test_a_version_without_requests_has_no_latency():
    measured = monitor.read([result("RequestsPerMinute")], [result("RequestLatency_P95")])
    assert measured == Measured(requests=0.0, errors=0.0, latency=None, drift=None)


def test_a_version_is_measured_by_azure_monitor(
    azure: ResourceManager, prod: target.Target, monkeypatch: pytest.MonkeyPatch
):
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(monitor, "MetricsClient", partial(FakeMetricsClient, calls=calls))
    measured = prod.measure("2", 60)
    assert measured == Measured(requests=700.0, errors=0.0, latency=0.005, drift=None)
    address = "https://eastus.metrics.monitor.azure.com"
    assert calls == [(address, [azure.endpoint["id"]])] * 2


class FakeMetricsClient:
    """Azure Monitor, with 700 successful requests of every version."""

    def __init__(self, address: str, credential: object, calls: list | None = None) -> None:
        self._address = address
        self._calls = [] if calls is None else calls

    def __enter__(self) -> "FakeMetricsClient":
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def query_resources(self, **query: object) -> list[MetricsQueryResult]:
        self._calls.append((self._address, query["resource_ids"]))
        (metric,) = query["metric_names"]
        values = {"_2xx": [700.0]} if metric == "RequestsPerMinute" else {"_": [5.0]}
        return [result(metric, **values)]

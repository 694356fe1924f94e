"""The Azure ML target, with Azure's own SDK against an Azure Resource Manager in memory."""

import copy
import io
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import example_model
import numpy as np
import pandas as pd
import pytest
import release_parts
import requests
import yaml

REASON = "Azure ML's SDK is not installed: it is in deploy/requirements.txt"
pytest.importorskip("azure.ai.ml", reason=REASON)

import mlflow  # noqa: E402
from azure.ai.ml import MLClient, load_online_deployment, load_online_endpoint  # noqa: E402
from azure.ai.ml.entities import Model  # noqa: E402
from azure.core.credentials import AccessToken  # noqa: E402
from azure.core.exceptions import ResourceNotFoundError  # noqa: E402
from azure.core.pipeline.transport import RequestsTransport  # noqa: E402
from azure.monitor.querymetrics import MetricsQueryResult  # noqa: E402

from {{ cookiecutter.package_name }} import project, registry, served_model, tracking  # noqa: E402
from {{ cookiecutter.package_name }}.contract import Contract, Decision  # noqa: E402
from {{ cookiecutter.package_name }}.errors import UserError  # noqa: E402
from {{ cookiecutter.package_name }}.model_reference import ModelReference  # noqa: E402
from {{ cookiecutter.package_name }}.release import (  # noqa: E402
    azure_monitor,
    endpoint,
    scoring,
    state,
    target,
)
from {{ cookiecutter.package_name }}.release.release import Release  # noqa: E402
from {{ cookiecutter.package_name }}.release.state import (  # noqa: E402
    ConflictError,
    ReleaseError,
    State,
)
from {{ cookiecutter.package_name }}.release.watch import Measured  # noqa: E402

WORKSPACE = "/providers/Microsoft.MachineLearningServices/workspaces/ws"
ENVIRONMENT = {
    "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "AZURE_RESOURCE_GROUP": "rg",
    "AZURE_ML_WORKSPACE": "ws",
}


class Broken(BaseException):
    """The process ends here: nobody handles it."""


class RefusedError(Exception):
    """What Azure answers with an error."""


class ResourceManager(requests.adapters.BaseAdapter):
    """Azure's side: the endpoints and deployments of one workspace, by path.

    Kept rules: a deployment needs its endpoint, and is only removed when nobody asks it; traffic
    goes to deployments that run, and sums to 100 or nothing; copies go to one deployment, at most
    half of the requests; scoring needs the endpoint's key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resources: dict[str, dict] = {}
        self.unable: set[str] = set()  # deployments that do not start
        self.busy = False  # another change is under way
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
            if deployment in self._asked(self.resources[parent]["properties"]):
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
        if not self._asked(properties) <= running:
            raise RefusedError(400, "a deployment that gets traffic does not run")
        if sum(live.values()) not in (0, 100) or set(live) & set(copies):
            raise RefusedError(400, f"the traffic {live}, copies {copies}, is not allowed")
        if len(copies) > 1 or sum(copies.values()) > 50:
            raise RefusedError(400, f"the copies {copies} are not allowed")

    def _asked(self, properties: dict) -> set[str]:
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
    """Somebody whom Azure knows."""

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


@pytest.fixture
def prod(azure: ResourceManager) -> target.Target:
    """The endpoint of production, with nothing released."""
    made = target.Target(None, "production", seconds=5)
    made.prepare(package("1"))
    return made


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the repository's endpoint.toml say something else."""
    own = endpoint.PATH.read_text(encoding="utf-8")
    monkeypatch.setattr(endpoint, "PATH", tmp_path / "endpoint.toml")

    def change(more: str = "", **lines: str) -> None:
        text = own
        for name, value in lines.items():
            text, found = re.subn(rf"(?m)^(# )?{name} = .*$", f"{name} = {value}", text, count=1)
            assert found, f"{name} is not in the file"
        endpoint.PATH.write_text(text + more, encoding="utf-8")

    return change


def package(version: str) -> str:
    return f"azureml:{project.SLUG}:{version}"


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
def test_a_write_that_broke_off_anywhere_is_gone_on_with(
    azure: ResourceManager, monkeypatch: pytest.MonkeyPatch, step: int
):
    before, after = WALK[step]
    made = target.Target(None, "production", seconds=5)
    reach(made, step)
    reached = copy.deepcopy(azure.resources)
    for point in itertools.count():
        azure.resources = copy.deepcopy(reached)
        points = itertools.count()

        def break_off(_: str, points: Iterator[int] = points, point: int = point) -> None:
            if next(points) == point:
                raise Broken

        azure.touched = break_off
        try:
            made.write(before, after)
        except Broken:
            azure.touched = lambda _: None
            assert made.read() in (before, after)
            made.write(before, after)
            assert made.read() == after
            versions = {d.version for d in after.deployed} if after else set()
            assert set(azure.deployments().values()) == versions
        else:
            assert point > 10, "nothing was broken"
            return


def test_a_write_never_asks_what_does_not_run(azure: ResourceManager, prod: target.Target):
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


def test_a_second_releaser_is_refused(azure: ResourceManager, prod: target.Target):
    one, other = state.served("1", package("1")), state.served("2", package("2"))
    prod.write(None, one)
    with pytest.raises(ConflictError, match="somebody else changed production"):
        prod.write(None, other)
    assert prod.read() == one
    assert azure.deployments() == {"version-1": "1"}


def test_a_second_releaser_is_found_out_while_a_version_starts(
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
def test_a_second_releaser_of_the_same_versions_is_found_out(
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


def test_a_change_that_is_under_way_is_told_as_a_conflict(
    azure: ResourceManager, prod: target.Target
):
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


def test_traffic_that_was_changed_by_hand_is_told(azure: ResourceManager, prod: target.Target):
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


def test_a_deployment_that_is_left_over_is_told_but_undoes_nothing(
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


def test_on_kubernetes_everything_but_a_shadow_works(azure: ResourceManager, settings):
    settings(kind='"kubernetes"', compute='"aks"', instance_type='"small"')
    made = target.Target(None, "production", seconds=5)
    made.prepare(package("1"))
    for before, after in WALK[:11]:
        made.write(before, after)
        assert made.read() == after
    assert azure.endpoint["properties"]["compute"].endswith(f"{WORKSPACE}/computes/aks")
    with pytest.raises(ReleaseError, match="no copies of requests on Kubernetes"):
        made.write(*WALK[11])


def test_an_endpoint_of_the_other_kind_is_refused(
    azure: ResourceManager, prod: target.Target, settings
):
    settings(kind='"kubernetes"', compute='"aks"')
    other = target.Target(None, "production", seconds=5)
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
    azure: ResourceManager, prod: target.Target, monkeypatch: pytest.MonkeyPatch
):
    prod.write(None, state.served("1", package("1")))
    prod.wait("1")
    (found,) = [r for p, r in azure.resources.items() if "/deployments/" in p]
    found["properties"]["provisioningState"] = "Updating"
    monkeypatch.setattr(target, "LOOK_SECONDS", 0.01)
    slow = target.Target(None, "production", seconds=0.05)
    with pytest.raises(ReleaseError, match="not ready in 0 s"):
        slow.wait("1")
    found["properties"]["provisioningState"] = "Failed"
    with pytest.raises(ReleaseError, match=r"does not start.*get-logs"):
        prod.wait("1")


@pytest.fixture(params=["classification", "regression"])
def contract(request: pytest.FixtureRequest, tmp_path: Path) -> Contract:
    """Of the example model, with one golden row."""
    return example_model.make_for(request.param, tmp_path, project.SLUG)


def test_a_version_that_answers_its_golden_rows_is_proven(
    azure: ResourceManager, prod: target.Target, contract: Contract
):
    prod.write(None, state.served(contract.version, package(contract.version)))
    asked = []

    def answer(request: dict, deployment: str) -> list:
        asked.append((deployment, request["input_data"]))
        return ["low"] if contract.classes else [example_model.VALUE]

    azure.answer = answer
    prod.prove(contract)
    rows = {"columns": example_model.NAMES, "index": [0], "data": [example_model.ROW]}
    assert asked == [(f"version-{contract.version}", rows)]


@pytest.mark.parametrize("answer", [["mid"], ["low", "low"], [], [9.9], {"error": "x"}, [None]])
def test_a_version_that_answers_anything_else_is_refused(
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


def test_the_request_is_one_that_the_logged_model_answers_like_its_contract(
    store, trained, rows, model_dir: Path, tmp_path: Path
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
    with mlflow.start_run():
        example = rows.inputs(rows.test).head(3)
        model_id = tracking.log_candidate(trained.model, example, {}, {}, {}, {})
    folder = tracking.download_model(model_id, tmp_path)
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
    azure: ResourceManager, registered, plan, prod: target.Target, monkeypatch: pytest.MonkeyPatch
):
    for version in ("1", "2"):
        registry.tag(registered.settings, version, package=package(version))
    first, second = (
        release_parts.model(v).model_copy(update={"package": package(v)}) for v in ("1", "2")
    )
    azure.answer = lambda request, deployment: [example_model.VALUE]
    monkeypatch.setattr(azure_monitor, "MetricsClient", FakeMetricsClient)
    verbs = Release(registered.settings, prod, plan, say=lambda _: None)

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
def judged(store, tmp_path: Path) -> ModelReference:
    """Version 1 in the registry, and what CI hands on of it."""
    client = mlflow.MlflowClient(store.tracking_uri)
    mlflow.set_tracking_uri(store.tracking_uri)
    client.create_registered_model(registry.NAME)
    folder = tmp_path / "version-1"
    folder.mkdir()
    contract = example_model.make(folder, project.SLUG).model_copy(
        update={"version": "1", "decision": Decision(passed=True, checks=[])}
    )
    contract.write(folder)
    (folder / "MLmodel").write_text("saved_input_example_info: {}\nflavors: {}\n")
    client.create_model_version(registry.NAME, source=folder.as_uri())
    return ModelReference.of(contract)


def test_the_whole_mlflow_model_is_registered(
    store, models: Models, judged: ModelReference, tmp_path: Path
):
    assert target.package(store, judged) == package("1")
    (made,) = models.kept.values()
    assert (made.name, made.version, made.type) == (project.SLUG, "1", "mlflow_model")
    assert made.tags == {
        "contract_sha256": judged.contract_sha256,
        "git_commit": judged.git_commit,
    }
    assert {"MLmodel", "contract.json", "model.onnx"} <= set(models.files)
    assert yaml.safe_load(models.files["MLmodel"]) == {"flavors": {}}
    # The registry's own is as it was.
    kept = registry.fetch_version(store, "1", tmp_path / "again")
    assert "saved_input_example_info" in (tmp_path / "again" / "MLmodel").read_text()
    assert kept.sha256 == judged.contract_sha256


def test_a_model_that_is_registered_already_is_kept(store, models: Models, judged: ModelReference):
    target.package(store, judged)
    (made,) = models.kept.values()
    assert target.package(store, judged) == package("1")
    assert [*models.kept.values()] == [made]


def test_another_model_under_the_same_version_is_refused(
    store, models: Models, judged: ModelReference
):
    target.package(store, judged)
    other = judged.model_copy(update={"contract_sha256": "f" * 64})
    with pytest.raises(ReleaseError, match="is another model than the gate judged"):
        target.package(store, other)


def test_a_model_that_the_gate_did_not_judge_is_not_registered(
    store, models: Models, judged: ModelReference
):
    other = judged.model_copy(update={"contract_sha256": "f" * 64})
    with pytest.raises(ReleaseError, match="is another model than the gate judged"):
        target.package(store, other)
    assert not models.kept


def test_azure_is_told_nothing_but_what_a_release_needs(
    azure: ResourceManager, prod: target.Target
):
    assert prod._client._operation_config.enable_telemetry is False
    prod.write(None, state.served("1", package("1")))
    assert all(re.match(r"(GET|PUT) (/onlineEndpoints/|subscriptions/)", c) for c in azure.calls)


@pytest.mark.parametrize("kind", ["managed", "kubernetes"])
def test_azures_own_schema_takes_the_entities(kind: str, settings, tmp_path: Path):
    settings(kind=f'"{kind}"', compute='"aks"' if kind == "kubernetes" else '""')
    config = endpoint.Endpoint.read("production")
    for entity, load in (
        (config.endpoint(release="null"), load_online_endpoint),
        (config.deployment("version-7", package("7")), load_online_deployment),
    ):
        path = tmp_path / "entity.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(entity._to_dict()))))
        again = load(path)
        assert type(again) is type(entity)
        assert again._to_dict() == entity._to_dict()


def test_the_settings_of_the_file_reach_azure(azure: ResourceManager, prod: target.Target):
    prod.write(None, state.served("1", package("1")))
    (found,) = [r for p, r in azure.resources.items() if "/deployments/" in p]
    content = tomllib.loads(endpoint.PATH.read_text())
    assert found["sku"]["capacity"] == content["production"]["instance_count"]
    assert found["properties"]["instanceType"] == content["instance_type"]
    assert found["properties"]["requestSettings"]["requestTimeout"] == "PT5S"
    assert found["properties"]["livenessProbe"]["initialDelay"] == "PT10S"


@pytest.mark.parametrize(
    ("change", "told"),
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
def test_a_wrong_setting_is_refused_by_its_name(settings, change: dict, told: str):
    settings(**change)
    with pytest.raises(UserError, match=re.escape(told)):
        endpoint.Endpoint.read("staging")


def test_a_mistake_in_the_settings_of_production_stops_staging(settings):
    settings(more="colour = 2\n")
    with pytest.raises(UserError, match="for production: colour"):
        endpoint.Endpoint.read("staging")


def test_a_workspace_that_is_not_named_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "rg")
    with pytest.raises(UserError, match="AZURE_SUBSCRIPTION_ID, AZURE_ML_WORKSPACE must say"):
        endpoint.Workspace.read()


@pytest.mark.parametrize("slug", ["a", "churn", "a" * 27, "a" * 28, "a" * 22 + "-" + "b" * 17])
def test_the_name_of_an_endpoint_is_one_that_azure_allows(
    slug: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(endpoint.project, "SLUG", slug)
    names = {endpoint.Endpoint.read(e).name for e in endpoint.ENVIRONMENTS}
    assert len(names) == 2
    for name in names:
        made = endpoint.Endpoint.read("staging").model_copy(update={"name": name})
        made.endpoint()._to_rest_online_endpoint("eastus")  # Azure's own check
    other = slug[:-1] + ("c" if len(slug) > 27 else slug[-1])
    monkeypatch.setattr(endpoint.project, "SLUG", other)
    again = {endpoint.Endpoint.read(e).name for e in endpoint.ENVIRONMENTS}
    assert (again == names) is (other == slug)


NOW = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "minutes"), [(30, 1), (60, 1), (61, 2), (600, 10)])
def test_azure_monitor_is_asked_for_whole_minutes_of_one_deployment(seconds: float, minutes: int):
    asked = azure_monitor.query("RequestsPerMinute", "/endpoint", "version-2", seconds, NOW)
    assert asked["timespan"] == (NOW - timedelta(minutes=minutes), NOW)
    assert asked["filter"] == "deployment eq 'version-2' and statusCodeClass eq '*'"
    asked = azure_monitor.query("RequestLatency_P95", "/endpoint", "version-2", seconds, NOW)
    assert asked["filter"] == "deployment eq 'version-2'"


def result(metric: str, **series: list[float | None]) -> MetricsQueryResult:
    """As Azure Monitor answers: values by minute, for each class of answers."""
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


def test_requests_errors_and_latency_are_read_from_its_answers():
    requests_ = result("RequestsPerMinute", _2xx=[100.0, None, 50.0], _4xx=[4.0], _5xx=[2.0, 1.0])
    latency = result("RequestLatency_P95", _=[20.0, None, 40.0])
    measured = azure_monitor.read([requests_], [latency])
    assert measured == Measured(requests=157.0, errors=3.0, latency=0.03, drift=None)


def test_a_version_that_nobody_asked_has_no_latency():
    measured = azure_monitor.read([result("RequestsPerMinute")], [result("RequestLatency_P95")])
    assert measured == Measured(requests=0.0, errors=0.0, latency=None, drift=None)


def test_what_azure_monitor_says_of_an_endpoint_is_measured(
    azure: ResourceManager, prod: target.Target, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(azure_monitor, "MetricsClient", partial(FakeMetricsClient, asked=asked))
    measured = prod.measure("2", 60)
    assert measured == Measured(requests=700.0, errors=0.0, latency=0.005, drift=None)
    address = "https://eastus.metrics.monitor.azure.com"
    assert asked == [(address, [azure.endpoint["id"]])] * 2


class FakeMetricsClient:
    """Azure Monitor, which has seen 700 requests of every version, all of them answered."""

    def __init__(self, address: str, credential: object, asked: list | None = None) -> None:
        self._address = address
        self._asked = [] if asked is None else asked

    def __enter__(self) -> "FakeMetricsClient":
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def query_resources(self, **query: object) -> list[MetricsQueryResult]:
        self._asked.append((self._address, query["resource_ids"]))
        (metric,) = query["metric_names"]
        values = {"_2xx": [700.0]} if metric == "RequestsPerMinute" else {"_": [5.0]}
        return [result(metric, **values)]

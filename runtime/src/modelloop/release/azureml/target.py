"""The Azure ML target: one online endpoint for each environment, with one deployment a version.

The endpoint holds the whole state of the release: the traffic of each version, and the rest in a
tag. One call writes both. Azure ML has no compare-and-set, so the state is read again just before
that call, and after it. This detects a second release, unless the calls of both fall between these
reads: then the later one wins, and neither release notices. GoCD's lock, which lets one release run
at a time, is the first guard.
"""

import difflib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from azure.ai.ml import MLClient
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Model, OnlineDeployment, OnlineEndpoint
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.polling import LROPoller
from azure.identity import DefaultAzureCredential
from pydantic import ValidationError

from modelloop.contract.contract import Contract
from modelloop.project import Project
from modelloop.registry import versions
from modelloop.registry.model_reference import ModelReference
from modelloop.release.azureml import monitor, scoring
from modelloop.release.azureml.endpoint import Endpoint, Workspace
from modelloop.release.state import ConflictError, Deployed, ReleaseError, State
from modelloop.release.target import Stage
from modelloop.release.watch import Measured

TAG = "release"  # of the endpoint; Azure allows 256 characters as its value
NOTHING = "null"  # its value where nothing is released
DIGEST = "contract_sha256"  # tag of a registered model
OURS = re.compile("version-[0-9]+")  # deployments of releases; Azure wants 3 characters at least
GIVEN_UP = ("Failed", "Canceled")
CONFLICT = 409  # Azure's status for a change while another one is in progress
POLL_SECONDS = 10.0  # between two checks of a deployment that starts


def package(project: Project, model: ModelReference) -> str:
    """Register a version's MLflow model in the workspace; returns `azureml:name:version`.

    A model that is registered there already, with the same contract, is kept.

    Raises:
        ReleaseError: the model there, or in the registry, is not the one that the gate judged.
        UserError: the workspace is not named in the environment.
    """
    name = _package(project.slug, model.version)
    with _azure_errors(), tempfile.TemporaryDirectory() as scratch:
        models = _connect(DefaultAzureCredential()).models
        try:
            found = models.get(project.slug, version=model.version).tags.get(DIGEST)
        except ResourceNotFoundError:
            folder = Path(scratch) / project.slug
            found = versions.fetch_version(project, model.version, folder).sha256
            if found == model.contract_sha256:
                scoring.drop_example(folder)
                tags = {DIGEST: found, "git_commit": model.git_commit}
                models.create_or_update(
                    Model(
                        path=folder,
                        type=AssetTypes.MLFLOW_MODEL,
                        name=project.slug,
                        version=model.version,
                        description=project.description,
                        tags=tags,
                    )
                )
    if found != model.contract_sha256:
        raise ReleaseError(
            f"{name} is another model than the gate judged: the digest of its contract is {found}, "
            f"not {model.contract_sha256}"
        )
    return name


class Target:
    """The endpoint of one environment; see `modelloop.release.target.Target`.

    Every method raises ReleaseError when Azure refuses a call or does not respond.
    """

    most_mirrored = 50  # Azure's limit

    def __init__(self, project: Project, environment: Stage, seconds: float) -> None:
        """Read the endpoint's settings; every change of Azure has `seconds` to complete.

        Raises:
            UserError: deploy/endpoint.toml holds a wrong value, or one of AZURE_SUBSCRIPTION_ID,
                AZURE_RESOURCE_GROUP and AZURE_ML_WORKSPACE is not set.
        """
        self._project = project
        self._config = Endpoint.read(project, environment)
        self.name = f"{environment} (Azure ML endpoint {self._config.name})"
        self._credential = DefaultAzureCredential()
        self._client = _connect(self._credential)
        self._seconds = seconds

    def prepare(self, package: str) -> None:
        """Create the endpoint, without deployments, if it does not exist.

        Raises:
            ReleaseError: it exists, and is of the other kind.
        """
        wanted = self._config.endpoint(self._project.description, **{TAG: NOTHING})
        with _azure_errors():
            found = self._find()
            if found is None:
                self._put(wanted)
            elif type(found) is not type(wanted):
                raise ReleaseError(
                    f"{self.name} is not of the kind {self._config.kind}: in deploy/endpoint.toml, "
                    "set `kind` back or give it another `name`"
                )

    def read(self) -> State | None:
        """The current state; None where nothing is released.

        Raises:
            ReleaseError: the endpoint was not made by a release, or was changed by hand.
        """
        with _azure_errors():
            found = self._find()
            return self._state(found) if found else None

    def write(self, before: State | None, after: State | None) -> None:
        """Replace the state `before` by `after`; None removes all deployments.

        New deployments run before they get requests, and old ones are removed once they get none.
        After an interruption the same call completes the write. A deployment that is not part of
        the state is ignored by `read` and removed by the next write.

        Raises:
            ConflictError: the current state is not `before`, or changes during the write.
            ReleaseError: a version does not start.
        """
        self._check_shadow(after)
        wanted = {_name(d.version): d for d in after.deployed} if after else {}
        now = self.read()
        with _azure_errors():
            if now != after:
                self._expect(now, before)
                there = {d.name: d for d in self._deployments()}
                for name, deployed in wanted.items():
                    self._deploy(deployed, there.get(name))
                self._shift(before, after)
        try:
            for old in [str(d.name) for d in self._deployments()]:
                if OURS.fullmatch(old) and old not in wanted:
                    deployments = self._client.online_deployments
                    self._finish(deployments.begin_delete(old, self._config.name))
        except AzureError as error:
            raise ReleaseError(
                f"{self.name} is as it shall be ({after or 'nothing is served'}), but a deployment "
                f"that gets no requests any more was not removed: {_first_line(error)}. The next "
                "release removes it"
            ) from error

    def difference(self, after: State | None) -> str:
        """What a write would change, as a unified diff of states; empty where nothing would."""
        old, new = _lines(self.read()), _lines(after)
        return "".join(difflib.unified_diff(old, new, "served", "to be served"))

    def wait(self, version: str) -> None:
        """Wait until a version's deployment runs.

        Raises:
            ReleaseError: it does not in time, or Azure ML reports that it will not.
        """
        end = time.monotonic() + self._seconds
        with _azure_errors():
            while True:
                found = self._client.online_deployments.get(_name(version), self._config.name)
                if found.provisioning_state == "Succeeded":
                    return
                if found.provisioning_state in GIVEN_UP:
                    raise ReleaseError(
                        f"version {version} does not start. `az ml online-deployment get-logs "
                        f"--endpoint-name {self._config.name} --name {found.name}` says why"
                    )
                if time.monotonic() > end:
                    raise ReleaseError(f"version {version} is not ready in {self._seconds:.0f} s")
                time.sleep(POLL_SECONDS)

    def prove(self, contract: Contract) -> None:
        """Send a running version its golden rows directly, whatever its traffic is.

        Raises:
            ReleaseError: another model runs there, or its predictions differ from the contract's.
        """
        name = _name(contract.version)
        with _azure_errors(), tempfile.TemporaryDirectory() as scratch:
            found = _package_of(self._client.online_deployments.get(name, self._config.name))
            if found != _package(self._project.slug, contract.version):
                raise ReleaseError(f"deployment {name} of {self.name} runs {found}")
            file = Path(scratch) / "request.json"
            file.write_text(json.dumps(scoring.golden_request(contract)), encoding="utf-8")
            text = self._client.online_endpoints.invoke(
                self._config.name, deployment_name=name, request_file=str(file)
            )
        try:
            wrong = scoring.wrong_rows(contract, json.loads(text))
        except (TypeError, ValueError) as error:
            raise ReleaseError(f"{name} answers what is no prediction: {text[:200]}") from error
        if wrong.size:
            raise ReleaseError(f"{name} answers golden row {wrong[0]} wrong, in {text[:200]}")

    def measure(self, version: str, seconds: float) -> Measured:
        """Requests, errors and latency of a version in the last `seconds`; no drift."""
        with _azure_errors():
            endpoint = self._client.online_endpoints.get(self._config.name)
            return monitor.measure(self._credential, endpoint, _name(version), seconds)

    def _find(self) -> OnlineEndpoint | None:
        try:
            return self._client.online_endpoints.get(self._config.name)
        except ResourceNotFoundError:
            return None

    def _deployments(self) -> list[OnlineDeployment]:
        return [*self._client.online_deployments.list(self._config.name)]

    def _state(self, found: OnlineEndpoint) -> State | None:
        tags = found.tags or {}
        if TAG not in tags:
            raise ReleaseError(
                f"{self.name} has no tag `{TAG}`: it was not made by a release. Remove it, or give "
                "ours another `name` in deploy/endpoint.toml"
            )
        note = json.loads(tags[TAG])
        if note is None:
            return None
        packages = {d.name: _package_of(d) for d in self._deployments()}
        deployed = []
        for version in note.pop("deployed"):
            name = _name(version)
            copies = found.mirror_traffic.get(name, 0)
            deployed.append(
                Deployed(
                    version=version,
                    package=packages.get(name, _package(self._project.slug, version)),
                    traffic=copies or found.traffic.get(name, 0),
                    shadow=bool(copies),
                )
            )
        try:
            return State(**note, deployed=tuple(deployed))
        except ValidationError as error:
            raise ReleaseError(
                f"the traffic of {self.name} was changed by hand to {found.traffic}: give all of "
                f"it to {' and '.join(_name(d.version) for d in deployed)} first"
            ) from error

    def _check_shadow(self, after: State | None) -> None:
        copies = max((d.traffic for d in after.deployed if d.shadow), default=0) if after else 0
        if copies and self._config.kind == "kubernetes":
            raise ReleaseError(f"{self.name}: Azure ML makes no copies of requests on Kubernetes")
        if copies > self.most_mirrored:
            raise ReleaseError(f"Azure ML copies at most {self.most_mirrored} % of the requests")

    def _expect(self, now: State | None, wanted: State | None) -> None:
        if now != wanted:
            raise ConflictError(f"somebody else changed {self.name}: it is {now or 'empty'}")

    def _deploy(self, deployed: Deployed, found: OnlineDeployment | None) -> None:
        """Make sure that a version runs; one that does keeps the instances it was scaled to."""
        runs = (
            found is not None
            and _package_of(found) == deployed.package
            and found.provisioning_state not in GIVEN_UP
        )
        if not runs:
            wanted = self._config.deployment(_name(deployed.version), deployed.package)
            self._finish(self._client.online_deployments.begin_create_or_update(wanted))
        self.wait(deployed.version)

    def _shift(self, before: State | None, after: State | None) -> None:
        found = self._client.online_endpoints.get(self._config.name)
        self._expect(self._state(found), before)
        deployed = after.deployed if after else ()
        found.traffic = {_name(d.version): d.traffic for d in deployed if not d.shadow}
        found.mirror_traffic = {_name(d.version): d.traffic for d in deployed if d.shadow}
        found.tags[TAG] = _note(after)
        self._put(found)
        self._expect(self.read(), after)

    def _put(self, endpoint: OnlineEndpoint) -> None:
        self._finish(self._client.online_endpoints.begin_create_or_update(endpoint))

    def _finish(self, poller: LROPoller) -> None:
        poller.wait(self._seconds)
        if not poller.done():
            raise ReleaseError(f"{self.name}: Azure ML is not done in {self._seconds:.0f} s")


def _connect(credential: DefaultAzureCredential) -> MLClient:
    where = Workspace.connected()
    return MLClient(
        credential,
        where.azure_subscription_id,
        where.azure_resource_group,
        where.azure_ml_workspace,
        enable_telemetry=False,
        show_progress=False,
    )


@contextmanager
def _azure_errors() -> Iterator[None]:
    """Raise an error of Azure as one that a person can act on."""
    try:
        yield
    except AzureError as error:
        if isinstance(error, HttpResponseError) and error.status_code == CONFLICT:
            raise ConflictError(f"another change is under way: {_first_line(error)}") from error
        raise ReleaseError(f"Azure ML: {_first_line(error)}") from error


def _first_line(error: AzureError) -> str:
    return str(error).strip().partition("\n")[0]


def _name(version: str) -> str:
    return f"version-{version}"


def _package(slug: str, version: str) -> str:
    return f"azureml:{slug}:{version}"


def _package_of(deployment: OnlineDeployment) -> str:
    """The model that a deployment runs, as `package` names it."""
    found = re.search(r"/models/([^/]+)/versions/([^/]+)$", str(deployment.model))
    return f"azureml:{found[1]}:{found[2]}" if found else str(deployment.model)


def _note(state: State | None) -> str:
    if state is None:
        return NOTHING
    note = state.model_dump(mode="json", exclude={"deployed"})
    return json.dumps({**note, "deployed": [d.version for d in state.deployed]})


def _lines(state: State | None) -> list[str]:
    content = state.model_dump(mode="json") if state else {}
    return yaml.safe_dump(content, sort_keys=False).splitlines(keepends=True)

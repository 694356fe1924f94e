"""Where a release goes: an online endpoint of Azure ML, with one deployment a version.

The endpoint is the whole state of the release: its traffic says who gets the requests, a tag says
the rest, and one call writes both. Azure ML has no compare-and-set, so the state is read again just
before that call, and after it. That finds a second releaser out, unless the calls of both meet in
the moment between: then the later one stands, and nobody is told. GoCD's lock, which lets one
release run at a time, is the first guard.
"""

import difflib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import yaml
from azure.ai.ml import MLClient
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Model, OnlineDeployment, OnlineEndpoint
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.polling import LROPoller
from azure.identity import DefaultAzureCredential
from pydantic import ValidationError

from .. import project, registry
from ..contract import Contract
from ..model_reference import ModelReference
from ..settings import Settings
from . import azure_monitor, scoring
from .endpoint import Endpoint, Workspace
from .state import ConflictError, Deployed, ReleaseError, State
from .watch import Measured

TAG = "release"  # of the endpoint; Azure allows 256 characters as its value
NOTHING = "null"  # its value where nothing is released
DIGEST = "contract_sha256"  # tag of a registered model
OURS = re.compile("version-[0-9]+")  # deployments of releases; Azure wants 3 characters at least
GIVEN_UP = ("Failed", "Canceled")
CONFLICT = 409  # Azure's answer to a change while another one is under way
LOOK_SECONDS = 10.0  # between two looks at a deployment that starts


def package(settings: Settings, model: ModelReference) -> str:
    """Register a version's MLflow model in the workspace; returns its name there.

    One that is there already, with the same contract, is kept.

    Raises:
        ReleaseError: what is there, or in the registry, is not the model that the gate judged.
    """
    name = _package(model.version)
    with _told(), tempfile.TemporaryDirectory() as scratch:
        models = _connect(DefaultAzureCredential()).models
        try:
            found = models.get(project.SLUG, version=model.version).tags.get(DIGEST)
        except ResourceNotFoundError:
            folder = Path(scratch) / project.SLUG
            found = registry.fetch_version(settings, model.version, folder).sha256
            if found == model.contract_sha256:
                scoring.drop_example(folder)
                tags = {DIGEST: found, "git_commit": model.git_commit}
                models.create_or_update(
                    Model(
                        path=folder,
                        type=AssetTypes.MLFLOW_MODEL,
                        name=project.SLUG,
                        version=model.version,
                        description=project.DESCRIPTION,
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
    """The endpoint of one environment."""

    most_mirrored = 50  # per cent of the requests whose copies a shadow can get

    def __init__(
        self, settings: Settings, environment: Literal["staging", "production"], seconds: float
    ) -> None:
        """Read which endpoint it is; what is begun there has so many seconds to be done.

        Its settings are those of deploy/endpoint.toml and Azure's own variables.
        """
        self._config = Endpoint.read(environment)
        self.name = f"{environment} (Azure ML endpoint {self._config.name})"
        self._credential = DefaultAzureCredential()
        self._client = _connect(self._credential)
        self._seconds = seconds

    def prepare(self, package: str) -> None:
        """Make the endpoint, without deployments, if it is not there; no package is run beside it.

        Raises:
            ReleaseError: it is there, and of the other kind.
        """
        wanted = self._config.endpoint(**{TAG: NOTHING})
        with _told():
            found = self._find()
            if found is None:
                self._put(wanted)
            elif type(found) is not type(wanted):
                raise ReleaseError(
                    f"{self.name} is not of the kind {self._config.kind}: in deploy/endpoint.toml, "
                    "set `kind` back or give it another `name`"
                )

    def read(self) -> State | None:
        """What is released; None before the first time.

        Raises:
            ReleaseError: what is there was not made by a release, or was changed by hand.
        """
        with _told():
            found = self._find()
            return self._state(found) if found else None

    def write(self, before: State | None, after: State | None) -> None:
        """Replace what was read by what shall be; None means nothing at all.

        New deployments run before they get requests, and old ones are removed when they get none
        any more. Where it breaks off, the same call goes on. A deployment that the state does not
        name is not seen by `read`, and the next write removes it.

        Raises:
            ConflictError: what is there is not `before`, or was changed meanwhile.
            ReleaseError: a version does not start.
        """
        self._check_shadow(after)
        wanted = {_name(d.version): d for d in after.deployed} if after else {}
        now = self.read()
        with _told():
            if now != after:
                self._expect(now, before)
                there = {d.name: d for d in self._deployments()}
                for name, deployed in wanted.items():
                    self._deploy(deployed, there.get(name))
                self._shift(before, after)
        try:
            for name in [d.name for d in self._deployments()]:
                if OURS.fullmatch(name) and name not in wanted:
                    deployments = self._client.online_deployments
                    self._finish(deployments.begin_delete(name, self._config.name))
        except AzureError as error:
            raise ReleaseError(
                f"{self.name} is as it shall be ({after or 'nothing is served'}), but a deployment "
                f"that gets no requests any more was not removed: {_first_line(error)}. The next "
                "release removes it"
            ) from error

    def difference(self, after: State | None) -> str:
        """What a write would change, as a unified diff; empty where nothing."""
        old, new = _lines(self.read()), _lines(after)
        return "".join(difflib.unified_diff(old, new, "served", "to be served"))

    def wait(self, version: str) -> None:
        """Wait until a version's deployment runs.

        Raises:
            ReleaseError: it does not in time, or Azure ML has given it up.
        """
        end = time.monotonic() + self._seconds
        with _told():
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
                time.sleep(LOOK_SECONDS)

    def prove(self, contract: Contract) -> None:
        """Ask a version that runs its golden rows, past the split of the traffic.

        Raises:
            ReleaseError: another model runs there, or it answers what training did not see.
        """
        name = _name(contract.version)
        with _told(), tempfile.TemporaryDirectory() as scratch:
            found = _package_of(self._client.online_deployments.get(name, self._config.name))
            if found != _package(contract.version):
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
        """How a version did in the last seconds."""
        with _told():
            endpoint = self._client.online_endpoints.get(self._config.name)
            return azure_monitor.measure(self._credential, endpoint, _name(version), seconds)

    def _find(self) -> OnlineEndpoint | None:
        try:
            return self._client.online_endpoints.get(self._config.name)
        except ResourceNotFoundError:
            return None

    def _deployments(self) -> list[OnlineDeployment]:
        return [*self._client.online_deployments.list(self._config.name)]

    def _state(self, found: OnlineEndpoint) -> State | None:
        if TAG not in found.tags:
            raise ReleaseError(
                f"{self.name} has no tag `{TAG}`: it was not made by a release. Remove it, or give "
                "ours another `name` in deploy/endpoint.toml"
            )
        note = json.loads(found.tags[TAG])
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
                    package=packages.get(name, _package(version)),
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
        """Let a version run; where it does, the instances that it was scaled to are left alone."""
        there = found and _package_of(found) == deployed.package
        if not there or found.provisioning_state in GIVEN_UP:
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
    where = Workspace.read()
    return MLClient(
        credential,
        where.azure_subscription_id,
        where.azure_resource_group,
        where.azure_ml_workspace,
        enable_telemetry=False,
        show_progress=False,
    )


@contextmanager
def _told() -> Iterator[None]:
    """What Azure says, as an error that a person can act on."""
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


def _package(version: str) -> str:
    return f"azureml:{project.SLUG}:{version}"


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

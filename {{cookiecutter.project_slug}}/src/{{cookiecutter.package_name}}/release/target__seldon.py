"""Where a release goes: a SeldonDeployment on Kubernetes.

It is the whole state of the release: one predictor a version, with its share of the traffic, and
the rest in an annotation. It is only ever replaced as it was read: Kubernetes refuses the write of
a second releaser. The template of a predictor is deploy/base/seldon-deployment.yaml.
"""

import copy
import difflib
import time
from typing import Literal

import numpy as np
import yaml

from .. import client, project
from ..contract import Contract
from ..model_reference import ModelReference
from ..served_model import differing_rows
from ..settings import ROOT, Settings
from . import images
from .kubectl import Kubectl, KubectlError
from .prometheus import Prometheus
from .state import ConflictError, Deployed, ReleaseError, State
from .watch import Measured

KIND = "seldondeployments.machinelearning.seldon.io"
ANNOTATION = "release"
PORT = 9000
LOOK_SECONDS = 2.0  # between two looks at pods that start
WRITES = 5  # the operator writes the status meanwhile, which changes the resourceVersion


def package(settings: Settings, model: ModelReference) -> str:
    """Build the image with the model in it and push it; returns its name by digest."""
    tag = f"{project.CONTAINER_REGISTRY}/{project.SLUG}-serve:{model.version}"
    images.build("serve", tag, settings, model)
    return images.push(tag)


class Target:
    """The SeldonDeployment of one environment."""

    most_mirrored = 100  # per cent of the requests whose copies a shadow can get

    def __init__(
        self, settings: Settings, environment: Literal["staging", "production"], seconds: float
    ) -> None:
        """Name the cluster's side of it; pods have so many seconds to start."""
        namespace = project.KUBERNETES_NAMESPACE
        if environment == "staging":
            namespace += "-staging"
        self.name = f"{environment} (SeldonDeployment {project.SLUG} in {namespace})"
        self._overlay = ROOT / "deploy" / "overlays" / environment
        self._kubectl = Kubectl(namespace, settings.kube_context)
        self._prometheus = Prometheus(settings)
        self._seconds = seconds

    def prepare(self, package: str) -> None:
        """Bring everything beside the model up to date: accounts, policies, monitoring.

        The retraining receiver runs in the model's image.
        """
        _, others = self._manifests()
        for thing in others:
            if thing["kind"] == "Deployment":
                (container,) = thing["spec"]["template"]["spec"]["containers"]
                container["image"] = package
        if others:
            self._kubectl.apply(others)

    def read(self) -> State | None:
        """What is released; None before the first time.

        Raises:
            ReleaseError: what is there was not made by a release.
        """
        found = self._kubectl.find(KIND, project.SLUG)
        return _state(found) if found else None

    def write(self, before: State | None, after: State | None) -> None:
        """Replace what was read by what shall be; None means nothing at all.

        Raises:
            ConflictError: what is there is not `before` any more.
        """
        for _ in range(WRITES):
            found = self._kubectl.find(KIND, project.SLUG)
            now = _state(found) if found else None
            if now != before:
                raise ConflictError(f"somebody else changed {self.name}: it is {now or 'gone'}")
            try:
                return self._replace(found, after)
            except KubectlError as error:
                if not any(
                    sign in str(error) for sign in ("Conflict", "AlreadyExists", "NotFound")
                ):
                    raise
        raise ConflictError(f"{self.name} changes faster than it can be written")

    def difference(self, after: State | None) -> str:
        """What a write would change, as a unified diff of manifests; empty where nothing."""
        found = self._kubectl.find(KIND, project.SLUG)
        old = _lines({"spec": found["spec"], "release": _note(_state(found))} if found else None)
        new = _lines(
            {"spec": self._manifest(after)["spec"], "release": _note(after)} if after else None
        )
        return "".join(difflib.unified_diff(old, new, "served", "to be served"))

    def wait(self, version: str) -> None:
        """Wait until the pods of a version are ready, all of them.

        Raises:
            ReleaseError: they are not in time, or Kubernetes has given them up.
        """
        end = time.monotonic() + self._seconds
        labels = {"app.kubernetes.io/name": project.SLUG, "version": version}
        while True:
            now = self.read()
            deployed = now.find(version) if now else None
            if deployed is None:
                raise ConflictError(f"somebody else took version {version} from {self.name}")
            found = self._kubectl.select("deployments.apps", **labels)
            missing = [_unready(each, deployed.package) for each in found] or ["there are no pods"]
            if not any(missing):
                return
            if time.monotonic() > end:
                raise ReleaseError(
                    f"version {version} is not ready in {self._seconds:.0f} s: "
                    + "; ".join(filter(None, missing))
                )
            time.sleep(LOOK_SECONDS)

    def prove(self, contract: Contract) -> None:
        """Ask a version that runs its golden rows, past the split of the traffic.

        Raises:
            ReleaseError: another version answers, or it answers what training did not see.
        """
        service = f"{project.SLUG}-{_predictor_name(contract.version)}"
        with self._kubectl.forward(service, PORT) as url:
            answer = client.predict(url, client.golden(contract))
        found = answer["meta"]["tags"]["model_version"]
        if found != contract.version:
            raise ReleaseError(f"{service} serves version {found}, not {contract.version}")
        outputs = np.array(answer["data"]["ndarray"], dtype=float)
        wrong = differing_rows(outputs, np.array([row.outputs for row in contract.golden]))
        if wrong.size:
            raise ReleaseError(f"{service} answers golden row {wrong[0]} with {outputs[wrong[0]]}")

    def measure(self, version: str, seconds: float) -> Measured:
        """How a version did in the last seconds."""
        return self._prometheus.measure(version, seconds)

    def _replace(self, found: dict | None, after: State | None) -> None:
        if after is None:
            return self._kubectl.delete(KIND, project.SLUG)
        manifest = self._manifest(after)
        if found is None:
            return self._kubectl.create(manifest)
        metadata = manifest["metadata"]
        kept = found["metadata"].get("annotations", {})
        metadata["annotations"] = kept | metadata["annotations"]
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        return self._kubectl.replace(manifest)

    def _manifest(self, state: State) -> dict:
        manifest, _ = self._manifests()
        manifest["metadata"].setdefault("annotations", {})[ANNOTATION] = _note(state)
        (pattern,) = manifest["spec"]["predictors"]
        manifest["spec"]["predictors"] = [_predictor(pattern, d) for d in state.deployed]
        return manifest

    def _manifests(self) -> tuple[dict, list[dict]]:
        """The SeldonDeployment, and the other objects of the environment."""
        objects = self._kubectl.kustomize(self._overlay)
        (ours,) = [o for o in objects if o["kind"] == "SeldonDeployment"]
        return ours, [o for o in objects if o is not ours]


def _predictor(pattern: dict, deployed: Deployed) -> dict:
    predictor = copy.deepcopy(pattern)
    predictor["name"] = _predictor_name(deployed.version)
    predictor["traffic"] = deployed.traffic
    if deployed.shadow:
        predictor["shadow"] = True
    predictor.setdefault("labels", {})["version"] = deployed.version
    (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
    container["image"] = deployed.package
    return predictor


def _predictor_name(version: str) -> str:
    return f"v{version}"


def _note(state: State) -> str:
    return state.model_dump_json(exclude={"deployed"})


def _state(found: dict) -> State:
    note = found["metadata"].get("annotations", {}).get(ANNOTATION)
    if note is None:
        raise ReleaseError(
            f"the SeldonDeployment {project.SLUG} has no annotation `{ANNOTATION}`: it was not "
            "made by a release. Remove it, or give it another name"
        )
    deployed = [
        {
            "version": predictor["labels"]["version"],
            "package": predictor["componentSpecs"][0]["spec"]["containers"][0]["image"],
            "traffic": predictor.get("traffic", 0),
            "shadow": predictor.get("shadow", False),
        }
        for predictor in found["spec"]["predictors"]
    ]
    return State.model_validate({**yaml.safe_load(note), "deployed": deployed})


def _unready(deployment: dict, image: str) -> str:
    """Why a Deployment is not ready with an image; empty where it is.

    Raises:
        ReleaseError: Kubernetes has given it up.
    """
    status = deployment.get("status", {})
    name, generation = deployment["metadata"]["name"], deployment["metadata"].get("generation", 0)
    images = [c["image"] for c in deployment["spec"]["template"]["spec"]["containers"]]
    if image not in images:
        return f"the operator has not given {name} its image yet"
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition["status"] == "False":
            raise ReleaseError(f"{name} does not start: {condition.get('message', '')}")
    wanted = deployment["spec"].get("replicas", 1)
    ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    if status.get("observedGeneration", 0) < generation or ready < wanted:
        return f"{name} has {ready} of {wanted} pods"
    return ""


def _lines(content: dict | None) -> list[str]:
    return yaml.safe_dump(content).splitlines(keepends=True) if content else []

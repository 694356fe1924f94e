"""The Seldon target: one SeldonDeployment on Kubernetes for each environment.

The SeldonDeployment holds the whole state of the release: one predictor for each version, with its
traffic, and the rest of the state in an annotation. A write replaces only what was read: Kubernetes
refuses the write of a second release. The pattern of a predictor is deploy/base/model.yaml.
"""

import copy
import difflib
import time
from typing import Any

import numpy as np
import yaml

from modelloop.contract.contract import Contract
from modelloop.contract.served_model import differing_rows
from modelloop.project import Project
from modelloop.registry.model_reference import ModelReference
from modelloop.release import images
from modelloop.release.seldon.kubectl import Kubectl, KubectlError
from modelloop.release.seldon.prometheus import Prometheus
from modelloop.release.state import ConflictError, Deployed, ReleaseError, State
from modelloop.release.target import Stage
from modelloop.release.watch import Measured
from modelloop.serving import client

KIND = "seldondeployments.machinelearning.seldon.io"
ANNOTATION = "release"
PORT = 9000
POLL_SECONDS = 2.0  # between two checks of pods that start
WRITES = 5  # attempts: the operator writes the status meanwhile, which changes resourceVersion

Object = dict[str, Any]  # of Kubernetes


def package(project: Project, model: ModelReference) -> str:
    """Build and push the image that holds the model; returns `repository@sha256:...`.

    Raises:
        UserError: there is neither podman nor docker, or it fails.
    """
    tag = f"{project.container_registry}/{project.slug}-serve:{model.version}"
    images.build(project, "serve", tag, model)
    return images.push(project, tag)


class Target:
    """The SeldonDeployment of one environment; see `modelloop.release.target.Target`.

    Every method raises KubectlError when a call of the cluster fails.
    """

    most_mirrored = 100

    def __init__(self, project: Project, environment: Stage, seconds: float) -> None:
        """Choose the namespace, without a call of the cluster; pods have `seconds` to start."""
        self._slug = project.slug
        settings = project.settings
        namespace = project.kubernetes_namespace
        if environment == "staging":
            namespace += "-staging"
        self.name = f"{environment} (SeldonDeployment {project.slug} in {namespace})"
        self._overlay = project.root / "deploy" / "overlays" / environment
        self._kubectl = Kubectl(namespace, settings.kube_context)
        self._prometheus = Prometheus(project.slug, settings)
        self._seconds = seconds

    def prepare(self, package: str) -> None:
        """Apply everything but the SeldonDeployment: accounts, policies, monitoring, retraining.

        The retraining receiver runs in the image of the release.
        """
        _, others = self._manifests()
        for thing in others:
            if thing["kind"] == "Deployment":
                (container,) = thing["spec"]["template"]["spec"]["containers"]
                container["image"] = package
        if others:
            self._kubectl.apply(others)

    def read(self) -> State | None:
        """The current state; None where there is no SeldonDeployment.

        Raises:
            ReleaseError: the SeldonDeployment was not made by a release.
        """
        found = self._kubectl.find(KIND, self._slug)
        return _state(found) if found else None

    def write(self, before: State | None, after: State | None) -> None:
        """Replace the state `before` by `after`; None removes the SeldonDeployment.

        Raises:
            ConflictError: the current state is not `before`.
        """
        for _ in range(WRITES):
            found = self._kubectl.find(KIND, self._slug)
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
        """What a write would change, as a unified diff of manifests; empty where nothing would."""
        found = self._kubectl.find(KIND, self._slug)
        old = _lines({"spec": found["spec"], "release": _note(_state(found))} if found else None)
        new = _lines(
            {"spec": self._manifest(after)["spec"], "release": _note(after)} if after else None
        )
        return "".join(difflib.unified_diff(old, new, "served", "to be served"))

    def wait(self, version: str) -> None:
        """Wait until all pods of a version are ready.

        Raises:
            ReleaseError: they are not in time, or Kubernetes reports that they will not be.
            ConflictError: another release has removed the version.
        """
        end = time.monotonic() + self._seconds
        labels = {"app.kubernetes.io/name": self._slug, "version": version}
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
            time.sleep(POLL_SECONDS)

    def prove(self, contract: Contract) -> None:
        """Send a running version its golden rows through its own service.

        Raises:
            ReleaseError: another version responds, or its predictions differ from the contract's.
            ServerError: it does not respond, or refuses the request.
        """
        service = f"{self._slug}-{_predictor_name(contract.version)}"
        with self._kubectl.forward(service, PORT) as url:
            response = client.predict(url, client.golden(contract))
        found = response["meta"]["tags"]["model_version"]
        if found != contract.version:
            raise ReleaseError(f"{service} serves version {found}, not {contract.version}")
        outputs = np.array(response["data"]["ndarray"], dtype=float)
        wrong = differing_rows(outputs, np.array([row.outputs for row in contract.golden]))
        if wrong.size:
            raise ReleaseError(f"{service} answers golden row {wrong[0]} with {outputs[wrong[0]]}")

    def measure(self, version: str, seconds: float) -> Measured:
        """Requests, errors, latency and drift of a version in the last `seconds`.

        Raises:
            UserError: Prometheus does not respond.
        """
        return self._prometheus.measure(version, seconds)

    def _replace(self, found: Object | None, after: State | None) -> None:
        if after is None:
            return self._kubectl.delete(KIND, self._slug)
        manifest = self._manifest(after)
        if found is None:
            return self._kubectl.create(manifest)
        metadata = manifest["metadata"]
        kept = found["metadata"].get("annotations", {})
        metadata["annotations"] = kept | metadata["annotations"]
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        return self._kubectl.replace(manifest)

    def _manifest(self, state: State) -> Object:
        manifest, _ = self._manifests()
        manifest["metadata"].setdefault("annotations", {})[ANNOTATION] = _note(state)
        (pattern,) = manifest["spec"]["predictors"]
        manifest["spec"]["predictors"] = [_predictor(pattern, d) for d in state.deployed]
        return manifest

    def _manifests(self) -> tuple[Object, list[Object]]:
        """The SeldonDeployment, and the other objects of the overlay."""
        objects = self._kubectl.kustomize(self._overlay)
        (ours,) = [o for o in objects if o["kind"] == "SeldonDeployment"]
        return ours, [o for o in objects if o is not ours]


def _predictor(pattern: Object, deployed: Deployed) -> Object:
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


def _state(found: Object) -> State:
    note = found["metadata"].get("annotations", {}).get(ANNOTATION)
    if note is None:
        name = found["metadata"]["name"]
        raise ReleaseError(
            f"the SeldonDeployment {name} has no annotation `{ANNOTATION}`: it was not "
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


def _unready(deployment: Object, image: str) -> str:
    """Why a Deployment is not ready with an image; empty where it is.

    Raises:
        ReleaseError: Kubernetes reports that it will not be.
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


def _lines(content: Object | None) -> list[str]:
    return yaml.safe_dump(content).splitlines(keepends=True) if content else []

"""What Kubernetes and Seldon's operator accept without a word, and then do wrong: rules against it.

Whether fields are spelt right and hold the right kind of value, the cluster says itself. Each rule
yields the faults of a site; none of them needs a cluster, or anything beside the standard library.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

NAME = "app.kubernetes.io/name"
NODES = {"MODEL", "ROUTER", "TRANSFORMER", "OUTPUT_TRANSFORMER", "COMBINER"}
RELEASED = ("machinelearning.seldon.io", "seldondeployments")
WATCHED = {("apps", "deployments"), ("", "pods"), ("", "services")}  # to see and reach a version
PROBES = ("livenessProbe", "readinessProbe")
CONFINED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Of an object's annotations; `kubectl apply` keeps the whole object in one.
APPLIED_BYTES = 262_144
STOP_SECONDS = 8  # what the server, told to stop, may take

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """What a Deployment, or the operator for a predictor, makes pods of."""

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec["containers"], *self.spec.get("initContainers", [])]

    @property
    def ports(self) -> set[str | int]:
        """The names and numbers of its ports."""
        every = [port for container in self.containers for port in container.get("ports", [])]
        return {port.get("name") for port in every} | {port["containerPort"] for port in every}


@dataclass(frozen=True)
class Site:
    """Everything that is applied to one namespace."""

    slug: str
    namespace: str
    objects: list[Object]

    def of(self, *kinds: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def names(self, kind: str) -> set[str]:
        return {thing["metadata"]["name"] for thing in self.of(kind)}

    @property
    def predictors(self) -> list[Object]:
        return [p for thing in self.of("SeldonDeployment") for p in thing["spec"]["predictors"]]

    @property
    def pods(self) -> list[Pod]:
        templates = [
            (thing, part["metadata"]["labels"], part["spec"])
            for thing in self.of("Deployment")
            for part in [thing["spec"]["template"]]
        ]
        components = [
            (thing, predictor.get("labels", {}), component["spec"])
            for thing in self.of("SeldonDeployment")
            for predictor in thing["spec"]["predictors"]
            for component in predictor["componentSpecs"]
        ]
        return [Pod(t["metadata"]["name"], labels, s) for t, labels, s in templates + components]


def traffic_is_split(site: Site) -> Iterator[str]:
    live = [p for p in site.predictors if not p.get("shadow")]
    shares = [p.get("traffic", 0) for p in live]
    if sum(shares) != 100 or min(shares, default=0) < 0:
        yield f"the live predictors' traffic is {shares}, not 100 together"
    if len(site.predictors) - len(live) > 1:
        yield "there is more than one shadow"
    for key, values in {
        "name": [p["name"] for p in site.predictors],
        "label version": [p.get("labels", {}).get("version") for p in site.predictors],
    }.items():
        if len({*values}) < len(values) or None in values:
            yield f"each predictor needs a {key} of its own: {values}"


def graphs_name_containers(site: Site) -> Iterator[str]:
    def nodes(graph: Object) -> Iterator[Object]:
        yield graph
        for child in graph.get("children", []):
            yield from nodes(child)

    for deployment in site.of("SeldonDeployment"):
        for predictor in deployment["spec"]["predictors"]:
            specs = [component["spec"] for component in predictor["componentSpecs"]]
            containers = {c["name"] for spec in specs for c in spec["containers"]}
            graph = [*nodes(predictor["graph"])]
            for node in graph:
                if node["name"] not in containers:
                    yield f"graph: no container is called {node['name']!r}"
                if node.get("type") not in NODES:
                    yield f"graph: the type {node.get('type')!r} is none of {sorted(NODES)}"
                kind = node.get("endpoint", {}).get("type", "REST").lower()
                if kind != deployment["spec"]["transport"]:
                    yield f"graph: an endpoint for {kind}, another transport"
            # The operator looks for it here and nowhere else.
            alone = predictor.get("annotations", {}).get("seldon.io/no-engine") == "true"
            if not alone:
                yield "seldon.io/no-engine is not among the predictor's annotations"
            if len(graph) > 1:
                yield "graph: without Seldon's engine there can be one node only"
            if any("pdbSpec" in component for component in predictor["componentSpecs"]):
                yield "a pdbSpec would select the pods of all predictors, and none could be evicted"


def names_fit(site: Site) -> Iterator[str]:
    names = [site.namespace, *(thing["metadata"]["name"] for thing in site.objects)]
    for pod in site.pods:
        if pod.owner in site.names("SeldonDeployment"):
            # What the operator makes of a predictor; longer ones become a hash.
            names += [f"{pod.owner}-v99999-0-{c['name']}" for c in pod.containers]
    for name in names:
        if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
            yield f"{name!r} is no name of at most 63 characters"


def objects_are_in_place(site: Site) -> Iterator[str]:
    for thing in site.objects:
        name, metadata = f"{thing['kind']} {thing['metadata']['name']}", thing["metadata"]
        if metadata.get("namespace") != site.namespace:
            yield f"{name}: the namespace is {metadata.get('namespace')!r}, not {site.namespace!r}"
        if metadata.get("labels", {}).get(NAME) not in (site.slug, f"{site.slug}-retraining"):
            yield f"{name}: the label {NAME} is missing or of another model"
        if len(json.dumps(thing)) > APPLIED_BYTES:
            yield f"{name}: too large for kubectl apply"


def secrets_stay_out(site: Site) -> Iterator[str]:
    for thing in site.of("Secret"):
        yield f"the Secret {thing['metadata']['name']} belongs to the cluster, not to git"
    for pod in site.pods:
        for variable in [v for c in pod.containers for v in c.get("env", [])]:
            secret = re.search("TOKEN|PASSWORD|SECRET|KEY|CREDENTIAL", variable["name"])
            if secret and "value" in variable and not variable["name"].endswith("_FILE"):
                yield f"{variable['name']}: a secret's value"


def pods_are_confined(site: Site) -> Iterator[str]:
    for pod in site.pods:
        for key in ("automountServiceAccountToken", "enableServiceLinks"):
            if pod.spec.get(key) is not False:
                yield f"{pod.owner}: {key} is not false"
        for key in {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys():
            yield f"{pod.owner}: {key}"
        for volume in pod.spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.owner}: the volume {volume['name']} is the host's"
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{pod.owner}: the volume {volume['name']} has no limit"
        for container in pod.containers:
            context = pod.spec.get("securityContext", {}) | container.get("securityContext", {})
            for key, value in CONFINED.items():
                if context.get(key) != value:
                    yield f"{container['name']}: {key} is not {value}"
            if not context.get("runAsUser") or context.get("privileged"):
                yield f"{container['name']}: it may run as root"


def containers_are_watched(site: Site) -> Iterator[str]:
    for pod in site.pods:
        for container in pod.spec["containers"]:
            name, image = container["name"], container["image"].rpartition("/")[2]
            tag = image.partition(":")[2]
            if tag in ("", "latest"):
                yield f"{name}: the image {image} is another one tomorrow"
            for probe in PROBES:
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port not in pod.ports:
                    yield f"{name}: no {probe} by HTTP at a port of the pod"
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
                yield f"{name}: it requests no CPU or no memory"
            if "memory" not in resources.get("limits", {}):
                yield f"{name}: its memory has no limit"
            if pod.owner in site.names("SeldonDeployment"):
                # Without one, the operator adds a longer one of its own.
                stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
                seconds = int(stop.get("command", ["0"])[-1])
                if not 0 < seconds <= pod.spec["terminationGracePeriodSeconds"] - STOP_SECONDS:
                    yield f"{name}: preStop takes {seconds} s, and stopping {STOP_SECONDS} s more"


def selectors_mean_their_namesake(site: Site) -> Iterator[str]:
    """Whatever selects pods is called as what makes them, and selects all of these alone."""
    for thing in site.of("NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Service"):
        name, spec = f"{thing['kind']} {thing['metadata']['name']}", thing["spec"]
        selector = spec.get("podSelector", spec.get("selector", {}))
        labels = selector if thing["kind"] == "Service" else selector.get("matchLabels", {})
        meant = [pod for pod in site.pods if pod.owner == thing["metadata"]["name"]]
        if not meant or [pod for pod in site.pods if labels.items() <= pod.labels.items()] != meant:
            yield f"{name}: {labels} selects other pods than those of its name"
        if "namespaceSelector" in spec:
            yield f"{name}: it looks into other namespaces"
        for port in _ports(thing):
            if any(port not in pod.ports for pod in meant):
                yield f"{name}: the pods have no port {port!r}"
    for owner in {pod.owner for pod in site.pods} - site.names("NetworkPolicy"):
        yield f"{owner}: no NetworkPolicy says who may reach it"
    for pod in site.pods:
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if not spread["labelSelector"]["matchLabels"].items() <= pod.labels.items():
                yield f"{pod.owner}: it is spread by the places of other pods"


def references_are_there(site: Site) -> Iterator[str]:
    for pod in site.pods:
        account = pod.spec.get("serviceAccountName")
        if account and account not in site.names("ServiceAccount"):
            yield f"{pod.owner}: there is no ServiceAccount {account!r}"
        mounts = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        if mounts != volumes.keys():
            yield f"{pod.owner}: mounts {sorted(mounts)}, volumes {sorted(volumes)}"
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in site.names("PersistentVolumeClaim"):
                yield f"{pod.owner}: there is no claim {claim!r}"
            secret = volume.get("secret", {}).get("secretName", f"{site.slug}-retraining")
            if secret != f"{site.slug}-retraining":
                yield f"{pod.owner}: the Secret {secret!r} is not the one that the pages name"


def rights_are_those_needed(role: Object, site: Site) -> Iterator[str]:
    granted: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for kind in product(rule["apiGroups"], rule["resources"]):
            granted.setdefault(kind, set()).update(rule["verbs"])
    needed = {_resource(thing): {"get", "create", "patch"} for thing in site.objects}
    needed[RELEASED] |= {"list", "watch", "update", "delete"}
    needed["", "pods/portforward"] = {"create", "get"}
    for kind in WATCHED:
        needed[kind] = needed.get(kind, set()) | {"get", "list", "watch"}
    for kind in sorted(granted.keys() | needed.keys()):
        has, needs = (sorted(rights.get(kind, ())) for rights in (granted, needed))
        if has != needs:
            yield f"{'/'.join(kind)}: {has} is granted, {needs} is needed"


def _resource(thing: Object) -> tuple[str, str]:
    """Its API group, and what a role calls its kind."""
    group = thing["apiVersion"].rpartition("/")[0]
    return group, re.sub("y$", "ie", thing["kind"].lower()) + "s"


def _ports(thing: Object) -> list[str | int]:
    spec = thing["spec"]
    if thing["kind"] == "NetworkPolicy":
        return [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
    if thing["kind"] == "PodMonitor":
        return [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
    return [port["targetPort"] for port in spec.get("ports", [])]


RULES = (
    traffic_is_split,
    graphs_name_containers,
    names_fit,
    objects_are_in_place,
    secrets_stay_out,
    pods_are_confined,
    containers_are_watched,
    selectors_mean_their_namesake,
    references_are_there,
)

"""Mistakes in manifests, each of which one of the checks must notice."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from manifests import Object

DROP = object()
# What the first word of a place may stand for.
SHORT = {
    "predictors": "SeldonDeployment spec predictors",
    "predictor": "SeldonDeployment spec predictors 0",
    "component": "SeldonDeployment spec predictors 0 componentSpecs 0",
    "pod": "SeldonDeployment spec predictors 0 componentSpecs 0 spec",
    "container": "SeldonDeployment spec predictors 0 componentSpecs 0 spec containers 0",
    "receiver-pod": "Deployment spec template spec",
    "receiver": "Deployment spec template spec containers 0",
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "penguins-retraining"},
    "stringData": {"gocd-token": "abc"},
}


@dataclass(frozen=True)
class Mistake:
    """A change of one object.

    Attributes:
        check: what must notice it.
        where: a kind and the keys to a value in it; of several objects it is the first by name.
        value: instead of what is there, or a function that makes it of that.
        says: a part of the fault's message.
    """

    check: str
    where: str
    value: Any
    says: str

    def made_in(self, objects: list[Object]) -> tuple[list[Object], Object]:
        """The objects with the mistake, and the one that it is in."""
        if self.where == "+":
            return [*objects, self.value], self.value
        objects = copy.deepcopy(objects)
        first, *rest = self.where.split(" ")
        kind, *keys = [*SHORT.get(first, first).split(" "), *rest]
        candidates = [thing for thing in objects if thing["kind"] == kind]
        changed = min(candidates, key=lambda thing: thing["metadata"]["name"])
        if not keys:
            return [thing for thing in objects if thing is not changed], changed
        part: Any = changed
        *path, last = [int(key) if key.isdigit() else key for key in keys]
        for key in path:
            part = part[key]
        if self.value is DROP:
            del part[last]
        else:
            part[last] = self.value(part[last]) if callable(self.value) else self.value
        return objects, changed


def beside(**changes: object) -> Callable[[list[Object]], list[Object]]:
    """Put a second predictor beside the first, like it but for some changes."""
    return lambda predictors: [*predictors, predictors[0] | changes]


def shadows(predictors: list[Object]) -> list[Object]:
    """Put two shadows beside the first predictor."""
    versions = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    return [*predictors, *(predictors[0] | version | {"shadow": True} for version in versions)]


def image(tag: str) -> Callable[[str], str]:
    """Replace an image's tag."""
    return lambda old: old.rpartition(":")[0] + tag


# fmt: off
TABLE = {
    # What the cluster would accept, and the library's rules do not.
    "rules": {
        "less than all traffic": ("predictor traffic", 90, "100 together"),
        "more than all traffic": (
            "predictors", beside(name="v1", traffic=10, labels={"version": "1"}), "100 together"),
        "a negative share": (
            "predictors",
            lambda old: beside(name="v1", traffic=-10, labels={"version": "1"})(
                [old[0] | {"traffic": 110}]), "100 together"),
        "a predictor twice": (
            "predictors", beside(traffic=0, labels={"version": "1"}), "a name of its own"),
        "a subset twice": ("predictors", beside(traffic=0, name="v1"), "label version of its own"),
        "no subset": ("predictor labels version", DROP, "label version"),
        "a shadow alone": ("predictor shadow", True, "100 together"),
        "two shadows": ("predictors", shadows, "more than one shadow"),
        "a container of another name": (
            "container name", "server", "no container is called 'model'"),
        "a node of another name": (
            "predictor graph name", "modle", "no container is called 'modle'"),
        "a child without a container": (
            "predictor graph children",
            [{"name": "scaler", "type": "TRANSFORMER"}], "no container is called 'scaler'"),
        "a graph where there is no engine": (
            "predictor graph children", [{"name": "model", "type": "MODEL"}], "one node only"),
        "an unknown type of node": ("predictor graph type", "MODL", "'MODL'"),
        "no type of node": ("predictor graph type", DROP, "None is none of"),
        "an endpoint for another transport": (
            "predictor graph endpoint type", "GRPC", "another transport"),
        "an engine": ("predictor annotations", DROP, "no-engine"),
        "two budgets for one pod": ("component pdbSpec", {"maxUnavailable": 1}, "pdbSpec"),
        "a name too long": ("Service metadata name", "p" * 64, "at most 63"),
        "a name that becomes a hash": ("container name", "m" * 48, "at most 63"),
        "another namespace": ("Service metadata namespace", "default", "'default', not 'models'"),
        "no namespace": ("NetworkPolicy metadata namespace", DROP, "None, not 'models'"),
        "a label of another model": (
            "ServiceAccount metadata labels app.kubernetes.io/name", "whales", "of another model"),
        "more than kubectl can apply": (
            "PrometheusRule spec groups 0 rules 0 expr", "x" * 262_144, "too large"),
        "a Secret": ("+", SECRET, "not to git"),
        "a token in an environment variable": (
            "receiver env 0", {"name": "GOCD_TOKEN", "value": "abc"}, "a secret's value"),
        "the newest image": ("container image", image(":latest"), "another one tomorrow"),
        "an image without a tag": ("receiver image", image(""), "another one tomorrow"),
        "no readiness probe": ("container readinessProbe", DROP, "no readinessProbe"),
        "no liveness probe": ("receiver livenessProbe", DROP, "no livenessProbe"),
        "a probe of no port": ("container livenessProbe httpGet port", "web", "no livenessProbe"),
        "no memory limit": ("container resources limits", DROP, "has no limit"),
        "no CPU request": ("container resources requests cpu", DROP, "requests no CPU"),
        "no time to drain": ("container lifecycle", DROP, "preStop takes 0 s"),
        "no time to stop": (
            "container lifecycle preStop exec command 1", "25", "preStop takes 25 s"),
        "root": ("pod securityContext runAsUser", 0, "as root"),
        "perhaps root": ("pod securityContext runAsNonRoot", DROP, "runAsNonRoot"),
        "root in a container": ("container securityContext runAsNonRoot", False, "runAsNonRoot"),
        "a privileged container": ("container securityContext privileged", True, "as root"),
        "escalation": (
            "container securityContext allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        "a capability more": (
            "container securityContext capabilities add", ["NET_RAW"], "capabilities"),
        "a writable root": (
            "receiver securityContext readOnlyRootFilesystem", False, "readOnlyRootFilesystem"),
        "any system call": ("pod securityContext seccompProfile", DROP, "seccompProfile"),
        "a token of the cluster": (
            "pod automountServiceAccountToken", DROP, "automountServiceAccountToken"),
        "variables of services": ("receiver-pod enableServiceLinks", True, "enableServiceLinks"),
        "the host's network": ("pod hostNetwork", True, "hostNetwork"),
        "a folder of the host": (
            "pod volumes 0", {"name": "tmp", "hostPath": {"path": "/"}}, "the host's"),
        "a folder without limit": ("pod volumes 0 emptyDir", {}, "has no limit"),
        "a volume that nothing mounts": ("container volumeMounts", [], "mounts []"),
        "an unknown account": ("pod serviceAccountName", "default", "no ServiceAccount 'default'"),
        "an unknown claim": (
            "receiver-pod volumes 0 persistentVolumeClaim claimName", "state", "no claim 'state'"),
        "another Secret": (
            "receiver-pod volumes 1 secret secretName", "tokens", "the Secret 'tokens'"),
        "a policy for every pod": (
            "NetworkPolicy spec podSelector", {}, "NetworkPolicy penguins: {} selects other pods"),
        "a policy for no pod": (
            "NetworkPolicy spec podSelector matchLabels app.kubernetes.io/name",
            "penguin", "selects other pods"),
        "a policy for one version": (
            "NetworkPolicy spec podSelector matchLabels version", "1", "selects other pods"),
        "no policy": ("NetworkPolicy", DROP, "who may reach it"),
        "a policy for no port": ("NetworkPolicy spec ingress 0 ports 0 port", 8000, "no port 8000"),
        "a budget for other pods": (
            "PodDisruptionBudget spec selector matchLabels app.kubernetes.io/name",
            "penguins-retraining", "selects other pods"),
        "a service of no pod": (
            "Service spec selector app.kubernetes.io/name", "retraining", "selects other pods"),
        "a service of no port": ("Service spec ports 0 targetPort", "web", "no port 'web'"),
        "nothing that is scraped": (
            "predictor labels app.kubernetes.io/name", "model", "PodMonitor penguins"),
        "a port that is not there to scrape": (
            "container ports 1 name", "prometheus", "no port 'metrics'"),
        "pods of other namespaces": (
            "PodMonitor spec namespaceSelector", {"any": True}, "other namespaces"),
        "spread by other pods": (
            "pod topologySpreadConstraints 0 labelSelector matchLabels app.kubernetes.io/name",
            "whales", "places of other pods"),
    },
    # Who may release: too much, or too little.
    "rights": {
        "every verb": ("Role rules 0 verbs", ["*"], "['*'] is granted"),
        "every resource": ("Role rules 0 resources", ["*"], "machinelearning.seldon.io/*"),
        "secrets": ("Role rules 2 resources", lambda kinds: [*kinds, "secrets"], "secrets"),
        "deletion of pods": (
            "Role rules 2 verbs", lambda verbs: [*verbs, "delete"], "/pods: ['delete'"),
        "too few rights": ("Role rules 0 verbs", ["get", "list", "watch"], "'update'"),
        "a right too few to apply": (
            "Role rules 4 resources", ["configmaps"], "/serviceaccounts: [] is granted"),
    },
    # What Kubernetes refuses or drops, of its own kinds and of what the operator makes.
    "kubernetes": {
        "an unknown kind": ("Deployment kind", "Deploiment", "Deploiment"),
        "an old version of a kind": (
            "PodDisruptionBudget apiVersion", "policy/v1beta1", "PodDisruptionBudget"),
        "a field spelt wrong": ("Deployment spec replica", 1, "'replica' was unexpected"),
        "a number as text": ("Deployment spec replicas", "1", "spec.replicas"),
        "an unknown field of a strategy": (
            "Deployment spec strategy maxSurge", 0, "'maxSurge' was unexpected"),
        "a text for a list": ("NetworkPolicy spec policyTypes", "Ingress", "spec.policyTypes"),
        "a text for a boolean": (
            "ServiceAccount automountServiceAccountToken", "no", "automountServiceAccountToken"),
        "a claim without a list of modes": (
            "PersistentVolumeClaim spec accessModes", "ReadWriteOnce", "accessModes"),
        "no port of a service": (
            "Service spec ports 0 port", DROP, "'port' is a required property"),
        "an unknown field of a container": ("container imagee", "x", "'imagee' was unexpected"),
        "an unknown field of a probe": (
            "container startupProbe httpget", {}, "'httpget' was unexpected"),
        "a limit spelt wrong": (
            "container resources limit", {"cpu": "1"}, "'limit' was unexpected"),
        "a variable that is no text": ("container env 0 value", 1, "env.0.value"),
        "a metric of no type": (
            "component hpaSpec metricsv2 0 type", DROP, "'type' is a required property"),
        "no largest number of pods": (
            "component hpaSpec maxReplicas", DROP, "'maxReplicas' is a required property"),
        "a dashboard that is no text": (
            "ConfigMap data model-health.json", {"panels": []}, "data.model-health.json"),
    },
    # What the operators' own definitions refuse or drop.
    "custom": {
        "a share spelt wrong": ("predictor trafic", 100, "'trafic' was unexpected"),
        "a share as text": ("predictor traffic", "100", "predictors.0.traffic"),
        "no predictors": ("predictors", DROP, "'predictors' is a required property"),
        "a graph without a name": ("predictor graph name", DROP, "'name' is a required property"),
        "an unknown field of a graph": (
            "predictor graph implementatoin", "X", "'implementatoin' was unexpected"),
        "scaling spelt wrong": ("component hpa", {}, "'hpa' was unexpected"),
        "a number of pods as text": ("component hpaSpec minReplicas", "2", "hpaSpec.minReplicas"),
        "a container's field spelt wrong": (
            "container volumeMount", [], "'volumeMount' was unexpected"),
        "an endpoint spelt wrong": (
            "PodMonitor spec podMetricsEndpoint", [], "'podMetricsEndpoint' was unexpected"),
        "an interval without a unit": (
            "PodMonitor spec podMetricsEndpoints 0 interval", "15", "'15' does not match"),
        "an unknown action": (
            "PodMonitor spec podMetricsEndpoints 0 relabelings 0 action",
            "swap", "'swap' is not one of"),
        "an alert without an expression": (
            "PrometheusRule spec groups 0 rules 0 expr", DROP, "'expr' is a required property"),
        "a wait in words": (
            "PrometheusRule spec groups 0 rules 0 for", "ten minutes", "'ten minutes' does not"),
        "a custom resource of another version": (
            "PodMonitor apiVersion", "monitoring.coreos.com/v2", "no custom resource"),
    },
}
# fmt: on

MISTAKES = {
    name: Mistake(check, *row) for check, rows in TABLE.items() for name, row in rows.items()
}

"""Checks of Kubernetes manifests that need no cluster."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from conftest import BIN, ROOT
from kubernetes_validate import utils

Object = dict[str, Any]
Schemas = dict[tuple[str, str], jsonschema.Draft202012Validator]

CUSTOM = ("machinelearning.seldon.io/", "monitoring.coreos.com/", "kubeflow.org/")
# What structural schemas have in common with JSON Schema, and is copied as it is: `anyOf` and its
# like narrow values there, but name no fields of their own.
KEYWORDS = {
    "type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "uniqueItems", "anyOf", "oneOf", "allOf", "not",
}  # fmt: skip
# Without a cache, kubernetes_validate reads 1.8 MB of definitions again for each object.
utils.schema_contents = cache(utils.schema_contents)


def kustomize(folder: Path) -> list[Object]:
    """Build the objects of a kustomization with kubectl."""
    command = [BIN / "kubectl", "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [*yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)]


def manifest_rules() -> ModuleType:
    """The library's rules for what a repository deploys; they need the standard library alone."""
    path = ROOT / "runtime" / "tests" / "manifest_rules.py"
    spec = importlib.util.spec_from_file_location("manifest_rules", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def builtin_faults(thing: Object, version: str) -> list[str]:
    """Validate an object against Kubernetes' own schemas; an unknown field is a fault, too.

    Of a custom object only what its operator makes of it is validated.
    """
    if thing["kind"] == "SeldonDeployment":
        return [fault for made in operated(thing) for fault in builtin_faults(made, version)]
    if thing["kind"] == "Notebook":
        return builtin_faults(stateful(thing), version)
    if thing["apiVersion"].startswith(CUSTOM):
        return []
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [described(error)]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


def stateful(thing: Object) -> Object:
    """What Kubeflow's controller makes of a Notebook."""
    name = thing["metadata"]["name"]
    labels = {"statefulset": name, "notebook-name": name}
    template = {"metadata": {"labels": labels}, "spec": thing["spec"]["template"]["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": {"statefulset": name}},
            "template": template,
        },
    }


def operated(thing: Object) -> Iterator[Object]:
    """What Seldon's operator makes of each predictor of a SeldonDeployment."""
    for predictor in thing["spec"].get("predictors", []):
        labels, metadata = predictor.get("labels", {}), {"name": predictor["name"]}
        for component in predictor["componentSpecs"]:
            template = {
                "metadata": {"labels": labels, "annotations": predictor.get("annotations", {})},
                "spec": component["spec"],
            }
            yield {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": labels},
                    "progressDeadlineSeconds": predictor.get("progressDeadlineSeconds"),
                    "template": template,
                },
            }
            if scaling := component.get("hpaSpec"):
                target = {"apiVersion": "apps/v1", "kind": "Deployment", **metadata}
                limits = {key: scaling[key] for key in scaling if key != "metricsv2"}
                yield {
                    "apiVersion": "autoscaling/v2",
                    "kind": "HorizontalPodAutoscaler",
                    "metadata": metadata,
                    "spec": {
                        "scaleTargetRef": target,
                        "metrics": scaling.get("metricsv2"),
                        **limits,
                    },
                }


def schemas(folder: Path) -> Schemas:
    """Read the CustomResourceDefinitions of a folder, by apiVersion and kind."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        for thing in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if not thing or thing["kind"] != "CustomResourceDefinition":
                continue
            group, kind = thing["spec"]["group"], thing["spec"]["names"]["kind"]
            for version in thing["spec"]["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                name = f"{group}/{version['name']}"
                found[name, kind] = jsonschema.Draft202012Validator(schema)
    return found


def custom_faults(thing: Object, known: Schemas) -> list[str]:
    """Validate a custom object against its CustomResourceDefinition; others have no faults."""
    if not thing["apiVersion"].startswith(CUSTOM):
        return []
    schema = known.get((thing["apiVersion"], thing["kind"]))
    if not schema:
        return [f"{thing['apiVersion']} {thing['kind']} is no custom resource"]
    return [described(error) for error in schema.iter_errors(thing)]


def closed(schema: Object) -> Object:
    """A structural schema as JSON Schema, in which a field that is not named is a fault."""
    made = {key: value for key, value in schema.items() if key in KEYWORDS}
    for key in ("items", "additionalProperties"):
        if key in schema:
            inner = schema[key]
            made[key] = closed(inner) if isinstance(inner, dict) else inner
    if "properties" in schema:
        made["properties"] = {name: closed(s) for name, s in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def described(error: jsonschema.ValidationError) -> str:
    """Say where it is, and what is wrong."""
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"

"""Find in a compiled pipeline what the laptop's runner and a cluster would run differently.

kfp.local 2.17 runs some constructs wrongly without an error, and some settings that a cluster
refuses; each check below names one. It also finds literals that look like secrets.
"""

import re
from collections.abc import Iterator, Mapping

SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential|private_?key", re.IGNORECASE)
SECRET_VALUE = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|"
    r"\bgh[pousr]_\w{30,}|\beyJ[\w-]{10,}\.[\w-]{10,}\.|\bxox[abpr]-[\w-]{10,}"
)
# Keys whose values are the name of a secret.
NAMES = ("name", "secretName", "secretKey")


def faults(ir: Mapping, platforms: Mapping | None = None) -> list[str]:
    """Check a compiled pipeline.

    Args:
        ir: the intermediate representation, its first YAML document.
        platforms: what only a cluster reads, the second one.

    Returns:
        One sentence per fault, with the place; empty when it runs alike everywhere.
    """
    components = ir.get("components", {})
    dags = {"root": ir["root"]} | {n: c for n, c in components.items() if "dag" in c}
    return [
        *(fault for name, dag in dags.items() for fault in _dag(name, dag["dag"], components)),
        *_executors(ir["deploymentSpec"]["executors"]),
        *_secrets(ir, ""),
        *_secrets(platforms or {}, ""),
    ]


def _dag(name: str, dag: Mapping, components: Mapping) -> Iterator[str]:
    for task_name, task in dag["tasks"].items():
        yield from _task(f"{name}/{task_name}", task, components[task["componentRef"]["name"]])
    for output, spec in dag.get("outputs", {}).get("artifacts", {}).items():
        if len(spec["artifactSelectors"]) > 1:
            yield f"{name}: dsl.OneOf over artifacts ({output}); kfp.local refuses it"


def _task(where: str, task: Mapping, component: Mapping) -> Iterator[str]:
    parameters = task.get("inputs", {}).get("parameters", {})
    upstream = {
        n: p["taskOutputParameter"]["outputParameterKey"]
        for n, p in parameters.items()
        if "taskOutputParameter" in p
    }
    items = task.get("parameterIterator", {}).get("items", {}).get("inputParameter")
    loop = "parameterIterator" in task or "artifactIterator" in task
    if loop:
        for name in upstream.keys() - {items}:
            yield (
                f"{where}: the loop reads the output parameter {name} of another step; kfp.local "
                "gives it the loop item instead. Pass it as metadata of an artifact"
            )
        if upstream.get(items, "Output") != "Output":
            yield f"{where}: the loop runs over a named output; return the list as only value"
    condition = task.get("triggerPolicy", {}).get("condition", "")
    for name in re.findall(r"parameter_values\['([^']+)'\]", condition):
        if upstream.get(name, "Output") != "Output":
            yield (
                f"{where}: dsl.If reads the named output {name}; kfp.local takes it for False. "
                "Return the value as the component's only return value"
            )
    artifacts = task.get("inputs", {}).get("artifacts")
    if "dag" in component and artifacts and not parameters and not loop:
        yield f"{where}: a group of steps with artifact inputs needs a parameter input in kfp.local"
    for name, spec in component.get("inputDefinitions", {}).get("parameters", {}).items():
        unset = spec.get("isOptional") and "defaultValue" not in spec and name not in parameters
        if unset and spec["parameterType"] == "NUMBER_INTEGER":
            yield f"{where}: the optional integer {name} is left out; give it a default"


def _executors(executors: Mapping) -> Iterator[str]:
    for name, executor in executors.items():
        container = executor.get("container")
        if container is None:
            continue
        command = " ".join(container.get("command", []))
        if "--component_module_path" not in command:
            yield f"{name}: not a lightweight Python component; the local runner refuses it"
        if "pip install" in command:
            yield f"{name}: installs packages when it runs; bake them into the image"
        image = container["image"]
        if image.endswith(":latest") or ":" not in image.split("/")[-1]:
            yield f"{name}: image {image} has no fixed tag, so caching would serve old code"


def _secrets(node: object, path: str) -> Iterator[str]:
    if isinstance(node, Mapping):
        if {"name", "value"} <= node.keys() and SECRET_NAME.search(str(node["name"])):
            yield f"{path}: a value for {node['name']} is written into the pipeline; use a Secret"
        for key, value in node.items():
            literal = isinstance(value, str) and value and key not in NAMES
            if literal and SECRET_NAME.search(str(key)) and not SECRET_NAME.search(value):
                yield f"{path}.{key}: a secret is written into the pipeline; use a Secret"
            yield from _secrets(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _secrets(value, f"{path}[{i}]")
    elif isinstance(node, str) and SECRET_VALUE.search(node):
        yield f"{path}: a literal that looks like a secret"

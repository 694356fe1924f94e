"""Every manifest is what Kubernetes, its operators and the library's rules demand."""

import os
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
from answers import EVERY, Answers
from conftest import ROOT, Bake
from manifest_mistakes import MISTAKES, Mistake
from manifests import (
    Object,
    Schemas,
    builtin_faults,
    custom_faults,
    kustomize,
    manifest_rules,
    schemas,
)

FOLDERS = (
    "deploy/base",
    "deploy/overlays/staging",
    "deploy/overlays/production",
    "deploy/retraining",
    "deploy/access",
    "deploy/notebook",
    "monitoring",
)
# The oldest and the newest Kubernetes that is promised; the newest finds more.
NEWEST = kubernetes_validate.latest_version()
VERSIONS = ("1.27", NEWEST)
# Names that YAML takes for something else.
NO_TEXT = {"project_slug": "on", "package_name": "on", "kubernetes_namespace": "1e3"}
RENDERS = {name: EVERY[name] for name in ("default", "regression", "shortest", "longest")}
RENDERS["no text"] = NO_TEXT
every_render = pytest.mark.parametrize("answers", RENDERS.values(), ids=RENDERS)

rules = manifest_rules()
built = cache(kustomize)  # a call a folder; what it returns is shared: do not change it


@every_render
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_takes_what_is_built_in(bake: Bake, answers: Answers, folder: str):
    objects = built(bake(**answers) / folder)

    faults = [fault for v in VERSIONS for thing in objects for fault in builtin_faults(thing, v)]

    assert objects
    assert faults == []


def test_kubernetes_takes_what_the_platform_deploys():
    objects = platform()

    faults = [fault for v in VERSIONS for thing in objects for fault in builtin_faults(thing, v)]

    assert objects
    assert faults == []


@every_render
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_operators_take_what_is_theirs(
    bake: Bake, definitions: Schemas, answers: Answers, folder: str
):
    if folder == "deploy/notebook" and ("kubeflow.org/v1", "Notebook") not in definitions:
        pytest.skip("CRDS has no CustomResourceDefinition of Kubeflow's notebooks")
    objects = built(bake(**answers) / folder)

    assert [f for thing in objects for f in custom_faults(thing, definitions)] == []


@every_render
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_repository_keeps_the_rules(bake: Bake, answers: Answers, environment: str):
    deployed = site(bake(**answers), environment)
    role = release_role(bake(**answers), deployed.namespace)

    assert faults_by_rules(deployed) == []
    assert [*rules.rights_are_those_needed(role, deployed)] == []


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_noticed(bake: Bake, mistake: Mistake, request: pytest.FixtureRequest):
    production = site(bake(), "production")
    before = {
        "rights": [release_role(bake(), production.namespace)],
        "kubernetes": [*production.objects, *platform()],
    }.get(mistake.check, production.objects)

    objects, changed = mistake.made_in(before)

    if mistake.check == "custom":
        found = custom_faults(changed, request.getfixturevalue("definitions"))
    elif mistake.check == "kubernetes":
        found = builtin_faults(changed, NEWEST)
    elif mistake.check == "rights":
        found = [*rules.rights_are_those_needed(changed, production)]
    else:
        found = faults_by_rules(replace(production, objects=objects))
    assert [fault for fault in found if mistake.says in fault] != []


def site(project: Path, environment: str) -> rules.Site:
    """Everything that is applied to an environment's namespace."""
    answers = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    namespace = answers["tool"]["modelloop"]["kubernetes_namespace"]
    if environment == "staging":
        namespace += "-staging"
    objects = built(project / "deploy" / "overlays" / environment)
    return rules.Site(answers["project"]["name"], namespace, objects)


def release_role(project: Path, namespace: str) -> Object:
    """The role that releases into a namespace."""
    roles = [thing for thing in built(project / "deploy" / "access") if thing["kind"] == "Role"]
    (role,) = [role for role in roles if role["metadata"]["namespace"] == namespace]
    return role


def faults_by_rules(deployed: rules.Site) -> list[str]:
    return [fault for rule in rules.RULES for fault in rule(deployed)]


def platform() -> list[Object]:
    """What a company deploys once for all its models."""
    folders = [path.parent for path in (ROOT / "platform").rglob("kustomization.yaml")]
    return [thing for folder in folders for thing in built(folder)]


@pytest.fixture(scope="session")
def definitions() -> Schemas:
    """The operators' own definitions, which are not part of this repository."""
    folder = os.environ.get("CRDS")
    if not folder:
        pytest.skip("CRDS names no folder with the operators' CustomResourceDefinitions")
    return schemas(Path(folder))

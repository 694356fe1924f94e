"""Every manifest is what Kubernetes, its operators and the repository's own rules demand."""

import os
from functools import cache
from pathlib import Path
from types import ModuleType

import kubernetes_validate
import pytest
from answers import EVERY, Answers
from conftest import Bake
from manifest_mistakes import MISTAKES, Mistake
from manifests import Object, Schemas, builtin_faults, custom_faults, kustomize, rules_of, schemas

FOLDERS = (
    "base",
    "overlays/staging",
    "overlays/production",
    "monitoring",
    "retraining",
    "access",
    "notebook",
)
# The oldest and the newest Kubernetes that is promised; the newest finds more.
NEWEST = kubernetes_validate.latest_version()
VERSIONS = ("1.27", NEWEST)
# Names that YAML takes for something else.
NO_TEXT = {"project_slug": "on", "package_name": "on", "kubernetes_namespace": "1e3"}
RENDERS = {name: EVERY[name] for name in ("default", "regression", "shortest", "longest")}
RENDERS["no text"] = NO_TEXT
every_render = pytest.mark.parametrize("answers", RENDERS.values(), ids=RENDERS)


@cache
def built(project: Path, folder: str) -> list[Object]:
    return kustomize(project / "deploy" / folder)


@every_render
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_takes_what_is_built_in(bake: Bake, answers: Answers, folder: str):
    objects = built(bake(**answers), folder)

    faults = [fault for v in VERSIONS for thing in objects for fault in builtin_faults(thing, v)]

    assert objects
    assert faults == []


@every_render
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_operators_take_what_is_theirs(
    bake: Bake, definitions: Schemas, answers: Answers, folder: str
):
    if folder == "notebook" and ("kubeflow.org/v1", "Notebook") not in definitions:
        pytest.skip("CRDS has no CustomResourceDefinition of Kubeflow's notebooks")
    objects = built(bake(**answers), folder)

    assert [f for thing in objects for f in custom_faults(thing, definitions)] == []


@every_render
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_repository_keeps_its_own_rules(bake: Bake, answers: Answers, environment: str):
    project = bake(**answers)
    own = rules_of(project, answers.get("package_name", "penguins"))
    site = own.Site(
        own.project.SLUG, own.NAMESPACES[environment], built(project, f"overlays/{environment}")
    )
    roles = [thing for thing in built(project, "access") if thing["kind"] == "Role"]
    (role,) = [r for r in roles if r["metadata"]["namespace"] == site.namespace]

    faults = [fault for rule in own.RULES for fault in rule(site)]

    assert [*faults, *own.rights_are_those_needed(role, site)] == []


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_noticed(
    bake: Bake, own: ModuleType, mistake: Mistake, request: pytest.FixtureRequest
):
    production = built(bake(), "overlays/production")
    before = built(bake(), "access") if mistake.check == "rights" else production

    objects, changed = mistake.made_in(before)

    if mistake.check == "custom":
        found = custom_faults(changed, request.getfixturevalue("definitions"))
    elif mistake.check == "kubernetes":
        found = builtin_faults(changed, NEWEST)
    elif mistake.check == "rights":
        found = own.rights_are_those_needed(changed, own.Site("penguins", "models", production))
    else:
        site = own.Site("penguins", "models", objects)
        found = [fault for rule in own.RULES for fault in rule(site)]
    assert [fault for fault in found if mistake.says in fault] != []


@pytest.fixture(scope="session")
def own(bake: Bake) -> ModuleType:
    """The rules of the repository with the default answers."""
    return rules_of(bake(), "penguins")


@pytest.fixture(scope="session")
def definitions() -> Schemas:
    """The operators' own definitions, which are not part of this repository."""
    folder = os.environ.get("CRDS")
    if not folder:
        pytest.skip("CRDS names no folder with the operators' CustomResourceDefinitions")
    return schemas(Path(folder))

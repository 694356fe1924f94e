"""The objects that releases of two models apply to one cluster."""

from typing import Any

import pytest

from modelloop import Project
from modelloop.release.seldon.kubectl import Kubectl

Key = tuple[str, str, str]  # kind, namespace, name
STAGES = ("production", "staging")


def objects(project: Project) -> dict[Key, dict[str, Any]]:
    """Everything that a release of a model applies, to all its environments."""
    found: dict[Key, dict[str, Any]] = {}
    for stage in STAGES:
        for thing in Kubectl("unused").kustomize(project.root / "deploy" / "overlays" / stage):
            metadata = thing["metadata"]
            key = (thing["kind"], metadata.get("namespace", ""), metadata["name"])
            assert key not in found, f"{key} is in both overlays"
            found[key] = thing
    return found


def test_two_models_share_no_object_with_different_content(project: Project, regression: Project):
    """Else the last release of any model would overwrite the object of the others."""
    first, second = objects(project), objects(regression)
    assert project.kubernetes_namespace == regression.kubernetes_namespace
    different = [key for key in first.keys() & second.keys() if first[key] != second[key]]
    assert different == []


@pytest.mark.parametrize("folder", ["access", "notebook", "retraining"])
def test_what_is_applied_by_hand_is_each_models_own(
    project: Project, regression: Project, folder: str
):
    first, second = (
        {
            (thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"])
            for thing in Kubectl("unused").kustomize(which.root / "deploy" / folder)
        }
        for which in (project, regression)
    )
    assert first
    assert first & second == set()


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_is_in_the_namespace_of_its_stage(project: Project, stage: str):
    """A release applies with `--namespace`, and kubectl refuses any other one."""
    ending = "-staging" if stage == "staging" else ""
    found = Kubectl("unused").kustomize(project.root / "deploy" / "overlays" / stage)
    namespaces = {thing["metadata"].get("namespace") for thing in found}
    assert namespaces == {project.kubernetes_namespace + ending}
    assert "SeldonDeployment" in {thing["kind"] for thing in found}

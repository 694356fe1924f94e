"""Every file of a model repository has an owner, and the page that says so is right."""

import re
from pathlib import Path

import pytest
from answers import EVERY
from conftest import ROOT, Bake, git

from owners import OWNERS, matches, owner

PAGE = ROOT / "docs" / "own-the-layout.md"


@pytest.fixture(scope="module")
def rendered(bake: Bake) -> set[str]:
    """Name every file that some answers render, with the package's name as the default one's."""
    found: set[str] = set()
    for answers in EVERY.values():
        folder = bake(**answers)
        found.update(git(folder, "-c", "core.quotePath=off", "ls-files").splitlines())
    return found - {".cruft.json"}


def test_every_path_has_an_owner(rendered: set[str]):
    assert [path for path in sorted(rendered) if owner(path) is None] == []


def test_every_pattern_means_a_path(rendered: set[str]):
    unused = [
        glob
        for globs in OWNERS.values()
        for glob in globs
        if not any(matches(path, glob) for path in rendered)
    ]
    assert unused == []


def test_no_pattern_is_hidden_by_those_before_it(rendered: set[str]):
    hidden = [
        glob
        for kind, globs in OWNERS.items()
        for glob in globs
        if all(owner(path) != kind for path in rendered if matches(path, glob))
    ]
    assert hidden == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("src/penguins/model.py", "team"),
        ("src/penguins/pipeline.py", "shared"),
        ("vendor/modelloop-1.0.0-py3-none-any.whl", "template"),
        ("data/mine/table.csv", "team"),
        ("requirements/serve-overrides.txt", "shared"),
        ("requirements/main.txt", "lock"),
        ("deploy/requirements.txt", "lock"),
        ("deploy/base/kustomization.yaml", "shared"),
        ("README.md", "shared"),
        ("notes/own.md", None),
    ],
)
def test_the_first_pattern_decides(path: str, kind: str | None):
    assert owner(path) == kind


def test_the_page_has_the_same_table():
    told = {
        row[1]: re.findall("`([^`]+)`", row[2])
        for row in re.finditer(
            r"^\| (team|shared|lock|template) \|.*\| (.*) \|$", Path(PAGE).read_text(), re.MULTILINE
        )
    }
    assert told == OWNERS

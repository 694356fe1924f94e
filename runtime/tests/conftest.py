"""The repositories that the library is tested with, rendered from the template."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelloop import Project

# What a test starts runs these sources, not the wheel that the environment holds.
SOURCES = str(Path(__file__).resolve().parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH")]))

# Rendered by the Makefile: `penguins` classifies, `weights` is a regression.
RENDERED = Path(
    os.environ.get("RENDERED") or Path(__file__).resolve().parents[2] / "build" / "rendered"
)


def copy_of(name: str, folder: Path) -> Project:
    """A repository of a test session's own, at its first commit."""
    copy = shutil.copytree(RENDERED / name, folder / name, symlinks=True)
    return Project.at(copy)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository that classifies."""
    return copy_of("penguins", tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository of a regression."""
    return copy_of("weights", tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session", params=["classification", "regression"])
def either(request: pytest.FixtureRequest) -> Project:
    """A repository of each problem type in turn."""
    name = "project" if request.param == "classification" else "regression"
    found: Project = request.getfixturevalue(name)
    return found


@pytest.fixture(autouse=True)
def forget_copies(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget what was imported from a test's own folder: a copy's package has the same name."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    yield
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(folder)]
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(folder):
            del sys.modules[name]

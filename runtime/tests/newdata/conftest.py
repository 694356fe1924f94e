from collections.abc import Iterator

import pytest

import small_repository
from modelloop import Project


@pytest.fixture(scope="session")
def small_repositories(
    project: Project, regression: Project, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Project]:
    """A small repository of each problem type."""
    return {
        of.problem_type: small_repository.make(of, tmp_path_factory.mktemp("small") / "repository")
        for of in (project, regression)
    }


@pytest.fixture
def repository(small_repositories: dict[str, Project]) -> Iterator[Project]:
    """A small repository that classifies, as after its first commit."""
    yield small_repositories["classification"]
    small_repository.restore(small_repositories["classification"])


@pytest.fixture(params=["classification", "regression"])
def either_repository(
    request: pytest.FixtureRequest, small_repositories: dict[str, Project]
) -> Iterator[Project]:
    """A small repository of each problem type in turn, as after its first commit."""
    yield small_repositories[request.param]
    small_repository.restore(small_repositories[request.param])

"""A repository may lie in any folder, and may be moved after it trained."""

import shutil
from pathlib import Path

import pytest
from conftest import fresh
from repository import Repository
from test_loop import aliases

pytestmark = pytest.mark.slow

ODD = """a b?c#d%20e 'f' "g" ü $h;i"""


@pytest.fixture(scope="module")
def trained(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in a folder of an odd name, after its demo."""
    made = fresh(template, tmp_path_factory.mktemp("made"), {})
    folder = tmp_path_factory.mktemp("odd") / ODD / "penguins"
    folder.parent.mkdir()
    repository = Repository(made.rename(folder), "classification")
    done = repository.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return repository


def test_the_loop_leaves_nothing_outside_the_repository(trained: Repository):
    assert aliases(trained)["champion"] == "1"
    assert [path.name for path in trained.folder.parent.iterdir()] == ["penguins"]
    assert [path.name for path in trained.folder.parents[1].iterdir()] == [ODD]


def test_its_verbs_go_on_in_another_folder(trained: Repository, tmp_path: Path):
    folder = tmp_path / "moved away"
    repository = Repository(
        shutil.copytree(trained.folder, folder, symlinks=True), "classification"
    )
    shutil.rmtree(repository.folder / "build")

    done = repository.make("model", "train", "promote")

    assert done.returncode == 0, done.stdout + done.stderr
    assert aliases(repository)["champion"] == "2"
    assert aliases(trained)["champion"] == "1"

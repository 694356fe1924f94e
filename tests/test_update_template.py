"""This template's own repositories follow it: from the last release, between all answers."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Run, commit, copy_of_template, fresh, git
from made_template import SLUG, apply, follow
from repository import Repository, keep_environments

from owners import owner

pytestmark = pytest.mark.execute

SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
# The other values of every question that offers values.
OTHERS = {
    name: ["yes" if asked is False else "no"] if isinstance(asked, bool) else asked[1:]
    for name, asked in SETTINGS.items()
    if not name.startswith("_") and isinstance(asked, bool | list)
}
ONE_BY_ONE = [{name: value} for name, values in OTHERS.items() for value in values]
ALL = {name: values[-1] for name, values in OTHERS.items()}


def released() -> str:
    """Name the newest release, or the last commit while there is none."""
    tags = git(ROOT, "tag", "--list", "v*", "--sort=-version:refname", "--merged").split()
    return tags[0] if tags else "HEAD"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a template whose two commits are the last release and the working tree."""
    now = copy_of_template(tmp_path_factory.mktemp("now"))
    folder = tmp_path_factory.mktemp("history")
    archive = folder / "archive.tar"
    git(ROOT, "archive", "--output", str(archive), released())
    shutil.unpack_archive(archive, folder, filter="data")
    archive.unlink()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "The last release")
    git(folder, "branch", "released")
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(
        now, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", "__pycache__")
    )
    shutil.copytree(ROOT / "fleet", folder / "fleet", ignore=shutil.ignore_patterns("__pycache__"))
    apply(folder / SLUG, {"docs/new.md": "{{ cookiecutter.project_slug }}\n"})
    readme = (folder / SLUG / "README.md").read_text()
    apply(folder / SLUG, {"README.md": f"{readme}\nAdded by the template.\n"})
    commit(folder, "The working tree")
    return folder


@pytest.fixture(scope="module")
def old(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository of the last release; copy it before you change it."""
    git(history, "switch", "--quiet", "released")
    folder = fresh(history, tmp_path_factory.mktemp("old"), {})
    git(history, "switch", "--quiet", "main")
    return folder


@pytest.fixture(scope="module")
def new(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository of the working tree; copy it before you change it."""
    return fresh(history, tmp_path_factory.mktemp("new"), {})


def tree(folder: Path) -> str:
    git(folder, "add", "--all")
    return git(folder, "write-tree")


def test_an_untouched_repository_of_the_last_release_becomes_a_fresh_one(
    history: Path, old: Path, new: Path, tmp_path: Path, run: Run
):
    project = shutil.copytree(old, tmp_path / "penguins")

    done = follow("update", project, history)

    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(project) == tree(new)
    commit(project, "Updated")
    check = run("cruft", "check", folder=project)
    diff = run("cruft", "diff", "--exit-code", folder=project)
    assert check.returncode == 0, check.stdout
    assert diff.returncode == 0, diff.stdout


@pytest.mark.parametrize("answers", [*ONE_BY_ONE, ALL], ids=str)
def test_other_answers_make_of_an_untouched_repository_what_they_make_afresh(
    history: Path, new: Path, tmp_path: Path, answers: dict[str, str]
):
    project = shutil.copytree(new, tmp_path / "penguins")
    given = [part for name, value in answers.items() for part in ("--answer", f"{name}={value}")]

    done = follow("update", project, history, *given)

    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(project) == tree(fresh(history, tmp_path / "fresh", answers))


def test_the_answers_of_all_options_can_be_taken_back(history: Path, new: Path, tmp_path: Path):
    project = fresh(history, tmp_path, ALL)
    first = {
        name: asked[0] if isinstance(asked, list) else asked for name, asked in SETTINGS.items()
    }
    given = [part for name in ALL for part in ("--answer", f"{name}={first[name]}")]

    done = follow("update", project, history, *given)

    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(project) == tree(new)


def work(project: Path) -> None:
    """Do as a team does."""
    model = (project / "src" / "penguins" / "model.py").read_text()
    readme = (project / "README.md").read_text()
    makefile = (project / "Makefile").read_text()
    (project / "docs" / "app.md").rename(project / "docs" / "demo.md")
    apply(
        project,
        {
            "src/penguins/model.py": f"{model}\n# The team's.\n",
            "src/penguins/extra.py": '"""What the team added."""\n',
            "README.md": readme.replace("# Penguins", "# Our penguins"),
            "Makefile": f"{makefile}\nours: ## the team's verb\n\t@echo ours\n",
            "docs/batch.md": None,
        },
    )
    commit(project, "The team's")


@pytest.fixture(scope="module")
def updated(history: Path, old: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Update by the verbs of the repository, after a team has worked on it."""
    project = shutil.copytree(old, tmp_path_factory.mktemp("updated") / "penguins")
    work(project)
    repository = Repository(project, "classification")
    check = repository.make("template-check")
    assert check.returncode == 0, check.stdout + check.stderr
    done = repository.make("template-update")
    assert done.returncode == 0, done.stdout + done.stderr
    keep_environments(project)
    repository.checked, repository.said = check.stdout, done.stdout
    return repository


class TestAWorkedOnRepository:
    def test_the_verbs_bring_the_change_and_keep_the_teams(self, updated: Repository):
        project = updated.folder
        text = (project / "README.md").read_text()
        assert text.startswith("# Our penguins\n")
        assert text.endswith("\nAdded by the template.\n")
        assert (project / "docs" / "new.md").read_text() == "penguins\n"
        assert "# The team's." in (project / "src" / "penguins" / "model.py").read_text()
        assert "ours: ## the team's verb" in (project / "Makefile").read_text()
        assert (project / "docs" / "demo.md").exists()
        assert not (project / "docs" / "batch.md").exists()
        assert "files changed: " in updated.checked
        assert "Look with `git diff --cached`" in updated.said
        assert git(project, "diff", "--name-only") == ""

    def test_its_own_fast_tests_pass(self, updated: Repository):
        done = subprocess.run(
            [updated.python, "-m", "pytest", "-q", "-m", "not slow"],
            cwd=updated.folder,
            env=updated.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-5000:]

    def test_a_template_that_is_not_there_is_told(self, updated: Repository):
        done = updated.make("template-update", TEMPLATE="/nowhere/template")

        assert done.returncode != 0
        assert "error: git cannot clone the template; has it moved? TEMPLATE=address" in done.stdout

    def test_a_repository_without_a_record_is_told(self, updated: Repository, tmp_path: Path):
        folder = tmp_path / "penguins"
        shutil.copytree(updated.folder, folder, ignore=shutil.ignore_patterns(".cruft.json"))

        done = Repository(folder, "classification").make("template-check")

        assert done.returncode != 0
        assert "error: no .cruft.json names a template here" in done.stdout


def test_the_made_history_has_something_of_every_owner(old: Path):
    owners = {owner(path) for path in git(old, "ls-files").splitlines()}
    assert owners >= {"team", "shared", "lock", "template"}

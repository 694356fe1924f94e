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

pytestmark = pytest.mark.slow

SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
# The other values of every question that offers values.
OTHERS = {
    name: ["yes" if asked is False else "no"] if isinstance(asked, bool) else asked[1:]
    for name, asked in SETTINGS.items()
    if not name.startswith("_") and isinstance(asked, bool | list)
}
ONE_BY_ONE = [{name: value} for name, values in OTHERS.items() for value in values]
ALL = {name: values[-1] for name, values in OTHERS.items()}


# The last state whose repositories held the machinery that is the library's now.
BEFORE_THE_LIBRARY = "853e9fd53517eb17a973df4846245da49d7ea57b"


def released() -> str:
    """Name the newest release, or the last commit while there is none."""
    tags = git(ROOT, "tag", "--list", "v*", "--sort=-version:refname", "--merged").split()
    return tags[0] if tags else "HEAD"


def make_history(folder: Path, before: str) -> Path:
    """Make a template whose two commits are a commit of this one and the working tree."""
    archive = folder.with_name(f"{folder.name}.tar")
    git(ROOT, "archive", "--output", str(archive), before)
    folder.mkdir()
    shutil.unpack_archive(archive, folder, filter="data")
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Before")
    git(folder, "branch", "before")
    git(folder, "rm", "-r", "--quiet", ".")
    now = copy_of_template(folder.with_name(f"{folder.name}-now"))
    kept = shutil.ignore_patterns(".git", "__pycache__")
    shutil.copytree(now, folder, dirs_exist_ok=True, ignore=kept)
    shutil.copytree(ROOT / "fleet", folder / "fleet", dirs_exist_ok=True, ignore=kept)
    commit(folder, "The working tree")
    return folder


def render_before(history: Path, folder: Path, answers: dict[str, str]) -> Path:
    """Make a repository of the first commit of a history."""
    git(history, "switch", "--quiet", "before")
    made = fresh(history, folder, answers)
    git(history, "switch", "--quiet", "main")
    return made


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a template whose two commits are the last release and the working tree."""
    folder = make_history(tmp_path_factory.mktemp("history") / "template", released())
    apply(folder / SLUG, {"docs/new.md": "{{ cookiecutter.project_slug }}\n"})
    readme = (folder / SLUG / "README.md").read_text()
    apply(folder / SLUG, {"README.md": f"{readme}\nAdded by the template.\n"})
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--amend", "--no-edit")
    return folder


@pytest.fixture(scope="module")
def old(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository of the last release; copy it before you change it."""
    return render_before(history, tmp_path_factory.mktemp("old"), {})


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
    (project / "docs" / "decisions.md").rename(project / "docs" / "why.md")
    apply(
        project,
        {
            "src/penguins/model.py": f"{model}\n# The team's.\n",
            "src/penguins/extra.py": '"""What the team added."""\n',
            "README.md": readme.replace("# Penguins", "# Our penguins"),
            "Makefile": f"{makefile}\nours: ## the team's verb\n\t@echo ours\n",
            "containers/notebook.Dockerfile": None,
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
        assert (project / "docs" / "why.md").exists()
        assert not (project / "containers" / "notebook.Dockerfile").exists()
        assert "files changed: " in updated.checked
        assert "Look with `git diff --cached`" in updated.said
        assert git(project, "diff", "--name-only") == ""

    def test_its_own_tests_pass(self, updated: Repository):
        updated.test()

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


# From before the library


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a template whose two commits are the last before the library and the working tree."""
    try:
        git(ROOT, "cat-file", "-e", f"{BEFORE_THE_LIBRARY}^{{commit}}")
    except subprocess.CalledProcessError:
        pytest.skip("this clone has no history")
    return make_history(tmp_path_factory.mktemp("before") / "template", BEFORE_THE_LIBRARY)


@pytest.mark.parametrize("answers", [{}, ALL], ids=str)
def test_an_untouched_repository_of_before_the_library_becomes_a_fresh_one(
    before: Path, tmp_path: Path, answers: dict[str, str]
):
    project = render_before(before, tmp_path / "old", answers)

    done = follow("update", project, before)

    assert done.returncode == 0, done.stdout + done.stderr
    assert tree(project) == tree(fresh(before, tmp_path / "new", answers))


EXTRA = '''\
"""What the team added."""

from penguins import project
from penguins.served_model import MISSING

from .errors import UserError
from .tables import read_table
from .training.gate import Gate


def named() -> str:
    """Say what it is."""
    return f"{project.SLUG} {Gate.__name__} {MISSING} {UserError.__name__} {read_table.__name__}"
'''
TEST_EXTRA = '''\
"""The team's own test."""

from penguins.extra import named
from penguins.training.split import by_content


def test_named():
    assert named() == "penguins Gate missing UserError read_table"
    assert callable(by_content)
'''


@pytest.fixture(scope="module")
def onto_library(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Update a repository whose team has edited its own files, shared ones and machinery."""
    project = render_before(before, tmp_path_factory.mktemp("onto"), {})

    def edited(path: str, *changes: tuple[str, str]) -> str:
        text = (project / path).read_text()
        for old, new in changes:
            assert old in text, f"{path}: {old}"
            text = text.replace(old, new)
        return text

    apply(
        project,
        {
            "src/penguins/model.py": edited("src/penguins/model.py") + "\n\n# The team's.\n",
            "src/penguins/extra.py": EXTRA,
            "tests/test_extra.py": TEST_EXTRA,
            "src/penguins/training/gate.py": edited("src/penguins/training/gate.py")
            + "\n\n# Ours.\n",
            "docs/server.md": edited("docs/server.md") + "\nOurs.\n",
            "requirements/main.in": edited("requirements/main.in") + "tqdm\n",
            "README.md": edited("README.md", ("# Penguins", "# Our penguins")),
            "Makefile": edited("Makefile") + "\nours: ## the team's verb\n\t@echo ours\n",
        },
    )
    commit(project, "The team's")
    done = follow("update", project, before)
    assert done.returncode == 1, done.stdout + done.stderr
    commit(project, "Updated")
    repository = Repository(project, "classification")
    repository.said = done.stdout
    return repository


class TestARepositoryOfBeforeTheLibrary:
    def test_no_edit_is_lost_and_nothing_is_in_conflict(self, onto_library: Repository):
        project, said = onto_library.folder, onto_library.said
        assert "conflict" not in said
        assert "# The team's." in (project / "src/penguins/model.py").read_text()
        assert "ours: ## the team's verb" in (project / "Makefile").read_text()
        assert (project / "README.md").read_text().startswith("# Our penguins\n")
        requirements = (project / "requirements/main.in").read_text().splitlines()
        assert "tqdm" in requirements
        assert any(line.startswith("modelloop[train]==") for line in requirements)
        assert "\ntqdm==" in (project / "requirements/main.txt").read_text()

    def test_machinery_is_gone_and_what_was_edited_lies_aside_with_advice(
        self, onto_library: Repository
    ):
        project = onto_library.folder
        assert not (project / "src/penguins/training").exists()
        aside = project / "left-by-template"
        page = (aside / "README.md").read_text()
        for path in ("src/penguins/training/gate.py", "docs/server.md"):
            assert f"- `{path}`: " in page
            assert f"kept in left-by-template/: {path}: " in onto_library.said
        assert (aside / "src/penguins/training/gate.py").read_text().endswith("# Ours.\n")
        assert (aside / "docs/server.md").read_text().endswith("Ours.\n")

    def test_the_teams_modules_find_what_moved(self, onto_library: Repository):
        project = onto_library.folder
        assert (project / "src/penguins/extra.py").read_text().splitlines()[2:6] == [
            "from modelloop import Gate, UserError, read_table",
            "from modelloop.serving import MISSING",
            "",
            "from penguins import project",
        ]
        assert "{project.slug} " in (project / "src/penguins/extra.py").read_text()

    def test_its_tests_and_its_demo_pass(self, onto_library: Repository):
        onto_library.test()
        done = onto_library.make("check", "demo")
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]

"""A new repository has a history, knows its template, and can follow it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import HOSTILE, LONGEST, PROPRIETARY, REGRESSION, Answers
from conftest import Bake, Run, commit, copy_of_template, fresh, git

MAKEFILE = Path("{{cookiecutter.project_slug}}", "Makefile")


def generate(run: Run, template: str | Path, *answers: str, **environment: str) -> str:
    """Render with the command line, into the current folder; return what it said."""
    done = run("cookiecutter", template, "--no-input", *answers, **environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def record(project: Path) -> dict:
    """Read what a repository knows of its template."""
    return json.loads((project / ".cruft.json").read_text(encoding="utf-8"))


# The first commit


def test_the_first_commit_is_the_pristine_render(bake: Bake):
    project = bake()

    assert git(project, "rev-list", "--count", "HEAD") == "1"
    assert git(project, "branch", "--show-current") == "main"
    assert git(project, "status", "--porcelain") == ""


def test_somebody_unknown_to_git_commits_as_nobody_in_particular(bake: Bake):
    project = bake()

    assert git(project, "log", "--format=%an <%ae>, %cn <%ce>") == (
        "cookiecutter <cookiecutter@localhost>, cookiecutter <cookiecutter@localhost>"
    )
    assert "user" not in git(project, "config", "--local", "--list")


def test_somebody_known_to_git_is_the_author(run: Run, template: Path, tmp_path: Path):
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Ada\nemail = ada@example.com\n")

    generate(run, template, GIT_CONFIG_GLOBAL=str(settings))

    assert git(tmp_path / "penguins", "log", "--format=%an <%ae>") == "Ada <ada@example.com>"


def test_settings_of_git_on_this_machine_change_nothing_in_the_first_commit(
    run: Run, template: Path, tmp_path: Path
):
    hooks = tmp_path / "templates" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "commit-msg", "post-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/{name}-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "ignored").write_text("*.csv\nMakefile\n")
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[commit]\ngpgsign = true\n[gpg]\nprogram = /nowhere/gpg\n"
        f"[core]\nhooksPath = {hooks}\nexcludesFile = {tmp_path}/ignored\n"
        f"[init]\ntemplateDir = {hooks.parent}\ndefaultBranch = trunk\n"
    )

    generate(run, template, GIT_CONFIG_GLOBAL=str(settings))

    project = tmp_path / "penguins"
    assert "Makefile" in git(project, "ls-files")
    assert git(project, "branch", "--show-current") == "main"
    assert git(project, "log", "--format=%G?") == "N"
    assert [*tmp_path.glob("*-ran")] == []
    assert (project / ".git" / "hooks" / "pre-commit").exists()


def test_a_git_hook_that_generates_a_repository_keeps_its_own(
    run: Run, template: Path, tmp_path: Path
):
    outer = tmp_path / "outer"
    git(tmp_path, "init", "--quiet", "outer")
    index = {"GIT_DIR": str(outer / ".git"), "GIT_INDEX_FILE": str(outer / ".git" / "index")}

    generate(run, template, **index)

    assert git(tmp_path / "penguins", "rev-list", "--count", "HEAD") == "1"
    assert git(outer, "ls-files") == ""


def test_without_git_there_is_a_complete_folder_and_a_word(
    run: Run, template: Path, tmp_path: Path, bake: Bake
):
    said = generate(run, template, PATH=str(tmp_path))

    assert "git was not found" in said
    names = {path.name for path in bake().iterdir()} - {".git", ".cruft.json"}
    assert {path.name for path in (tmp_path / "penguins").iterdir()} == names


def test_a_git_that_fails_leaves_a_complete_folder_and_its_reason(
    run: Run, template: Path, tmp_path: Path
):
    broken = tmp_path / "bin" / "git"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o755)

    said = generate(run, template, PATH=f"{broken.parent}:{os.environ['PATH']}")

    assert said.count("out of order") == 2
    assert (tmp_path / "penguins" / "Makefile").is_file()


# Where it lands


def test_a_folder_in_another_work_tree_is_not_a_repository_of_its_own(
    run: Run, template: Path, tmp_path: Path
):
    git(tmp_path, "init", "--quiet")

    said = generate(run, template)

    assert f"part of the git repository {tmp_path}" in said
    assert not (tmp_path / "penguins" / ".git").exists()
    assert record(tmp_path / "penguins")["commit"] == git(template, "rev-parse", "HEAD")


def test_a_folder_that_another_work_tree_ignores_is_a_repository_of_its_own(
    run: Run, template: Path, tmp_path: Path
):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("build/\n")

    generate(run, template, "--output-dir", "build/demo")

    assert git(tmp_path / "build" / "demo" / "penguins", "rev-list", "--count", "HEAD") == "1"


def test_a_folder_that_is_there_is_left_alone(run: Run, template: Path, tmp_path: Path):
    (tmp_path / "penguins").mkdir()

    done = run("cookiecutter", template, "--no-input")

    assert done.returncode == 1
    assert "already exists" in done.stdout
    assert [*(tmp_path / "penguins").iterdir()] == []


def test_rendering_over_an_older_repository_keeps_its_history_and_environment(
    run: Run, template: Path, tmp_path: Path
):
    generate(run, template)
    project = tmp_path / "penguins"
    environment = project / ".venv" / "__pycache__" / "model__regression.py"
    environment.parent.mkdir(parents=True)
    environment.touch()
    (project / "LICENSE").write_text("changed")

    said = generate(run, template, "--overwrite-if-exists")

    assert "git repository already" in said
    assert environment.exists()
    assert git(project, "rev-list", "--count", "HEAD") == "1"
    assert git(project, "status", "--porcelain") == ""


# Where it comes from


@pytest.mark.parametrize(
    "answers", [{}, LONGEST | REGRESSION, HOSTILE], ids=["", "long", "hostile"]
)
def test_cookiecutter_and_cruft_record_the_same(
    run: Run, template: Path, tmp_path: Path, answers: Answers
):
    plain = fresh(template, tmp_path, answers)

    done = run("cruft", "create", "--no-input", "--extra-context", json.dumps(answers), template)

    assert done.returncode == 0, done.stderr
    by_cruft = tmp_path / plain.name / ".cruft.json"
    assert (plain / ".cruft.json").read_text() == by_cruft.read_text()


def test_the_record_names_no_folder_of_this_run(bake: Bake):
    answers = record(bake())["context"]["cookiecutter"]

    assert {name for name in answers if name.startswith("_")} == {
        "__project_folder", "_extensions", "_copy_without_render", "_template", "_commit"
    }  # fmt: skip


def test_a_relative_address_is_recorded_as_an_absolute_one(
    run: Run, template: Path, tmp_path: Path
):
    done = run("cookiecutter", ".", "--no-input", "--output-dir", tmp_path, folder=template)

    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "penguins")["template"] == str(template)


def test_a_cloned_template_is_recorded_by_its_address_and_reference(
    run: Run, template: Path, tmp_path: Path
):
    address = f"file://{template}"

    generate(run, f"git+{address}", "--checkout", "main")

    assert record(tmp_path / "penguins")["template"] == address
    assert record(tmp_path / "penguins")["checkout"] == "main"


def test_a_password_in_the_address_is_not_recorded(run: Run, template: Path, tmp_path: Path):
    settings = tmp_path / "gitconfig"
    address = "https://git.invalid/template"
    secret = "https://robot:secret@git.invalid/template"
    settings.write_text(f'[url "file://{template}"]\ninsteadOf = {secret}\n')

    generate(run, secret, GIT_CONFIG_GLOBAL=str(settings))

    assert record(tmp_path / "penguins")["template"] == address
    assert "secret" not in (tmp_path / "penguins" / ".cruft.json").read_text()


def test_a_template_with_uncommitted_changes_is_told(run: Run, tmp_path: Path):
    template = copy_of_template(tmp_path / "template")
    (template / "cookiecutter.json").write_text(
        (template / "cookiecutter.json").read_text().replace("ml-team", "new-team")
    )

    said = generate(run, template)

    assert "uncommitted changes" in said
    assert record(tmp_path / "penguins")["commit"] == git(template, "rev-parse", "HEAD")


@pytest.mark.parametrize("state", ["no repository", "no commit"])
def test_a_template_without_a_commit_is_told(run: Run, template: Path, tmp_path: Path, state: str):
    bare = shutil.copytree(template, tmp_path / "bare", ignore=shutil.ignore_patterns(".git"))
    if state == "no commit":
        git(bare, "init", "--quiet")

    said = generate(run, bare)

    assert "no .cruft.json, so no updates" in said
    assert not (tmp_path / "penguins" / ".cruft.json").exists()
    assert git(tmp_path / "penguins", "rev-list", "--count", "HEAD") == "1"


# Following the template


def by_cookiecutter(run: Run, template: Path, answers: Answers, folder: Path) -> Path:
    return fresh(template, folder, answers)


def by_cruft(run: Run, template: Path, answers: Answers, folder: Path) -> Path:
    done = run("cruft", "create", "--no-input", "--extra-context", json.dumps(answers), template)
    assert done.returncode == 0, done.stderr
    (project,) = [path.parent for path in folder.glob("*/.cruft.json")]
    git(project, "init", "--quiet")
    commit(project, "Created")
    return project


@pytest.mark.parametrize(
    ("create", "answers"), [(by_cookiecutter, HOSTILE | REGRESSION), (by_cruft, {})]
)
def test_a_change_of_the_template_reaches_the_repository(
    run: Run,
    tmp_path: Path,
    create: Callable[[Run, Path, Answers, Path], Path],
    answers: Answers,
):
    template = copy_of_template(tmp_path / "template")
    project = create(run, template, answers, tmp_path)
    current = run("cruft", "check", folder=project)
    (template / MAKEFILE).write_text(f"# {project.name}\n" + (template / MAKEFILE).read_text())
    (template / MAKEFILE.parent / "new__regression.txt").write_text("regression")
    (template / MAKEFILE.parent / "new__classification.txt").write_text("classification")
    commit(template, "A change")

    behind = run("cruft", "check", folder=project)
    updated = run("cruft", "update", "--skip-apply-ask", folder=project)
    current_again = run("cruft", "check", folder=project)

    assert current.returncode == 0, current.stderr
    assert behind.returncode == 1
    assert updated.returncode == 0, updated.stderr
    assert current_again.returncode == 0
    assert (project / "Makefile").read_text().startswith(f"# {project.name}\n")
    assert (project / "new.txt").read_text() == answers.get("problem_type", "classification")
    assert sorted(git(project, "status", "--porcelain").split()[1::2]) == [
        ".cruft.json", "Makefile", "new.txt"
    ]  # fmt: skip


def test_an_answer_can_be_changed_later(run: Run, template: Path, tmp_path: Path):
    project = fresh(template, tmp_path, {})

    done = run(
        "cruft", "update", "--skip-apply-ask", "--variables-to-update", '{"license": "MIT"}',
        folder=project,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (project / "LICENSE").read_text().startswith("MIT License")
    assert record(project)["context"]["cookiecutter"]["license"] == "MIT"


@pytest.mark.parametrize("answers", [{}, HOSTILE | REGRESSION | PROPRIETARY], ids=["", "hostile"])
def test_cruft_renders_what_cookiecutter_renders(
    run: Run, bake: Bake, tmp_path: Path, answers: Answers
):
    project = shutil.copytree(bake(**answers), tmp_path / "project")

    done = run("cruft", "diff", "--exit-code", folder=project)

    assert done.returncode == 0, done.stdout + done.stderr

"""A newer template is merged into a repository, whatever its team has done to it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Run, commit, git
from made_template import FILES, LINES, PACKAGE, QUESTIONS, SLUG, MadeTemplate, Project

MORE = LINES + "new in the template\n"

pytestmark = pytest.mark.execute


@pytest.fixture
def made(tmp_path: Path) -> MadeTemplate:
    return MadeTemplate(tmp_path / "template")


@pytest.fixture
def project(made: MadeTemplate, tmp_path: Path) -> Project:
    return made.generate(tmp_path / "penguins")


# What a team has done, and what the template has done to the same file


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Update a repository in which much has happened to a template in which much has happened."""
    folder = tmp_path_factory.mktemp("edited")
    names = ("both", "lines", "ours", "bits", "crlf", "théirs", "gone", "dropped", "lost")
    made = MadeTemplate(
        folder / "template",
        FILES
        | {f"docs/{name}.md": f"{name}\n{LINES}" for name in names}
        | {"docs/moved/a.md": "a\n" + LINES, "docs/moved/b.md": "b\n" + LINES}
        | {"plugins/core.py": f"core\n{LINES}"}
        | {"docs/logo.bin": b"\0\1\2", "docs/run.sh": "#!/bin/sh\n" + LINES},
    )
    project = made.generate(folder / "penguins")
    (project.folder / "docs" / "ours.md").rename(project.folder / "docs" / "renamed.md")
    (project.folder / "docs" / "bits.md").chmod(0o755)
    project.edit(
        {
            "docs/both.md": "edited\n" + LINES,
            "docs/lines.md": f"lines\n{LINES}".replace("line 10\n", "the team's\n"),
            "docs/crlf.md": f"crlf\n{LINES}".replace("\n", "\r\n").replace("line 2\r", "two\r"),
            "docs/théirs.md": f"théirs\n{LINES}".replace("line 3\n", "three\n"),
            "docs/gone.md": None,
            "docs/lost.md": f"lost\n{LINES}edited\n",
            "docs/logo.bin": b"\0team",
            "docs/added.md": "the team's\n",
            "docs/moved/own.md": "the team's own\n",
            "plugins/core.py": f"edited\n{LINES}",
            "own.txt": "the team's own\n",
        }
    )
    (made.folder / SLUG / "docs" / "run.sh").chmod(0o755)
    (made.folder / SLUG / "docs" / "moved").rename(made.folder / SLUG / "docs" / "place")
    (made.folder / SLUG / "docs" / "théirs.md").rename(made.folder / SLUG / "docs" / "neu é.md")
    made.release(
        "v1.1.0",
        {
            "docs/both.md": f"both\n{MORE}",
            "docs/lines.md": f"lines\n{LINES}".replace("line 10\n", "the template's\n"),
            "docs/ours.md": f"ours\n{MORE}",
            "docs/bits.md": f"bits\n{MORE}",
            "docs/crlf.md": f"crlf\n{MORE}",
            "docs/gone.md": f"gone\n{MORE}",
            "docs/dropped.md": None,
            "docs/lost.md": None,
            "docs/logo.bin": b"\0template",
            "docs/added.md": "the template's\n",
            "docs/new.md": "new\n",
        },
    )
    done = project.run("update")
    assert done.returncode == 1, done.stderr
    project.said = done.stdout
    return project


def test_changes_of_both_in_different_lines_are_both_kept(edited: Project):
    assert edited.text("docs/both.md") == f"edited\n{MORE}"


def test_changes_of_both_in_the_same_lines_are_marked_with_what_was_there_before(edited: Project):
    assert (
        "<<<<<<< this repository\nthe team's\n||||||| template v1.0.0\nline 10\n"
        "=======\nthe template's\n>>>>>>> template v1.1.0\n"
    ) in edited.text("docs/lines.md")
    assert "UU docs/lines.md" in edited.status()
    assert "conflict: docs/lines.md" in edited.said


def test_a_file_that_the_team_renamed_gets_the_change(edited: Project):
    assert edited.text("docs/renamed.md") == f"ours\n{MORE}"
    assert not (edited.folder / "docs" / "ours.md").exists()


def test_a_file_that_the_template_renamed_keeps_the_edit(edited: Project):
    assert edited.text("docs/neu é.md") == f"théirs\n{LINES}".replace("line 3\n", "three\n")
    assert not (edited.folder / "docs" / "théirs.md").exists()


def test_what_the_team_added_to_a_folder_moves_with_the_folder(edited: Project):
    assert edited.text("docs/place/own.md") == "the team's own\n"
    assert not (edited.folder / "docs" / "moved").exists()


def test_what_the_team_deleted_stays_deleted_and_is_named(edited: Project):
    assert not (edited.folder / "docs" / "gone.md").exists()
    assert "deleted here, so they stay away: docs/gone.md" in edited.said


def test_what_the_template_deleted_is_gone_and_what_was_edited_lies_aside(edited: Project):
    assert not (edited.folder / "docs" / "dropped.md").exists()
    assert not (edited.folder / "docs" / "lost.md").exists()
    assert edited.text("left-by-template/docs/lost.md") == f"lost\n{LINES}edited\n"
    page = edited.text("left-by-template/README.md")
    lines = [line for line in page.splitlines() if line.startswith("- ")]
    assert len(lines) == 1
    assert lines[0].startswith("- `docs/lost.md`: ")
    assert "kept in left-by-template/: docs/lost.md: " in edited.said


def test_a_file_that_both_added_is_a_conflict_with_both(edited: Project):
    assert edited.text("docs/added.md") == (
        "<<<<<<< this repository\nthe team's\n||||||| template v1.0.0\n=======\n"
        "the template's\n>>>>>>> template v1.1.0\n"
    )
    assert "AA docs/added.md" in edited.status()


def test_a_binary_file_that_both_changed_stays_the_teams_and_is_a_conflict(edited: Project):
    assert (edited.folder / "docs" / "logo.bin").read_bytes() == b"\0team"
    assert "UU docs/logo.bin" in edited.status()
    git(edited.folder, "checkout-index", "--stage=3", "--temp", "docs/logo.bin")


def test_executable_bits_are_merged(edited: Project):
    assert os.access(edited.folder / "docs" / "bits.md", os.X_OK)
    assert edited.text("docs/bits.md") == f"bits\n{MORE}"
    assert os.access(edited.folder / "docs" / "run.sh", os.X_OK)


def test_line_endings_of_the_team_are_kept(edited: Project):
    content = (edited.folder / "docs" / "crlf.md").read_bytes()
    assert content == f"crlf\n{MORE}".replace("line 2\n", "two\n").replace("\n", "\r\n").encode()


def test_a_new_file_comes_and_a_file_of_the_team_stays(edited: Project):
    assert edited.text("docs/new.md") == "new\n"
    assert edited.text("own.txt") == "the team's own\n"


def test_git_commits_nothing_while_a_conflict_is_left(edited: Project):
    with pytest.raises(subprocess.CalledProcessError) as error:
        git(edited.folder, "commit", "--message=x")
    assert "unmerged" in error.value.stderr or "conflict" in error.value.stderr


def test_what_is_edited_though_the_templates_is_reported(edited: Project):
    assert "the template's, but edited here: plugins/core.py\n" in edited.said
    assert 'git commit -m "Follow the template: v1.0.0 -> v1.1.0"' in edited.said


# Files of the team


def change_example(made: MadeTemplate) -> None:
    made.release(
        "v1.1.0", {f"src/{PACKAGE}/data.py": f"data\n{MORE}", "data/new.csv": "new\n"}
    )  # fmt: skip


def test_an_example_that_nobody_edited_moves_with_the_template(
    made: MadeTemplate, project: Project
):
    change_example(made)

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("src/penguins/data.py") == f"data\n{MORE}"


def test_files_of_a_team_that_has_begun_are_not_touched(made: MadeTemplate, project: Project):
    project.edit({"src/penguins/model.py": "mine\n"})
    change_example(made)

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("src/penguins/data.py") == f"data\n{LINES}"
    assert project.text("src/penguins/model.py") == "mine\n"
    assert project.text("data/new.csv") == "new\n"
    assert "not touched, though the template changed them: src/penguins/data.py" in done.stdout


def test_a_new_file_of_the_teams_kind_does_not_replace_the_teams_own(
    made: MadeTemplate, project: Project
):
    project.edit({"data/new.csv": "the team's\n"})
    change_example(made)

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("data/new.csv") == "the team's\n"


def test_files_of_the_team_stay_deleted_and_survive_their_deletion_in_the_template(
    made: MadeTemplate, project: Project
):
    project.edit({"src/penguins/model.py": None, "src/penguins/data.py": "mine\n"})
    made.release(
        "v1.1.0", {f"src/{PACKAGE}/data.py": None, f"src/{PACKAGE}/model.py": f"x\n{MORE}"}
    )

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("src/penguins/data.py") == "mine\n"
    assert not (project.folder / "src" / "penguins" / "model.py").exists()


def test_files_of_the_team_move_with_the_package(project: Project):
    project.edit({"src/penguins/data.py": "mine\n", "src/penguins/own.py": "own\n"})

    done = project.run("update", "--answers", "package_name=birds")

    assert done.returncode == 0, done.stdout + done.stderr
    assert project.text("src/birds/data.py") == "mine\n"
    assert project.text("src/birds/own.py") == "own\n"
    assert project.text("src/birds/core.py").startswith("from birds import data\n")
    assert not (project.folder / "src" / "penguins").exists()


def test_a_team_can_keep_more_files_to_itself(made: MadeTemplate, project: Project):
    record = project.record() | {"skip": ["docs", "README.md"]}
    project.edit({".cruft.json": json.dumps(record), "README.md": "mine\n"})
    made.release("v1.1.0", {"docs/page.md": f"page\n{MORE}", "README.md": MORE})

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("README.md") == "mine\n"
    assert project.text("docs/page.md") == f"page\n{LINES}"


# Which version


def test_nothing_to_do_is_said(project: Project):
    done = project.run("update")

    assert done.returncode == 0
    assert done.stdout.startswith("Up to date with the template: v1.0.0 (")
    assert project.status() == ""


def test_the_newest_release_is_wanted_by_its_number(made: MadeTemplate, project: Project):
    for tag in ("v1.9.0", "v1.10.0", "v2.0.0-rc1", "vnext", "v1.2.0"):
        made.release(tag, {"README.md": f"{tag}\n"})

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert project.text("README.md") == "v1.10.0\n"
    assert project.record()["commit"] == git(made.folder, "rev-parse", "v1.10.0")


def test_without_a_release_the_default_branch_is_wanted(made: MadeTemplate, tmp_path: Path):
    git(made.folder, "tag", "--delete", "v1.0.0")
    project = made.generate(tmp_path / "penguins")
    made.release("", {"README.md": "main\n"})
    git(made.folder, "switch", "--quiet", "--create", "other")
    clone = tmp_path / "clone"
    git(made.folder, "switch", "--quiet", "main")
    git(tmp_path, "clone", "--quiet", str(made.folder), str(clone))
    git(clone, "switch", "--quiet", "--detach", "HEAD~1")

    done = project.run("update", "--template", clone)

    assert done.returncode == 0, done.stderr
    assert project.text("README.md") == "main\n"


@pytest.mark.parametrize("ref", ["v1.1.0", "branch", "commit"])
def test_a_tag_a_branch_or_a_commit_can_be_asked_for(
    made: MadeTemplate, project: Project, tmp_path: Path, ref: str
):
    commit = made.release("v1.1.0", {"README.md": "asked for\n"})
    git(made.folder, "branch", "branch")
    made.release("v1.2.0", {"README.md": "newest\n"})
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", f"file://{made.folder}", str(clone))

    name = commit[:10] if ref == "commit" else ref
    done = project.run("update", "--template", clone, "--ref", name)

    assert done.returncode == 0, done.stderr
    assert project.text("README.md") == "asked for\n"
    assert project.record()["commit"] == commit


def test_a_repository_ahead_of_the_newest_release_does_not_go_back(
    made: MadeTemplate, tmp_path: Path
):
    made.release("", {"README.md": "ahead\n"})
    project = made.generate(tmp_path / "penguins")

    done = project.run("update")

    assert done.returncode == 0
    assert "Up to date" in done.stdout
    assert project.text("README.md") == "ahead\n"


def test_an_older_version_that_is_asked_for_comes_back(made: MadeTemplate, tmp_path: Path):
    made.release("v1.1.0", {"README.md": "newer\n"})
    project = made.generate(tmp_path / "penguins")

    done = project.run("update", "--ref", "v1.0.0")

    assert done.returncode == 0, done.stderr
    assert project.text("README.md") == f"# penguins\n{LINES}"


def test_a_shallow_clone_of_the_repository_has_all_it_needs(
    made: MadeTemplate, project: Project, tmp_path: Path
):
    project.edit({"README.md": f"# mine\n{LINES}"})
    made.release("v1.1.0", {"README.md": f"# {{{{ cookiecutter.project_slug }}}}\n{MORE}"})
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project.folder}", str(shallow))

    done = Project(shallow, made).run("update")

    assert done.returncode == 0, done.stderr
    assert (shallow / "README.md").read_text() == f"# mine\n{MORE}"


def test_a_template_that_moved_is_recorded_without_a_password(made: MadeTemplate, project: Project):
    address = "https://robot:secret@git.invalid/new/template"

    done = project.run("update", "--address", address)

    assert done.returncode == 0, done.stderr
    assert project.record()["template"] == "https://git.invalid/new/template"
    assert project.record()["context"]["cookiecutter"]["_template"] == project.record()["template"]
    assert project.status() == "M  .cruft.json"
    assert "secret" not in project.text(".cruft.json") + done.stdout


# Answers


def test_answers_are_carried_over_renames_and_the_rest_is_told(made: MadeTemplate, tmp_path: Path):
    project = made.generate(tmp_path / "penguins", flavour="rich", contact="me@example.com")
    questions = {
        "project_slug": "penguins",
        "package_name": "penguins",
        "taste": ["simple", "sweet"],
        "mail": "x",
        "airflow": False,
    }
    made.release(
        "v1.1.0",
        {
            f"src/{PACKAGE}/model.py": "{{ cookiecutter.taste }}\n" + LINES,
            "docs/page.md": "{{ cookiecutter.mail }} {{ cookiecutter.airflow }}\n",
        },
        questions,
        hooks__pre_gen_project="",
        fleet__answers=(
            '[renamed]\nflavour = "savour"\nsavour = "taste"\ncontact = "mail"\n'
            '[values.taste]\nplain = "simple"\nrich = "sweet"\n'
        ),
    )
    for name in ("hooks/pre_gen_project", "fleet/answers"):
        suffix = ".py" if "hooks" in name else ".toml"
        (made.folder / name).replace(made.folder / f"{name}{suffix}")
    git(made.folder, "add", "--all")
    git(made.folder, "commit", "--quiet", "--amend", "--no-edit")
    git(made.folder, "tag", "--force", "v1.1.0")

    done = project.run("update")

    assert done.returncode == 0, done.stdout + done.stderr
    assert project.text("src/penguins/model.py") == "sweet\n" + LINES
    assert project.text("docs/page.md") == "me@example.com False\n"
    assert done.stdout.splitlines()[2:7] == [
        "question flavour is now taste",
        "answer 'rich' of taste is now 'sweet'",
        "question fast is gone, and its answer False with it",
        "question contact is now mail",
        "new question airflow: False",
    ]
    answers = project.record()["context"]["cookiecutter"]
    assert [*answers][:5] == [*questions]
    assert answers["taste"] == "sweet"


def test_an_answer_is_changed_on_purpose(project: Project, made: MadeTemplate, tmp_path: Path):
    done = project.run(
        "update", "--answers", "fast=yes contact='it@x.org'", "--answer", "flavour=rich"
    )

    assert done.returncode == 0, done.stderr
    commit(project.folder, "Changed")
    other = made.generate(tmp_path / "other", flavour="rich", fast="yes", contact="it@x.org")
    assert project.tree() == other.tree()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("colour=red", "colour: no such question; there are: project_slug, package_name, flavour,"),
        ("flavour=sour", "flavour: 'sour' given; allowed: plain, rich"),
        ("fast=perhaps", "fast: 'perhaps' given; allowed: yes, no"),
        ("'contact=a b'", "contact: a space given; allowed: no spaces"),
        ("rich", "ANSWERS: 'rich' given; allowed: name=value name2='another value'"),
        ("contact='x", 'ANSWERS: "contact=\'x" given (No closing quotation); allowed: name=value'),
    ],
)
def test_a_refused_answer_is_one_line_and_changes_nothing(
    project: Project, answers: str, said: str
):
    done = project.run("update", "--answers", answers)

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert project.status() == ""


def test_a_recorded_answer_that_is_no_longer_allowed_is_told(made: MadeTemplate, tmp_path: Path):
    project = made.generate(tmp_path / "penguins", flavour="rich")
    made.release("v1.1.0", {}, QUESTIONS | {"flavour": ["plain", "sweet"]})

    done = project.run("update")

    assert done.returncode == 2
    assert "flavour: 'rich' given; allowed: plain, sweet (template at " in done.stderr


# The record


def test_what_else_is_in_the_record_stays_and_in_its_order(made: MadeTemplate, project: Project):
    record = {"note": 1, **project.record(), "checkout": "v1.0.0", "extra": {"a": [1]}}
    project.edit({".cruft.json": json.dumps(record)})
    made.release("v1.1.0", {"README.md": "new\n"})

    project.run("update")

    updated = project.record()
    assert [*updated] == [*record]
    assert (updated["note"], updated["extra"], updated["checkout"]) == (1, {"a": [1]}, "v1.1.0")


def test_cruft_goes_on_working(made: MadeTemplate, project: Project, run: Run):
    project.edit({"README.md": f"# mine\n{LINES}"})
    made.release("v1.1.0", {"docs/page.md": f"page\n{MORE}"})
    behind = run("cruft", "check", folder=project.folder)
    project.run("update")
    commit(project.folder, "Updated")

    check = run("cruft", "check", folder=project.folder)
    diff = run("cruft", "diff", folder=project.folder)

    assert behind.returncode == 1
    assert check.returncode == 0, check.stdout + check.stderr
    changed = [line for line in diff.stdout.splitlines() if line.startswith(("+", "-"))]
    assert [line for line in changed if "README" not in line] == ["-# mine", "+# penguins"]


# What is refused


def nothing(project: Project) -> None:
    """Leave the repository as it is."""


def dirty(project: Project) -> None:
    (project.folder / "README.md").write_text("not committed")


def staged(project: Project) -> None:
    (project.folder / "own.txt").write_text("not committed")
    git(project.folder, "add", "own.txt")


def untracked(project: Project) -> None:
    (project.folder / "docs" / "new.md").write_text("not committed")


def ignored(project: Project) -> None:
    project.edit({".gitignore": "new.md\n"})
    untracked(project)


def folder_for_file(project: Project) -> None:
    (project.folder / "docs" / "new.md").mkdir()
    (project.folder / "docs" / "new.md" / "x").touch()


def file_for_folder(project: Project) -> None:
    (project.folder / "folder").touch()


def merging(project: Project) -> None:
    git(project.folder, "commit", "--quiet", "--allow-empty", "--message=x")
    git(project.folder, "switch", "--quiet", "--create", "other", "HEAD~1")
    git(project.folder, "commit", "--quiet", "--allow-empty", "--message=y")
    git(project.folder, "merge", "--quiet", "--no-commit", "--no-ff", "main")


def no_record(project: Project) -> None:
    project.edit({".cruft.json": None})


def broken_record(project: Project) -> None:
    project.edit({".cruft.json": "{"})


def empty_record(project: Project) -> None:
    project.edit({".cruft.json": '{"template": "x"}'})


def other_template(project: Project) -> None:
    record = project.record() | {"commit": "0" * 40}
    project.edit({".cruft.json": json.dumps(record)})


def no_repository(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")


def part_of_another(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    git(project.folder.parent, "init", "--quiet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (dirty, "not committed: README.md. Commit or stash it first"),
        (staged, "not committed: own.txt. Commit or stash it first"),
        (untracked, "in the way, and not committed: docs/new.md. Commit or move it first"),
        (ignored, "in the way, and not committed: docs/new.md. Commit or move it first"),
        (folder_for_file, "in the way, and not committed: docs/new.md. Commit or move it first"),
        (file_for_folder, "in the way, and not committed: folder. Commit or move it first"),
        (merging, "a merge, rebase or cherry-pick is under way: finish or abort it first"),
        (no_record, "no .cruft.json is committed, so nothing says which template this came from"),
        (broken_record, ".cruft.json is not as cookiecutter or cruft wrote it: JSONDecodeError"),
        (empty_record, ".cruft.json is not as cookiecutter or cruft wrote it: KeyError('commit')"),
        (other_template, f"the template has no commit '{'0' * 40}', which .cruft.json names"),
        (no_repository, "penguins: fatal: not a git repository"),
        (part_of_another, "is a folder of the repository"),
    ],
)
def test_what_cannot_be_updated_is_refused_in_a_line_and_left_alone(
    made: MadeTemplate, project: Project, spoil: callable, said: str
):
    made.release("v1.1.0", {"docs/new.md": "new\n", "folder/new.md": "new\n"})
    spoil(project)
    before = listing(project.folder)

    done = project.run("update")

    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert listing(project.folder) == before


def listing(folder: Path) -> dict[str, bytes]:
    """Read every file outside .git."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_a_reference_that_the_template_does_not_have_is_refused(project: Project):
    done = project.run("update", "--ref", "v9")

    assert done.returncode == 2
    assert "REF: 'v9' given; allowed: a tag, branch or commit of the template" in done.stderr


def test_untracked_files_elsewhere_are_no_obstacle(made: MadeTemplate, project: Project):
    (project.folder / "notes.txt").write_text("mine")
    made.release("v1.1.0", {"README.md": "new\n"})

    done = project.run("update")

    assert done.returncode == 0, done.stderr
    assert (project.folder / "notes.txt").read_text() == "mine"


def test_a_git_that_is_too_old_is_told(project: Project, tmp_path: Path):
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.1\n")
    old.chmod(0o755)

    done = project.run("update", PATH=str(old.parent))

    assert done.returncode == 2
    assert done.stderr == "error: git 2.38 or newer is needed, this is 'git version 2.30.1'\n"


# Looking first


def test_a_check_shows_on_one_screen_what_an_update_would_do_and_does_nothing(
    made: MadeTemplate, tmp_path: Path
):
    old = "# Changelog\n\n## [Unreleased]\n\n## [1.0.0]\n\n- The first.\n"
    made.release("v1.0.1", {}, CHANGELOG=old)
    (made.folder / "CHANGELOG").rename(made.folder / "CHANGELOG.md")
    commit(made.folder, "A changelog")
    project = made.generate(tmp_path / "penguins")
    project.edit({"docs/page.md": f"mine\n{LINES}", "README.md": "mine\n"})
    (project.folder / "README.md").write_text("not committed")
    new = old.replace("[1.0.0]", "[1.1.0]\n\n### Added\n\n- A second.\n\n## [1.0.0]")
    (made.folder / "CHANGELOG.md").write_text(new)
    made.release(
        "v1.1.0",
        {"README.md": "theirs\n", "docs/page.md": f"page\n{MORE}"}
        | {f"docs/new{at}.md": f"{at}\n" for at in range(30)},
        QUESTIONS | {"airflow": False},
    )

    done = project.run("check")

    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0].endswith(")")
    assert " -> v1.1.0 (" in lines[0]
    assert lines[1:] == [
        "## [1.1.0]",
        "### Added",
        "- A second.",
        "files changed: 32 (shared 32)",
        "new question airflow: False",
        "would conflict: README.md",
    ]
    assert project.status() == "M README.md"


def test_a_long_changelog_and_many_files_still_fit_one_screen(made: MadeTemplate, project: Project):
    text = "".join(f"- more {at}\n" for at in range(50))
    (made.folder / "CHANGELOG.md").write_text(f"## [1.1.0]\n{text}")
    files = {f"docs/{at}.md": f"{at}\n" for at in range(50)}
    project.edit(files)
    made.release("v1.1.0", {name: f"x{text}" for name, text in files.items()})

    done = project.run("check")

    assert "... 39 more lines" in done.stdout
    assert len(done.stdout.splitlines()) <= 24
    assert "and 45 more" in done.stdout

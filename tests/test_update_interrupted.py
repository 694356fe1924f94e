"""An update that is killed has done all or nothing once the next one begins."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, git
from made_template import LINES, PACKAGE, MadeTemplate, Project

pytestmark = pytest.mark.slow

# Runs the updater, and dies where it is told: before or after one of its steps.
DIES = """\
import os, pathlib, signal, subprocess, sys
sys.path.insert(0, {fleet!r})
import bring_in, git_tool, update

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half(project, tree):
    # As git would leave it: a file written, one begun, one removed, the index locked.
    text = git_tool.git("cat-file", "blob", tree + ":README.md", folder=project)
    (project / "README.md").write_text(text)
    (project / "docs" / "new").mkdir()
    (project / "docs" / "new" / "page.md").write_text("")
    (project / "docs" / "page.md").write_text("page\\nline 1\\nne")
    (project / "docs" / "other.md").unlink()
    (bring_in.git_folder(project) / "index.lock").touch()
    die()

real = getattr(bring_in, {step!r})
def before(*arguments):
    die()
def after(*arguments):
    real(*arguments)
    die()
setattr(bring_in, {step!r}, dict(before=before, after=after, half=half)[{moment!r}])
sys.argv = ["update.py", "update", "--project", {project!r}, "--template", {template!r}]
sys.exit(update.main())
"""
STEPS = ("open_journal", "write_files", "mark_conflicts", "close_journal")


@pytest.fixture
def made(tmp_path: Path) -> MadeTemplate:
    return MadeTemplate(tmp_path / "template")


@pytest.fixture
def behind(made: MadeTemplate, tmp_path: Path) -> Project:
    """Make a repository that gets a conflict, a new file, a change and a removal."""
    project = made.generate(tmp_path / "penguins")
    project.edit({f"src/{name}": "the team's\n" for name in ("penguins/core.py", "own.py")})
    made.release(
        "v1.1.0",
        {
            f"src/{PACKAGE}/core.py": "the template's\n",
            "docs/new/page.md": "new\n",
            "docs/page.md": "page\nline 1\nnew\n",
            "docs/other.md": None,
            "README.md": f"new\n{LINES}",
        },
    )
    return project


def die(project: Project, step: str, moment: str) -> None:
    """Kill an update."""
    code = DIES.format(
        fleet=str(ROOT / "fleet"),
        step=step,
        moment=moment,
        project=str(project.folder),
        template=str(project.template.folder),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def state(project: Project) -> tuple:
    """Return all that an update changes."""
    files = {
        path.relative_to(project.folder): path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(project.folder).parts
    }
    return project.status(), git(project.folder, "ls-files", "--stage"), files


@pytest.mark.parametrize(
    ("step", "moment"),
    [
        *((step, moment) for step in STEPS for moment in ("before", "after")),
        ("write_files", "half"),
    ],
)
def test_killed_anywhere_the_next_update_does_what_an_undisturbed_one_does(
    behind: Project, tmp_path: Path, step: str, moment: str
):
    undisturbed = Project(tmp_path / "undisturbed", behind.template)
    git(tmp_path, "clone", "--quiet", str(behind.folder), str(undisturbed.folder))
    undisturbed.run("update")
    before = state(behind)
    die(behind, step, moment)

    if (step, moment) == ("close_journal", "after"):
        assert state(behind) == state(undisturbed)
        return
    if (step, moment) in (("open_journal", "before"), ("open_journal", "after")):
        assert state(behind) == before
    again = behind.run("update")

    assert again.returncode == 1, again.stderr
    assert state(behind) == state(undisturbed)
    restored = "An update was interrupted: the state before it is restored."
    assert (restored in again.stdout) == ((step, moment) != ("open_journal", "before"))


def test_what_was_edited_after_the_kill_is_not_lost(behind: Project):
    die(behind, "write_files", "half")
    (behind.folder / "docs" / "page.md").write_text("edited since\n")
    (behind.folder / ".gitignore").write_text("edited since\n")

    again = behind.run("update")

    assert again.returncode == 2
    assert "not committed: docs/page.md. Commit or stash it first" in again.stderr
    assert behind.text("docs/page.md") == "edited since\n"
    assert behind.text("README.md") == f"# penguins\n{LINES}"
    assert not (behind.folder / "docs" / "new").exists()


def test_what_was_committed_after_the_kill_is_kept(behind: Project):
    die(behind, "mark_conflicts", "before")
    behind.edit({"own.txt": "mine\n"})
    head = git(behind.folder, "rev-parse", "HEAD")

    again = behind.run("update")

    assert "Up to date" in again.stdout, again.stderr
    assert git(behind.folder, "rev-parse", "HEAD") == head
    assert behind.status() == ""


def test_a_signal_waits_until_the_short_step_is_done(behind: Project):
    code = DIES.format(
        fleet=str(ROOT / "fleet"),
        step="write_files",
        moment="after",
        project=str(behind.folder),
        template=str(behind.template.folder),
    ).replace("os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGINT)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr == "error: interrupted\n"
    assert json.loads(behind.text(".cruft.json"))["commit"] == git(
        behind.template.folder, "rev-parse", "v1.1.0"
    )
    assert "UU src/penguins/core.py" in behind.status()
    assert not (behind.folder / ".git" / "template-update.json").exists()


def test_two_updates_at_once_are_refused(behind: Project):
    with open(behind.folder / ".git" / "template-update.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = behind.run("update")

    assert second.returncode == 2
    assert "error: another update of this repository is running" in second.stderr
    assert behind.status() == ""


def test_a_git_that_fails_leaves_the_repository_as_it_was(behind: Project, tmp_path: Path):
    git_of_this_machine = subprocess.check_output(["which", "git"], text=True).strip()
    broken = tmp_path / "bin" / "git"
    broken.parent.mkdir()
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *"read-tree -m"*) '
        f'printf "page\\nline 1\\nne" > "{behind.folder}/docs/page.md"; '
        "echo no space left >&2; exit 128;; esac\n"
        f'exec {git_of_this_machine} "$@"\n'
    )
    broken.chmod(0o755)
    before = state(behind)

    done = behind.run("update", PATH=f"{broken.parent}:{os.environ['PATH']}")

    assert done.returncode == 2
    assert "error: no space left. Nothing was changed." in done.stderr
    assert state(behind) == before

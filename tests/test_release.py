"""The template is released with its promises kept, and shows reviewers what a change renders."""

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
from conftest import ROOT, commit, git
from repository import ENVIRONMENTS

from questions import broken_promises

RELEASE = ROOT / "fleet" / "release.py"
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One.\n"
LIBRARY = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "modelloop"
version = "0.9.0"
requires-python = ">=3.11"
"""
SLUG = "{{cookiecutter.project_slug}}"
LOCK = "modelloop==0.9.0 \\\n    --hash=sha256:" + 64 * "0" + "\n    # via -r main.in\nother==1.0\n"
QUESTIONS = {"name": "x", "kind": ["a", "b"], "_private": 1}


# What was released stays


def test_every_question_and_value_that_was_released_is_there_or_has_a_new_name():
    released = json.loads((ROOT / "fleet" / "released.json").read_text())
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    aliases = tomllib.loads((ROOT / "fleet" / "answers.toml").read_text())

    assert broken_promises(released, questions, aliases) == []
    assert released["problem_type"][:2] == ["classification", "regression"]


@pytest.mark.parametrize(
    ("questions", "aliases", "broken"),
    [
        ({"name": "", "kind": ["a", "b", "c"], "new": ""}, {}, []),
        ({"kind": ["a", "b"]}, {}, ["question name is gone, and is neither renamed nor dropped"]),
        ({"kind": ["a", "b"]}, {"dropped": ["name"]}, []),
        ({"title": "", "kind": ["a", "b"]}, {"renamed": {"name": "title"}}, []),
        ({"name": "", "kind": ["a"]}, {}, ["'b' was a value of kind, and has no new name"]),
        ({"name": "", "kind": ["a", "c"]}, {"values": {"kind": {"b": "c"}}}, []),
        (
            {"name": "", "sort": ["a"]},
            {"renamed": {"kind": "sort"}},
            ["'b' was a value of kind, and has no new name"],
        ),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(questions: dict, aliases: dict, broken: list[str]):
    assert broken_promises({"name": [], "kind": ["a", "b"]}, questions, aliases) == broken


# A release


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """Make a template that can be released."""
    folder = tmp_path / "template"
    (folder / "fleet").mkdir(parents=True)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    (folder / "cookiecutter.json").write_text(json.dumps(QUESTIONS))
    (folder / "fleet" / "released.json").write_text('{"name": [], "kind": ["a"]}\n')
    (folder / "fleet" / "answers.toml").write_text("")
    (folder / "runtime" / "src" / "modelloop").mkdir(parents=True)
    (folder / "runtime" / "src" / "modelloop" / "__init__.py").touch()
    (folder / "runtime" / "pyproject.toml").write_text(LIBRARY)
    (folder / "runtime" / "CHANGELOG.md").write_text(CHANGELOG)
    (folder / SLUG / "requirements").mkdir(parents=True)
    (folder / SLUG / "requirements" / "main.txt").write_text(LOCK)
    (folder / SLUG / "vendor").mkdir()
    (folder / SLUG / "vendor" / "modelloop-0.9.0-py3-none-any.whl").touch()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "Ready")
    for key, value in (("user.name", "somebody"), ("user.email", "somebody@example.com")):
        git(folder, "config", key, value)
    return folder


def release(folder: Path, *version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RELEASE, *version], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_release_dates_the_changelog_keeps_the_promises_commits_and_tags(ready: Path):
    done = release(ready, "1.0.0")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Released v1.0.0. Now: git push --atomic origin main v1.0.0\n"
    for changelog in (ready / "CHANGELOG.md", ready / "runtime" / "CHANGELOG.md"):
        assert changelog.read_text() == CHANGELOG.replace(
            "[Unreleased]\n", f"[Unreleased]\n\n## [1.0.0] - {date.today()}\n"
        )
    promises = json.loads((ready / "fleet" / "released.json").read_text())
    assert promises == {"name": [], "kind": ["a", "b"]}
    assert git(ready, "log", "-1", "--format=%s") == "Release 1.0.0"
    assert git(ready, "cat-file", "-t", "v1.0.0") == "tag"
    assert git(ready, "rev-parse", "v1.0.0^{commit}") == git(ready, "rev-parse", "HEAD")
    assert git(ready, "status", "--porcelain") == ""


def test_a_release_builds_the_library_as_the_same_version_and_pins_it(ready: Path):
    release(ready, "1.0.0")

    (built,) = (ready / SLUG / "vendor").iterdir()
    assert built.name == "modelloop-1.0.0-py3-none-any.whl"
    digest = hashlib.sha256(built.read_bytes()).hexdigest()
    lock = (ready / SLUG / "requirements" / "main.txt").read_text()
    assert lock == LOCK.replace("0.9.0", "1.0.0").replace(64 * "0", digest)
    assert git(ready, "diff", "--name-only", "--no-renames", "v1.0.0^", "v1.0.0").splitlines() == [
        "CHANGELOG.md",
        "fleet/released.json",
        "runtime/CHANGELOG.md",
        "runtime/pyproject.toml",
        f"{SLUG}/requirements/main.txt",
        f"{SLUG}/vendor/modelloop-0.9.0-py3-none-any.whl",
        f"{SLUG}/vendor/modelloop-1.0.0-py3-none-any.whl",
    ]


def test_a_library_that_cannot_be_built_is_not_released(ready: Path):
    (ready / "runtime" / "pyproject.toml").write_text(LIBRARY.replace("hatchling.build", "none"))
    (ready / "runtime" / "src" / "modelloop" / "__init__.py").unlink()
    commit(ready, "Broken")

    done = release(ready, "1.0.0")

    assert done.returncode == 2
    assert done.stderr.startswith("error: the wheel cannot be built: ")
    assert git(ready, "status", "--porcelain") == ""
    assert git(ready, "tag", "--list") == ""


def test_the_next_release_follows_the_last_one(ready: Path):
    for tag in ("v1.9.0", "v1.10.2", "v2.0.0-rc1", "vnext"):
        git(ready, "tag", tag)

    done = release(ready, "1.9.1")

    assert "VERSION: '1.9.1' given; allowed: 1.10.3, 1.11.0, 2.0.0" in done.stderr
    assert release(ready, "1.11.0").returncode == 0


def uncommitted(folder: Path) -> None:
    (folder / "new.txt").touch()


def on_a_branch(folder: Path) -> None:
    git(folder, "switch", "--quiet", "--create", "other")


def nothing_new(folder: Path) -> None:
    (folder / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.1.0]\n\n- Old.\n")
    commit(folder, "Nothing")


def renamed_value(folder: Path) -> None:
    (folder / "cookiecutter.json").write_text(json.dumps(QUESTIONS | {"kind": ["b"]}))
    commit(folder, "Renamed")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (uncommitted, "not committed: new.txt, for one"),
        (on_a_branch, "releases are made on main, this is other"),
        (nothing_new, "CHANGELOG.md has no entry below [Unreleased]"),
        (renamed_value, "'a' was a value of kind, and has no new name: see fleet/answers.toml"),
    ],
)
def test_what_is_not_ready_is_not_released(ready: Path, spoil: callable, said: str):
    spoil(ready)
    before = git(ready, "rev-parse", "HEAD")

    done = release(ready, "1.0.0")

    assert done.returncode == 2
    assert done.stderr == f"error: {said}\n"
    assert git(ready, "tag", "--list") == ""
    assert git(ready, "rev-parse", "HEAD") == before


def test_a_release_without_a_version_says_which_are_possible(ready: Path):
    assert "VERSION: '' given; allowed: 0.1.0, 1.0.0" in release(ready).stderr


# What a change renders


def test_reviewers_see_what_a_change_renders(template: Path, tmp_path: Path):
    clone = shutil.copytree(template, tmp_path / "template")
    shutil.copytree(ROOT / "fleet", clone / "fleet")
    readme = clone / "{{cookiecutter.project_slug}}" / "README.md"
    readme.write_text(readme.read_text() + "\nOwned by {{ cookiecutter.owner_team }}.\n")
    (readme.parent / "new__regression.txt").write_text("new\n")
    before = git(clone, "status", "--porcelain")

    done = subprocess.run(
        [sys.executable, clone / "fleet" / "render_diff.py", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    classification, regression = done.stdout.split("regression: HEAD and the work tree\n")
    assert classification.startswith("classification: HEAD and the work tree\n")
    assert "1 file changed, 2 insertions(+)" in classification
    assert "+Owned by ml-team." in classification
    assert "2 files changed, 3 insertions(+)" in regression
    assert git(clone, "status", "--porcelain") == before


def test_a_base_that_is_not_there_is_told():
    done = subprocess.run(
        [sys.executable, ROOT / "fleet" / "render_diff.py", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "error: BASE: 'nowhere' given" in done.stderr


# The roll-out's example for GoCD


@pytest.mark.execute
def test_the_scheduled_roll_out_is_a_sound_gocd_pipeline():
    done = subprocess.run(
        [ENVIRONMENTS / "main/bin/python", "-m", "modelloop", "lint", "docs/rollout.gocd.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

"""Fixtures that render the template, apart from the developer's settings, caches and history."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

Bake = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let git find no settings and no identity, and no repository that pytest was started from.

    And make no variables that were meant for the Makefile of the template, such as ARGS.
    """
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS"):
        os.environ.pop(name, None)
    empty = tmp_path_factory.mktemp("git") / "config"
    empty.touch()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    os.environ |= {"GIT_CONFIG_GLOBAL": str(empty), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what cookiecutter reads, as a repository with one commit: never write to this one."""
    return copy_of_template(tmp_path_factory.mktemp("template"))


def copy_of_template(folder: Path) -> Path:
    """Copy what cookiecutter reads of the template into a folder, and commit it there."""
    caches = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in ("hooks", "{{cookiecutter.project_slug}}"):
        shutil.copytree(ROOT / name, folder / name, ignore=caches)
    for name in ("cookiecutter.json", "local_extensions.py", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "The template")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody."""
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    unsigned = ("-c", "commit.gpgSign=false")
    done = subprocess.run(
        ["git", *who, *unsigned, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    """Commit everything in a folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def bake(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Render the template with some answers.

    Tests that give the same answers share a render: copy it before you change it.
    """
    renders: dict[tuple[tuple[str, str], ...], Path] = {}

    def render(**answers: str) -> Path:
        key = tuple(sorted(answers.items()))
        if key not in renders:
            renders[key] = fresh(template, tmp_path_factory.mktemp("render"), answers)
        return renders[key]

    return render


def fresh(template: Path, folder: Path, answers: dict[str, str], **options: bool) -> Path:
    """Render into a folder of its own, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        # cookiecutter leaves every hook it rendered in the temporary folder.
        patch.setattr(tempfile, "tempdir", str(folder))
        return Path(
            cookiecutter(
                str(template),
                no_input=True,
                extra_context=answers,
                output_dir=str(folder / "out"),
                default_config={
                    "replay_dir": str(folder / "replay"),
                    "cookiecutters_dir": str(folder / "cookiecutters"),
                },
                **options,
            )
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command of the environment as a user without a home would, in `tmp_path`."""
    home = tmp_path / "home"
    home.mkdir()

    def command(
        name: str,
        *arguments: str | Path,
        folder: Path = tmp_path,
        typed: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / name, *arguments],
            cwd=folder,
            env=os.environ | {"HOME": str(home), "TMPDIR": str(home)} | environment,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    return command


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless browser of Playwright's."""
    from chromium import BROWSER, OPTIONS, playwright

    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        yield chromium
        chromium.close()

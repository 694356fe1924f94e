"""A rendered repository that tests run."""

import json
import os
import re
import subprocess
from pathlib import Path

from conftest import ROOT

ENVIRONMENTS = ROOT / "build" / "env"
LIBRARY = ROOT / "runtime"
RENDERED = ROOT / "build" / "rendered"  # the two repositories that its tests run with
MINUTES = 60


def keep_environments(folder: Path) -> None:
    """Let no lock of a fresh folder be younger than the environments, which are in place."""
    for lock in [*folder.glob("requirements/*.txt"), *folder.glob("deploy/*.txt")]:
        os.utime(lock, (0, 0))


class Repository:
    """A render that tests run, with the environments that all renders share."""

    def __init__(self, folder: Path, problem_type: str) -> None:
        self.folder = folder
        self.problem_type = problem_type
        self.python = ENVIRONMENTS / "main" / "bin" / "python"
        self.packages: list[str] = []  # folders of packages beside those of the environments
        self.environment = {
            **os.environ,
            "VENV": str(ENVIRONMENTS / "main"),
            "VENV_SERVE": str(ENVIRONMENTS / "serve"),
            "SERVE_PYTHON": str(ENVIRONMENTS / "serve" / "bin" / "python"),
            "MONITORING_TOOLS": str(ENVIRONMENTS / "tools"),
            "PYTHONPATH": str(folder / "src"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        keep_environments(folder)

    def add_packages(self, environment: str) -> None:
        """Let its Pythons, and those that make starts, find packages beside their own."""
        self.packages.append(str(ENVIRONMENTS / environment))
        path = ":".join([str(self.folder / "src"), *self.packages])
        self.environment |= {"PYTHONPATH": path, "MAKEFLAGS": f"PYTHONPATH={path}"}

    def make(self, *verbs: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run verbs of its Makefile."""
        return subprocess.run(
            ["make", *verbs],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=10 * MINUTES,
        )

    def test(self, *options: str, minutes: int = 10) -> None:
        """Run its tests, which must pass, nothing skipped."""
        self._pytest(*options, folder=self.folder, environment=self.environment, minutes=minutes)

    def test_library(self, *files: str, without: tuple[str, ...] = (), minutes: int = 20) -> None:
        """Run tests of the library with this repository as the one that classifies.

        They must pass, nothing skipped.

        Args:
            files: files or folders of the library's tests, from its folder.
            without: words in the names of tests that cannot hold for this repository.
            minutes: how long they may take.
        """
        rendered = self.folder.parent / "rendered"
        rendered.mkdir(exist_ok=True)
        for name, folder in (("penguins", self.folder), ("weights", RENDERED / "weights")):
            (rendered / name).unlink(missing_ok=True)
            (rendered / name).symlink_to(folder)
        path = [str(LIBRARY / "src"), str(ENVIRONMENTS / "library"), *self.packages]
        environment = self.environment | {"RENDERED": str(rendered), "PYTHONPATH": ":".join(path)}
        # What is parametrised with both repositories says nothing new of the other one.
        words = " and ".join(f"not {word}" for word in ("regression", *without))
        options = ("-m", "not slow", "-k", words, "-p", "no:cacheprovider", *files)
        self._pytest(*options, folder=LIBRARY, environment=environment, minutes=minutes)

    def _pytest(
        self, *options: str, folder: Path, environment: dict[str, str], minutes: int
    ) -> None:
        done = subprocess.run(
            [self.python, "-m", "pytest", "-q", "-rs", *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        last = done.stdout.splitlines()[-1]
        assert re.search(r"^\d+ passed(, \d+ deselected)?(, \d+ warnings?)? in", last), done.stdout

    def ask(self, code: str, **variables: str) -> object:
        """Run Python in its training environment; the code prints one JSON value last."""
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=5 * MINUTES,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

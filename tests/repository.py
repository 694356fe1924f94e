"""A rendered repository that tests run."""

import json
import os
import subprocess
from pathlib import Path

from conftest import ROOT

ENVIRONMENTS = ROOT / "build" / "env"
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
        path = f"{self.environment['PYTHONPATH']}:{ENVIRONMENTS / environment}"
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

    def test(self, *options: str, minutes: int = 10) -> str:
        """Run its tests, which must pass; returns what pytest printed."""
        done = subprocess.run(
            [self.python, "-m", "pytest", "-q", "-rs", *options],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=minutes * MINUTES,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

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

"""The DAGs are there where they were asked for, and do what they say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from answers import AIRFLOW, HOSTILE, LONGEST, REGRESSION, SHORTEST, Answers
from conftest import BIN, Bake
from repository import ENVIRONMENTS, MINUTES, Repository

LONG_NAMES = {name: LONGEST[name] for name in ("project_slug", "package_name", "repository_url")}
ANSWERED = {".cruft.json"}  # it keeps the answer, whatever that is
LIBRARY = "vendor/"  # the same for all repositories


def contents(project: Path) -> dict[str, bytes]:
    """The files of a render, but for its history."""
    paths = [path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "answers", [{}, REGRESSION, LONGEST], ids=["default", "regression", "longest"]
)
def test_without_a_yes_there_is_no_trace(bake: Bake, answers: Answers):
    files = contents(bake(**answers))
    named = re.compile(r"airflow|\bdags/|plugins", re.IGNORECASE)
    traces = {
        path
        for path, text in files.items()
        if not path.startswith(LIBRARY) and named.search(path + text.decode(errors="replace"))
    }
    assert traces == ANSWERED


def test_a_yes_adds_files_and_changes_only_what_leads_there(bake: Bake):
    without, chosen = contents(bake()), contents(bake(**AIRFLOW))
    assert without.keys() <= chosen.keys()
    assert {path.partition("/")[0] for path in chosen.keys() - without.keys()} == {
        "dags", "plugins", "requirements", "tests",
    }  # fmt: skip
    assert {path for path in without if without[path] != chosen[path]} == ANSWERED | {
        "Makefile", "README.md", "docs/runbooks.md", "pyproject.toml",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answers", [{}, SHORTEST, LONGEST, HOSTILE], ids=["default", "shortest", "longest", "hostile"]
)
def test_airflows_own_rules_find_nothing(bake: Bake, answers: Answers):
    ruff = [BIN / "ruff", "check", "--no-cache", "--preview", "--select", "AIR", "dags", "plugins"]
    done = subprocess.run(ruff, cwd=bake(**answers | AIRFLOW), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def airflow_test(render: Path, folder: Path) -> None:
    """Demand that `make airflow-test` passes in a copy of a render, nothing left out."""
    repository = Repository(shutil.copytree(render, folder / "copy"), "")
    done = repository.make("airflow-test", VENV_AIRFLOW=str(ENVIRONMENTS / "airflow"))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in", last), done.stdout[-5000:]


def pytest_in(
    environment: str, render: Path, folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy of a render in one of the environments."""
    copy = shutil.copytree(render, folder / "copy")
    return subprocess.run(
        [ENVIRONMENTS / environment / "bin" / "python", "-m", "pytest", "-q", *options],
        cwd=copy,
        env=Repository(copy, "").environment,
        capture_output=True,
        text=True,
        timeout=10 * MINUTES,
    )


# A class each: pytest-xdist runs them side by side.
@pytest.mark.slow
class TestClassification:
    def test_the_dags_pass_their_tests(self, bake: Bake, tmp_path: Path):
        airflow_test(bake(**AIRFLOW), tmp_path)


@pytest.mark.slow
class TestRegression:
    def test_the_dags_pass_their_tests(self, bake: Bake, tmp_path: Path):
        airflow_test(bake(**AIRFLOW | REGRESSION), tmp_path)


@pytest.mark.slow
class TestNames:
    @pytest.mark.parametrize(
        "answers", [SHORTEST | REGRESSION, HOSTILE | LONG_NAMES], ids=["shortest", "longest"]
    )
    def test_the_quick_tests_pass_whatever_the_names(
        self, bake: Bake, answers: Answers, tmp_path: Path
    ):
        quick = ("--confcutdir=tests/dags", "-m", "not slow", "tests/dags")
        done = pytest_in("airflow", bake(**answers | AIRFLOW), tmp_path, *quick)
        last = done.stdout.splitlines()[-1]
        assert re.search(r"^\d+ passed, \d+ deselected", last), done.stdout[-5000:]

    def test_where_there_is_no_airflow_the_other_tests_are_left(self, bake: Bake, tmp_path: Path):
        done = pytest_in("main", bake(**AIRFLOW), tmp_path, "--collect-only", "tests")
        assert done.returncode == 0, done.stdout[-5000:]
        assert "tests/test_pipeline.py" in done.stdout
        assert "tests/dags/" not in done.stdout

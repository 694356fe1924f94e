"""The tests of a render pass, whatever its options and names."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from answers import AZUREML, HOSTILE, LONGEST, REGRESSION, SHORTEST, Answers
from conftest import Bake
from repository import ENVIRONMENTS, MINUTES, Repository

pytestmark = pytest.mark.execute


# A class each: pytest-xdist runs them side by side.
class TestClassification:
    def test_every_test_of_a_render_passes(self, bake: Bake, tmp_path: Path):
        assert_all_pass(generated_tests(bake(), tmp_path))


class TestRegression:
    def test_every_test_of_a_render_passes(self, bake: Bake, tmp_path: Path):
        assert_all_pass(generated_tests(bake(**REGRESSION), tmp_path))


class TestNames:
    @pytest.mark.parametrize(
        "answers",
        [SHORTEST, LONGEST | REGRESSION, HOSTILE],
        ids=["shortest", "longest", "hostile"],
    )
    def test_the_unit_tests_pass_whatever_the_names(
        self, bake: Bake, answers: Answers, tmp_path: Path
    ):
        done = generated_tests(bake(**answers), tmp_path, "-m", "not slow")
        assert re.search(r"^\d+ passed", done.stdout.splitlines()[-1]), done.stdout[-5000:]


class TestAzure:
    @pytest.mark.parametrize("answers", [{}, LONGEST | REGRESSION], ids=["default", "longest"])
    def test_a_release_passes_every_test_with_azures_own_sdk(
        self, bake: Bake, answers: Answers, tmp_path: Path
    ):
        python = ENVIRONMENTS / "azureml" / "bin" / "python"
        options = ("tests/release", "-m", "not slow")
        render = bake(**answers | AZUREML)
        assert_all_pass(generated_tests(render, tmp_path, *options, python=python))


def assert_all_pass(done: subprocess.CompletedProcess[str]) -> None:
    """Nothing is skipped: the programs that the tests need are there."""
    last = done.stdout.splitlines()[-1]
    assert re.search(r"^\d+ passed(, \d+ deselected)?(, \d+ warnings?)? in", last), done.stdout


def generated_tests(
    render: Path, folder: Path, *options: str, python: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the tests of a copy of a render, in the training environment or another one."""
    copy = shutil.copytree(render, folder / "copy")
    repository = Repository(copy, "")
    return subprocess.run(
        [python or repository.python, "-m", "pytest", "-q", *options],
        cwd=copy,
        env=repository.environment,
        capture_output=True,
        text=True,
        timeout=20 * MINUTES,
    )

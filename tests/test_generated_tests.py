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


@pytest.mark.parametrize("answers", [{}, REGRESSION], ids=["classification", "regression"])
def test_every_test_of_a_render_passes(bake: Bake, answers: Answers, tmp_path: Path):
    done = generated_tests(bake(**answers), tmp_path)
    # Nothing is skipped: the programs that the tests need are there.
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in", done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.parametrize(
    "answers",
    [SHORTEST, LONGEST | REGRESSION, HOSTILE],
    ids=["shortest", "longest", "hostile"],
)
def test_the_unit_tests_pass_whatever_the_names(bake: Bake, answers: Answers, tmp_path: Path):
    done = generated_tests(bake(**answers), tmp_path, "-m", "not slow")
    assert re.search(r"^\d+ passed", done.stdout.splitlines()[-1]), done.stdout[-5000:]


@pytest.mark.parametrize("answers", [{}, LONGEST | REGRESSION], ids=["default", "longest"])
def test_a_release_to_azure_passes_every_test_with_azures_own_sdk(
    bake: Bake, answers: Answers, tmp_path: Path
):
    python = ENVIRONMENTS / "azureml" / "bin" / "python"
    done = generated_tests(
        bake(**answers | AZUREML), tmp_path, "tests/release", "-m", "not slow", python=python
    )
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in", done.stdout.splitlines()[-1]), done.stdout


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
        timeout=10 * MINUTES,
    )

"""The tests of a render pass, whatever its options and names."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from answers import HOSTILE, LONGEST, REGRESSION, SHORTEST, Answers
from conftest import Bake
from repository import MINUTES, Repository

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


def generated_tests(render: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a copy of a render."""
    copy = shutil.copytree(render, folder / "copy")
    repository = Repository(copy, "")
    return subprocess.run(
        [repository.python, "-m", "pytest", "-q", *options],
        cwd=copy,
        env=repository.environment,
        capture_output=True,
        text=True,
        timeout=10 * MINUTES,
    )

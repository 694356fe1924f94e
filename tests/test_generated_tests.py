"""The tests of a render pass, whatever its options and names."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from answers import AZUREML, HOSTILE, LONGEST, REGRESSION, SHORTEST, Answers
from conftest import ROOT, Bake
from repository import ENVIRONMENTS, MINUTES, Repository

RENDERS: dict[str, Answers] = {
    "default": {},
    "regression": REGRESSION,
    "shortest": SHORTEST,
    "longest": LONGEST | REGRESSION,
    "hostile": HOSTILE,
    "azureml": AZUREML,
}


@pytest.mark.execute
@pytest.mark.parametrize("answers", RENDERS.values(), ids=RENDERS)
def test_every_test_of_a_render_passes(bake: Bake, answers: Answers, tmp_path: Path):
    """Nothing is skipped: the programs that the tests need are there."""
    copy = shutil.copytree(bake(**answers), tmp_path / "copy")

    Repository(copy, "").test()


@pytest.mark.slow
def test_a_release_to_azure_ml_passes_every_test_with_its_own_sdk():
    python = ENVIRONMENTS / "azureml" / "bin" / "python"
    folders = (ROOT / "runtime" / "src", ENVIRONMENTS / "library")

    done = subprocess.run(
        [python, "-m", "pytest", "-q", "tests/release/test_azureml.py"],
        cwd=ROOT / "runtime",
        env=os.environ | {"PYTHONPATH": ":".join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=20 * MINUTES,
        check=False,
    )

    last = done.stdout.splitlines()[-1]
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in", last), done.stdout

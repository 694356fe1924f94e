"""The Dockerfiles, without building anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from answers import HOSTILE, LONGEST, SHORTEST, Answers
from conftest import Bake

pytestmark = pytest.mark.slow

HADOLINT = shutil.which("hadolint") or Path(sys.executable).with_name("hadolint")


@pytest.mark.parametrize("kind", ["serve", "train", "app", "notebook"])
@pytest.mark.parametrize(
    "answers", [SHORTEST, LONGEST, HOSTILE], ids=["shortest", "longest", "hostile"]
)
def test_hadolint_finds_nothing(bake: Bake, answers: Answers, kind: str):
    file = bake(**answers) / "containers" / f"{kind}.Dockerfile"
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_would_find_something(tmp_path: Path):
    file = tmp_path / "Dockerfile"
    file.write_text("FROM debian\nRUN cd /tmp\n")
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True)
    assert done.returncode == 1
    assert "DL3006" in done.stdout

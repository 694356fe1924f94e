"""What runs this repository elsewhere: GoCD's pipelines, the manifests, the images."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from modelloop.gocd import lint


def test_the_gocd_pipelines_hold_no_mistake_that_gocd_passes_over(project):
    files = [*(project.root / "ci").glob("*.gocd.yaml")]
    assert lint.lint(files) == (2, [])


def test_every_verb_of_the_pipelines_is_in_the_makefile(project):
    makefile = (project.root / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall("^([a-z-]+):.*## ", makefile, re.MULTILINE))
    for file in (project.root / "ci").glob("*.gocd.yaml"):
        called = re.findall(r"command: make,\s+arguments: \[([^]]+)\]", file.read_text())
        words = {word.strip() for line in called for word in line.split(",") if "=" not in word}
        assert words <= verbs


@pytest.mark.parametrize("folder", ["monitoring", "deploy/retraining", "deploy/notebook"])
def test_a_kustomization_builds(project, folder):
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = shutil.which("kubectl") or str(beside)
    done = subprocess.run(
        [kubectl, "kustomize", project.root / folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_images_copy_only_what_is_there(project):
    for file in (project.root / "containers").glob("*.Dockerfile"):
        for source in re.findall(r"^COPY (?!--)(\S+) ", file.read_text(), re.MULTILINE):
            assert (project.root / source).exists() or source == "build/model", (file.name, source)

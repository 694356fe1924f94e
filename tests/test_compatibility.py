"""What the last release of the library wrote, this one reads: contract, release state, pyproject.

Until there is a release, its wheel is the one that is committed, and this library is one whose
formats have changed since: each has a new field.
"""

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, Bake, git
from repository import ENVIRONMENTS
from test_update_template import released

import wheel

pytestmark = pytest.mark.execute

PACKAGE = "runtime/src/modelloop"
# A field that a later version adds to a format, where it goes, and what reads as it did before.
NEW_FIELDS = {
    "contract/contract.py": ("    owner: str\n", "    reviewer: str{default}\n"),
    "release/state.py": ('    withdrawn: str = ""\n', "    reason: str{default}\n"),
    "project.py": ("    gocd_url: str\n", "    cost_centre: str{default}\n"),
}
WRITE = """
import json, sys
from pathlib import Path
from modelloop import Project
from modelloop.release.state import Deployed, Phase, State
from modelloop.testing import example_model
folder = Path(sys.argv[1])
contracts = {}
for kind in ("classification", "regression"):
    (folder / kind).mkdir()
    contracts[kind] = json.loads(example_model.make_for(kind, folder / kind).model_dump_json())
live = (Deployed(version="1", package="image@sha256:1", traffic=90),
        Deployed(version="2", package="image@sha256:2", traffic=10))
state = State(phase=Phase.CANARY, champion="1", candidate="2", deployed=live)
(folder / "state.json").write_text(state.model_dump_json())
answers = json.loads(Project.at(Path(sys.argv[2])).model_dump_json())
print(json.dumps({"contracts": contracts, "state": json.loads(state.model_dump_json()),
                  "project": answers}))
"""
READ = """
import json, sys
from pathlib import Path
from modelloop import Contract, Project
from modelloop.release.state import State
folder = Path(sys.argv[1])
contracts = {kind: json.loads(Contract.read(folder / kind).model_dump_json())
             for kind in ("classification", "regression")}
state = State.model_validate_json((folder / "state.json").read_text())
answers = json.loads(Project.at(Path(sys.argv[2])).model_dump_json())
print(json.dumps({"contracts": contracts, "state": json.loads(state.model_dump_json()),
                  "project": answers}))
"""


def run(library: Path, code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run code with a library that is unpacked in a folder."""
    return subprocess.run(
        [ENVIRONMENTS / "main" / "bin" / "python", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )


def last_wheel() -> bytes:
    """The wheel of the last release, or the one that is committed while there is none."""
    ref = released()
    name = git(ROOT, "ls-tree", "--name-only", ref, f"{wheel.REPOSITORY}/vendor/")
    return subprocess.run(
        ["git", "cat-file", "blob", f"{ref}:{name}"], cwd=ROOT, check=True, capture_output=True
    ).stdout


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the last release, unpacked."""
    folder = tmp_path_factory.mktemp("last")
    with zipfile.ZipFile(io.BytesIO(last_wheel())) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def written(
    last: Path, bake: Bake, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict]:
    """What the last release has written, in a folder, of a repository; and its content."""
    folder, repository = tmp_path_factory.mktemp("written"), bake()
    done = run(last, WRITE, folder, repository)
    assert done.returncode == 0, done.stderr
    return folder, repository, json.loads(done.stdout)


def changed(folder: Path, default: str) -> Path:
    """This library, with a new field in each format."""
    library = folder / "library"
    shutil.copytree(ROOT / PACKAGE, library / "modelloop")
    for name, (after, field) in NEW_FIELDS.items():
        path = library / "modelloop" / name
        text = path.read_text()
        assert text.count(after) == 1, f"{name}: {after}"
        path.write_text(text.replace(after, after + field.format(default=default)))
    return library


def without_new_fields(content: dict) -> dict:
    """Leave out the new fields, which must have their defaults."""
    found = [*content["contracts"].values(), content["state"], content["project"]]
    names = ["reviewer", "reviewer", "reason", "cost_centre"]
    assert [part.pop(name) for part, name in zip(found, names, strict=True)] == [""] * 4
    return content


def test_this_library_reads_what_the_last_release_wrote(written: tuple[Path, Path, dict]):
    folder, repository, content = written

    done = run(ROOT / "runtime" / "src", READ, folder, repository)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == content


def test_a_format_that_gets_an_optional_field_still_reads_it(
    written: tuple[Path, Path, dict], tmp_path: Path
):
    folder, repository, content = written

    done = run(changed(tmp_path, ' = ""'), READ, folder, repository)

    assert done.returncode == 0, done.stderr
    assert without_new_fields(json.loads(done.stdout)) == content


def test_a_format_that_gets_a_needed_field_is_noticed(
    written: tuple[Path, Path, dict], tmp_path: Path
):
    folder, repository, _ = written

    done = run(changed(tmp_path, ""), READ, folder, repository)

    assert done.returncode != 0
    assert "reviewer" in done.stderr

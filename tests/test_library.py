"""The library that repositories install is the one in runtime/."""

import hashlib
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, git

import modules
import wheel

MENDED = "runtime/ has changed since the wheel was built: make wheel"


@pytest.fixture(scope="module")
def committed() -> Path:
    """The wheel in vendor/."""
    (found,) = (ROOT / wheel.REPOSITORY / "vendor").glob("*.whl")
    return found


def test_the_wheel_is_built_of_the_sources(committed: Path, tmp_path: Path):
    built = wheel.build(tmp_path)

    assert built.name == committed.name, MENDED
    assert built.read_bytes() == committed.read_bytes(), MENDED


def test_every_file_of_the_sources_is_in_the_wheel(committed: Path):
    sources = ROOT / "runtime" / "src"
    listed = git(ROOT, "ls-files", "-co", "--exclude-standard", str(sources)).splitlines()
    wanted = {str((ROOT / name).relative_to(sources)) for name in listed if (ROOT / name).exists()}
    with zipfile.ZipFile(committed) as packed:
        found = set(packed.namelist())

    assert wanted - found == set()
    assert "modelloop/monitoring/dashboard.json" in found


def test_every_lock_pins_the_wheel_and_names_its_folder(committed: Path):
    digest = hashlib.sha256(committed.read_bytes()).hexdigest()
    pin = f"modelloop=={wheel.version()} \\\n    --hash=sha256:{digest}\n"
    names = {path.name for path in wheel.locks()}

    assert names == {"main.txt", "serve.txt", "requirements__azureml.txt"}
    for lock in wheel.locks():
        text = lock.read_text(encoding="utf-8")
        assert pin in text, MENDED
        assert "\n--find-links ../vendor\n" in text


@pytest.mark.parametrize("name", ["main.in", "serve.in"])
def test_the_requirements_ask_for_any_release_of_this_major_version(name: str):
    """A release of the library then changes the wheel and the locks, no file that a team edits."""
    text = (ROOT / wheel.REPOSITORY / "requirements" / name).read_text(encoding="utf-8")
    major = wheel.version().partition(".")[0]
    assert re.findall(r"^modelloop\[(?:train|serve)\](.*)$", text, re.MULTILINE) == [f"=={major}.*"]


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_wheel_that_is_another_one_is_not_installed(committed: Path, tmp_path: Path, installer):
    (tmp_path / "vendor").mkdir()
    copy = tmp_path / "vendor" / committed.name
    copy.write_bytes(committed.read_bytes() + b"\0")
    (tmp_path / "requirements").mkdir()
    digest = hashlib.sha256(committed.read_bytes()).hexdigest()
    lock = tmp_path / "requirements" / "lock.txt"
    lock.write_text(
        f"--find-links ../vendor\nmodelloop=={wheel.version()} --hash=sha256:{digest}\n"
    )
    command = {
        "pip": [ROOT / ".venv/bin/python", "-m", "pip"],
        "uv": [ROOT / ".venv/bin/uv", "pip"],
    }[installer]
    options = ["--no-deps", "--no-index", "--require-hashes", "--target", tmp_path / "there"]

    refused = subprocess.run(
        [*command, "install", *options, "--requirement", lock],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    copy.write_bytes(committed.read_bytes())
    taken = subprocess.run(
        [*command, "install", *options, "--requirement", lock],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode != 0
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert (tmp_path / "there" / "modelloop" / "py.typed").exists()


@pytest.mark.slow
def test_the_names_that_a_package_cannot_have_are_those_of_the_environments():
    environments = (ROOT / "build" / "env" / name for name in modules.ENVIRONMENTS)

    assert modules.FILE.read_text(encoding="utf-8").split() == modules.found(environments), (
        "the locks have changed: make modules"
    )

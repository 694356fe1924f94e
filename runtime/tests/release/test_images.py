"""The calls of podman and docker; the template's own tests build and run the images."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelloop import Project
from modelloop.contract.contract import Contract, Decision
from modelloop.errors import UserError
from modelloop.registry.model_reference import ModelReference
from modelloop.release import images

MODEL = ModelReference(
    name="churn",
    version="7",
    mlflow_run="run",
    mlflow_model="model",
    git_commit="0" * 40,
    contract_sha256="ab" * 32,
    decision=Decision(passed=True, checks=[]),
)
DIGEST = f"sha256:{'cd' * 32}"
# Records how it was called, leaves a digest where podman would, and fails where FAKE_FAILS is set.
FAKE = """#!{python}
import json, os, pathlib, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv) + "\\n")
if "--digestfile" in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("--digestfile") + 1]).write_text({digest!r})
if "inspect" in sys.argv:
    print("other.example.com/m@sha256:0", "registry.example.com:5000/m@" + {digest!r}, sep="\\n")
else:
    print("STEP 1", *("line " + str(number) for number in range(30)), sep="\\n")
sys.exit(os.environ.get("FAKE_FAILS") and 3)
"""


class Tools:
    """Programs that are on the PATH, and how they were called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"

    def add(self, name: str) -> None:
        program = self._folder / name
        text = FAKE.format(python=sys.executable, calls=str(self._calls), digest=DIGEST)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return [[Path(program).name, *rest] for program, *rest in map(json.loads, lines)]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    for name in ("CONTAINER_TOOL", "PYTHON_IMAGE", "CONTAINER_BUILD_ARGS", "CONTAINER_PUSH_ARGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_COMMIT", "f" * 40)
    monkeypatch.setenv("PATH", str(tmp_path))
    return Tools(tmp_path)


def options(call: list[str], name: str) -> list[str]:
    """The values of an option that may be given several times."""
    return [value for option, value in itertools.pairwise(call) if option == name]


def test_a_serve_image_is_of_the_model_that_is_named(project: Project, tools: Tools):
    tools.add("podman")
    images.build(project, "serve", "r/m:7", MODEL)
    (call,) = tools.calls
    assert call[:2] == ["podman", "build"]
    assert options(call, "--file") == [str(project.root / "containers" / "serve.Dockerfile")]
    assert options(call, "--tag") == ["r/m:7"]
    assert set(options(call, "--build-arg")) == {
        f"GIT_COMMIT={'f' * 40}",
        "MODEL_NAME=churn",
        "MODEL_VERSION=7",
        f"CONTRACT_SHA256={'ab' * 32}",
    }
    assert call[-1] == str(project.root)


def test_a_serve_image_without_a_model_is_not_built(project: Project, tools: Tools):
    tools.add("podman")
    with pytest.raises(ValueError, match="which model"):
        images.build(project, "serve", "r/m:7")


def test_an_image_of_the_steps_carries_the_commit_and_no_model(project: Project, tools: Tools):
    tools.add("podman")
    images.build(project, "train", "r/m:1")
    (call,) = tools.calls
    assert options(call, "--file")[0].endswith("train.Dockerfile")
    assert options(call, "--build-arg") == [f"GIT_COMMIT={'f' * 40}"]


def test_only_podman_needs_an_option_to_keep_the_health_check(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch
):
    tools.add("podman")
    tools.add("docker")
    images.build(project, "train", "r/m:1")
    monkeypatch.setenv("CONTAINER_TOOL", "docker")
    images.build(project, "train", "r/m:1")
    podman, docker = tools.calls
    assert options(podman, "--format") == ["docker"]
    assert docker[0] == "docker"
    assert "--format" not in docker


def test_a_company_sets_the_base_image_and_more_arguments(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch
):
    tools.add("docker")
    monkeypatch.setenv("PYTHON_IMAGE", "mirror.example.com/python@sha256:1")
    monkeypatch.setenv("CONTAINER_BUILD_ARGS", "--secret 'id=pip_conf,src=my pip.conf'")
    images.build(project, "train", "r/m:1")
    (call,) = tools.calls
    assert "PYTHON_IMAGE=mirror.example.com/python@sha256:1" in options(call, "--build-arg")
    assert options(call, "--secret") == ["id=pip_conf,src=my pip.conf"]


def test_arguments_that_no_shell_would_take_are_named(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch
):
    tools.add("docker")
    monkeypatch.setenv("CONTAINER_BUILD_ARGS", "--label 'x")
    with pytest.raises(UserError, match=r"CONTAINER_BUILD_ARGS=.*No closing quotation"):
        images.build(project, "train", "r/m:1")


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_a_pushed_image_is_named_by_the_registrys_digest(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch, program: str
):
    tools.add(program)
    monkeypatch.setenv("CONTAINER_PUSH_ARGS", "--quiet")
    assert (
        images.push(project, "registry.example.com:5000/m:1")
        == f"registry.example.com:5000/m@{DIGEST}"
    )
    call = tools.calls[0]
    assert call[:2] == [program, "push"]
    assert "--quiet" in call
    assert call[-1] == "registry.example.com:5000/m:1"


def test_docker_that_knows_no_digest_of_the_repository_is_an_error(project: Project, tools: Tools):
    tools.add("docker")
    with pytest.raises(UserError, match="knows no digest"):
        images.push(project, "registry.example.com:5000/another:1")


@pytest.mark.parametrize(
    ("tag", "repository"),
    [("m", "m"), ("m:1", "m"), ("r:5000/a/m", "r:5000/a/m"), ("r:5000/a/m:1", "r:5000/a/m")],
)
def test_the_repository_of_a_tag(project: Project, tools: Tools, tag: str, repository: str):
    tools.add("podman")
    assert images.push(project, tag) == f"{repository}@{DIGEST}"


def test_a_tool_that_fails_is_quoted(
    project: Project,
    tools: Tools,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    tools.add("podman")
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(UserError, match=r"podman build` failed with code 3:\n(.*\n)*  line 29$"):
        images.build(project, "train", "r/m:1")
    assert "STEP 1" in capsys.readouterr().out
    with pytest.raises(UserError, match="podman push"):
        images.push(project, "r/m:1")


def test_podman_comes_before_docker_and_the_named_tool_before_both(tools: Tools):
    tools.add("docker")
    assert images.tool("") == "docker"
    tools.add("podman")
    assert images.tool("") == "podman"
    assert images.tool("docker") == "docker"


def test_without_a_tool_the_message_says_what_is_needed(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UserError, match="podman or docker"):
        images.build(project, "train", "r/m:1")
    monkeypatch.setenv("CONTAINER_TOOL", "nerdctl")
    with pytest.raises(UserError, match="CONTAINER_TOOL='nerdctl': there is no such program"):
        images.build(project, "train", "r/m:1")


Prove = Callable[[Path, str], subprocess.CompletedProcess[str]]


@pytest.fixture
def prove(project: Project, serve_python: str) -> Prove:
    """Does what the build of a serve image does with the model, in the serving environment."""

    def run(folder: Path, sha256: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [serve_python, "-m", "modelloop", "prove", str(folder), sha256],
            cwd=project.root,
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_the_model_that_was_judged_is_packaged(prove: Prove, model_dir: Path):
    done = prove(model_dir, Contract.read(model_dir).sha256)
    assert done.returncode == 0, done.stderr
    assert "version 7 answers its golden rows" in done.stdout


def test_another_model_than_the_one_that_was_judged_is_not_packaged(prove: Prove, model_dir: Path):
    done = prove(model_dir, "ab" * 32)
    assert done.returncode == 1
    assert f"{'ab' * 32} is allowed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_with_other_predictions_is_not_packaged(
    prove: Prove, model_dir: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(model_dir, tmp_path / "model"))
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract["golden"][0]["outputs"][0] += 0.1
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    done = prove(folder, "")
    assert done.returncode == 1
    assert "golden row 0" in done.stderr
    assert "Traceback" not in done.stderr

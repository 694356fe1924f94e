"""Build the images of containers/ and push them, with podman or docker."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from .. import settings
from ..errors import UserError
from ..model_reference import ModelReference
from ..settings import ROOT, Settings

Kind = Literal["train", "serve", "app", "notebook"]

TOOLS = ("podman", "docker")
LAST_LINES = 15  # of a tool that failed


def build(kind: Kind, tag: str, env: Settings, model: ModelReference | None = None) -> None:
    """Build an image from this work tree; the tool's output goes to standard output.

    Args:
        kind: `train` for the pipeline's steps, `serve` for the server of build/model, `app` for the
            demo, `notebook` for a notebook server.
        tag: what the image is called.
        env: `python_image` and `container_build_args` reach the build.
        model: the model of a `serve` image; the build refuses a folder that holds another one.

    Raises:
        UserError: there is no tool, or it fails; with its last lines.
        ValueError: a `serve` image without a model.
    """
    if kind == "serve" and model is None:
        raise ValueError("which model is in a `serve` image must be said")
    program = tool()
    command = [program, "build", "--file", str(ROOT / "containers" / f"{kind}.Dockerfile")]
    command += ["--tag", tag]
    if _is_podman(program):
        command += ["--format", "docker"]  # podman's own format drops the health check
    for name, value in _build_arguments(env, model).items():
        command += ["--build-arg", f"{name}={value}"]
    _run([*command, *_split("CONTAINER_BUILD_ARGS", env.container_build_args), str(ROOT)])


def push(tag: str) -> str:
    """Push an image; returns `repository@sha256:...`, by which the registry keeps it.

    Raises:
        UserError: there is no tool, or it fails; with its last lines.
    """
    program = tool()
    more = _split("CONTAINER_PUSH_ARGS", settings.load().container_push_args)
    repository = _repository(tag)
    if not _is_podman(program):
        _run([program, "push", *more, tag])
        template = "{{range .RepoDigests}}{{println .}}{{end}}"
        digests = _run([program, "image", "inspect", "--format", template, tag])
        found = [line for line in digests if line.startswith(f"{repository}@sha256:")]
        if not found:
            raise UserError(f"{program} has pushed {tag} and knows no digest of it")
        return found[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digest"
        _run([program, "push", "--digestfile", str(file), *more, tag])
        return f"{repository}@{file.read_text(encoding='utf-8').strip()}"


def tool() -> str:
    """The program that builds images: CONTAINER_TOOL, else podman, else docker.

    Raises:
        UserError: it is not there.
    """
    named = settings.load().container_tool
    found = next(filter(shutil.which, [named] if named else TOOLS), None)
    if found:
        return found
    if named:
        raise UserError(f"CONTAINER_TOOL={named!r}: there is no such program; podman and docker do")
    raise UserError("images need podman or docker; neither is on the PATH")


def _is_podman(program: str) -> bool:
    return Path(program).name == "podman"


def _build_arguments(env: Settings, model: ModelReference | None) -> dict[str, str]:
    arguments = {"GIT_COMMIT": env.commit}
    if env.python_image:
        arguments["PYTHON_IMAGE"] = env.python_image
    if model:
        arguments |= {
            "MODEL_NAME": model.name,
            "MODEL_VERSION": model.version,
            "CONTRACT_SHA256": model.contract_sha256,
        }
    return arguments


def _repository(tag: str) -> str:
    """A tag without what follows its last colon, unless that is the registry's port."""
    folder, slash, name = tag.rpartition("/")
    return folder + slash + name.partition(":")[0]


def _split(variable: str, arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise UserError(f"{variable}={arguments!r}: {error}") from error


def _run(command: Sequence[str]) -> list[str]:
    """Run a tool and show what it says; returns that, by lines."""
    process = subprocess.Popen(
        command,
        env=os.environ | {"DOCKER_BUILDKIT": "1"},  # which a docker before 23 must be told to use
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said = []
    with process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                said.append(line.rstrip("\n"))
        except BaseException:  # Ctrl-C, or the end of this program: not without the tool's
            process.terminate()
            raise
    if process.returncode:
        last = "\n".join(f"  {line}" for line in deque(said, LAST_LINES))
        what = f"`{command[0]} {command[1]}`"
        raise UserError(f"{what} failed with code {process.returncode}:\n{last}")
    return said

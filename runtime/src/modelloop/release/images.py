"""Build and push the images of containers/, with podman or docker."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.registry.model_reference import ModelReference

Kind = Literal["train", "serve", "app", "notebook"]

TOOLS = ("podman", "docker")
LAST_LINES = 15  # of a tool that failed


def build(project: Project, kind: Kind, tag: str, model: ModelReference | None = None) -> None:
    """Build an image from the work tree, with PYTHON_IMAGE and CONTAINER_BUILD_ARGS.

    The tool's output goes to standard output.

    Args:
        project: the repository.
        kind: `train` for the pipeline's steps, `serve` for the server of build/model, `app` for the
            demo, `notebook` for a notebook server.
        tag: the image's name and tag.
        model: the model of a `serve` image; the build fails where build/model holds another one.

    Raises:
        UserError: there is no tool, or it fails; the message has its last lines.
        ValueError: a `serve` image without a model.
    """
    if kind == "serve" and model is None:
        raise ValueError("which model is in a `serve` image must be said")
    env = project.settings
    program = tool(env.container_tool)
    command = [program, "build", "--file", str(project.root / "containers" / f"{kind}.Dockerfile")]
    command += ["--tag", tag]
    if _is_podman(program):
        command += ["--format", "docker"]  # podman's own format drops the health check
    for name, value in _build_arguments(project, model).items():
        command += ["--build-arg", f"{name}={value}"]
    _run([*command, *_split("CONTAINER_BUILD_ARGS", env.container_build_args), str(project.root)])


def push(project: Project, tag: str) -> str:
    """Push an image, with CONTAINER_PUSH_ARGS; returns `repository@sha256:...`.

    Raises:
        UserError: there is no tool, or it fails; the message has its last lines.
    """
    env = project.settings
    program = tool(env.container_tool)
    more = _split("CONTAINER_PUSH_ARGS", env.container_push_args)
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


def tool(named: str) -> str:
    """The program that builds images: `named`, else podman, else docker.

    Raises:
        UserError: it is not installed.
    """
    found = next(filter(shutil.which, [named] if named else TOOLS), None)
    if found:
        return found
    if named:
        raise UserError(f"CONTAINER_TOOL={named!r}: there is no such program; podman and docker do")
    raise UserError("images need podman or docker; neither is on the PATH")


def _is_podman(program: str) -> bool:
    return Path(program).name == "podman"


def _build_arguments(project: Project, model: ModelReference | None) -> dict[str, str]:
    env = project.settings
    arguments = {"GIT_COMMIT": project.commit}
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
    """An image's name without its tag; a colon before the last slash is the registry's port."""
    folder, slash, name = tag.rpartition("/")
    return folder + slash + name.partition(":")[0]


def _split(variable: str, arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise UserError(f"{variable}={arguments!r}: {error}") from error


def _run(command: Sequence[str]) -> list[str]:
    """Run a tool and print its output; returns the lines of it."""
    process = subprocess.Popen(
        command,
        env=os.environ | {"DOCKER_BUILDKIT": "1"},  # the default since docker 23
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines = []
    with process:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line.rstrip("\n"))
        except BaseException:  # Ctrl-C or SIGTERM: the tool must not outlive this process
            process.terminate()
            raise
    if process.returncode:
        last = "\n".join(f"  {line}" for line in deque(lines, LAST_LINES))
        what = f"`{command[0]} {command[1]}`"
        raise UserError(f"{what} failed with code {process.returncode}:\n{last}")
    return lines
